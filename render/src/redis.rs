//! The shared store of rate limits: the one named key of the user's Secret, as a file.

use crds::{HardenedService, SecretKeyRef};
use k8s_openapi::api::core::v1::{EnvVar, KeyToPath, SecretVolumeSource, Volume, VolumeMount};

use crate::{container, volumes};

const DIR: &str = "/etc/hardened/redis";

/// The Secret with the connection URL, when the store is Redis.
pub fn secret_ref(service: &HardenedService) -> Option<&SecretKeyRef> {
    Some(&service.spec.rate_limits.as_ref()?.store.as_ref()?.redis.as_ref()?.secret_ref)
}

pub fn mounted(secret: &SecretKeyRef) -> (Volume, VolumeMount) {
    let source = SecretVolumeSource {
        secret_name: Some(secret.name.clone()),
        default_mode: Some(volumes::READ_ONLY_MODE),
        items: Some(vec![KeyToPath { key: secret.key.clone(), path: "url".into(), ..KeyToPath::default() }]),
        ..SecretVolumeSource::default()
    };
    (
        Volume { name: "redis".into(), secret: Some(source), ..Volume::default() },
        volumes::read_only("redis", DIR),
    )
}

pub fn env() -> EnvVar {
    container::var("REDIS_URL_FILE", &format!("{DIR}/url"))
}
