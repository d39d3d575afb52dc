//! The children of a service, typed, in the order in which they are applied.

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::ApiResource};
use serde::Serialize;
use serde_json::Value;

/// Everything that the operator makes for one service. A child that is `None` is pruned.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// Identity of the pods, without a token.
    pub service_account: ServiceAccount,
    /// Default deny both ways, with its openings; it exists before the first pod.
    pub network_policy: NetworkPolicy,
    /// What clients should trust.
    pub ca_bundle: ConfigMap,
    /// Headers, limits and hosts, read by the workload and hot-reloaded.
    pub policy: ConfigMap,
    /// Certificate and key; the values are the operator's.
    pub tls_secret: SecretPlan,
    /// The pods' address.
    pub service: Service,
    /// For two pods or more, or with `spec.workload.disruption`.
    pub pod_disruption_budget: Option<PodDisruptionBudget>,
    /// Only with `spec.workload.autoscaling`.
    pub horizontal_pod_autoscaler: Option<HorizontalPodAutoscaler>,
    /// The pods.
    pub deployment: Deployment,
}

/// A Secret without its values: these meet the plan only in the operator's write.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretPlan {
    /// Name, labels, owner.
    pub metadata: ObjectMeta,
    /// `kubernetes.io/tls` or `Opaque`.
    pub type_: &'static str,
    /// Exactly these keys.
    pub keys: Vec<&'static str>,
}

/// Kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// core/v1
    ServiceAccount,
    /// networking.k8s.io/v1
    NetworkPolicy,
    /// core/v1
    ConfigMap,
    /// core/v1
    Secret,
    /// apps/v1
    Deployment,
    /// core/v1
    Service,
    /// policy/v1
    PodDisruptionBudget,
    /// autoscaling/v2
    HorizontalPodAutoscaler,
}

impl Kind {
    /// Every kind that a child can have.
    pub const ALL: [Self; 8] = [
        Self::ServiceAccount,
        Self::NetworkPolicy,
        Self::ConfigMap,
        Self::Secret,
        Self::Deployment,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
    ];

    /// Group, version and plural.
    pub fn api_resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::HorizontalPodAutoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
        }
    }

    /// The name in YAML, events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        }
    }
}

/// One child, its Rust type erased.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What it should be.
    pub body: Body,
}

/// What a child should be.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one of nine children is a Secret, and the list lives for one pass"
)]
pub enum Body {
    /// The whole object as JSON, with apiVersion, kind and the server's defaults.
    Object(Value),
    /// A Secret whose values the operator adds.
    Secret(SecretPlan),
}

impl Children {
    /// In apply order: `NetworkPolicy` before pods, what pods mount before the Deployment (J6), and the Service, because
    /// with the Deployment the controllers and the kubelets begin to work. What only speaks of the Deployment or its pods
    /// comes behind it.
    /// Destructured without `..`: a new child that is not applied does not compile.
    pub fn into_objects(self) -> Vec<Child> {
        let Self {
            service_account,
            network_policy,
            ca_bundle,
            policy,
            tls_secret,
            service,
            pod_disruption_budget,
            horizontal_pod_autoscaler,
            deployment,
        } = self;
        [
            Some(object(Kind::ServiceAccount, &service_account)),
            Some(object(Kind::NetworkPolicy, &network_policy)),
            Some(object(Kind::ConfigMap, &ca_bundle)),
            Some(object(Kind::ConfigMap, &policy)),
            Some(secret(tls_secret)),
            Some(object(Kind::Service, &service)),
            Some(object(Kind::Deployment, &deployment)),
            pod_disruption_budget.map(|o| object(Kind::PodDisruptionBudget, &o)),
            horizontal_pod_autoscaler.map(|o| object(Kind::HorizontalPodAutoscaler, &o)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn object<K: Resource<DynamicType = ()> + Serialize>(kind: Kind, object: &K) -> Child {
    let name = object.meta().name.clone().unwrap_or_default();
    // These types hold only strings, numbers, lists and string-keyed maps: serialising them cannot fail.
    Child { kind, name, body: Body::Object(serde_json::to_value(object).unwrap_or_default()) }
}

fn secret(plan: SecretPlan) -> Child {
    Child {
        kind: Kind::Secret,
        name: plan.metadata.name.clone().unwrap_or_default(),
        body: Body::Secret(plan),
    }
}
