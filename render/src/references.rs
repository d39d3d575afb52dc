//! Objects of others that a spec names.

use crds::HardenedService;

use crate::redis;

/// The field whose Secret is not mounted itself: the pods mount the operator's copy.
pub const PROVIDED_CERTIFICATE: &str = "spec.tls.issuer.secret";

/// The Secret that provides the certificate, if one does.
pub fn provided_certificate(service: &HardenedService) -> Option<&str> {
    let issuer = service.spec.tls.as_ref()?.issuer.as_ref()?;
    issuer.secret.as_ref().map(|secret| secret.name.as_str())
}

/// Secrets whose content reaches the container, as (field path, name). Pull secrets are exempt: only the kubelet reads
/// them.
pub fn referenced_secrets(service: &HardenedService) -> Vec<(&'static str, String)> {
    let mounted = service.spec.workload.volumes.iter().filter_map(|volume| volume.secret.as_ref());
    let store = redis::secret_ref(service)
        .map(|secret| ("spec.rateLimits.store.redis.secretRef", secret.name.clone()));
    mounted
        .map(|secret| ("spec.workload.volumes[].secret", secret.secret_name.clone()))
        .chain(store)
        .chain(provided_certificate(service).map(|name| (PROVIDED_CERTIFICATE, name.to_owned())))
        .collect()
}
