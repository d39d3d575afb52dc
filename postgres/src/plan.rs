//! What a database is to have: extensions and auditing. Plain data with its rules; it asks no server.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Schema of an extension for which none is named.
const DEFAULT_SCHEMA: &str = "public";
/// Role whose grants are audited object by object, when none is named.
const DEFAULT_ROLE: &str = "pgaudit_admin";

/// What a database is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Extensions, each once.
    #[serde(default)]
    pub extensions: Vec<WantedExtension>,
    /// What pgaudit writes down; nothing is set when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
}

/// An extension that is to be there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WantedExtension {
    /// Which one.
    pub name: Extension,
    /// Its exact version; without it the server's default, and what is installed stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The schema of its objects, which must exist; without it `public`, or where it already is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

/// Extensions that may be asked for. Their names reach SQL from here and never from a plan's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Extension {
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audit {
    /// Classes of statements (`pgaudit.log`), at least one.
    pub log: Vec<AuditClass>,
    /// Also how many rows a statement gave or changed (`pgaudit.log_rows`).
    #[serde(default)]
    pub rows: bool,
    /// Also the values of a statement's parameters (`pgaudit.log_parameter`): whatever is secret in them is then in the log.
    #[serde(default)]
    pub parameters: bool,
    /// Connections and their ends must be logged too. That is a setting of the whole server, so it is only verified.
    #[serde(default)]
    pub connections: bool,
    /// Role whose grants are audited object by object (`pgaudit.role`); `pgaudit_admin` when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Whose sessions it is set for.
    #[serde(default)]
    pub scope: Scope,
}

/// A class of statements, as pgaudit divides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditClass {
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

/// Whose sessions are audited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Everybody's in this database.
    #[default]
    Database,
    /// Those of one role, in every database.
    Role(String),
}

/// Why a plan cannot be carried out by any server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}; {fix}")]
pub struct Invalid {
    /// Path of the field.
    pub field: String,
    /// What is wrong with it. A value of the plan is never repeated: it may be an attack on whoever reads it.
    pub problem: &'static str,
    /// What to write instead.
    pub fix: &'static str,
}

impl Extension {
    /// Its name in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pgcrypto => "pgcrypto",
            Self::Pgaudit => "pgaudit",
            Self::Citext => "citext",
            Self::PgStatStatements => "pg_stat_statements",
            Self::UuidOssp => "uuid-ossp",
        }
    }

    /// Whoever may create objects in the database may create it, since Postgres 13.
    pub const fn is_trusted(self) -> bool {
        matches!(self, Self::Pgcrypto | Self::Citext | Self::UuidOssp)
    }

    /// The server must have loaded its library at its start.
    pub const fn needs_preload(self) -> bool {
        self.loaded_setting().is_some()
    }

    /// A setting that exists exactly while the library is loaded at the server's start; every role may see it.
    pub(crate) const fn loaded_setting(self) -> Option<&'static str> {
        match self {
            Self::Pgaudit => Some("pgaudit.log"),
            Self::PgStatStatements => Some("pg_stat_statements.max"),
            Self::Pgcrypto | Self::Citext | Self::UuidOssp => None,
        }
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AuditClass {
    /// Every class but `All`, which is their sum.
    pub(crate) const EACH: [Self; 7] =
        [Self::Read, Self::Write, Self::Function, Self::Role, Self::Ddl, Self::Misc, Self::MiscSet];

    /// pgaudit's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Read => "read",
            Self::Write => "write",
            Self::Function => "function",
            Self::Role => "role",
            Self::Ddl => "ddl",
            Self::Misc => "misc",
            Self::MiscSet => "misc_set",
        }
    }
}

impl WantedExtension {
    /// Where it is created.
    pub(crate) fn target_schema(&self) -> &str {
        self.schema.as_deref().unwrap_or(DEFAULT_SCHEMA)
    }
}

impl Audit {
    /// The role of `pgaudit.role`.
    pub fn role(&self) -> &str {
        self.role.as_deref().unwrap_or(DEFAULT_ROLE)
    }

    /// Whether statements of the class are written down.
    pub(crate) fn covers(&self, class: AuditClass) -> bool {
        self.log.iter().any(|&one| one == AuditClass::All || one == class)
    }
}

impl Plan {
    /// Whether the extension is asked for.
    pub(crate) fn has(&self, extension: Extension) -> bool {
        self.extensions.iter().any(|wanted| wanted.name == extension)
    }
}
