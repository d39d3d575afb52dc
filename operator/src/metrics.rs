//! Prometheus metrics. Every label comes from a closed set.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crds::Reason;
use k8s_openapi::jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{cache::Key, clock};

/// All metrics of the operator.
pub struct Metrics {
    registry: Registry,
    /// Passes by result.
    pub reconciles: Family<Outcome, Counter>,
    /// Seconds of one pass.
    pub duration: Histogram,
    /// Writes to children by kind and verb.
    pub writes: Family<Write, Counter>,
    /// Changes by others that were undone.
    pub drift: Family<Drift, Counter>,
    /// Certificates issued, by reason.
    pub certificates: Family<Why, Counter>,
    /// Syncs of `spec.secrets` that failed, by reason.
    pub sync_failures: Family<Why, Counter>,
    /// Looks at databases of `spec.postgres` that did not prove them, by reason.
    database_failures: Family<Why, Counter>,
    /// When the sources of each service last had all values.
    synced: Mutex<HashMap<Key, Timestamp>>,
    /// Seconds since then, of the service that waits longest.
    sync_age: Gauge,
    /// Restarts of workloads, by cause.
    pub restarts: Family<Cause, Counter>,
    /// Services known.
    pub services: Gauge,
    /// Watches that the API server refuses.
    pub watches_denied: Gauge,
    /// Status writes that the API server refused for want of the right.
    pub statuses_denied: Counter,
    /// 1 while this instance leads, otherwise 0.
    pub leader: Gauge,
}

/// Result of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `ok`, or the class of the error.
    pub result: &'static str,
}

/// A write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Write {
    /// Kind of the child.
    pub kind: &'static str,
    /// `create`, `update` or `delete`.
    pub verb: &'static str,
}

/// A change by somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Drift {
    /// Kind of the child.
    pub kind: &'static str,
    /// Who, from a closed set.
    pub manager: &'static str,
}

/// Reason of an issue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Why {
    /// The reason's name.
    pub reason: &'static str,
}

/// Cause of a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Cause {
    /// The cause's name.
    pub cause: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        // 1 ms to 16 s: an idle pass takes microseconds, one that waits for the API server seconds.
        let buckets = [0.001, 0.004, 0.016, 0.064, 0.25, 1.0, 4.0, 16.0];
        let mut metrics = Self {
            registry: Registry::with_prefix("hardened"),
            reconciles: Family::default(),
            duration: Histogram::new(buckets),
            writes: Family::default(),
            drift: Family::default(),
            certificates: Family::default(),
            sync_failures: Family::default(),
            database_failures: Family::default(),
            synced: Mutex::default(),
            sync_age: Gauge::default(),
            restarts: Family::default(),
            services: Gauge::default(),
            watches_denied: Gauge::default(),
            statuses_denied: Counter::default(),
            leader: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("reconciles", "Passes over a HardenedService", metrics.reconciles.clone());
        registry.register("reconcile_duration_seconds", "Duration of a pass", metrics.duration.clone());
        registry.register("child_writes", "Writes to children", metrics.writes.clone());
        registry.register("drift_reverted", "Changes by others that were undone", metrics.drift.clone());
        registry.register("certificates_issued", "Certificates issued", metrics.certificates.clone());
        registry.register(
            "secrets_sync_failures",
            "Syncs of spec.secrets that failed",
            metrics.sync_failures.clone(),
        );
        registry.register(
            "database_failures",
            "Jobs that did not prove the database of spec.postgres",
            metrics.database_failures.clone(),
        );
        registry.register(
            "secrets_sync_age_seconds",
            "Time since the sources of spec.secrets had all values, of the service that waits longest",
            metrics.sync_age.clone(),
        );
        registry.register("restarts", "Restarts of workloads", metrics.restarts.clone());
        registry.register("services", "HardenedServices known", metrics.services.clone());
        registry.register(
            "watches_denied",
            "Watches that the API server refuses",
            metrics.watches_denied.clone(),
        );
        registry.register(
            "statuses_denied",
            "Status writes that the API server refused",
            metrics.statuses_denied.clone(),
        );
        registry.register("leader", "1 while this instance leads", metrics.leader.clone());
        metrics
    }
}

impl Metrics {
    /// The sources of a service have all values.
    pub fn synced(&self, key: &Key, now: Timestamp) {
        self.all_synced().insert(key.clone(), now);
    }

    /// They have not.
    pub fn sync_failed(&self, reason: Reason) {
        self.sync_failures.get_or_create(&Why { reason: reason.as_str() }).inc();
    }

    /// A Job did not prove a database.
    pub fn database_failed(&self, reason: Reason) {
        self.database_failures.get_or_create(&Why { reason: reason.as_str() }).inc();
    }

    fn all_synced(&self) -> MutexGuard<'_, HashMap<Key, Timestamp>> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service is gone, or has no values any more.
    pub fn forget(&self, key: &Key) {
        self.all_synced().remove(key);
    }

    /// The OpenMetrics text.
    pub fn text(&self) -> String {
        let oldest = self.all_synced().values().min().copied();
        let age = oldest.map_or(0, |at| clock::now().duration_since(at).as_secs());
        self.sync_age.set(age);
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
