//! Prometheus metrics. Every label value comes from a closed set, so no client can grow the table.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use actix_web::http::Method;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{database::jobs::Kind, secrets::Health};

/// From 0.5 ms, the range where an answer from memory lies, to the 10 s where clients give up.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// The route label of requests that no route matches.
pub const NO_ROUTE: &str = "none";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    file: ReloadFile,
    result: Reload,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    rule: String,
    result: Limited,
}

/// What a rate limit did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limited {
    /// It passed.
    Allowed,
    /// It was one too many.
    Denied,
    /// It could not be counted.
    Closed,
}

impl Limited {
    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Closed => "closed",
        }
    }
}

impl EncodeLabelValue for Limited {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.as_str().encode(encoder)
    }
}

/// The shared store of the rate limits.
#[derive(Clone, Debug, Default)]
pub struct StoreMetrics {
    pub(crate) up: Gauge,
    pub(crate) errors: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabels {
    backend: &'static str,
}

/// A watched file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReloadFile {
    /// The policy file.
    Policy,
    /// The TLS pair.
    Certificate,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reload {
    /// The new content is in force.
    Loaded,
    /// The last good content stays.
    Refused,
}

impl ReloadFile {
    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Certificate => "certificate",
        }
    }
}

impl Reload {
    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Refused => "refused",
        }
    }
}

impl EncodeLabelValue for ReloadFile {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.as_str().encode(encoder)
    }
}

impl EncodeLabelValue for Reload {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.as_str().encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    kind: &'static str,
    result: JobResult,
}

/// What became of an attempt at a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobResult {
    /// It is done.
    Succeeded,
    /// It failed and is tried again.
    Retried,
    /// It failed for good.
    Failed,
}

impl JobResult {
    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Retried => "retried",
            Self::Failed => "failed",
        }
    }
}

impl EncodeLabelValue for JobResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.as_str().encode(encoder)
    }
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    reloads: Family<ReloadLabels, Counter<u64, AtomicU64>>,
    limited: Family<LimitLabels, Counter>,
    pub(crate) store: StoreMetrics,
    pub(crate) refused_connections: Counter,
    jobs: Family<JobLabels, Counter>,
    authenticated: Family<ResultLabels, Counter>,
    jwks_fetched: Family<ResultLabels, Counter>,
    secret_backends: Family<BackendLabels, Gauge>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let reloads = Family::default();
        registry.register("http_requests", "Answers by method, route template and status", requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "Time from the parsed head to the answer's head",
            durations.clone(),
        );
        registry.register("config_reloads", "Changes of watched files by result", reloads.clone());
        let limited = Family::default();
        let help = "Requests that a rate limit counted, by rule and whether they passed";
        registry.register("rate_limit_requests", help, limited.clone());
        let store = StoreMetrics::default();
        let help = "0 while the shared store of the rate limits does not answer";
        registry.register("rate_limit_store_up", help, store.up.clone());
        let help = "Requests that the shared store of the rate limits did not count";
        registry.register("rate_limit_store_errors", help, store.errors.clone());
        let refused_connections = Counter::default();
        let help = "Connections that were closed because their client had too many";
        registry.register("connections_refused", help, refused_connections.clone());
        let jobs = Family::default();
        registry.register("jobs", "Attempts at jobs by kind and result", jobs.clone());
        let authenticated = Family::default();
        let help = "Requests that needed a token, by what became of it";
        registry.register("auth", help, authenticated.clone());
        let jwks_fetched = Family::default();
        registry.register("jwks_fetches", "Fetches of JWKS_URI by result", jwks_fetched.clone());
        let secret_backends = Family::default();
        let help = "Whether the last read of a backend of secrets gave an answer";
        registry.register("secret_backend_up", help, secret_backends.clone());
        Self {
            registry,
            requests,
            durations,
            reloads,
            limited,
            store,
            refused_connections,
            jobs,
            authenticated,
            jwks_fetched,
            secret_backends,
        }
    }

    pub(crate) fn answered(&self, method: &Method, route: String, status: u16, took: Duration) {
        let method = method_label(method);
        self.durations
            .get_or_create(&DurationLabels { method, route: route.clone() })
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { method, route, status }).inc();
    }

    /// Rules are few: their names come from the policy file.
    pub(crate) fn limited(&self, rule: &str, result: Limited) {
        self.limited.get_or_create(&LimitLabels { rule: rule.to_owned(), result }).inc();
    }

    pub(crate) fn worked(&self, kind: Kind, result: JobResult) {
        let kind = match kind {
            Kind::Transcribe => "transcribe",
            Kind::Analyze => "analyze",
            Kind::Publish => "publish",
        };
        self.jobs.get_or_create(&JobLabels { kind, result }).inc();
    }

    pub(crate) fn authenticated(&self, result: &'static str) {
        self.authenticated.get_or_create(&ResultLabels { result }).inc();
    }

    pub(crate) fn jwks_fetched(&self, fetched: bool) {
        let result = if fetched { "fetched" } else { "failed" };
        self.jwks_fetched.get_or_create(&ResultLabels { result }).inc();
    }

    pub(crate) fn reloaded(&self, file: ReloadFile, result: Reload) {
        self.reloads.get_or_create(&ReloadLabels { file, result }).inc();
    }

    pub(crate) fn secret_backends(&self, all: &[Health]) {
        for Health { backend, failure } in all {
            let up = self.secret_backends.get_or_create(&BackendLabels { backend });
            up.set(i64::from(failure.is_none()));
        }
    }

    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
