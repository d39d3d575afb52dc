//! cert-manager's Certificate: what it writes a Secret of its own for, which the operator checks and copies. Never the
//! TLS Secret itself: two writers of one object would undo each other.

use std::collections::BTreeMap;

use crds::{GepDuration, HardenedService, IssuerKind, KeyAlgorithm, RotationPolicy, SERVICE_LABEL};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    Facts, cert_manager,
    meta::{self, Component},
};

/// Life of a certificate when the spec does not say: 90 days.
const LIFE: GepDuration = GepDuration::from_secs(90 * 24 * 3600);

/// Name of the Certificate, and of the Secret that cert-manager writes for it, is NAME and this.
const SUFFIX: &str = "issued";

/// The parts of a Certificate (cert-manager.io/v1) that the operator sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    api_version: &'static str,
    kind: &'static str,
    pub(crate) metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    secret_name: String,
    secret_template: SecretTemplate,
    dns_names: Vec<String>,
    duration: GepDuration,
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_before: Option<GepDuration>,
    private_key: PrivateKey,
    usages: Vec<&'static str>,
    revision_history_limit: i32,
    issuer_ref: Issuer,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct SecretTemplate {
    labels: BTreeMap<&'static str, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrivateKey {
    algorithm: KeyAlgorithm,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<i32>,
    encoding: &'static str,
    rotation_policy: RotationPolicy,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Issuer {
    kind: IssuerKind,
    name: String,
    group: String,
}

/// Only with an issuer of cert-manager that the platform allows.
pub fn certificate(service: &HardenedService, facts: &Facts) -> Option<Certificate> {
    let issuer = cert_manager::allowed(service, &facts.settings)?;
    let private_key = private_key(service);
    let mut usages = vec!["digital signature", "server auth"];
    if private_key.algorithm == KeyAlgorithm::RSA {
        usages.push("key encipherment");
    }
    Some(Certificate {
        api_version: "cert-manager.io/v1",
        kind: "Certificate",
        metadata: meta::named_with(service, SUFFIX, Component::Tls),
        spec: Spec {
            secret_name: issued_name(service),
            // Without it the operator neither sees the Secret nor reads it.
            secret_template: SecretTemplate { labels: BTreeMap::from([(SERVICE_LABEL, service.name_any())]) },
            dns_names: cert_manager::names(service, facts),
            duration: life(service),
            renew_before: service.spec.tls.as_ref().and_then(|tls| tls.renew_before),
            private_key,
            usages,
            // Its requests hold no key, but one for each renewal would stay for ever.
            revision_history_limit: 1,
            issuer_ref: Issuer { kind: issuer.kind, name: issuer.name.clone(), group: issuer.group.clone() },
        },
    })
}

/// Name of the Certificate and of the Secret that cert-manager writes.
pub fn issued_name(service: &HardenedService) -> String {
    meta::child_name(&service.name_any(), SUFFIX)
}

/// The life that is asked for.
pub fn life(service: &HardenedService) -> GepDuration {
    service.spec.tls.as_ref().and_then(|tls| tls.duration).unwrap_or(LIFE)
}

/// The defaults are those of the operator's own CA, and not what a version of cert-manager has.
fn private_key(service: &HardenedService) -> PrivateKey {
    let asked = service.spec.tls.as_ref().and_then(|tls| tls.private_key.clone()).unwrap_or_default();
    let algorithm = asked.algorithm.unwrap_or_default();
    PrivateKey {
        algorithm,
        size: match algorithm {
            KeyAlgorithm::ECDSA => Some(asked.size.unwrap_or(256)),
            KeyAlgorithm::RSA => Some(asked.size.unwrap_or(3072)),
            KeyAlgorithm::Ed25519 => None,
        },
        encoding: "PKCS8",
        rotation_policy: asked.rotation_policy.unwrap_or_default(),
    }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
