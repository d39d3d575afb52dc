//! Sessions in which nothing that a tenant made is found by its bare name, and the one way from text to SQL. It judges nothing.

use std::{str::FromStr as _, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;
use tracing::subscriber::{NoSubscriber, with_default};

use crate::problem::{Doing, Problem, Reason};

/// A server that is slower than this to let in is taken for none.
const CONNECT: Duration = Duration::from_secs(5);
/// Longer than any run takes that waits for locks and deadlines of the server.
pub(crate) const RUN: Duration = Duration::from_mins(5);
/// Sent when a session begins, so that it outranks what the owner of the database set for it: objects that he made are not
/// found (CVE-2018-1058), no other role is taken on, strings are read as they are written, and nothing waits for ever.
const SETTINGS: [(&str, &str); 7] = [
    ("search_path", "pg_catalog"),
    ("role", "none"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_read_only", "off"),
    ("statement_timeout", "60000"),
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "60000"),
];

/// What an address says. sqlx's own error repeats parts of it, with the password.
pub fn address(url: &SecretString, password: Option<&SecretString>) -> Result<PgConnectOptions, Problem> {
    let url = url.expose_secret().trim_end_matches(['\r', '\n']);
    // sqlx looks at no scheme.
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    // It would also log each parameter that it does not know, with its value.
    let parse = || with_default(NoSubscriber::default(), || PgConnectOptions::from_str(url).ok());
    let options = is_postgres.then(parse).flatten();
    let detail = "the value is no address of Postgres";
    let options = options.ok_or_else(|| Problem::usual(Reason::InvalidUrl, Doing::Connect, detail))?;
    Ok(match password {
        Some(password) => options.password(password.expose_secret().trim_end_matches(['\r', '\n'])),
        None => options,
    })
}

/// Opens a session that is safe in a database of somebody else's. No statement of it is logged on this side.
pub async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Problem> {
    let options = options.clone().options(SETTINGS).disable_statement_logging();
    let connected = async { options.connect().await.map_err(Problem::when(Doing::Connect)) };
    within(CONNECT, Doing::Connect, connected).await
}

/// Gives up on a server that takes connections and never answers; its own deadlines do not help against that. What was
/// begun there is rolled back when the session is dropped.
pub(crate) async fn within<T>(
    limit: Duration,
    doing: Doing,
    future: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let late = |_| Problem::usual(Reason::Unreachable, doing, format!("{doing}: no answer in time"));
    timeout(limit, future).await.map_err(late)?
}

/// Whether a session that somebody else opened is as safe.
pub(crate) async fn assert_safe(connection: &mut PgConnection) -> Result<(), Problem> {
    // A function of the name `current_setting` in another schema does not matter: this one is named in full.
    let sql = "SELECT pg_catalog.current_setting('search_path'), pg_catalog.current_setting('role')";
    let (path, role): (String, String) =
        sqlx::query_as(sql).fetch_one(connection).await.map_err(Problem::when(Doing::Look))?;
    if path == "pg_catalog" && role == "none" {
        return Ok(());
    }
    let detail = "the session finds objects of others by their bare name, or acts as another role";
    Err(Problem::new(Reason::Refused, detail, "open the session with connect()"))
}

/// A name as SQL. A plan's names were looked at before; names from the server may be anything, so quotes are doubled.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL: words of this crate's own, and names and versions that were looked at before.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Runs one statement that has names in it, which cannot be parameters.
pub(crate) async fn execute(connection: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    // Safe: whatever is not written in this crate went through `quoted` or `literal`, and standard_conforming_strings is on.
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_not_repeated() {
        let canary = "canary-51f0a3";
        for bad in ["", "mysql://app@db/shop", canary, &format!("postgres://app:{canary}@db:port/shop")] {
            let problem = address(&bad.to_owned().into(), None).unwrap_err();
            assert_eq!(problem.reason, Reason::InvalidUrl);
            assert!(!format!("{problem} {problem:?}").contains(canary), "{problem}");
        }
        let good = address(&"postgres://app@db/shop\n".to_owned().into(), Some(&"p\r\n".to_owned().into()));
        assert_eq!(good.unwrap().get_host(), "db");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let never = std::future::pending::<Result<(), Problem>>();
        let problem = within(Duration::from_millis(1), Doing::Commit, never).await.unwrap_err();
        assert_eq!(
            (problem.reason, &*problem.detail),
            (Reason::Unreachable, "committing: no answer in time")
        );
    }

    #[test]
    fn quotes_cannot_be_left() {
        assert_eq!(quoted(r#"a"; DROP ROLE b; --"#), r#""a""; DROP ROLE b; --""#);
        assert_eq!(literal("it's"), "'it''s'");
    }
}
