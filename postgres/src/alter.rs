//! Settings of the whole server that a plan needs, by ALTER SYSTEM, for platforms that allow it. What others set stays, and
//! the server is never restarted from here.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{Instant, sleep};

use crate::{
    plan::{Extension, Plan},
    problem::{Doing, Problem, Reason, is_denied},
    server::{self, Preload},
    session::{self, RUN, execute, literal},
};

/// The server reads its files at its next turn.
const RELOAD: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
const LIBRARIES: &str = "shared_preload_libraries";

/// Adds the libraries that the plan needs to those that the next start loads, and has connections logged when the plan asks
/// for it. One line for each change. Where the role may not do it nothing is changed, and [`harden`](crate::harden) and
/// [`verify`](crate::verify()) say what is missing.
pub async fn alter_server(connection: &mut PgConnection, plan: &Plan) -> Result<Vec<String>, Problem> {
    plan.check()?;
    session::within(RUN, Doing::Look, run(connection, plan)).await
}

async fn run(connection: &mut PgConnection, plan: &Plan) -> Result<Vec<String>, Problem> {
    session::assert_safe(connection).await?;
    server::version(connection).await?;
    server::assert_writable(connection).await?;
    let mut changed = Vec::new();
    for wanted in &plan.extensions {
        changed.extend(library(connection, wanted.name).await?);
    }
    if plan.audit.as_ref().is_some_and(|audit| audit.connections) {
        changed.extend(connections(connection).await?);
    }
    Ok(changed)
}

async fn library(connection: &mut PgConnection, extension: Extension) -> Result<Option<String>, Problem> {
    let failed = || Problem::when(Doing::Look);
    if server::preload(connection, extension).await.map_err(failed())? != Preload::Missing {
        return Ok(None);
    }
    assert_there(connection, extension).await?;
    let Some(Standing { next, .. }) = standing(connection, LIBRARIES).await.map_err(failed())? else {
        return Ok(None);
    };
    let libraries = names(&next).into_iter().chain([extension.as_str().to_owned()]);
    // Each by itself: one literal for all would be one library of a long name, and the server would not start again.
    let list = libraries.map(|name| literal(&name)).collect::<Vec<_>>().join(", ");
    let altered = alter(connection, LIBRARIES, &list).await?;
    Ok(altered.then(|| format!("{extension} added to {LIBRARIES}, for the server's next start")))
}

/// A server that is to load a library whose file is missing does not start.
async fn assert_there(connection: &mut PgConnection, extension: Extension) -> Result<(), Problem> {
    let doing = Doing::Create(extension);
    if server::available(connection, extension).await.map_err(Problem::when(Doing::Look))?.is_empty() {
        let detail = format!("the server does not have extension {extension}");
        return Err(Problem::usual(Reason::NotAvailable, doing, detail));
    }
    let Err(error) = execute(connection, format!("LOAD {}", literal(extension.as_str()))).await else {
        return Ok(());
    };
    let problem = Problem::of(&error, doing);
    // pgaudit refuses to be loaded into a session, and not everybody may load what he likes: the file is there, or ALTER
    // SYSTEM is not allowed either.
    match problem.reason {
        Reason::NotAvailable | Reason::Unreachable => Err(problem),
        _ => Ok(()),
    }
}

async fn connections(connection: &mut PgConnection) -> Result<Vec<String>, Problem> {
    let failed = || Problem::when(Doing::Look);
    let (mut changed, mut waits) = (Vec::new(), false);
    for name in ["log_connections", "log_disconnections"] {
        let Some(Standing { now, next }) = standing(connection, name).await.map_err(failed())? else {
            continue;
        };
        if is_on(&now) {
            continue;
        }
        if !is_on(&next) {
            if !alter(connection, name, "'on'").await? {
                continue;
            }
            changed.push(format!("{name} = on set for the server"));
        }
        waits = true;
    }
    if waits {
        reload(connection).await.map_err(failed())?;
    }
    Ok(changed)
}

/// Whether it was done; nothing else of what the server refuses is worth an end of the run.
async fn alter(connection: &mut PgConnection, name: &str, value: &str) -> Result<bool, Problem> {
    let altered = execute(connection, format!("ALTER SYSTEM SET {name} = {value}")).await;
    match altered.map_err(Problem::when(Doing::Set)) {
        Ok(()) => Ok(true),
        Err(problem) if problem.reason.is_terminal() => Ok(false),
        Err(problem) => Err(problem),
    }
}

/// Returns when the server has read its files: it does so before it tells its sessions.
async fn reload(connection: &mut PgConnection) -> sqlx::Result<()> {
    let sql = "SELECT pg_catalog.pg_conf_load_time()::pg_catalog.text";
    let before: String = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
    match sqlx::query("SELECT pg_catalog.pg_reload_conf()").execute(&mut *connection).await {
        Err(error) if is_denied(&error) => return Ok(()),
        other => other?,
    };
    let end = Instant::now() + RELOAD;
    while Instant::now() < end {
        let now: String = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
        if now != before {
            break;
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// A setting of the server that its files decide.
struct Standing {
    /// In this session.
    now: String,
    /// As the files have it, read anew.
    next: String,
}

/// Nothing when the role may not see it, or when what the files say is outranked, as by an argument of the server.
async fn standing(connection: &mut PgConnection, name: &str) -> sqlx::Result<Option<Standing>> {
    let sql = "SELECT s.setting, (SELECT f.setting FROM pg_catalog.pg_file_settings f WHERE f.name = s.name \
               ORDER BY f.seqno DESC LIMIT 1) FROM pg_catalog.pg_settings s \
               WHERE s.name = $1 AND s.source IN ('default', 'configuration file')";
    match sqlx::query_as::<_, (String, Option<String>)>(sql).bind(name).fetch_optional(connection).await {
        Ok(row) => Ok(row.map(|(now, next)| Standing { next: next.unwrap_or_default(), now })),
        Err(error) if is_denied(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// From Postgres 18 on `log_connections` is a list of what is logged.
fn is_on(value: &str) -> bool {
    !["", "off", "false", "no", "0"].contains(&&*value.to_ascii_lowercase())
}

/// The libraries of a list, without their quotes; none has a quote in its name.
fn names(list: &str) -> Vec<String> {
    let (mut names, mut is_quoted) = (vec![String::new()], false);
    for c in list.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => names.push(String::new()),
            c => names.last_mut().into_iter().for_each(|name| name.push(c)),
        }
    }
    names.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_of_a_list_are_kept_as_they_are_and_in_their_order() {
        assert_eq!(names(""), [""; 0]);
        assert_eq!(names("pgaudit"), ["pgaudit"]);
        assert_eq!(names("b , $libdir/a,\"C, d\" ,'e'"), ["b", "$libdir/a", "C, d", "'e'"]);
    }
}
