//! Volumes that the workload mounts.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A volume and where it is mounted; exactly one source.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.emptyDir), has(self.persistentVolumeClaim), has(self.configMap), has(self.secret)].filter(x, x).size() == 1")
        .message("spec.workload.volumes: set exactly one of emptyDir, persistentVolumeClaim, configMap, secret")
)]
pub struct Volume {
    /// Name, unique in the list.
    #[schemars(length(max = 50))]
    #[x_kube(validation = crate::rules::label_name("spec.workload.volumes.name"))]
    pub name: String,
    /// Absolute path in the container.
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^(/[-A-Za-z0-9._]+)+$') && !self.matches('/[.]{1,2}(/|$)')")
        .message("spec.workload.volumes.mountPath: must be an absolute path such as /var/lib/studio: letters, digits and -._/, without //, /./, /../ or a slash at the end"))]
    // A mount above one of the operator's would hide it.
    #[x_kube(validation = Rule::new("!self.matches('^/(etc|var|var/run|var/run/secrets|run)$') && !self.matches('^/(tmp|proc|sys|dev|etc/hardened|var/run/secrets/hardened[.]dev)(/|$)')")
        .message("spec.workload.volumes.mountPath: must not be /etc, /var, /run, /var/run or /var/run/secrets, nor lie under /tmp, /proc, /sys, /dev, /etc/hardened or /var/run/secrets/hardened.dev, where the operator mounts; choose another path"))]
    pub mount_path: String,
    /// Scratch space that lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirVolume>,
    /// A claim of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolume>,
    /// A `ConfigMap` of this namespace, mounted read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolume>,
    /// A Secret of this namespace, mounted read-only with mode 0440. It must carry the label
    /// `hardened.dev/service: NAME`, set by somebody who may write that Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
}

/// Scratch space.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDirVolume {
    /// Largest size; the pod is evicted above it. Default: 64Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = crate::rules::bytes("spec.workload.volumes.emptyDir.sizeLimit"))]
    pub size_limit: Option<String>,
}

/// A `PersistentVolumeClaim`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersistentVolumeClaimVolume {
    /// Name of the claim.
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.workload.volumes.persistentVolumeClaim.claimName", "self"))]
    pub claim_name: String,
    /// Mount it read-only. Default: false.
    #[serde(default)]
    pub read_only: bool,
}

/// A `ConfigMap`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapVolume {
    /// Name of the `ConfigMap`.
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.workload.volumes.configMap.name", "self"))]
    pub name: String,
}

/// A Secret.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.workload.volumes.secret.secretName", "self"))]
    pub secret_name: String,
}
