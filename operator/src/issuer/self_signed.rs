//! The operator's own CA as issuer: keep the certificate that is there, or issue one.

use crds::{CA_SECRET, HardenedService, PrivateKey, Reason, TlsStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use render::Problem;
use secrecy::SecretString;
use serde_json::json;

use super::{
    Case, Certificate, Content, Plan, SecretValues, kept, pair,
    renewal::{self, keeps_key, life, private_key},
    text,
};
use crate::{
    authority::{Authority, Stage},
    cache::SecretNote,
    compare::{Digest, digest},
    error::Error,
    observe::{self, TlsSecret},
    pki::{self, Ca, IssueReason, Leaf, Pair},
};

pub async fn certificate(case: &Case<'_>) -> Result<Certificate, Error> {
    let Some(authority) = &case.keys.authority else { return Ok(stay(case, &gone(case))) };
    let ca = &authority.ca;
    if case.now >= ca.not_after {
        return Ok(stay(case, &ended(ca)));
    }
    let expected = expected(case, ca);
    let found = observe::tls_secret(case, |note| {
        let due = |leaf| case.now >= renew_at(case.service, ca, leaf);
        note.expected == expected && note.leaf.as_ref().is_some_and(|leaf| !due(leaf))
    })
    .await?;
    let (leaf, plan) = match &found {
        TlsSecret::Known(SecretNote { leaf: Some(leaf), version, .. }) => {
            (leaf.clone(), Plan::Keep(version.0.clone()))
        }
        _ => content(case, authority, &found).await?,
    };
    Ok(Certificate {
        found,
        plan,
        expected,
        ca_bundle: case.keys.bundle.clone(),
        longer: None,
        again: Some(renew_at(case.service, ca, &leaf)),
        status: Some(status(case, ca, &leaf)),
        problem: None,
        warning: None,
        unasked: None,
    })
}

fn gone(case: &Case<'_>) -> String {
    format!(
        "Secret {CA_SECRET} is gone from namespace {}; a platform admin restores it from the backup. Certificates in use \
         are kept",
        case.ctx.namespace
    )
}

fn ended(ca: &Ca) -> String {
    format!(
        "the operator's CA has ended at {}; a platform admin replaces it: kubectl hardened keys rotate --emergency",
        ca.not_after
    )
}

/// Without a CA nothing is issued.
fn stay(case: &Case<'_>, why: &str) -> Certificate {
    let problem = Problem { reason: Reason::CaLost, message: why.to_owned() };
    Certificate {
        found: TlsSecret::Absent,
        plan: Plan::Leave { trusted: true },
        expected: Digest::default(),
        ca_bundle: case.keys.bundle.clone(),
        longer: None,
        again: None,
        // The certificate that is in use stays in use, and its end must stay in sight.
        status: case.service.status.as_ref().and_then(|status| status.tls.clone()),
        problem: Some(problem),
        warning: None,
        unasked: None,
    }
}

/// The pair that is there if it is good, else a new one.
async fn content(
    case: &Case<'_>,
    Authority { ca, stage, .. }: &Authority,
    found: &TlsSecret,
) -> Result<(Leaf, Plan), Error> {
    let names = render::hosts::certificate_names(case.service, case.facts);
    let spec = private_key(case.service);
    let old = match found {
        TlsSecret::Read(secret) => pair(secret),
        _ => None,
    };
    let (why, key) = match old {
        None => (IssueReason::Missing, None),
        Some(pair) => match ca.examine(&pair.certificate, &pair.key, &names, Some(&spec)) {
            Ok(leaf) if !has_life(ca, &leaf, life(case.service)) => {
                (IssueReason::DurationChanged, Some(pair.key))
            }
            Ok(_) if is_to_show_trust(case, stage, found) => (IssueReason::CaChanged, Some(pair.key)),
            Ok(leaf) if case.now < renew_at(case.service, ca, &leaf) => {
                return Ok(plan(case, leaf, pair, None));
            }
            Ok(_) => (IssueReason::RenewalDue, Some(pair.key)),
            Err(IssueReason::WrongIssuer) if is_of_previous(stage, &pair) => {
                (IssueReason::CaChanged, Some(pair.key))
            }
            Err(reason) => (reason, Some(pair.key)),
        },
    };
    let kept = key.filter(|_| keeps_key(&spec, why));
    let pair = issue(case, names.clone(), spec.clone(), kept).await?;
    let leaf = ca
        .examine(&pair.certificate, &pair.key, &names, Some(&spec))
        .map_err(|_| Error::KeyUnusable("new certificate"))?;
    Ok(plan(case, leaf, pair, Some(why)))
}

/// When the next CA comes to be trusted, each service gets a certificate that comes with it, still of the CA that signs:
/// a pod that is seen to serve it has been given the new `ca.crt` too.
fn is_to_show_trust(case: &Case<'_>, stage: &Stage, found: &TlsSecret) -> bool {
    let (Stage::Introduced(_), TlsSecret::Read(secret)) = (stage, found) else { return false };
    text(secret, "ca.crt").is_none_or(|trusted| trusted != case.keys.bundle)
}

fn is_of_previous(stage: &Stage, pair: &Pair) -> bool {
    matches!(stage, Stage::Switched(previous) if pki::signed(previous, &pair.certificate))
}

fn plan(case: &Case<'_>, leaf: Leaf, pair: Pair, issued: Option<IssueReason>) -> (Leaf, Plan) {
    let values = SecretValues::new(pair, &case.keys.bundle);
    let replaces_own = issued.is_some_and(|why| !why.is_fault());
    (leaf.clone(), Plan::Content(Content { values, seal: None, leaf, issued, replaces_own }))
}

/// RSA keys take seconds to make: off the reconcile threads.
async fn issue(
    case: &Case<'_>,
    names: Vec<String>,
    spec: PrivateKey,
    kept: Option<SecretString>,
) -> Result<Pair, Error> {
    let (keys, seconds, now) = (case.keys.clone(), life(case.service).as_secs(), case.now);
    tokio::task::spawn_blocking(move || {
        let Authority { ca, .. } = keys.authority.as_ref().ok_or(Error::KeyLost(CA_SECRET))?;
        ca.issue(&names, &spec, kept.as_ref(), seconds, now)
    })
    .await?
}

/// One that ends with its CA stays until then: the CA has no longer one to give, and each would be shorter than the one
/// before.
fn renew_at(service: &HardenedService, ca: &Ca, leaf: &Leaf) -> Timestamp {
    if leaf.not_after >= ca.not_after { leaf.not_after } else { renewal::renew_at(service, leaf) }
}

/// Whether it has the life that the spec asks for, or as much of that as its CA had left.
fn has_life(ca: &Ca, leaf: &Leaf, wanted: SignedDuration) -> bool {
    leaf.life() == wanted.as_secs() || (leaf.not_after >= ca.not_after && leaf.life() < wanted.as_secs())
}

fn expected(case: &Case<'_>, ca: &Ca) -> Digest {
    digest(&json!({
        "names": render::hosts::certificate_names(case.service, case.facts),
        "ca": case.keys.bundle,
        "key": private_key(case.service),
        "life": life(case.service).as_secs(),
        "plan": render::tls_secret(case.service).metadata,
        "id": ca.id,
    }))
}

fn status(case: &Case<'_>, ca: &Ca, leaf: &Leaf) -> TlsStatus {
    kept::status(leaf, Some(renew_at(case.service, ca, leaf)), format!("selfSigned/{}", ca.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(tls: &serde_json::Value) -> HardenedService {
        serde_json::from_value(json!({
            "metadata": {"name": "studio", "namespace": "team"},
            "spec": {"environment": "staging", "workload": {"image": "registry.example/studio:1"}, "tls": tls},
        }))
        .unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn leaf(serial: &str) -> Leaf {
        let (not_before, not_after) = (at(1_000_000), at(1_900_000));
        Leaf { not_before, not_after, serial: serial.into(), fingerprint: [7; 32] }
    }

    fn ca() -> Ca {
        Ca::read(&pki::new_ca(at(900_000)).unwrap()).unwrap()
    }

    #[test]
    fn one_that_ends_with_its_ca_is_not_renewed_before_and_has_the_life_that_could_be_had() {
        let (mut ca, hours) = (ca(), SignedDuration::from_hours);
        ca.not_after = at(1_900_000);
        assert_eq!(renew_at(&service(&json!({})), &ca, &leaf("40ffffab")), at(1_900_000));
        let lives = [hours(249), hours(250), hours(2160)].map(|wanted| has_life(&ca, &leaf("40"), wanted));
        assert_eq!(lives, [false, true, true], "it has 249 hours and 55 minutes");
    }

    #[test]
    fn the_life_that_a_certificate_was_issued_for_is_read_from_it() {
        assert_eq!(leaf("40").life(), 900_000 - 300);
    }
}
