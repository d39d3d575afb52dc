//! Second verb: decide about keys and certificates, and make them. The values leave this module only for apply.

use std::collections::BTreeMap;

use crds::{HardenedService, PrivateKey, Reason, RotationPolicy, TlsStatus};
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use render::{Facts, Problem};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::{
    Context,
    compare::{Digest, digest},
    error::Error,
    observe::{Observed, TlsSecret},
    pki::{IssueReason, Leaf, Pair},
};

/// Life of a certificate when the spec does not say: 90 days.
const DEFAULT_LIFE: SignedDuration = SignedDuration::from_hours(2160);

/// What apply does with the TLS Secret.
pub enum Tls {
    /// It is right: no request.
    Keep(Leaf),
    /// Its content should be this; `issued` says why, when it is new.
    Content {
        /// Values by key.
        values: SecretValues,
        /// The certificate among them.
        leaf: Leaf,
        /// Why it was issued just now.
        issued: Option<IssueReason>,
    },
    /// There can be none; what is there stays.
    Unavailable(Problem),
}

/// Secret values by key; no Debug, no Serialize.
pub struct SecretValues(BTreeMap<&'static str, SecretString>);

impl SecretValues {
    /// As the `data` of a Secret, for the one request that carries it.
    pub fn data(&self) -> BTreeMap<String, ByteString> {
        self.0
            .iter()
            .map(|(k, v)| ((*k).to_owned(), ByteString(v.expose_secret().as_bytes().to_vec())))
            .collect()
    }
}

/// Completes the facts and decides about the certificate.
pub async fn mint(
    ctx: &Context,
    service: &HardenedService,
    observed: &Observed,
    now: Timestamp,
) -> Result<(Facts, Tls), Error> {
    let facts = Facts { restart_hash: ctx.keys.restart_hash(&[]), ..observed.facts.clone() };
    let Some(ca) = &ctx.keys.ca else {
        let problem = Problem {
            reason: Reason::CaLost,
            message: format!(
                "Secret {} is gone from namespace {}; a platform admin restores it from the backup. Certificates in use are kept",
                crate::keys::CA_SECRET,
                ctx.namespace
            ),
        };
        return Ok((facts, Tls::Unavailable(problem)));
    };
    let names = render::hosts::certificate_names(service, &facts);
    let spec = private_key(service);
    let why = match &observed.tls {
        TlsSecret::Known(note) => return Ok((facts, Tls::Keep(note.leaf.clone()))),
        TlsSecret::Absent | TlsSecret::Foreign => IssueReason::Missing,
        TlsSecret::Read(secret) => match pair(secret) {
            None => IssueReason::Missing,
            Some(pair) => match ca.examine(&pair.certificate, &pair.key, &names, &spec) {
                Ok(leaf) if now < renew_at(service, &leaf) => {
                    let values = values(pair, &facts);
                    return Ok((facts, Tls::Content { values, leaf, issued: None }));
                }
                Ok(_) => IssueReason::RenewalDue,
                Err(reason) => reason,
            },
        },
    };
    let kept = kept_key(&observed.tls, &spec, why);
    let pair = issue(ctx, names.clone(), spec.clone(), kept, life(service), now).await?;
    let leaf = ca
        .examine(&pair.certificate, &pair.key, &names, &spec)
        .map_err(|_| Error::KeyUnusable("new certificate"))?;
    let values = values(pair, &facts);
    Ok((facts, Tls::Content { values, leaf, issued: Some(why) }))
}

/// RSA keys take seconds to make: off the reconcile threads.
async fn issue(
    ctx: &Context,
    names: Vec<String>,
    spec: PrivateKey,
    kept: Option<SecretString>,
    life: SignedDuration,
    now: Timestamp,
) -> Result<Pair, Error> {
    let keys = ctx.keys.clone();
    tokio::task::spawn_blocking(move || {
        let ca = keys.ca.as_ref().ok_or(Error::KeyLost(crate::keys::CA_SECRET))?;
        ca.issue(&names, &spec, kept.as_ref(), life.as_secs(), now)
    })
    .await?
}

/// The old key is used again only when the spec says so and the key itself was not at fault.
fn kept_key(tls: &TlsSecret, spec: &PrivateKey, why: IssueReason) -> Option<SecretString> {
    let reusable = matches!(why, IssueReason::RenewalDue | IssueReason::NamesChanged);
    match tls {
        TlsSecret::Read(secret) if reusable && spec.rotation_policy == Some(RotationPolicy::Never) => {
            pair(secret).map(|p| p.key)
        }
        _ => None,
    }
}

fn pair(secret: &Secret) -> Option<Pair> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref()?.get(key)?;
        String::from_utf8(bytes.0.clone()).ok()
    };
    Some(Pair { certificate: text("tls.crt")?, key: text("tls.key")?.into() })
}

fn values(pair: Pair, facts: &Facts) -> SecretValues {
    SecretValues(BTreeMap::from([
        ("ca.crt", facts.ca_bundle.clone().into()),
        ("tls.crt", pair.certificate.into()),
        ("tls.key", pair.key),
    ]))
}

/// The spec's key, its defaults left to pki.
fn private_key(service: &HardenedService) -> PrivateKey {
    service.spec.tls.as_ref().and_then(|t| t.private_key.clone()).unwrap_or_default()
}

fn life(service: &HardenedService) -> SignedDuration {
    let duration = service.spec.tls.as_ref().and_then(|t| t.duration);
    duration.and_then(|d| SignedDuration::try_from(d.get()).ok()).unwrap_or(DEFAULT_LIFE)
}

/// When a certificate is renewed: at two thirds of its life, or as early as the spec says.
pub fn renew_at(service: &HardenedService, leaf: &Leaf) -> Timestamp {
    let life = leaf.not_after.duration_since(leaf.not_before);
    let before = service.spec.tls.as_ref().and_then(|t| t.renew_before);
    let before = before.and_then(|d| SignedDuration::try_from(d.get()).ok()).unwrap_or(life / 3);
    leaf.not_after.checked_sub(before).unwrap_or(leaf.not_after)
}

/// Digest of everything against which a TLS Secret is checked.
pub fn expected(ctx: &Context, service: &HardenedService, facts: &Facts) -> Digest {
    digest(&json!({
        "names": render::hosts::certificate_names(service, facts),
        "ca": facts.ca_bundle,
        "key": private_key(service),
        "plan": render::tls_secret(service).metadata,
        "id": ctx.keys.ca.as_ref().map(|ca| &ca.id),
    }))
}

/// The certificate as status shows it.
pub fn tls_status(ctx: &Context, service: &HardenedService, leaf: &Leaf) -> TlsStatus {
    let seconds = |t: Timestamp| Timestamp::from_second(t.as_second()).ok().map(Time);
    TlsStatus {
        not_after: seconds(leaf.not_after),
        renew_at: seconds(renew_at(service, leaf)),
        serial: Some(leaf.serial.clone()),
        issuer: ctx.keys.ca.as_ref().map(|ca| format!("selfSigned/{}", ca.id)),
    }
}
