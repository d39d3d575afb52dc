//! Secrets by name, from memory: a request never waits for a backend. What a backend says later counts from then on.

use std::{collections::BTreeMap, env, sync::Arc};

use arc_swap::ArcSwap;
use secrecy::SecretString;
use tokio::sync::watch;

/// Names of secrets that the service reads.
pub const NAMES: [&str; 7] = [
    "DATABASE_URL",
    "DATABASE_PASSWORD",
    "ENCRYPTION_KEY",
    "AI_API_KEY",
    "JWT_SIGNING_KEY",
    "JWT_PREVIOUS_KEYS",
    "REDIS_URL",
];

/// The last good value of each secret. `Debug` shows no value, because `SecretString` does not.
#[derive(Clone, Debug)]
pub struct Secrets {
    values: Arc<ArcSwap<BTreeMap<&'static str, SecretString>>>,
    changes: watch::Sender<u64>,
}

impl Secrets {
    /// Reads the environment.
    pub fn from_environment() -> Self {
        let values = NAMES.iter().filter_map(|name| Some((*name, env::var(name).ok()?.into()))).collect();
        Self { values: Arc::new(ArcSwap::from_pointee(values)), changes: watch::Sender::new(0) }
    }

    /// The value, where a backend has one that is not empty.
    pub fn get(&self, name: &str) -> Option<SecretString> {
        self.values.load().get(name).cloned()
    }

    /// A number that rises each time a value has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
