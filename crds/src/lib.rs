//! The `HardenedService` custom resource: its types, schema rules, condition and reason names. No I/O.

mod adopt;
mod condition;
mod duration;
mod exposure;
mod headers;
mod identity;
mod network;
mod postgres;
mod probe;
mod rate_limit;
mod resources;
mod rules;
mod scaling;
mod scheduling;
mod schema;
mod secrets;
mod service;
mod status;
mod tls;
mod volume;
mod workload;

pub use adopt::{Adoption, AdoptionKind};
pub use condition::{ConditionType, Reason};
pub use duration::GepDuration;
pub use exposure::Exposure;
pub use headers::{HeaderPreset, Headers};
pub use identity::{AwsIdentity, AzureIdentity, GcpIdentity, Identity};
pub use network::{EgressRule, IngressPeer, LabelSelector, Network, NetworkPort, Protocol};
pub use postgres::{
    Postgres, PostgresAudit, PostgresAuditClass, PostgresAuditScope, PostgresCa, PostgresConnection,
    PostgresExtension, PostgresExtensionName, PostgresSecret, PostgresTls, PostgresTlsMode,
};
pub use probe::{Probe, Probes};
pub use rate_limit::{
    EmptyObject, PathMatch, PathMatchType, RateLimit, RateLimitRule, RateLimitStore, RateLimits, RedisStore,
    SecretKeyRef,
};
pub use resources::{ResourceList, Resources};
pub use scaling::{Autoscaling, Disruption};
pub use scheduling::{
    TaintEffect, Toleration, TolerationOperator, TopologySpreadConstraint, WhenUnsatisfiable,
};
pub use secrets::{
    ChangeWindow, Delivery, PostgresLogin, SecretKey, SecretSource, SecretTemplate, SecretValuesOf, Secrets,
    SecretsRestart, VaultKv, Weekday,
};
pub use service::{Environment, HardenedService, HardenedServiceSpec};
pub use status::{
    AuditProof, CaPhase, ChildState, ChildStatus, DatabaseExtension, DatabaseSetting, DatabaseStatus,
    HardenedServiceStatus, Restart, RestartCause, SecretsStatus, TlsStatus,
};
pub use tls::{
    CertManager, IssuerKind, IssuerRef, KeyAlgorithm, PrivateKey, ProvidedSecret, RotationPolicy, Tls,
    TlsIssuer, TlsRestart, VaultPki,
};
pub use volume::{ConfigMapVolume, EmptyDirVolume, PersistentVolumeClaimVolume, SecretVolume, Volume};
pub use workload::{EnvVar, ImagePullPolicy, LocalObjectReference, Ports, Workload};

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
/// Annotation of a Deployment with the operator's last change of its pod template: time, cause and names of what changed.
pub const LAST_CHANGE_ANNOTATION: &str = "hardened.dev/last-change";
/// Annotation of the CA's Secret by which a platform admin asks for another CA: `emergency` drops the old one at once.
pub const ROTATE_CA_ANNOTATION: &str = "hardened.dev/rotate-ca";
/// Secret in the operator's namespace with the CA's certificate and key.
pub const CA_SECRET: &str = "hardened-operator-ca";
/// Secret there with the key of the restart hash and of the seals.
pub const HMAC_SECRET: &str = "hardened-operator-hmac";
/// `ConfigMap` there that remembers which keys were made: with it a lost Secret is told from a first start.
pub const KEY_IDS: &str = "hardened-operator-keys";

/// Annotation of the copy of a provided certificate, and of a `ca.crt` that holds an issuer before: `v1:KEYID:HMAC` over the
/// values, by which the operator knows its own.
pub const SEAL_ANNOTATION: &str = "hardened.dev/seal";

/// Annotation of the operator's Secret with values: those that the pods could not start with, by their seal, which are not
/// tried again.
pub const REJECTED_ANNOTATION: &str = "hardened.dev/rejected";

/// Label of the pods of a service's Jobs, with its name. They are no part of the service: its own label they must not carry.
pub const JOB_LABEL: &str = "hardened.dev/job-of";

/// Annotation of a service: a new value of it has every source of `spec.secrets` read at once.
pub const FORCE_SYNC_ANNOTATION: &str = "hardened.dev/force-sync";

/// Finalizer of a service that may have a certificate of a Vault: it holds the deleted service until that is revoked.
pub const VAULT_FINALIZER: &str = "hardened.dev/vault";

/// Every `CustomResourceDefinition` of this product as YAML, as it is committed under `crds/yaml/`: file name and content.
pub const YAML: [(&str, &str); 1] =
    [("hardened.dev_hardenedservices.yaml", include_str!("../yaml/hardened.dev_hardenedservices.yaml"))];

/// Every `CustomResourceDefinition` of this product, ready to be applied.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![schema::finish(HardenedService::crd())]
}
