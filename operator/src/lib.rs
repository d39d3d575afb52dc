//! The operator: watches HardenedServices, makes their children, and reports. Everything with I/O lives here.

mod admin;
mod adopt;
mod apply;
mod backoff;
mod blame;
mod cache;
mod check;
mod compare;
mod controller;
mod crd;
mod drift;
mod error;
mod events;
mod fence;
mod fenced;
mod fight;
mod finalizers;
mod gate;
mod harmless;
mod issuer;
mod keys;
mod lease;
mod metrics;
mod mint;
mod observe;
mod ownership;
mod pki;
mod provided_certificate;
mod reconcile;
mod refusal;
mod report;
mod run;
#[cfg(debug_assertions)]
mod seeded;
mod settings;
mod task;
mod turns;
mod view;
mod watch;
mod write;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crds::HardenedService;
use kube::{Client, Resource, ResourceExt, runtime::reflector::Store};
use render::Settings;

pub use check::check;
pub use finalizers::remove as remove_finalizers;
pub use run::run;
pub use settings::{Check, Cli, Command, RemoveFinalizers, Run};

/// What every pass uses.
pub struct Context {
    client: Client,
    namespace: String,
    settings: Settings,
    keys: Arc<keys::Keys>,
    cache: cache::Cache,
    services: Store<watch::Guarded>,
    watches: Arc<watch::Watches>,
    crd: crd::Installed,
    written: Mutex<HashMap<cache::Key, Arc<HardenedService>>>,
    /// Statuses that were not written, as they were told elsewhere.
    unwritten: Mutex<HashMap<cache::Key, compare::Digest>>,
    turns: Arc<turns::Turns>,
    backoff: backoff::Backoff,
    metrics: Arc<metrics::Metrics>,
    events: events::Events,
    fights: fight::Fights,
}

impl Context {
    fn written(&self) -> MutexGuard<'_, HashMap<cache::Key, Arc<HardenedService>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newer of what the watch shows and what our last status write answered: without it, a pass that runs before
    /// the watch has caught up would write the same status again.
    fn newest(&self, seen: Arc<HardenedService>) -> Arc<HardenedService> {
        match self.written().get(&key_of(&*seen)) {
            Some(written) if written.uid() == seen.uid() && version(written) > version(&seen) => {
                written.clone()
            }
            _ => seen,
        }
    }

    fn remember(&self, service: HardenedService) {
        self.written().insert(key_of(&service), Arc::new(service));
    }

    fn forget(&self, key: &cache::Key) {
        self.written().remove(key);
        self.unwritten().remove(key);
        self.backoff.clear(key);
    }

    fn unwritten(&self) -> MutexGuard<'_, HashMap<cache::Key, compare::Digest>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watch has caught up with our write.
    fn forget_older(&self, seen: &watch::Guarded) {
        if let Ok(seen) = &seen.0 {
            let key = key_of(seen);
            let mut written = self.written();
            if written.get(&key).is_some_and(|w| version(w) <= version(seen)) {
                written.remove(&key);
            }
        }
    }

    /// The services of one namespace, or of all.
    fn services_in(&self, namespace: Option<&str>) -> Vec<cache::Key> {
        let all = self.services.state();
        let keys = all.iter().map(|s| key_of(&**s));
        keys.filter(|k| namespace.is_none_or(|n| k.namespace == n)).collect()
    }
}

fn key_of(service: &impl Resource) -> cache::Key {
    cache::Key { namespace: service.namespace().unwrap_or_default(), name: service.name_any() }
}

fn version(service: &HardenedService) -> u128 {
    service.metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}
