//! What all workers share: settings, the policy in force, the certificate, metrics, and whether we are draining.

use std::sync::{Arc, atomic::AtomicBool};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::{
    config::Config,
    metrics::Metrics,
    policy::{self, Compiled, PolicyError},
    tls::Certificate,
};

/// Shared by all workers. What changes while running changes as a whole: a request sees one policy.
#[derive(Debug)]
pub struct State {
    /// Settings of the process.
    pub config: Config,
    /// Counters and histograms.
    pub metrics: Metrics,
    /// The served certificate, when there is TLS.
    pub certificate: Option<Arc<Certificate>>,
    policy: ArcSwap<Compiled>,
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
    pub fn new(config: Config, certificate: Option<Arc<Certificate>>) -> Result<Self, PolicyError> {
        let compiled = match &config.policy_file {
            Some(path) => Compiled::parse(&policy::read(path)?)?,
            None => Compiled::built_in()?,
        };
        Ok(Self {
            config,
            metrics: Metrics::new(),
            certificate,
            policy: ArcSwap::from_pointee(compiled),
            draining: watch::Sender::new(false),
            stale: Stale::default(),
        })
    }

    /// The policy in force.
    pub fn policy(&self) -> Guard<Arc<Compiled>> {
        self.policy.load()
    }

    pub(crate) fn set_policy(&self, compiled: Compiled) {
        self.policy.store(Arc::new(compiled));
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
