//! Objects of others that the service may take over, each named by its uid.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An object that stands in the place of a child. With its uid nothing else can be meant, also when it is deleted and
/// somebody makes another one of that name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// Its kind. Secrets are never taken over.
    pub kind: AdoptionKind,
    /// Its name; that of the child.
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.adopt.name", "self"))]
    pub name: String,
    /// Its `metadata.uid`, as the condition `NameConflict` shows it.
    #[schemars(length(max = 36))]
    #[x_kube(validation = crate::rules::matches(
        "spec.adopt.uid",
        "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "the uid of the live object, such as 11111111-2222-3333-4444-555555555555",
    ))]
    pub uid: String,
}

/// Kinds that can be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum AdoptionKind {
    /// core/v1
    ServiceAccount,
    /// networking.k8s.io/v1
    NetworkPolicy,
    /// core/v1
    ConfigMap,
    /// apps/v1
    Deployment,
    /// core/v1
    Service,
    /// policy/v1
    PodDisruptionBudget,
    /// autoscaling/v2
    HorizontalPodAutoscaler,
}

impl AdoptionKind {
    /// The name in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ConfigMap => "ConfigMap",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        }
    }
}
