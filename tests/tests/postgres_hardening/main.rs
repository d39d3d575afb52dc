//! Does the engine bring a real Postgres to what a plan says, prove it by deed, take it away again, and change nothing when
//! something stands in the way or somebody in the database means harm? No cluster.

mod audit;
mod down;
mod hostile;
mod proven;
mod refused;
mod secrets;

use anyhow::{Context as _, Result};
use postgres_hardening::{
    Audit, AuditClass, Check, Control, Extension, Hardened, Outcome, Plan, Problem, Removed, Scope,
    Verification, WantedExtension, address, connect, down, harden, verify,
};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use testbed::Postgres;
use testbed::postgres::Options;

/// Of every role that the tests make.
const PASSWORD: &str = "canary-7f3a91d2c4";
/// What a server needs for everything to pass.
const READY: &str = "\
shared_preload_libraries = 'pgaudit'
log_connections = on
log_disconnections = on
";
const COLLECTED: &str = "logging_collector = on\n";

/// A server with the database `shop` of the role `owner`, who is no superuser, and the role `eye`, who may only log in.
struct Scene {
    postgres: Postgres,
    tls: bool,
}

impl Scene {
    fn set(settings: &str) -> Result<Self> {
        Self::set_with(&Options { settings, ..Options::default() })
    }

    fn set_with(options: &Options<'_>) -> Result<Self> {
        let postgres = Postgres::start_with(options)?;
        for role in ["owner", "eye"] {
            postgres.sql("postgres", &format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"))?;
        }
        postgres.database("shop")?;
        postgres.sql("postgres", "ALTER DATABASE shop OWNER TO owner")?;
        postgres.sql("shop", "ALTER SCHEMA public OWNER TO owner")?;
        Ok(Self { postgres, tls: options.tls.is_some() })
    }

    /// How a role reaches the database `shop`.
    fn as_role(&self, role: &str) -> Result<PgConnectOptions> {
        let url = match role {
            "postgres" => self.postgres.url(),
            role => format!("postgres://{role}:{PASSWORD}@{}/postgres", self.postgres.address()),
        };
        let options = address(&url.into(), None)?.database("shop");
        if !self.tls {
            return Ok(options);
        }
        Ok(options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(self.postgres.ca_file()))
    }

    async fn harden(&self, role: &str, plan: &Plan) -> Result<Hardened> {
        let mut session = connect(&self.as_role(role)?).await?;
        Ok(harden(&mut session, plan).await?)
    }

    /// The problem of a run that must not succeed.
    async fn refused(&self, role: &str, plan: &Plan) -> Result<Problem> {
        let mut session = connect(&self.as_role(role)?).await?;
        harden(&mut session, plan).await.err().context("it was hardened")
    }

    async fn down(&self, plan: &Plan, cascade: bool) -> Result<Removed> {
        let mut session = connect(&self.as_role("postgres")?).await?;
        Ok(down(&mut session, plan, cascade).await?)
    }

    /// The problem of a removal that must not succeed.
    async fn stays(&self, plan: &Plan) -> Result<Problem> {
        let mut session = connect(&self.as_role("postgres")?).await?;
        down(&mut session, plan, false).await.err().context("it went down")
    }

    async fn verify(&self, role: &str, plan: &Plan) -> Result<Verification> {
        Ok(verify(&self.as_role(role)?, plan).await?)
    }

    /// What there is of extensions and settings of the database, and of pgaudit's role.
    fn state(&self) -> Result<String> {
        let sql = "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' UNION ALL \
                   SELECT unnest(setconfig) FROM pg_db_role_setting UNION ALL \
                   SELECT rolname FROM pg_roles WHERE rolname LIKE 'pgaudit%' ORDER BY 1";
        self.postgres.sql("shop", sql)
    }
}

fn plan(value: Value) -> Result<Plan> {
    Ok(serde_json::from_value(value)?)
}

/// Encryption and auditing of everything.
fn full() -> Plan {
    let extension = |name| WantedExtension { name, version: None, schema: None };
    let (log, scope, role) = (vec![AuditClass::All], Scope::Database, None);
    Plan {
        extensions: [Extension::Pgcrypto, Extension::Pgaudit].map(extension).into(),
        audit: Some(Audit { log, rows: true, parameters: false, connections: true, role, scope }),
    }
}

/// A plan of one extension.
fn only(extension: &Value) -> Result<Plan> {
    plan(json!({ "extensions": [extension] }))
}

fn check(verification: &Verification, control: Control) -> Result<&Check> {
    verification.checks.iter().find(|check| check.control == control).context("no such check")
}

fn outcome(verification: &Verification, control: Control) -> Result<Outcome> {
    Ok(check(verification, control)?.outcome)
}

/// What did not pass.
fn open(verification: &Verification) -> Vec<(Control, Outcome)> {
    verification.open().map(|check| (check.control, check.outcome)).collect()
}
