//! The operator: watches HardenedServices, makes their children, and reports. Everything with I/O lives here.

mod admin;
mod adopt;
mod apply;
mod arrivals;
mod authority;
mod backoff;
mod blame;
mod burst;
mod cache;
mod check;
mod clock;
mod compare;
mod controller;
mod crd;
mod database;
mod drift;
mod error;
mod events;
mod fence;
mod fenced;
mod fight;
mod finalizers;
mod fleet;
mod gate;
mod harmless;
mod hold;
mod issuer;
mod jobs;
mod keys;
mod lease;
mod leave;
mod metrics;
mod mint;
mod observe;
mod ownership;
mod pki;
mod postgres;
mod provided_certificate;
mod reconcile;
mod refusal;
mod report;
mod rotation;
mod run;
mod secrets;
#[cfg(debug_assertions)]
mod seeded;
mod served;
mod services;
mod settings;
mod task;
mod turns;
mod vault;
mod version;
mod view;
mod watch;
mod write;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, Resource, ResourceExt};
use render::Settings;

pub use check::check;
pub use finalizers::remove as remove_finalizers;
pub use postgres::{harden as harden_postgres, login as postgres_login};
pub use run::run;
pub use settings::{Check, Cli, Command, HardenPostgres, PostgresLogin, RemoveFinalizers, Run};

/// What every pass uses.
pub struct Context {
    client: Client,
    namespace: String,
    /// When this operator began to lead.
    since: Timestamp,
    settings: Settings,
    vaults: Arc<vault::Vaults>,
    /// What was asked of them, and when that may be asked again.
    asked: backoff::Asked,
    /// Values that were asked for in vain, and when they may be asked for again.
    syncs: backoff::Asked,
    keys: Arc<ArcSwap<keys::Keys>>,
    arrivals: arrivals::Arrivals,
    cache: cache::Cache,
    services: services::Services,
    watches: Arc<watch::Watches>,
    certificates: watch::Wanted,
    crd: crd::Installed,
    /// Statuses that were not written, as they were told elsewhere.
    unwritten: Mutex<HashMap<cache::Key, compare::Digest>>,
    turns: Arc<turns::Turns>,
    burst: burst::Burst,
    backoff: backoff::Backoff,
    metrics: Arc<metrics::Metrics>,
    events: events::Events,
    fights: fight::Fights,
    fleet: fleet::Fleet,
}

impl Context {
    /// The keys as they are now; a pass uses the same ones from its begin to its end.
    fn keys(&self) -> Arc<keys::Keys> {
        self.keys.load_full()
    }

    fn forget(&self, key: &cache::Key) {
        self.services.forget(key);
        self.unwritten().remove(key);
        self.backoff.clear(key);
        self.asked.clear(key);
        self.syncs.clear(key);
        self.metrics.forget(key);
        self.certificates.set(key, false);
    }

    fn unwritten(&self) -> MutexGuard<'_, HashMap<cache::Key, compare::Digest>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(service: &impl Resource) -> cache::Key {
    cache::Key { namespace: service.namespace().unwrap_or_default(), name: service.name_any() }
}
