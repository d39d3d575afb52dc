//! How many pods there should be, and who says so: the spec, or whoever scales.

use crds::HardenedService;

use crate::{Facts, defaults};

/// Whether the spec sets the number of pods. Otherwise the live number counts once the Deployment exists: it belongs
/// to whoever scales.
pub fn replicas_are_fixed(service: &HardenedService) -> bool {
    service.spec.workload.replicas.is_some() && service.spec.workload.autoscaling.is_none()
}

/// The number that a new Deployment gets. One that somebody deleted comes back with the pods that status remembers, so
/// that pods which outlived it are not scaled down.
pub fn at_creation(service: &HardenedService, facts: &Facts) -> i32 {
    let workload = &service.spec.workload;
    let before = match facts.live_replicas {
        None => service.status.as_ref().and_then(|status| status.replicas).filter(|pods| *pods > 0),
        Some(_) => None,
    };
    match (&workload.autoscaling, workload.replicas) {
        (Some(autoscaling), _) => {
            let least = autoscaling.min_replicas.unwrap_or(defaults::MIN_REPLICAS);
            before.unwrap_or(least).min(autoscaling.max_replicas).max(least)
        }
        (None, Some(fixed)) => fixed,
        (None, None) => before.unwrap_or_else(|| defaults::replicas(service.spec.environment)),
    }
}

/// The number of pods that a drain has to reckon with.
pub fn expected(service: &HardenedService, facts: &Facts) -> i32 {
    let least = at_creation(service, facts);
    match facts.live_replicas {
        _ if replicas_are_fixed(service) => least,
        Some(live) if service.spec.workload.autoscaling.is_some() => live.max(least),
        live => live.unwrap_or(least),
    }
}
