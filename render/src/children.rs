//! The children of a service, typed, in the order in which they are applied.

use std::borrow::Cow;

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{ApiResource, GroupVersionKind},
};
use serde::Serialize;
use serde_json::Value;

use crate::Certificate;

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
    /// Only with an issuer of cert-manager that the platform allows.
    pub certificate: Option<Certificate>,
    /// Certificate and key; the values are the operator's.
    pub tls_secret: SecretPlan,
    /// The values before, while a restart for new ones is under way.
    pub secrets_before: Option<SecretPlan>,
    /// Values for the workload, only with `spec.secrets`; the values are the operator's.
    pub secrets: Option<SecretPlan>,
    /// The pods' address.
    pub service: Service,
    /// For two pods or more, or with `spec.workload.disruption`.
    pub pod_disruption_budget: Option<PodDisruptionBudget>,
    /// Only with `spec.workload.autoscaling`.
    pub horizontal_pod_autoscaler: Option<HorizontalPodAutoscaler>,
    /// The pods.
    pub deployment: Deployment,
    /// The same for the pods of Jobs, while there is one.
    pub jobs_policy: Option<NetworkPolicy>,
    /// New values with which a Job logs in to Postgres.
    pub login_secret: Option<SecretPlan>,
    /// That Job, only while new values are tried.
    pub login: Option<Job>,
    /// The Job that works on the database of `spec.postgres`, while there is one.
    pub database: Option<Job>,
}

/// A Secret without its values: these meet the plan only in the operator's write.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretPlan {
    /// Name, labels, owner.
    pub metadata: ObjectMeta,
    /// `kubernetes.io/tls` or `Opaque`.
    pub type_: &'static str,
    /// The keys that are known without a look into the cluster.
    pub keys: Vec<Cow<'static, str>>,
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
    /// batch/v1, only where the platform lets Jobs run
    Job,
    /// cert-manager.io/v1, which not every API server has
    Certificate,
}

impl Kind {
    /// Every kind that each API server has.
    pub const BUILT_IN: [Self; 8] = [
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
            Self::Job => ApiResource::erase::<Job>(&()),
            Self::Certificate => ApiResource::from_gvk_with_plural(
                &GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate"),
                "certificates",
            ),
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
            Self::Job => "Job",
            Self::Certificate => "Certificate",
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
    reason = "one of ten children is a Secret, and the list lives for one pass"
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
            certificate,
            tls_secret,
            secrets_before,
            secrets,
            service,
            pod_disruption_budget,
            horizontal_pod_autoscaler,
            deployment,
            jobs_policy,
            login_secret,
            login,
            database,
        } = self;
        [
            Some(object(Kind::ServiceAccount, &service_account)),
            Some(object(Kind::NetworkPolicy, &network_policy)),
            Some(object(Kind::ConfigMap, &ca_bundle)),
            Some(object(Kind::ConfigMap, &policy)),
            certificate.map(|o| child(Kind::Certificate, &o.metadata, &o)),
            Some(secret(tls_secret)),
            secrets_before.map(secret),
            secrets.map(secret),
            Some(object(Kind::Service, &service)),
            Some(object(Kind::Deployment, &deployment)),
            jobs_policy.map(|o| object(Kind::NetworkPolicy, &o)),
            login_secret.map(secret),
            login.map(|o| object(Kind::Job, &o)),
            database.map(|o| object(Kind::Job, &o)),
            pod_disruption_budget.map(|o| object(Kind::PodDisruptionBudget, &o)),
            horizontal_pod_autoscaler.map(|o| object(Kind::HorizontalPodAutoscaler, &o)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn object<K: Resource<DynamicType = ()> + Serialize>(kind: Kind, object: &K) -> Child {
    child(kind, object.meta(), object)
}

fn child(kind: Kind, metadata: &ObjectMeta, object: &impl Serialize) -> Child {
    let name = metadata.name.clone().unwrap_or_default();
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
