//! Is what is said to be audited audited? A marked statement is run in a new session, and its line of the audit is looked for
//! where the server tells it. What the line says is the proof; settings are none.

use std::time::Duration;

use sqlx::{PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Check, Control, Eye, probe::Probe};
use crate::{
    notices::with_notices,
    plan::{Audit, Extension, Scope},
    problem::{Doing, Problem, is_denied},
    remedy,
    report::Proof,
    server,
    session::{self, execute, quoted},
};

/// The server's collector writes the log a little later.
const LOG_IS_WRITTEN: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(100);

/// Searches the end of the log within the server, so that nobody's statements leave it. The marker comes in two halves: this
/// very statement may be audited with its parameters.
const SEARCH: &str = "\
    WITH log AS (SELECT pg_catalog.pg_current_logfile() AS name), \
    size AS (SELECT l.name, (pg_catalog.pg_stat_file(l.name)).size AS bytes FROM log l WHERE l.name IS NOT NULL) \
    SELECT pg_catalog.encode(pg_catalog.pg_read_binary_file(s.name, GREATEST(s.bytes - 1048576, 0), 1048576), 'escape') \
    ~ pg_catalog.concat('(?n)AUDIT: SESSION,[0-9]+,[0-9]+,', $3, ',.*', $1, $2) FROM size s";

/// Whether the server tells the session what it audits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// Its line was told.
    Told,
    /// It was to be told, and was not.
    Silent,
    /// The role may not ask for it.
    Denied,
}

/// Whether the line is in the server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Found,
    Absent,
    /// The role may not read it, or the server writes it elsewhere.
    Unreadable,
}

pub(super) async fn look(
    options: &PgConnectOptions,
    connection: &mut PgConnection,
    audit: &Audit,
    eye: &Eye,
) -> Result<(Check, Option<Proof>), Problem> {
    let control = Control::AuditCanary;
    if let Scope::Role(role) = &audit.scope
        && quoted(role) != eye.role
    {
        let fix = format!("verify as role {role}");
        return Ok((Check::unknown(control, "only a session of the role itself can prove it", fix), None));
    }
    let Some(probe) = Probe::of(audit) else {
        let fix = "audit another class too";
        let evidence = "no statement of the class role leaves everything as it is";
        return Ok((Check::unknown(control, evidence, fix), None));
    };
    let marker = format!("canary_{}", Uuid::new_v4().simple());
    let client = match client(options, probe, &marker).await {
        Ok(Some(client)) => client,
        Ok(None) => {
            let fix = remedy::preload(Extension::Pgaudit);
            return Ok((Check::failed(control, "pgaudit is not loaded", fix), None));
        }
        Err(Failed::Probe(problem)) => {
            let evidence = format!("the marked statement could not be run: {}", problem.detail);
            return Ok((Check::unknown(control, evidence, problem.fix), None));
        }
        Err(Failed::Session(problem)) => return Err(problem),
    };
    // What was to be told and was not does not come later.
    let patience = if client == Client::Silent { Duration::ZERO } else { LOG_IS_WRITTEN };
    let log = log(connection, &marker, probe, patience).await.map_err(Problem::when(Doing::Look))?;
    Ok((judge(client, log, eye), proof(client, log)))
}

/// What went wrong with the session that runs the statement.
enum Failed {
    Session(Problem),
    Probe(Problem),
}

/// Runs the statement in a new session; nothing when there is no pgaudit in it.
async fn client(options: &PgConnectOptions, probe: Probe, marker: &str) -> Result<Option<Client>, Failed> {
    let mut session = session::connect(options).await.map_err(Failed::Session)?;
    let look = |error| Failed::Session(Problem::of(&error, Doing::Look));
    let on = match server::value(&mut session, "pgaudit.log_client").await.map_err(look)?.as_deref() {
        None => return Ok(None),
        Some("on") => true,
        Some(_) => match execute(&mut session, "SET pgaudit.log_client = on".into()).await {
            Ok(()) => true,
            Err(error) if is_denied(&error) => false,
            Err(error) => return Err(look(error)),
        },
    };
    // pgaudit's usual level; a client hears it only when it asks. Whatever is lower is not in the server's log either.
    execute(&mut session, "SET client_min_messages = log".into()).await.map_err(look)?;
    let (ran, notices) = with_notices(execute(&mut session, probe.sql(marker))).await;
    ran.map_err(|error| Failed::Probe(Problem::of(&error, Doing::Look)))?;
    let told = notices.iter().any(|notice| probe.is_line(notice, marker));
    Ok(Some(match (on, told) {
        (true, true) => Client::Told,
        (true, false) => Client::Silent,
        (false, _) => Client::Denied,
    }))
}

