//! What all workers share: settings, the policy in force, the certificate, metrics, and whether we are draining.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::{
    config::Config,
    jwt::Jwt,
    metrics::Metrics,
    policy::{self, Compiled, PolicyError},
    secrets::Secrets,
    tls::Certificate,
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
    /// Keys that make and check tokens.
    pub jwt: Jwt,
    policy: ArcSwap<Compiled>,
    started: Instant,
    draining: watch::Sender<bool>,
    /// The watched files hold something that was refused.
    pub(crate) stale: Stale,
}

/// Which watched files were refused, so that an older content is in force.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    pub policy: AtomicBool,
    pub certificate: AtomicBool,
}

impl State {
    /// Reads the policy. At the start there is no last good one, so a bad file is an error.
    pub fn new(
        config: Config,
        secrets: Secrets,
        certificate: Option<Arc<Certificate>>,
        jwt: Jwt,
    ) -> Result<Self, PolicyError> {
        let compiled = match &config.policy_file {
            Some(path) => Compiled::parse(&policy::read(path)?)?,
            None => Compiled::built_in()?,
        };
        warn_of_store(&compiled);
        Ok(Self {
            config,
            secrets,
            metrics: Metrics::new(),
            certificate,
            jwt,
            policy: ArcSwap::from_pointee(compiled),
            started: Instant::now(),
            draining: watch::Sender::new(false),
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
        warn_of_store(&compiled);
        self.policy.store(Arc::new(compiled));
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

/// Whoever asks for shared counters must know that they are not.
fn warn_of_store(compiled: &Compiled) {
    if compiled.policy.rate_limits.store == policy::Store::Redis {
        tracing::warn!("rateLimits.store: redis is not there yet, each replica counts in memory");
    }
}
