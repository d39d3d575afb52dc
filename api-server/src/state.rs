//! What all workers share: settings, the policy in force, the certificate, metrics, and whether we are draining.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use sqlx::PgPool;
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    config::Config,
    database::{Database, NoUrl},
    encryption::{Keys, TooShort},
    failure::{Failure, Part},
    jwt::{Jwt, JwtError},
    limiter::{Redis, RedisUrlError},
    metrics::Metrics,
    passwords::Passwords,
    patience::Patience,
    policy::{Compiled, PolicyError},
    secrets::Secrets,
    stamp::Stamp,
    tls::Certificate,
    traces::Traces,
};

/// Shared by all workers. What changes while running changes as a whole: a request sees one policy.
#[derive(Debug)]
pub struct State {
    /// Settings of the process.
    pub config: Config,
    /// Secrets by name.
    pub secrets: Secrets,
    /// Counters and histograms.
    pub metrics: Metrics,
    /// The served certificate, when there is TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// Traces, when they are wanted.
    pub(crate) traces: Option<Traces>,
    /// Postgres.
    pub database: Database,
    pub(crate) passwords: Passwords,
    keys: ArcSwapOption<Keys>,
    /// What counts for all replicas, where the policy says so.
    pub(crate) redis: Redis,
    /// Keys that make and check tokens.
    pub jwt: Jwt,
    policy: ArcSwap<Compiled>,
    started: Instant,
    draining: watch::Sender<bool>,
    /// With answers over HTTP/2 that their clients do not take.
    pub(crate) answers: Arc<Patience>,
    /// With HTTP/2 connections.
    pub(crate) connections: Arc<Patience>,
    pub(crate) stamp: Option<Stamp>,
    /// The watched files hold something that was refused.
    pub(crate) stale: Stale,
}

/// Why the state cannot be made.
#[derive(Debug, Error)]
pub enum StateError {
    /// The policy file is no policy.
    #[error("load POLICY_FILE")]
    Policy(#[from] PolicyError),
    /// The database's address is none.
    #[error(transparent)]
    Database(#[from] NoUrl),
    /// The key of encrypted columns is none.
    #[error(transparent)]
    EncryptionKey(#[from] TooShort),
    /// The address of the shared store of the rate limits is none.
    #[error(transparent)]
    Redis(#[from] RedisUrlError),
    /// A key of tokens is none.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// Traces cannot be sent where they are wanted.
    #[error("{0}")]
    Traces(String),
}

/// Which watched files were refused, so that an older content is in force.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    pub policy: AtomicBool,
    pub certificate: AtomicBool,
}

impl State {
    /// Reads the policy and the addresses of parts; nothing is connected. At the start there is no last good policy, so a
    /// bad file is an error. Must be called inside a tokio runtime.
    pub fn new(
        config: Config,
        secrets: Secrets,
        certificate: Option<Arc<Certificate>>,
    ) -> Result<Self, StateError> {
        let compiled = Compiled::load(config.policy_file.as_deref())?;
        let database = Database::new(&secrets, config.database_max_connections)?;
        // A secret that is not there is no error: the routes that need it say so.
        let keys = Keys::read(&secrets)?.map(Arc::new);
        let metrics = Metrics::new();
        let redis = Redis::new(&secrets, config.redis_ca_file.clone(), metrics.store.clone())?;
        let jwt = Jwt::new(&config, &secrets)?;
        let traces = Traces::from_environment().map_err(StateError::Traces)?;
        Ok(Self {
            config,
            secrets,
            metrics,
            certificate,
            traces,
            database,
            passwords: Passwords::default(),
            keys: ArcSwapOption::from(keys),
            redis,
            jwt,
            policy: ArcSwap::from_pointee(compiled),
            started: Instant::now(),
            draining: watch::Sender::new(false),
            answers: Arc::default(),
            connections: Arc::default(),
            stamp: Stamp::new(),
            stale: Stale::default(),
        })
    }

    /// The policy in force.
    pub fn policy(&self) -> Guard<Arc<Compiled>> {
        self.policy.load()
    }

    /// Takes a new policy; what the limits have counted stays counted.
    pub(crate) fn set_policy(&self, mut compiled: Compiled) {
        compiled.limiter.keep_counters(&self.policy().limiter);
        self.policy.store(Arc::new(compiled));
    }

    /// The pool of Postgres connections.
    pub(crate) fn pool(&self) -> Result<PgPool, Failure> {
        self.database.pool().ok_or(Failure::Missing(Part::Database))
    }

    /// The keys of encrypted columns.
    pub(crate) fn keys(&self) -> Result<Arc<Keys>, Failure> {
        self.keys.load_full().ok_or(Failure::Missing(Part::EncryptionKey))
    }

    /// Takes up what secrets have changed to, until the process ends.
    pub(crate) async fn follow_secrets(&self) {
        let take_up = || match Keys::read(&self.secrets) {
            Ok(Some(keys)) => self.keys.store(Some(keys.into())),
            // When it goes, the last good one stays.
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "new secret refused, the old one stays"),
        };
        self.secrets.each_change(take_up).await;
    }

    /// The time since the start, by a clock that is never set.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the process is on its way out.
    pub fn draining(&self) -> bool {
        *self.draining.borrow()
    }

    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Ends when the drain begins, or at once when it has begun.
    pub(crate) fn drain_begun(&self) -> impl Future<Output = ()> + use<> {
        let mut draining = self.draining.subscribe();
        async move {
            // Without a sender there is no process to drain.
            let _ = draining.wait_for(|draining| *draining).await;
        }
    }
}
