//! Brings a database to what its plan says, in one transaction: everything or nothing. A second run changes nothing.

use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};

use crate::{
    plan::{Audit, Extension, Plan, WantedExtension},
    problem::{Doing, Problem, Reason},
    server::{self, Installed, Preload},
    session::{self, RUN, execute, literal, quoted},
    settings::{self, Setting},
    triggers,
};

/// Held by one run at a time in a database; the number has no meaning.
const LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(4846174915207531)";

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hardened {
    /// Such as 150018 for 15.18.
    pub server_version: i32,
    /// One line for each change; none when all was there.
    pub changed: Vec<String>,
}

/// Brings the database of the session to the plan. The session is one of [`connect`](crate::connect).
pub async fn harden(connection: &mut PgConnection, plan: &Plan) -> Result<Hardened, Problem> {
    plan.check()?;
    session::within(RUN, Doing::Look, run(connection, plan)).await
}

async fn run(connection: &mut PgConnection, plan: &Plan) -> Result<Hardened, Problem> {
    session::assert_safe(connection).await?;
    let server_version = server::version(connection).await?;
    server::assert_writable(connection).await?;
    assert_changeable(connection).await?;
    for wanted in &plan.extensions {
        may_be_had(connection, wanted).await?;
    }
    // What was begun and is dropped with an error is rolled back.
    let mut transaction = connection.begin().await.map_err(Problem::when(Doing::Look))?;
    let changed = apply(&mut transaction, plan).await?;
    transaction.commit().await.map_err(Problem::when(Doing::Commit))?;
    Ok(Hardened { server_version, changed })
}

/// Takes the lock and looks again at what could run with this session's rights. Also the first step of `down`.
pub(crate) async fn begin(connection: &mut PgConnection) -> Result<(), Problem> {
    sqlx::query(LOCK).execute(&mut *connection).await.map_err(Problem::when(Doing::Look))?;
    triggers::assert_harmless(connection).await
}

async fn apply(connection: &mut PgConnection, plan: &Plan) -> Result<Vec<String>, Problem> {
    begin(connection).await?;
    let mut changed = Vec::new();
    for wanted in &plan.extensions {
        changed.extend(extension(connection, wanted).await?);
    }
    if let Some(audit) = &plan.audit {
        changed.extend(role(connection, audit.role()).await?);
        changed.extend(set(connection, audit).await?);
    }
    Ok(changed)
}

/// Whatever can be said before anything is changed: version, library, schema.
async fn may_be_had(connection: &mut PgConnection, wanted: &WantedExtension) -> Result<(), Problem> {
    let extension = wanted.name;
    let failed = || Problem::when(Doing::Look);
    let available = server::available(connection, extension).await.map_err(failed())?;
    if available.is_empty() {
        let detail = format!("the server does not have extension {extension}");
        return Err(Problem::usual(Reason::NotAvailable, Doing::Create(extension), detail));
    }
    if let Some(version) = wanted.version.as_ref().filter(|version| !available.contains(version)) {
        return Err(no_version(extension, &format!("has no version {version}"), &available));
    }
    assert_loaded(connection, extension).await?;
    match server::installed(connection, extension).await.map_err(failed())? {
        Some(there) => is_right(connection, wanted, &there, &available).await,
        None if server::has_schema(connection, wanted.target_schema()).await.map_err(failed())? => Ok(()),
        None => {
            let detail = format!("there is no schema {} for extension {extension}", wanted.target_schema());
            Err(Problem::usual(Reason::SchemaMissing, Doing::Create(extension), detail))
        }
    }
}

/// What is there is never moved: others may name its objects with their schema.
async fn is_right(
    connection: &mut PgConnection,
    wanted: &WantedExtension,
    there: &Installed,
    available: &[String],
) -> Result<(), Problem> {
    let extension = wanted.name;
    if wanted.schema.as_ref().is_some_and(|schema| *schema != there.schema) {
        let detail = format!("extension {extension} is in schema {}", quoted(&there.schema));
        return Err(Problem::usual(Reason::WrongSchema, Doing::Create(extension), detail));
    }
    let Some(version) = wanted.version.as_ref().filter(|version| **version != there.version) else {
        return Ok(());
    };
    let leads = server::leads(connection, extension, &there.version, version).await;
    if !leads.map_err(Problem::when(Doing::Look))? {
        let why = format!("has no way from version {} to {version}", there.version);
        return Err(no_version(extension, &why, available));
    }
    Ok(())
}

