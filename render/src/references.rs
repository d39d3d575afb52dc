//! Objects of others that a spec names.

use crds::HardenedService;

use crate::{database, redis};

/// The field whose Secret is not mounted itself: the pods mount the operator's copy.
pub const PROVIDED_CERTIFICATE: &str = "spec.tls.issuer.secret";

/// The field of Secrets whose values reach the pods by the operator's own Secret.
pub const SOURCE: &str = "spec.secrets.sources[].secret";

/// The Secret that provides the certificate, if one does.
pub fn provided_certificate(service: &HardenedService) -> Option<&str> {
    let issuer = service.spec.tls.as_ref()?.issuer.as_ref()?;
    issuer.secret.as_ref().map(|secret| secret.name.as_str())
}

/// Whether the service's pods mount the Secret of a field themselves; the others are read by the operator, or by Jobs.
pub fn is_mounted(field: &str) -> bool {
    ![PROVIDED_CERTIFICATE, SOURCE, database::CONNECTION, database::VERIFIER, database::CA].contains(&field)
}

/// Secrets that the service uses, as (field path, name). Pull secrets are exempt: only the kubelet reads them.
pub fn referenced_secrets(service: &HardenedService) -> Vec<(&'static str, String)> {
    let mounted = service.spec.workload.volumes.iter().filter_map(|volume| volume.secret.as_ref());
    let store = redis::secret_ref(service)
        .map(|secret| ("spec.rateLimits.store.redis.secretRef", secret.name.clone()));
    let sources = service.spec.secrets.iter().flat_map(|secrets| &secrets.sources);
    let database = service.spec.postgres.iter().flat_map(database::secrets);
    mounted
        .map(|secret| ("spec.workload.volumes[].secret", secret.secret_name.clone()))
        .chain(store)
        .chain(provided_certificate(service).map(|name| (PROVIDED_CERTIFICATE, name.to_owned())))
        .chain(sources.filter_map(|source| Some((SOURCE, source.secret.as_ref()?.name.clone()))))
        .chain(database.map(|(field, name)| (field, name.to_owned())))
        .collect()
}
