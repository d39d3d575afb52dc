//! Where the pods may run.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A taint that is tolerated.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.key) || (has(self.operator) && self.operator == 'Exists')")
        .message("spec.workload.tolerations.key: set it, or operator: Exists to tolerate every taint"),
    validation = Rule::new("!(has(self.operator) && self.operator == 'Exists' && has(self.value))")
        .message("spec.workload.tolerations.value: must be left out with operator: Exists; remove it, or use operator: Equal"),
    validation = Rule::new("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')")
        .message("spec.workload.tolerations.tolerationSeconds: needs effect: NoExecute; set it, or remove tolerationSeconds")
)]
pub struct Toleration {
    /// Key of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    #[x_kube(validation = crate::rules::label_key("spec.workload.tolerations.key"))]
    pub key: Option<String>,
    /// How key and value are compared: Equal or Exists. Default: Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = crate::rules::label_value("spec.workload.tolerations.value"))]
    pub value: Option<String>,
    /// Effect of the taint. Left out: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// Seconds that the pod stays after the taint came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum TolerationOperator {
    /// Key and value are equal.
    Equal,
    /// The key exists.
    Exists,
}

/// Effect of a taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum TaintEffect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away where possible.
    PreferNoSchedule,
    /// Running pods are evicted.
    NoExecute,
}

/// How pods of this service spread over one kind of topology.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologySpreadConstraint {
    /// Largest difference in pods between two domains, 1 to 10. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub max_skew: Option<i32>,
    /// Node label whose values are the domains.
    #[schemars(length(max = 317))]
    #[x_kube(validation = crate::rules::label_key("spec.workload.topologySpreadConstraints.topologyKey"))]
    pub topology_key: String,
    /// What happens when it cannot be met: `DoNotSchedule` (the pod waits) or `ScheduleAnyway` (it goes where it fits best). Default: `ScheduleAnyway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_unsatisfiable: Option<WhenUnsatisfiable>,
}

/// What happens when pods cannot be spread as asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum WhenUnsatisfiable {
    /// The pod waits.
    DoNotSchedule,
    /// The pod is scheduled where it fits best.
    #[default]
    ScheduleAnyway,
}