fn no_version(extension: Extension, why: &str, available: &[String]) -> Problem {
    let available = available.join(", ");
    let detail = format!("extension {extension} {why}; available: {available}");
    Problem::new(Reason::NotAvailable, detail, format!("ask for one of {available}, or for none"))
}

async fn assert_loaded(connection: &mut PgConnection, extension: Extension) -> Result<(), Problem> {
    let preload = server::preload(connection, extension).await.map_err(Problem::when(Doing::Look))?;
    let (reason, detail) = match preload {
        Preload::Loaded => return Ok(()),
        Preload::Configured => {
            let detail =
                format!("the configuration loads {extension}, but the server runs since before that");
            (Reason::RestartPending, detail)
        }
        Preload::Missing => {
            (Reason::PreloadMissing, format!("shared_preload_libraries does not have {extension}"))
        }
    };
    Err(Problem::usual(reason, Doing::Create(extension), detail))
}

/// Without its library pgaudit's own event triggers fail, and with them whatever changes an object, also of other extensions.
async fn assert_changeable(connection: &mut PgConnection) -> Result<(), Problem> {
    let there = server::installed(connection, Extension::Pgaudit).await;
    match there.map_err(Problem::when(Doing::Look))? {
        Some(_) => assert_loaded(connection, Extension::Pgaudit).await,
        None => Ok(()),
    }
}

async fn extension(
    connection: &mut PgConnection,
    wanted: &WantedExtension,
) -> Result<Option<String>, Problem> {
    let extension = wanted.name;
    let name = quoted(extension.as_str());
    let look = async |connection: &mut PgConnection| {
        server::installed(connection, extension).await.map_err(Problem::when(Doing::Look))
    };
    let Some(there) = look(connection).await? else {
        let version =
            wanted.version.as_deref().map(|v| format!(" VERSION {}", literal(v))).unwrap_or_default();
        let schema = quoted(wanted.target_schema());
        let sql = format!("CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA {schema}{version}");
        execute(connection, sql).await.map_err(Problem::when(Doing::Create(extension)))?;
        let now = look(connection).await?.map(|there| there.version).unwrap_or_default();
        return Ok(Some(format!("extension {extension} {now} created in schema {}", wanted.target_schema())));
    };
    let Some(version) = wanted.version.as_ref().filter(|version| **version != there.version) else {
        return Ok(None);
    };
    let sql = format!("ALTER EXTENSION {name} UPDATE TO {}", literal(version));
    execute(connection, sql).await.map_err(Problem::when(Doing::Update(extension)))?;
    Ok(Some(format!("extension {extension} updated from {} to {version}", there.version)))
}

async fn role(connection: &mut PgConnection, role: &str) -> Result<Option<String>, Problem> {
    if server::has_role(connection, role).await.map_err(Problem::when(Doing::Look))? {
        return Ok(None);
    }
    let sql = format!("CREATE ROLE {} NOLOGIN", quoted(role));
    execute(connection, sql).await.map_err(Problem::when(Doing::MakeRole))?;
    Ok(Some(format!("role {role} created")))
}

async fn set(connection: &mut PgConnection, audit: &Audit) -> Result<Vec<String>, Problem> {
    let database = database(connection).await?;
    let standing = settings::standing(connection).await.map_err(Problem::when(Doing::Look))?;
    let mut changed = Vec::new();
    for setting in Setting::ALL {
        let wanted = setting.wanted(audit);
        let mut ours = standing.iter().filter(|one| one.is_of(&audit.scope));
        if ours.any(|one| one.value_of(setting) == Some(&wanted)) {
            continue;
        }
        let (name, target) = (setting.as_str(), audit.scope.target(&database));
        let sql = format!("ALTER {target} SET {name} = {}", literal(&wanted));
        execute(connection, sql).await.map_err(Problem::when(Doing::Set))?;
        changed.push(format!("{name} = {wanted} set for {}", audit.scope.words()));
    }
    Ok(changed)
}

/// The name of the session's database, which may be anything.
pub(crate) async fn database(connection: &mut PgConnection) -> Result<String, Problem> {
    let sql = "SELECT pg_catalog.current_database()::pg_catalog.text";
    sqlx::query_scalar(sql).fetch_one(connection).await.map_err(Problem::when(Doing::Look))
}
