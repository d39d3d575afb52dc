//! Looks whether a database has what its plan says, and proves by deed what can be proven. It changes nothing, and needs no
//! superuser: what its role may not see is unknown and never passed.

mod audit;
mod canary;
mod crypto;
mod extensions;
mod name;
mod probe;
mod server;
mod tls;

use serde::{Deserialize, Serialize};
use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{
    plan::{Extension, Plan},
    problem::{Doing, Problem, tame},
    report::{Proof, SeenExtension, SeenSetting, SeenTls},
    session::{self, RUN, quoted},
    settings::Setting,
};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Such as 150018 for 15.18.
    pub server_version: i32,
    /// One for each control of the plan, and those that every server is to have.
    pub checks: Vec<Check>,
    /// The extensions of the plan that are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<SeenExtension>,
    /// pgaudit's settings as a new session has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<SeenSetting>,
    /// How the line of a marked statement was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Proof>,
    /// How the connection is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<SeenTls>,
}

/// One control.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Which one.
    pub control: Control,
    /// What came of it.
    pub outcome: Outcome,
    /// What was seen. No value that could be a secret.
    pub evidence: String,
    /// What makes it pass, or be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Control {
    /// The extension is installed, in the version and the schema that are wanted.
    Extension(Extension),
    /// What pgcrypto encrypts it decrypts again.
    RoundTrip,
    /// A known digest.
    Digest,
    /// Random bytes differ from call to call.
    RandomBytes,
    /// Random identifiers differ from call to call.
    RandomUuid,
    /// The server loads every library that the plan needs at its start.
    PreloadLibraries,
    /// The setting holds in a new session.
    AuditSetting(Setting),
    /// No role and no database has its own setting of pgaudit that takes from the plan's.
    AuditOverrides,
    /// A marked statement is in the audit.
    AuditCanary,
    /// Connections are logged.
    LogConnections,
    /// Their ends are logged.
    LogDisconnections,
    /// New passwords are stored as SCRAM verifiers.
    PasswordEncryption,
    /// No password is stored as MD5.
    Md5Passwords,
    /// This very connection is encrypted.
    Tls,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Outcome {
    /// It is as it should be, and that was seen.
    Passed,
    /// It is not.
    Failed,
    /// It could not be seen.
    Unknown,
}

impl Check {
    fn passed(control: Control, evidence: impl Into<String>) -> Self {
        Self { control, outcome: Outcome::Passed, evidence: tame(&evidence.into()), fix: None }
    }

    fn failed(control: Control, evidence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { control, outcome: Outcome::Failed, evidence: tame(&evidence.into()), fix: Some(fix.into()) }
    }

    fn unknown(control: Control, evidence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { control, outcome: Outcome::Unknown, evidence: tame(&evidence.into()), fix: Some(fix.into()) }
    }
}

impl Verification {
    /// Whether everything passed.
    pub fn is_proven(&self) -> bool {
        self.checks.iter().all(|check| check.outcome == Outcome::Passed)
    }

    /// What did not pass.
    pub fn open(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.outcome != Outcome::Passed)
    }
}

/// Who looks.
struct Eye {
    /// As SQL.
    role: String,
    version: i32,
    /// A superuser or a member of `pg_read_all_settings`.
    sees_settings: bool,
}

/// Looks at the database that the options lead to. It opens sessions of its own, so that settings are seen as a new session
/// has them.
pub async fn verify(options: &PgConnectOptions, plan: &Plan) -> Result<Verification, Problem> {
    plan.check()?;
    session::within(RUN, Doing::Look, run(options, plan)).await
}

async fn run(options: &PgConnectOptions, plan: &Plan) -> Result<Verification, Problem> {
    let mut connection = session::connect(options).await?;
    session::assert_safe(&mut connection).await?;
    let version = crate::server::version(&mut connection).await?;
    let failed = || Problem::when(Doing::Look);
    let eye = eye(&mut connection, version).await.map_err(failed())?;
    let (mut checks, extensions) = extensions::look(&mut connection, plan).await.map_err(failed())?;
    if plan.has(Extension::Pgcrypto) {
        checks.extend(crypto::look(&mut connection).await.map_err(failed())?);
    }
    checks.extend(server::look(&mut connection, plan, &eye).await.map_err(failed())?);
    let verified = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull);
    let (check, tls) = tls::look(&mut connection, verified).await.map_err(failed())?;
    checks.push(check);
    let (mut settings, mut proof) = (Vec::new(), None);
    if let Some(audit) = &plan.audit {
        let more;
        (more, settings) = audit::look(&mut connection, audit).await.map_err(failed())?;
        checks.extend(more);
        let canary;
        (canary, proof) = canary::look(options, &mut connection, audit, &eye).await?;
        checks.push(canary);
    }
    Ok(Verification { server_version: version, checks, extensions, settings, audit: proof, tls })
}

async fn eye(connection: &mut PgConnection, version: i32) -> sqlx::Result<Eye> {
    let sql = "SELECT pg_catalog.session_user()::pg_catalog.text, r.rolsuper OR \
               pg_catalog.pg_has_role(r.oid, 'pg_read_all_settings', 'USAGE') \
               FROM pg_catalog.pg_roles r WHERE r.rolname = pg_catalog.session_user()";
    let (role, sees_settings): (String, bool) = sqlx::query_as(sql).fetch_one(connection).await?;
    Ok(Eye { role: quoted(&role), version, sees_settings })
}
