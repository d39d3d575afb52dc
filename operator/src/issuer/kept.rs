//! The pair in use, which stays in use while an issuer has no better one. No certificate is made or asked for here.
//!
//! There is no second copy: what somebody else put into the TLS Secret cannot be undone before the issuer has a pair
//! again. The seal, an HMAC over the values, tells; until then no pod starts with what is there.

use crds::TlsStatus;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::ResourceExt;
use render::{Kind, Problem};

use super::{Case, Certificate, Content, Plan, SecretValues, pair, text};
use crate::{
    cache::SecretNote,
    compare::Digest,
    error::Error,
    keys::Keys,
    observe::{self, TlsSecret},
    ownership::is_ours,
    pki::Leaf,
    provided_certificate,
    version::exactly,
};

/// The content of a TLS Secret that is the operator's own.
pub struct Own {
    /// As it would be written.
    pub content: Content,
    /// Certificates (PEM) that clients should trust with it.
    pub ca_bundle: String,
    /// What an issuer elsewhere was asked for to get it; nothing of the operator's own CA or a user's Secret.
    pub asked: String,
}

/// Nothing better is to be had: what is in use stays in use.
pub async fn stay(case: &Case<'_>, problem: Problem, again: Option<Timestamp>) -> Result<Certificate, Error> {
    Ok(keep(case, find(case).await?, problem, again))
}

/// The same with a TLS Secret that was looked at already.
pub fn keep(case: &Case<'_>, found: TlsSecret, problem: Problem, again: Option<Timestamp>) -> Certificate {
    let mut certificate = Certificate {
        found,
        plan: Plan::Leave { trusted: false },
        expected: Digest::default(),
        ca_bundle: String::new(),
        longer: None,
        again,
        status: case.service.status.as_ref().and_then(|status| status.tls.clone()),
        problem: Some(problem),
        warning: None,
        unasked: None,
    };
    match &certificate.found {
        TlsSecret::Known(SecretNote { version, leaf: Some(_), ca_bundle, .. }) => {
            certificate.plan = Plan::Keep(version.0.clone());
            certificate.ca_bundle.clone_from(ca_bundle);
        }
        TlsSecret::Read(secret) => match own_content(case, secret) {
            Some(own) => {
                certificate.plan = Plan::Content(own.content);
                certificate.ca_bundle = own.ca_bundle;
            }
            None => distrust(case, secret),
        },
        _ => {}
    }
    if matches!(certificate.plan, Plan::Leave { .. }) {
        certificate.ca_bundle = published_bundle(case);
        if matches!(certificate.found, TlsSecret::Known(_) | TlsSecret::Read(_)) {
            certificate.problem = certificate.problem.map(|problem| swapped(case, &problem));
        }
    }
    certificate
}

/// What was found of the present version is enough; without a sight of it a GET only if status knows of one.
pub async fn find(case: &Case<'_>) -> Result<TlsSecret, Error> {
    let child = child(case);
    let unseen = case.ctx.cache.get(Kind::Secret, &case.key.namespace, &child).is_none();
    let mut listed = case.service.status.iter().flat_map(|status| &status.children);
    if unseen && !listed.any(|c| c.kind == "Secret" && c.name == child && c.uid.is_some()) {
        return Ok(TlsSecret::Absent);
    }
    observe::tls_secret(case, |_| true).await
}

/// The content of a TLS Secret that is the operator's own: sealed, or from its own CA for this service.
pub fn own_content(case: &Case<'_>, secret: &Secret) -> Option<Own> {
    let uid = case.service.metadata.uid.as_deref().unwrap_or_default();
    if let Some(own) = sealed(case.keys, uid, secret) {
        return Some(own);
    }
    // The operator writes all three.
    text(secret, "ca.crt")?;
    let (pair, names) = (pair(secret)?, render::hosts::certificate_names(case.service, case.facts));
    let leaf = case.keys.authority.as_ref()?.ca.examine(&pair.certificate, &pair.key, &names, None).ok()?;
    let ca_bundle = case.keys.bundle.clone();
    let content = content(SecretValues::new(pair, &ca_bundle), None, leaf);
    Some(Own { content, ca_bundle, asked: String::new() })
}

/// The same, if it was sealed for the service with this uid.
pub fn sealed(keys: &Keys, uid: &str, secret: &Secret) -> Option<Own> {
    let ca_bundle = text(secret, "ca.crt")?;
    let values = SecretValues::new(pair(secret)?, &ca_bundle);
    let annotation = secret.annotations().get(crds::SEAL_ANNOTATION)?;
    let asked = annotation.split_once(' ').map(|(_, asked)| asked.to_owned()).unwrap_or_default();
    if keys.seal(uid, &values, &asked) != *annotation {
        return None;
    }
    let leaf = provided_certificate::first(&text(secret, "tls.crt")?)?;
    let content = content(values, Some(annotation.clone()), leaf);
    Some(Own { content, ca_bundle, asked })
}

fn content(values: SecretValues, seal: Option<String>, leaf: Leaf) -> Content {
    Content { values, seal, leaf, issued: None, replaces_own: false }
}

/// Remembers that this version is not the operator's own, so that it is read once only.
fn distrust(case: &Case<'_>, secret: &Secret) {
    let version = exactly(secret);
    case.ctx.cache.remember(Kind::Secret, &case.key.namespace, &child(case), |n| {
        let (expected, ca_bundle) = (Digest::default(), String::new());
        n.secret = Some(SecretNote { version, expected, leaf: None, ca_bundle });
    });
}

/// The seal of these values.
pub fn seal(case: &Case<'_>, values: &SecretValues, asked: &str) -> String {
    case.keys.seal(case.service.metadata.uid.as_deref().unwrap_or_default(), values, asked)
}

/// A certificate as status shows it.
pub fn status(leaf: &Leaf, renew_at: Option<Timestamp>, issuer: String) -> TlsStatus {
    TlsStatus {
        not_after: Some(render::whole_seconds(leaf.not_after)),
        renew_at: renew_at.map(render::whole_seconds),
        serial: Some(leaf.serial.clone()),
        issuer: Some(issuer),
        phase: None,
    }
}

/// What clients trust stays as it is while nobody knows better.
pub fn published_bundle(case: &Case<'_>) -> String {
    let (ctx, key) = (case.ctx, case.key);
    let map = ctx.cache.get(Kind::ConfigMap, &key.namespace, &render::child_name(&key.name, "ca"));
    let map = map.filter(|map| is_ours(&map.metadata, case.service));
    let bundle = map.and_then(|map| Some(map.data.pointer("/data/ca.crt")?.as_str()?.to_owned()));
    bundle.unwrap_or_default()
}

fn swapped(case: &Case<'_>, problem: &Problem) -> Problem {
    let message = format!(
        "{}. Secret {} was changed by somebody else meanwhile: no pod starts with it before a good certificate is there \
         again, and then it is restored",
        problem.message,
        child(case)
    );
    Problem { reason: problem.reason, message }
}

/// Name of the TLS Secret.
pub fn child(case: &Case<'_>) -> String {
    render::child_name(&case.key.name, "tls")
}
