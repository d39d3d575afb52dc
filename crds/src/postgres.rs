//! The database: how it is reached, what it is to have, how often that is proven.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GepDuration;

/// Names that need no quotes in SQL, none of the server's own.
const NAME: &str = "^[a-z_][a-z0-9_]{0,62}$";
/// A name, or an address of IP version 4 or 6; not a name with a port.
const HOST: &str = "^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)$";
const DATABASE: &str = "^[A-Za-z0-9_][A-Za-z0-9_.$-]{0,62}$";
const VERSION: &str = "^[0-9A-Za-z._-]{1,32}$";

/// A Postgres database that Jobs harden and verify. Where the group is removed, the database stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.audit) || !has(self.extensions) || self.extensions.exists(e, e.name == 'pgaudit')")
        .message("spec.postgres.audit: needs the extension pgaudit; add {name: pgaudit} to spec.postgres.extensions, or remove audit")
        .field_path(".audit"),
    validation = Rule::new("!has(self.audit) || !has(self.audit.parameters) || !self.audit.parameters || has(self.extensions) && !self.extensions.exists(e, e.name == 'pgcrypto')")
        .message("spec.postgres.audit.parameters: with pgcrypto it would write every key and every plain text that a statement hands over into the log; remove it")
        .field_path(".audit.parameters")
)]
pub struct Postgres {
    /// Who may change the database, and where it is.
    pub connection: PostgresConnection,
    /// How the server is known. Default: verify-full with the CAs that browsers trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<PostgresTls>,
    /// Extensions that are to be there. Default: pgcrypto and pgaudit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 5))]
    #[x_kube(validation = Rule::new("self.all(e, self.exists_one(f, f.name == e.name))")
        .message("spec.postgres.extensions: every name must be unique; remove the second one"))]
    pub extensions: Option<Vec<PostgresExtension>>,
    /// What pgaudit writes into the server's log. Default, with pgaudit among the extensions: every class, rows and
    /// connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<PostgresAudit>,
    /// How often a Job proves that all of it is there and works (GEP-2257), 5s to 24h; up to a tenth sooner. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = crate::rules::duration("spec.postgres.verifyInterval", "5s", "24h"))]
    pub verify_interval: Option<GepDuration>,
}

/// Who may change the database, and where it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
// A Job that only verifies does not read the first Secret, which may be the only one that says where.
#[x_kube(
    validation = Rule::new("!has(self.verifierSecretRef) || has(self.host) && has(self.database)")
        .message("spec.postgres.connection: with verifierSecretRef it needs host and database, so that both logins lead to the same one; add them")
)]
pub struct PostgresConnection {
    /// Secret with the login that may create the extensions: `url`, or what `CloudNativePG` (`uri`) or Zalando's operator
    /// (`username`, `password`) puts there. It must carry the label `hardened.dev/service: NAME`.
    pub secret_ref: PostgresSecret,
    /// Secret of the same form with a login that verifies and needs few rights; labelled as well. It needs `host` and
    /// `database` below. Default: the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier_secret_ref: Option<PostgresSecret>,
    /// Host of the server. Default: the Secret's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::matches("spec.postgres.connection.host", HOST, "a host name or an IP address, without port"))]
    pub host: Option<String>,
    /// Its port. Default: the Secret's, or 5432; with `verifierSecretRef` 5432.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i32>,
    /// Name of the database. Default: the Secret's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = crate::rules::matches("spec.postgres.connection.database", DATABASE, "the name of a database: letters, digits, _, ., $ and -"))]
    pub database: Option<String>,
}

/// A Secret of this namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct PostgresSecret {
    /// Its name.
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.postgres.connection.secretRef.name", "self"))]
    pub name: String,
}

/// How the server is known.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresTls {
    /// `verify-full`: its certificate is of the CA and for this host. `verify-ca`: of the CA. `require`: encrypted, to whoever
    /// answers; not in environment production. Default: verify-full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PostgresTlsMode>,
    /// Secret with the CA's certificate; it must carry the label `hardened.dev/service: NAME`. Default: the CAs that browsers
    /// trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<PostgresCa>,
}

