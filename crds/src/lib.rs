//! The `HardenedService` custom resource: its types, schema rules, condition and reason names. No I/O.

mod condition;
mod duration;
mod exposure;
mod headers;
mod identity;
mod network;
mod rate_limit;
mod schema;
mod service;
mod status;
mod tls;
mod volume;
mod workload;

pub use condition::{ConditionType, Reason};
pub use duration::GepDuration;
pub use exposure::Exposure;
pub use headers::{HeaderPreset, Headers};
pub use identity::{AwsIdentity, AzureIdentity, GcpIdentity, Identity};
pub use network::{EgressRule, IngressPeer, LabelSelector, Network, NetworkPort, Protocol};
pub use rate_limit::{
    EmptyObject, PathMatch, PathMatchType, RateLimit, RateLimitRule, RateLimitStore, RateLimits, RedisStore,
    SecretKeyRef,
};
pub use service::{Environment, HardenedService, HardenedServiceSpec};
pub use status::{ChildState, ChildStatus, HardenedServiceStatus, Restart, RestartCause, TlsStatus};
pub use tls::{KeyAlgorithm, PrivateKey, RotationPolicy, Tls, TlsIssuer};
pub use volume::{ConfigMapVolume, EmptyDirVolume, PersistentVolumeClaimVolume, SecretVolume, Volume};
pub use workload::{
    Autoscaling, Disruption, EnvVar, ImagePullPolicy, LocalObjectReference, Ports, Probe, Probes,
    ResourceList, Resources, TaintEffect, Toleration, TolerationOperator, TopologySpreadConstraint,
    WhenUnsatisfiable, Workload,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// API group of every type here.
pub const GROUP: &str = "hardened.dev";
/// Field manager of every write that the operator makes.
pub const MANAGER: &str = "hardened-operator";
/// Label with the name of the `HardenedService`: on every child, and on a Secret that its owner lets the service use.
pub const SERVICE_LABEL: &str = "hardened.dev/service";
/// Namespace annotation by which the platform onboards a namespace: a comma-separated list of host names
/// (`*.example` covers one label) that certificates and routes there may carry. It may be empty.
pub const ALLOWED_HOSTS_ANNOTATION: &str = "hardened.dev/allowed-hosts";
/// Pod template annotation `v1:KEYID:HMAC` over everything whose change needs a restart.
pub const RESTART_ANNOTATION: &str = "hardened.dev/restart-hash";

/// Every CustomResourceDefinition of this product, ready to be applied.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![service::with_status_default(HardenedService::crd())]
}
