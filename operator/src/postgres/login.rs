//! `postgres-login FILE...`: logs in to Postgres with the addresses that the files hold, and says what came of it. The
//! values stay in memory: no argument, log line or message has one.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use postgres_hardening::{Reason, address};
use secrecy::SecretString;
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep, timeout};

use super::{Outcome, Report};
use crate::PostgresLogin;

/// A server that is slower than this is taken for none.
const ONE_LOGIN: Duration = Duration::from_secs(5);
/// Whoever writes Vault first and Postgres then gets this long for it, several times.
const PAUSE: Duration = Duration::from_secs(2);

/// Ends well when every address lets in before the time is over; the result stands in a file in either case.
pub async fn login(args: PostgresLogin) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let mut last = None;
    for files in &args.files {
        let report = until(files, end).await?;
        let failed = report.outcome != Outcome::LoggedIn;
        tracing::info!(value = report.url, outcome = ?report.outcome, sqlstate = report.sqlstate, "login");
        last = Some(report);
        if failed {
            break;
        }
    }
    let report = last.context("no file is named")?;
    let text = serde_json::to_string(&report)?;
    std::fs::write(&args.result, text).with_context(|| format!("writing {}", args.result.display()))?;
    match report.outcome {
        Outcome::LoggedIn => Ok(()),
        outcome => bail!("{} {}", report.url, outcome.words()),
    }
}

/// Tries until it is let in or the time is over.
async fn until(files: &str, end: Instant) -> anyhow::Result<Report> {
    let (url_file, password_file) = files.split_once(':').map_or((files, None), |(u, p)| (u, Some(p)));
    let url = Path::new(url_file).file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let options = options(&read(url_file)?, password_file.map(read).transpose()?.as_ref());
    loop {
        let (outcome, sqlstate) = match &options {
            None => (Outcome::InvalidUrl, None),
            Some(options) => one(options).await,
        };
        let final_ = matches!(outcome, Outcome::LoggedIn | Outcome::InvalidUrl);
        if final_ || Instant::now() + PAUSE > end {
            return Ok(Report { url, outcome, sqlstate });
        }
        sleep(PAUSE).await;
    }
}

fn read(file: &str) -> anyhow::Result<SecretString> {
    Ok(std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?.into())
}

/// What the address says; nothing when it is none.
fn options(url: &SecretString, password: Option<&SecretString>) -> Option<PgConnectOptions> {
    let options = address(url, password).ok()?.application_name(crds::MANAGER);
    // No object that others may have made is ever found by its bare name (CVE-2018-1058).
    Some(options.options([("search_path", "pg_catalog")]).disable_statement_logging())
}

async fn one(options: &PgConnectOptions) -> (Outcome, Option<String>) {
    match timeout(ONE_LOGIN, options.connect()).await {
        Err(_) => (Outcome::Unreachable, None),
        Ok(Ok(connection)) => {
            // It was let in; how it ends changes nothing.
            let _ = timeout(ONE_LOGIN, connection.close()).await;
            (Outcome::LoggedIn, None)
        }
        Ok(Err(error)) => outcome_of(&error),
    }
}

fn outcome_of(error: &sqlx::Error) -> (Outcome, Option<String>) {
    let (reason, code) = Reason::of(error);
    let outcome = match reason {
        Reason::InvalidUrl => Outcome::InvalidUrl,
        Reason::Unreachable => Outcome::Unreachable,
        Reason::TlsFailed => Outcome::TlsFailed,
        Reason::AuthFailed => Outcome::AuthFailed,
        Reason::DatabaseMissing => Outcome::DatabaseMissing,
        Reason::TooManyConnections => Outcome::TooManyConnections,
        _ => Outcome::Refused,
    };
    (outcome, code)
}
