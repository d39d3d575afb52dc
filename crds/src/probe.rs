//! Health checks of the container.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Health checks; what is left out keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct Probes {
    /// Until it passes, the other two wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// When it fails, the container is restarted. It must not depend on other services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// While it fails, the pod gets no traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
}

/// An HTTPS GET on the `http` port; 200 to 399 passes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Path. Default: `/livez` or `/readyz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = crate::rules::matches(
        "spec.workload.probes: path",
        "^/[-A-Za-z0-9._~%/?=&]*$",
        "a path such as /readyz: a slash, then letters, digits and -._~%/?=&",
    ))]
    pub path: Option<String>,
    /// Seconds between checks, 1 to 300. Default: 10 (startup 2, readiness 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub period_seconds: Option<i32>,
    /// Seconds until a check counts as failed, 1 to 60. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: Option<i32>,
    /// Failures in a row that count, 1 to 300. Default: 3 (startup 60).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub failure_threshold: Option<i32>,
}
