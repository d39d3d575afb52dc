//! Every value that counts where the spec says nothing. It belongs to the apiVersion and never changes within it.

use crds::{Environment, HardenedService, ImagePullPolicy, PathMatchType};

/// Container port for HTTPS.
pub const HTTP_PORT: i32 = 8443;
/// Container port for metrics.
pub const METRICS_PORT: i32 = 9090;
/// CPU, memory and local storage that the scheduler reserves.
pub const REQUESTS: [&str; 3] = ["100m", "128Mi", "64Mi"];
/// CPU, memory and local storage that a pod uses at most.
pub const LIMITS: [&str; 3] = ["1", "256Mi", "256Mi"];
/// Size of `/tmp` and of an `emptyDir` without a size.
pub const SCRATCH_SIZE: &str = "64Mi";
/// Seconds without progress after which a rollout counts as failed.
pub const PROGRESS_SECONDS: i32 = 600;
/// Seconds from SIGTERM to SIGKILL.
pub const GRACE_SECONDS: i64 = 45;
/// Seconds before SIGTERM in which the endpoint leaves every proxy; below the smallest grace period (10).
pub const PRE_STOP_SECONDS: i64 = 5;
/// Pods that a drain may take away at once.
pub const MAX_UNAVAILABLE: i32 = 1;
/// Fewest pods of an autoscaler.
pub const MIN_REPLICAS: i32 = 2;
/// Target mean CPU use of an autoscaler, in percent.
pub const TARGET_CPU: i32 = 80;
/// Prefix length by which IPv6 clients are counted as one.
pub const IPV6_PREFIX_LENGTH: i32 = 64;

/// Rate limits per minute (name, method, comparison, path, requests): what each endpoint is protected from.
pub const RATE_LIMITS: [(&str, &str, PathMatchType, &str, i32); 8] = [
    ("login", "POST", PathMatchType::Exact, "/login", 5),
    ("token-refresh", "POST", PathMatchType::Exact, "/token/refresh", 5),
    ("transcribe", "POST", PathMatchType::Exact, "/transcribe", 10),
    ("videos", "GET", PathMatchType::Exact, "/videos", 60),
    ("analyze", "POST", PathMatchType::Exact, "/analyze", 60),
    ("jobs-read", "GET", PathMatchType::PathPrefix, "/jobs", 30),
    ("jobs-delete", "DELETE", PathMatchType::PathPrefix, "/jobs", 30),
    ("schedule", "POST", PathMatchType::Exact, "/schedule", 10),
];

/// Pods at creation: one is enough to develop with, two survive the loss of a node.
pub const fn replicas(environment: Environment) -> i32 {
    match environment {
        Environment::Development => 1,
        Environment::Staging | Environment::Production => 2,
    }
}

/// An image by digest cannot change, so a node that has it need not ask the registry again.
pub fn image_pull_policy(image: &str) -> ImagePullPolicy {
    if image.contains('@') { ImagePullPolicy::IfNotPresent } else { ImagePullPolicy::Always }
}

/// The container ports, `http` and `metrics`.
pub fn ports(service: &HardenedService) -> (i32, i32) {
    let ports = service.spec.workload.ports.as_ref();
    (ports.and_then(|p| p.http).unwrap_or(HTTP_PORT), ports.and_then(|p| p.metrics).unwrap_or(METRICS_PORT))
}
