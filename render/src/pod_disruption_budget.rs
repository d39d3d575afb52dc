//! How many pods a drain may take away at once.

use crds::HardenedService;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    Facts, defaults,
    meta::{self, Component},
    replicas,
};

/// A limit on pods that are away, never on those that must stay: that one blocks every drain as soon as there are no
/// more pods than it asks for. For a single pod there is nothing to spread over time.
pub fn pod_disruption_budget(service: &HardenedService, facts: &Facts) -> Option<PodDisruptionBudget> {
    let max_unavailable = match &service.spec.workload.disruption {
        Some(disruption) => disruption.max_unavailable,
        None if replicas::expected(service, facts) >= 2 => defaults::MAX_UNAVAILABLE,
        None => return None,
    };
    Some(PodDisruptionBudget {
        metadata: meta::named_as_service(service, Component::Workload),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(max_unavailable)),
            selector: Some(meta::selector(service)),
            // A pod that is not ready anyway must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