/// Where the CA's certificate is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct PostgresCa {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.postgres.tls.caSecretRef.name", "self"))]
    pub name: String,
    /// Its key. Only this one reaches the Jobs. Default: ca.crt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::matches("spec.postgres.tls.caSecretRef.key", "^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$", "letters, digits, -, _ and ., beginning and ending with a letter, digit or _"))]
    pub key: Option<String>,
}

/// How much of the server's certificate is verified, in libpq's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = crate::schema::without_description)]
pub enum PostgresTlsMode {
    /// Of the CA, and for this host.
    #[default]
    VerifyFull,
    /// Of the CA.
    VerifyCa,
    /// Not at all.
    Require,
}

impl PostgresTlsMode {
    /// libpq's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyFull => "verify-full",
            Self::VerifyCa => "verify-ca",
            Self::Require => "require",
        }
    }
}

/// An extension that is to be there.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct PostgresExtension {
    /// Which one: `pgcrypto`, `pgaudit`, `citext`, `pg_stat_statements` or `uuid-ossp`.
    pub name: PostgresExtensionName,
    /// Its exact version. Default: the server's, and what is installed stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = crate::rules::matches("spec.postgres.extensions.version", VERSION, "a version such as 1.3: letters, digits, ., _ and -"))]
    pub version: Option<String>,
    /// Schema of its objects, which must exist. Default: public, or where it already is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = own_name("spec.postgres.extensions.schema", "information_schema"))]
    pub schema: Option<String>,
}

/// The extensions that may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum PostgresExtensionName {
    /// Encryption of columns.
    #[serde(rename = "pgcrypto")]
    Pgcrypto,
    /// Auditing.
    #[serde(rename = "pgaudit")]
    Pgaudit,
    /// Text without regard to case.
    #[serde(rename = "citext")]
    Citext,
    /// Which statements take the time.
    #[serde(rename = "pg_stat_statements")]
    PgStatStatements,
    /// Identifiers of other versions than 4.
    #[serde(rename = "uuid-ossp")]
    UuidOssp,
}

/// What pgaudit writes down.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresAudit {
    /// Classes of statements: all, read, write, function, role, ddl, misc, `misc_set`. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d == c))")
        .message("spec.postgres.audit.log: every class must be unique; remove the second one"))]
    pub log: Option<Vec<PostgresAuditClass>>,
    /// Also how many rows each statement gave or changed. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<bool>,
    /// Also the values of parameters: whatever is secret in them is then in the log. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<bool>,
    /// The server must log connections and their ends too. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<bool>,
    /// Role whose grants are audited object by object. Default: `pgaudit_admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = own_name("spec.postgres.audit.role", "public"))]
    pub role: Option<String>,
    /// Whose sessions are audited. Default: everybody's in the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<PostgresAuditScope>,
}

/// Whose sessions are audited.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct PostgresAuditScope {
    /// Those of this role, in every database.
    #[schemars(length(max = 63))]
    #[x_kube(validation = own_name("spec.postgres.audit.scope.role", "public"))]
    pub role: String,
}

/// A class of statements, as pgaudit divides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = crate::schema::without_description)]
pub enum PostgresAuditClass {
    /// Every class.
    All,
    /// SELECT and COPY from a relation.
    Read,
    /// INSERT, UPDATE, DELETE, TRUNCATE and COPY to a relation.
    Write,
    /// Calls of functions, and DO.
    Function,
    /// What changes roles and rights.
    Role,
    /// What changes objects and is not of the class `role`.
    Ddl,
    /// DISCARD, FETCH, CHECKPOINT, VACUUM and SET.
    Misc,
    /// SET of settings that change who acts.
    MiscSet,
}

fn own_name(path: &str, taken: &str) -> kube::core::Rule {
    kube::core::Rule::new(format!(
        "self.matches('{NAME}') && !self.startsWith('pg_') && self != 'none' && self != '{taken}'"
    ))
    .message(kube::core::Message::Message(format!(
        "{path}: must be 1 to 63 lower-case letters, digits and _, not beginning with a digit or pg_, and no word of the \
         server's own"
    )))
}
