//! What the process shows of itself: metrics, and whether it starts, stands by or leads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::{keys::Keys, lease::Wait, metrics::Metrics, watch::Watches};

/// Shared by the admin server and the terms.
#[derive(Default)]
pub struct View {
    /// They outlive a term: counters never go back.
    pub metrics: Arc<Metrics>,
    phase: Mutex<Phase>,
}

/// Where the process stands.
#[derive(Clone, Default)]
pub enum Phase {
    /// It has not heard from the API server yet.
    #[default]
    Starting,
    /// An instance of this install leads, `NAMESPACE/INSTANCE`.
    Standby(String),
    /// Something has to be mended before this instance can be of use.
    Unable(String),
    /// It leads.
    Leading {
        /// How far its watches are.
        watches: Arc<Watches>,
        /// With the CA, unless it is lost.
        keys: Arc<ArcSwap<Keys>>,
    },
}

impl View {
    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        self.lock().clone()
    }

    /// Another instance leads, or the lease is out of reach. An instance of another namespace means a second install:
    /// two operators on the same resources would write against each other, so this one stays out, and says so.
    pub fn stand_by(&self, namespace: &str, wait: Wait) {
        let phase = match wait {
            Wait::Holder(holder) if holder.split('/').next() == Some(namespace) => Phase::Standby(holder),
            Wait::Holder(holder) => Phase::Unable(format!(
                "the operator {holder} of another install works on the same resources; uninstall one of the two"
            )),
            Wait::Trouble(trouble) => Phase::Unable(format!("the lease: {trouble}")),
        };
        match &phase {
            Phase::Unable(why) => tracing::warn!(why, "not leading"),
            Phase::Standby(holder) => tracing::info!(holder, "standing by"),
            Phase::Starting | Phase::Leading { .. } => {}
        }
        *self.lock() = phase;
    }

    /// This instance leads.
    pub fn lead(&self, watches: Arc<Watches>, keys: Arc<ArcSwap<Keys>>) {
        self.metrics.leader.set(1);
        *self.lock() = Phase::Leading { watches, keys };
    }

    /// It does not any more.
    pub fn not_leading(&self) {
        self.metrics.leader.set(0);
        *self.lock() = Phase::Starting;
    }
}
