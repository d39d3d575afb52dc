//! Objects of others that a spec names.

use crds::HardenedService;

use crate::redis;

/// Secrets whose content reaches the container, as (field path, name). Pull secrets are exempt: only the kubelet reads
/// them.
pub fn referenced_secrets(service: &HardenedService) -> Vec<(&'static str, String)> {
    let mounted = service.spec.workload.volumes.iter().filter_map(|volume| volume.secret.as_ref());
    let store = redis::secret_ref(service)
        .map(|secret| ("spec.rateLimits.store.redis.secretRef", secret.name.clone()));
    mounted
        .map(|secret| ("spec.workload.volumes[].secret", secret.secret_name.clone()))
        .chain(store)
        .collect()
}
