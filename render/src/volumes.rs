//! What the pod mounts: ours first, then the user's. Nothing of the node's is ever mounted.

use crds::{HardenedService, Volume as UserVolume};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource, SecretVolumeSource,
    Volume, VolumeMount,
};
use kube::ResourceExt;

use crate::{defaults, identity, meta, policy, quantity, redis, secrets};

/// Where certificate, key and CA lie.
pub const TLS_DIR: &str = "/etc/hardened/tls";
/// Mode 0440: the pod's user reads it by `fsGroup`, others not at all.
pub const READ_ONLY_MODE: i32 = 0o440;

/// Volumes with their mounts, in pairs, so that neither exists without the other.
pub fn mounted(service: &HardenedService) -> Vec<(Volume, VolumeMount)> {
    let workload = &service.spec.workload;
    let mut all = vec![tmp(), tls(service), policy(service)];
    all.extend(redis::secret_ref(service).map(redis::mounted));
    all.extend(secrets::mounted(service));
    all.extend(workload.identity.as_ref().and_then(identity::mounted));
    all.extend(workload.volumes.iter().map(users));
    all
}

/// The only writable path of a read-only root, bounded so that it cannot fill the node's disk.
fn tmp() -> (Volume, VolumeMount) {
    let mount = VolumeMount { name: "tmp".into(), mount_path: "/tmp".into(), ..VolumeMount::default() };
    (
        Volume { name: "tmp".into(), empty_dir: Some(scratch(defaults::SCRATCH_SIZE)), ..Volume::default() },
        mount,
    )
}

fn tls(service: &HardenedService) -> (Volume, VolumeMount) {
    let source = secret(&meta::child_name(&service.name_any(), "tls"));
    (Volume { name: "tls".into(), secret: Some(source), ..Volume::default() }, read_only("tls", TLS_DIR))
}

fn policy(service: &HardenedService) -> (Volume, VolumeMount) {
    let source = config_map(&meta::child_name(&service.name_any(), "policy"));
    (
        Volume { name: "policy".into(), config_map: Some(source), ..Volume::default() },
        read_only("policy", policy::DIR),
    )
}

/// The prefix keeps the user's names apart from ours.
pub fn users(volume: &UserVolume) -> (Volume, VolumeMount) {
    let name = format!("user-{}", volume.name);
    let claim = volume.persistent_volume_claim.as_ref();
    let read_only =
        volume.config_map.is_some() || volume.secret.is_some() || claim.is_some_and(|claim| claim.read_only);
    let mount = VolumeMount {
        name: name.clone(),
        mount_path: volume.mount_path.clone(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let source = Volume {
        name,
        empty_dir: volume
            .empty_dir
            .as_ref()
            .map(|dir| scratch(dir.size_limit.as_deref().unwrap_or(defaults::SCRATCH_SIZE))),
        persistent_volume_claim: claim.map(|claim| PersistentVolumeClaimVolumeSource {
            claim_name: claim.claim_name.clone(),
            read_only: claim.read_only.then_some(true),
        }),
        config_map: volume.config_map.as_ref().map(|source| config_map(&source.name)),
        secret: volume.secret.as_ref().map(|source| secret(&source.secret_name)),
        ..Volume::default()
    };
    (source, mount)
}

/// A mount that the container cannot write to.
pub fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn scratch(size: &str) -> EmptyDirVolumeSource {
    EmptyDirVolumeSource { size_limit: Some(quantity::bytes(size)), ..EmptyDirVolumeSource::default() }
}

/// All of a Secret as files.
pub fn secret(name: &str) -> SecretVolumeSource {
    SecretVolumeSource {
        secret_name: Some(name.into()),
        default_mode: Some(READ_ONLY_MODE),
        ..SecretVolumeSource::default()
    }
}

fn config_map(name: &str) -> ConfigMapVolumeSource {
    ConfigMapVolumeSource { name: name.into(), default_mode: Some(0o644), ..ConfigMapVolumeSource::default() }
}
