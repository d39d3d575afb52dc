//! CPU, memory and local storage of the container.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Compute resources.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[x_kube(
    validation = crate::rules::request_within_limit("cpu", "cpu", "100m", "1"),
    validation = crate::rules::request_within_limit("memory", "memory", "128Mi", "256Mi"),
    validation = crate::rules::request_within_limit("ephemeral-storage", "ephemeral__dash__storage", "64Mi", "256Mi")
)]
pub struct Resources {
    /// What the scheduler reserves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceList>,
    /// What the pod may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceList>,
}

/// Quantities; what is left out keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct ResourceList {
    /// CPU: `250m`, `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = crate::rules::cpu("spec.workload.resources: cpu"))]
    pub cpu: Option<String>,
    /// Memory: `128Mi`, `2Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = crate::rules::bytes("spec.workload.resources: memory"))]
    pub memory: Option<String>,
    /// Local storage: `256Mi`, `1Gi`.
    #[serde(default, rename = "ephemeral-storage", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = crate::rules::bytes("spec.workload.resources: ephemeral-storage"))]
    pub ephemeral_storage: Option<String>,
}
