//! How many pods there are, and how many may be away.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A `HorizontalPodAutoscaler` by CPU.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.minReplicas) || self.minReplicas <= self.maxReplicas")
        .message("spec.workload.autoscaling.minReplicas: must not be above maxReplicas; lower it, or raise maxReplicas")
        .field_path(".minReplicas")
)]
pub struct Autoscaling {
    /// Fewest pods, 1 to 500. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub min_replicas: Option<i32>,
    /// Most pods, 2 to 500.
    #[schemars(range(min = 2, max = 500))]
    pub max_replicas: i32,
    /// Target mean CPU use in percent of the request, 1 to 100. Default: 80.
    #[serde(default, rename = "targetCPUUtilizationPercentage", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu_utilization_percentage: Option<i32>,
}

/// A `PodDisruptionBudget` that lets drains proceed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Pods that may be away at once in a voluntary disruption, 1 to 500 (0 would block every drain).
    #[schemars(range(min = 1, max = 500))]
    pub max_unavailable: i32,
}