/// Waits for the line while it may still come.
async fn log(
    connection: &mut PgConnection,
    marker: &str,
    probe: Probe,
    patience: Duration,
) -> sqlx::Result<Log> {
    let end = Instant::now() + patience;
    let (one, other) = marker.split_at(marker.len() / 2);
    loop {
        let query = sqlx::query_scalar::<_, bool>(SEARCH).bind(one).bind(other).bind(probe.class());
        match query.fetch_optional(&mut *connection).await {
            Ok(Some(true)) => return Ok(Log::Found),
            Ok(Some(false)) if Instant::now() < end => sleep(POLL).await,
            Ok(Some(false)) => return Ok(Log::Absent),
            // It goes elsewhere; or no right, no file: in either case nothing is known of it.
            Ok(None) | Err(sqlx::Error::Database(_)) => return Ok(Log::Unreadable),
            Err(error) => return Err(error),
        }
    }
}

/// A line that its log should have and has not is no proof, whatever the session was told.
const fn proof(client: Client, log: Log) -> Option<Proof> {
    match (client, log) {
        (_, Log::Found) => Some(Proof::ServerLog),
        (Client::Told, Log::Unreadable) => Some(Proof::ClientOnly),
        (Client::Told | Client::Silent | Client::Denied, Log::Absent)
        | (Client::Silent | Client::Denied, Log::Unreadable) => None,
    }
}

fn judge(client: Client, log: Log, eye: &Eye) -> Check {
    let control = Control::AuditCanary;
    let lost = "look at log_destination and log_min_messages, and where the server's log goes";
    let mute =
        "pgaudit.log must have the class, and the extension must be installed; harden the database again";
    match (client, log) {
        (Client::Told, Log::Unreadable) => Check::passed(
            control,
            "ClientOnly: the server told the session the line of the marked statement; its log could not be read",
        ),
        (_, Log::Found) => {
            Check::passed(control, "ServerLog: the line of the marked statement is in the server's log")
        }
        (Client::Told, Log::Absent) => Check::failed(
            control,
            "the server told the session the line of the marked statement, but its log does not have it",
            lost,
        ),
        (Client::Silent, _) | (Client::Denied, Log::Absent) => {
            Check::failed(control, "a marked statement was not audited", mute)
        }
        (Client::Denied, Log::Unreadable) => {
            let fix = if eye.version >= 150_000 {
                format!("GRANT SET ON PARAMETER pgaudit.log_client TO {}", eye.role)
            } else {
                format!("ALTER ROLE {} SET pgaudit.log_client = on", eye.role)
            };
            Check::unknown(
                control,
                "the role may neither be told what is audited nor read the server's log",
                fix,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Outcome;

    fn judged(client: Client, log: Log, version: i32) -> (Outcome, String) {
        let check = judge(client, log, &Eye { role: "\"eye\"".into(), version, sees_settings: false });
        assert_eq!(check.outcome == Outcome::Passed, proof(client, log).is_some());
        (
            check.outcome,
            check.fix.unwrap_or_else(|| check.evidence.split(':').next().unwrap_or_default().into()),
        )
    }

    #[test]
    fn only_a_line_that_was_seen_passes() {
        let passed = |word: &str| (Outcome::Passed, word.to_owned());
        assert_eq!(judged(Client::Told, Log::Unreadable, 150_018), passed("ClientOnly"));
        assert_eq!(judged(Client::Told, Log::Found, 150_018), passed("ServerLog"));
        assert_eq!(judged(Client::Denied, Log::Found, 150_018), passed("ServerLog"));
        for (client, log) in [
            (Client::Told, Log::Absent),
            (Client::Silent, Log::Absent),
            (Client::Silent, Log::Unreadable),
            (Client::Denied, Log::Absent),
        ] {
            assert_eq!(judged(client, log, 150_018).0, Outcome::Failed, "{client:?} {log:?}");
        }
    }

    #[test]
    fn a_right_that_is_missing_is_named_as_the_version_has_it() {
        let grant = "GRANT SET ON PARAMETER pgaudit.log_client TO \"eye\"".to_owned();
        assert_eq!(judged(Client::Denied, Log::Unreadable, 150_000), (Outcome::Unknown, grant));
        let alter = "ALTER ROLE \"eye\" SET pgaudit.log_client = on".to_owned();
        assert_eq!(judged(Client::Denied, Log::Unreadable, 140_099), (Outcome::Unknown, alter));
    }
}
