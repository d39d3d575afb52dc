//! Who issues the service's certificate, with which key and for how long.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EmptyObject, GepDuration};

/// TLS of the service. Left out, the operator's own CA issues an ECDSA P-256 certificate for 90 days.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = crate::rules::shorter("spec.tls.renewBefore", "renewBefore", "duration", "2160h"),
    validation = Rule::new("!has(self.issuer) || !has(self.issuer.secret) || !(has(self.privateKey) || has(self.duration) || has(self.renewBefore))")
        .message("spec.tls: privateKey, duration and renewBefore mean nothing with issuer.secret, because whoever provides the certificate decides them; remove them")
)]
pub struct Tls {
    /// The issuer; exactly one member. Default: `selfSigned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<TlsIssuer>,
    /// The private key's kind and rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PrivateKey>,
    /// Life of a certificate (GEP-2257), 1h to 19800h. Default: 2160h (90 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = crate::rules::duration("spec.tls.duration", "1h", "19800h"))]
    pub duration: Option<GepDuration>,
    /// How long before its end a certificate is renewed. Default: a third of its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = crate::rules::duration("spec.tls.renewBefore", "5m", "19800h"))]
    pub renew_before: Option<GepDuration>,
    /// Whether a new certificate restarts the pods: `Never` (the workload reads its files again by itself) or `OnRenew`.
    /// Default: Never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<TlsRestart>,
}

/// Exactly one member names the issuer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.selfSigned), has(self.vaultPki), has(self.certManager), has(self.secret)].filter(x, x).size() == 1")
        .message("spec.tls.issuer: must have exactly one member; set selfSigned: {}, vaultPki: {role: ...}, certManager: {issuerRef: {name: ...}} or secret: {name: ...}")
)]
pub struct TlsIssuer {
    /// The operator's own CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_signed: Option<EmptyObject>,
    /// The PKI engine of a Vault that the platform connects. The private key never leaves the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_pki: Option<VaultPki>,
    /// An issuer of cert-manager that the platform allows. cert-manager makes the private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_manager: Option<CertManager>,
    /// A certificate that you provide, in a Secret of type `kubernetes.io/tls`. It is checked, copied and never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ProvidedSecret>,
}

/// A role of Vault's PKI engine. The operator logs in with the service's own ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultPki {
    /// Name of the role. The platform must allow it, in the operator's settings.
    #[schemars(length(max = 63))]
    #[x_kube(validation = crate::rules::matches("spec.tls.issuer.vaultPki.role", VAULT_NAME, "the name of a role: letters, digits, -, _ and ., beginning and ending with a letter, digit or _"))]
    pub role: String,
    /// Name of the connection in the operator's settings. Default: default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = crate::rules::matches("spec.tls.issuer.vaultPki.connection", VAULT_NAME, "the name of a connection: letters, digits, -, _ and ., beginning and ending with a letter, digit or _"))]
    pub connection: Option<String>,
}

/// Names as Vault takes them for roles; `..`, which a path would follow upwards, is none.
const VAULT_NAME: &str = "^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9_])?$";

/// cert-manager, by a Certificate that the operator makes and owns.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertManager {
    /// Who signs. The platform must allow it, in the operator's settings.
    pub issuer_ref: IssuerRef,
}

/// An issuer of cert-manager, or one that its own controller adds to cert-manager.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.tls.issuer.certManager.issuerRef.name", "self"))]
    pub name: String,
    /// Issuer (of the service's own namespace) or `ClusterIssuer`. Default: Issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<IssuerKind>,
    /// Its API group. Default: cert-manager.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::matches("spec.tls.issuer.certManager.issuerRef.group", API_GROUP, "an API group, such as cert-manager.io"))]
    pub group: Option<String>,
}

/// Groups of custom resources have a dot.
const API_GROUP: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$";

/// Kind of an issuer of cert-manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum IssuerKind {
    /// Of the service's own namespace.
    #[default]
    Issuer,
    /// Of the whole cluster.
    ClusterIssuer,
}

impl IssuerKind {
    /// The name in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "Issuer",
            Self::ClusterIssuer => "ClusterIssuer",
        }
    }
}

/// A Secret with a certificate and its key: `tls.crt` (the leaf, then each one's issuer), `tls.key`, and `ca.crt`
/// with what clients should trust.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvidedSecret {
    /// Name of the Secret. It must carry the label `hardened.dev/service: NAME`, set by somebody who may write it.
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.tls.issuer.secret.name", "self"))]
    pub name: String,
}

/// The private key of the certificate.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.size) || (has(self.algorithm) && self.algorithm == 'RSA' ? self.size in [2048, 3072, 4096] : has(self.algorithm) && self.algorithm == 'Ed25519' ? false : self.size in [256, 384])")
        .message("spec.tls.privateKey.size: use 256 or 384 with ECDSA, 2048, 3072 or 4096 with RSA, and leave it out with Ed25519")
        .field_path(".size")
)]
pub struct PrivateKey {
    /// Kind of key: ECDSA, Ed25519 or RSA. Default: ECDSA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<KeyAlgorithm>,
    /// Size in bits: 256 or 384 (ECDSA), 2048, 3072 or 4096 (RSA). Default: 256, 3072.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 256, max = 4096))]
    pub size: Option<i32>,
    /// When the key changes: Always (with every certificate) or Never (only when it is missing or unusable). Default: Always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_policy: Option<RotationPolicy>,
}

/// Kind of private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum KeyAlgorithm {
    /// Elliptic curve P-256 or P-384.
    #[default]
    ECDSA,
    /// Edwards curve 25519.
    Ed25519,
    /// RSA, for clients that know nothing else.
    RSA,
}

/// When the private key changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum RotationPolicy {
    /// With every certificate.
    #[default]
    Always,
    /// Only when it is missing or unusable.
    Never,
}

/// Whether a new certificate restarts the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum TlsRestart {
    /// The workload reads its files again by itself.
    #[default]
    Never,
    /// Each new certificate is a rolling restart.
    OnRenew,
}
