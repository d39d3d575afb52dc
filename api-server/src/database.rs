//! The pool of Postgres connections: how it is made, whether it answers, and that a rotated password is taken up. It knows
//! no table.

pub mod accounts;
pub mod jobs;
pub mod migrations;
pub mod provider_keys;
pub mod rotation;
pub mod tokens;
pub mod videos;

use std::{
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::secrets::Secrets;

/// A request waits so long for a connection, then it is told to come back: a queue behind a dead database only grows.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Sent to the server when a connection begins, in milliseconds. `search_path` holds no schema that others can write to
/// (CVE-2018-1058): every table and function is named with its schema.
const SESSION: [(&str, &str); 4] = [
    ("search_path", "pg_catalog"),
    ("statement_timeout", "5000"),
    ("lock_timeout", "2000"),
    ("idle_in_transaction_session_timeout", "10000"),
];
/// How often the database is asked whether it is there.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// The database of the service, when there is one.
#[derive(Debug)]
pub struct Database {
    pool: ArcSwapOption<PgPool>,
    max_connections: u32,
    lost: AtomicBool,
}

/// `DATABASE_URL` is no address of a database. The value is not shown: it holds the password.
#[derive(Debug, Error)]
#[error(
    "DATABASE_URL: not a URL of the form postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=verify-full&sslrootcert=FILE"
)]
pub struct NoUrl;

impl Database {
    /// Reads the address. Nothing is connected before it is needed; must be called inside a tokio runtime.
    pub fn new(secrets: &Secrets, max_connections: u32) -> Result<Self, NoUrl> {
        let database = Self { pool: ArcSwapOption::empty(), max_connections, lost: AtomicBool::new(false) };
        database.configure(secrets)?;
        Ok(database)
    }

    /// The pool. Nothing when no database is configured.
    pub fn pool(&self) -> Option<PgPool> {
        self.pool.load().as_deref().cloned()
    }

    /// Whether a configured database did not answer when it was last asked.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Takes up new credentials: connections made from now on use them, those that are open stay.
    fn configure(&self, secrets: &Secrets) -> Result<(), NoUrl> {
        let Some(options) = options(secrets)? else { return Ok(()) };
        match &*self.pool.load() {
            Some(pool) => pool.set_connect_options(options),
            None => self.begin(options),
        }
        Ok(())
    }

    /// A pool without a connection. That before it ends with the last request that uses it.
    fn begin(&self, options: PgConnectOptions) {
        let pool =
            PgPoolOptions::new().max_connections(self.max_connections).acquire_timeout(ACQUIRE_TIMEOUT);
        self.pool.store(Some(pool.connect_lazy_with(options).into()));
    }

    /// Watches the credentials and the database until the process ends.
    pub async fn follow(&self, secrets: &Secrets) {
        let take_up = || {
            if let Err(error) = self.configure(secrets) {
                tracing::error!(%error, "new database credentials refused, the old ones stay");
            }
        };
        tokio::join!(secrets.each_change(take_up), self.probe_again());
    }

    async fn probe_again(&self) {
        let mut probes = interval(PROBE_EVERY);
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            probes.tick().await;
            self.probe().await;
        }
    }

    async fn probe(&self) {
        let Some(pool) = self.pool() else { return };
        let standby = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&pool);
        let answer = timeout(ACQUIRE_TIMEOUT, standby).await;
        // A pool whose connections are all in use is busy, not lost.
        let busy = pool.num_idle() == 0 && pool.size() >= self.max_connections;
        let standby = matches!(answer, Ok(Ok(true)));
        let lost = standby || !matches!(answer, Ok(Ok(_))) && !busy;
        if standby {
            // After a failover the address may lead elsewhere, but open connections stay where they are.
            self.begin(PgConnectOptions::clone(&pool.connect_options()));
        }
        if self.lost.swap(lost, Ordering::Relaxed) != lost {
            if standby {
                tracing::error!("the database is a standby that takes no writes: not ready until it does");
            } else if lost {
                tracing::error!("the database does not answer: not ready until it does");
            } else {
                tracing::info!("the database answers again");
            }
        }
    }
}

/// Whether pgcrypto says that a key is not the one that a row was encrypted with (PostgreSQL documentation, appendix A).
pub(crate) fn cannot_decrypt(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "39000")
}

fn options(secrets: &Secrets) -> Result<Option<PgConnectOptions>, NoUrl> {
    let Some(url) = secrets.get("DATABASE_URL") else { return Ok(None) };
    // sqlx looks at no scheme.
    let scheme = url.expose_secret().split(':').next().unwrap_or_default();
    if !["postgres", "postgresql"].contains(&scheme) {
        return Err(NoUrl);
    }
    let options = PgConnectOptions::from_str(url.expose_secret()).map_err(|_| NoUrl)?;
    let options = options.application_name("api-server").options(SESSION);
    let password: Option<SecretString> = secrets.get("DATABASE_PASSWORD");
    Ok(Some(match password {
        Some(password) => options.password(password.expose_secret()),
        None => options,
    }))
}
