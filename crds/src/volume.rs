//! Volumes that the workload mounts.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A volume and where it is mounted; exactly one source.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.emptyDir), has(self.persistentVolumeClaim), has(self.configMap), has(self.secret)].filter(x, x).size() == 1")
        .message("spec.workload.volumes: set exactly one of emptyDir, persistentVolumeClaim, configMap, secret"),
    validation = Rule::new("!self.mountPath.matches('[.]{2}|//') && !self.mountPath.matches('^/(tmp|proc|sys|dev|etc/hardened|var/run/secrets/hardened[.]dev)(/|$)')")
        .message("spec.workload.volumes.mountPath: must not contain .. or //, nor lie under /tmp, /proc, /sys, /dev, /etc/hardened or /var/run/secrets/hardened.dev, which the operator mounts")
)]
pub struct Volume {
    /// Name, unique in the list.
    #[schemars(length(min = 1, max = 50), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Absolute path in the container.
    #[schemars(length(min = 2, max = 256), regex(pattern = r"^/[-A-Za-z0-9._/]+$"))]
    pub mount_path: String,
    /// Scratch space that lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirVolume>,
    /// A claim of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolume>,
    /// A ConfigMap of this namespace, mounted read-only.
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
    #[schemars(length(max = 16), regex(pattern = r"^[1-9][0-9]{0,8}(Ki|Mi|Gi)$"))]
    pub size_limit: Option<String>,
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersistentVolumeClaimVolume {
    /// Name of the claim.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub claim_name: String,
    /// Mount it read-only.
    #[serde(default)]
    pub read_only: bool,
}

/// A ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapVolume {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A Secret.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: String,
}
