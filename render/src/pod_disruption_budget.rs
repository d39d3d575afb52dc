//! How many pods a drain may take away at once.

use crds::HardenedService;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::meta::{self, Component};

pub fn pod_disruption_budget(service: &HardenedService) -> Option<PodDisruptionBudget> {
    let disruption = service.spec.workload.disruption.as_ref()?;
    Some(PodDisruptionBudget {
        metadata: meta::named_as_service(service, Component::Workload),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(disruption.max_unavailable)),
            selector: Some(meta::selector(service)),
            // A pod that is not ready anyway must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
