//! What the operator observed: conditions, children, certificate, restarts. Never a secret's value.
//!
//! Absent members serialise as null on purpose: the status is written by merge patch, where null removes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Observed state of a `HardenedService`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HardenedServiceStatus {
    /// The generation of the spec that this status describes; -1 before the first look.
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled and one condition for each subsystem.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The objects that the operator made for this service.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub children: Vec<ChildStatus>,
    /// Where the service answers.
    #[schemars(length(max = 300))]
    pub url: Option<String>,
    /// Pods that the Deployment has, or had before somebody deleted it.
    pub replicas: Option<i32>,
    /// Label selector of the pods, for the scale subresource.
    #[schemars(length(max = 256))]
    pub selector: Option<String>,
    /// The certificate in use.
    pub tls: Option<TlsStatus>,
    /// The values of `spec.secrets` that the workload has or will have with its next restart.
    pub secrets: Option<SecretsStatus>,
    /// What was last seen of the database of `spec.postgres`.
    pub database: Option<DatabaseStatus>,
    /// The last restarts and their causes, newest last.
    #[serde(default)]
    #[schemars(length(max = 10))]
    pub restarts: Vec<Restart>,
    /// The newest revision of the Deployment that `restarts` knows of.
    pub revision: Option<i64>,
}

/// One child object.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChildStatus {
    /// Its kind.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its uid; with it the operator knows its own object again when the owner reference was stripped.
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
    /// What became of it.
    pub state: ChildState,
    /// Why, when it is not `Applied` or somebody fights over it.
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
}

/// What became of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum ChildState {
    /// It is as the spec asks.
    Applied,
    /// It waits for another one.
    Held,
    /// An object of that name belongs to somebody else.
    Conflict,
    /// The API server refused it.
    Failed,
}

/// The certificate in use.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsStatus {
    /// End of its life.
    pub not_after: Option<Time>,
    /// When it will be renewed; nothing with a certificate that you provide.
    pub renew_at: Option<Time>,
    /// Serial number, hexadecimal.
    #[schemars(length(max = 64))]
    pub serial: Option<String>,
    /// Where it comes from: `selfSigned/` and the id of the CA's key, or `secret/` and the Secret's name.
    #[schemars(length(max = 300))]
    pub issuer: Option<String>,
    /// How far the service is while the operator's CA is replaced; nothing at other times.
    pub phase: Option<CaPhase>,
}

/// The values of `spec.secrets`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretsStatus {
    /// When they last changed.
    pub synced_at: Option<Time>,
    /// Versions of the sources, in their order: that of Vault's KV engine, or `-` where there is none.
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// Their names.
    #[serde(default)]
    #[schemars(length(max = 512), inner(length(max = 253)))]
    pub keys: Vec<String>,
}

/// What a Job saw of the database.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStatus {
    /// When everything was last proven.
    pub verified_at: Option<Time>,
    /// When the last Job began that was heard of.
    pub looked_at: Option<Time>,
    /// Digest of what that Job was for: the spec, and the versions of the Secrets that it read.
    #[schemars(length(max = 64))]
    pub input: Option<String>,
    /// The same of the last Job that hardened the database without a problem.
    #[schemars(length(max = 64))]
    pub hardened: Option<String>,
    /// How many Jobs in a row did not prove everything.
    pub failures: Option<i32>,
    /// Version of the server, such as 15.18.
    #[schemars(length(max = 32))]
    pub server_version: Option<String>,
    /// The extensions of the spec that were there.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub extensions: Vec<DatabaseExtension>,
    /// pgaudit's settings as a new session had them.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub settings: Vec<DatabaseSetting>,
    /// Where the audit's line of a marked statement was seen.
    pub audit: Option<AuditProof>,
    /// Version and cipher suite of TLS, and whether the server's certificate was verified.
    #[schemars(length(max = 128))]
    pub tls: Option<String>,
    /// How many checks passed.
    pub passed: Option<i32>,
}

/// An extension as it was seen.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct DatabaseExtension {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its version.
    #[schemars(length(max = 63))]
    pub version: String,
    /// The schema of its objects.
    #[schemars(length(max = 63))]
    pub schema: String,
}

/// A setting as it was seen.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct DatabaseSetting {
    /// Its name in Postgres.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 128))]
    pub value: String,
}

/// Where the audit's line was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum AuditProof {
    /// In the server's log.
    ServerLog,
    /// As the server told the session; the log could not be read.
    ClientOnly,
}

/// How far a service is while the operator's CA is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum CaPhase {
    /// `ca.crt` holds the next CA too; not every ready pod was seen with it.
    Publish,
    /// Every ready pod has it; the other services and the time for clients are waited for.
    TrustEverywhere,
    /// The certificate is the next CA's; not every ready pod was seen to serve it.
    Switch,
    /// Every ready pod serves it; the previous CA is trusted until every service is this far.
    Retire,
}

/// A restart of the pods.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// When it was asked for.
    pub at: Time,
    /// Why.
    pub cause: RestartCause,
    /// Paths of what changed in the Deployment, or names of `spec.secrets`; never values.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub keys: Vec<String>,
    /// The revision of the Deployment that it made, as `kubectl rollout history` counts.
    pub revision: Option<i64>,
}

/// Cause of a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum RestartCause {
    /// By hand: `kubectl rollout restart`, or a change by others that the operator leaves in place.
    Manual,
    /// The resource's spec changed.
    SpecChanged,
    /// Somebody else changed the pod template, and the operator restored it: up to two revisions.
    DriftReverted,
    /// The Deployment was taken over by `spec.adopt`.
    Adopted,
    /// A new certificate, with `spec.tls.restart: OnRenew`.
    CertificateRenewed,
    /// Values of `spec.secrets` changed.
    SecretsChanged,
    /// A restart for new values failed its deadline: those before are back.
    SecretsReverted,
}

impl RestartCause {
    /// The name in status and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "Manual",
            Self::SpecChanged => "SpecChanged",
            Self::DriftReverted => "DriftReverted",
            Self::Adopted => "Adopted",
            Self::CertificateRenewed => "CertificateRenewed",
            Self::SecretsChanged => "SecretsChanged",
            Self::SecretsReverted => "SecretsReverted",
        }
    }
}
