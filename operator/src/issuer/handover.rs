//! Trust in the issuer before. Clients read `ca.crt` from the API server at once, the pods their new pair up to a minute and
//! a half later: so what the issuer before signed with stays trusted until each ready pod serves the new certificate.
//!
//! What is kept comes from the operator's own TLS Secret only. The longer bundle carries a seal, so that the next pass,
//! also of another operator, knows it from one that somebody wrote; no other memory of it exists.

use std::time::Duration;

use kube::ResourceExt;
use render::{Kind, Problem};

use super::{Case, Certificate, Plan, kept, text};
use crate::{
    error::Error, observe::TlsSecret, ownership::is_ours, pki::Fingerprint, refusal::Refusal, served,
};

/// How often pods that are waited for are looked at.
const LOOK: Duration = Duration::from_secs(3);
/// Certificates of issuers before that are kept at most, should the issuer change again and again meanwhile.
const KEPT: usize = 64;
const END: &str = "-----END CERTIFICATE-----";

/// A bundle that is longer than the issuer's, and how the operator knows it again.
pub struct Longer {
    /// Certificates (PEM): those that are kept, and then the issuer's.
    pub bundle: String,
    /// Stands in an annotation beside it.
    pub seal: String,
}

/// Keeps trusted what pods that have not read their new pair yet need.
pub async fn keep_trust(case: &Case<'_>, mut certificate: Certificate) -> Result<Certificate, Error> {
    let sealed = sealed_bundle(case);
    let before = [sealed.clone(), replaced_bundle(case, &certificate)].map(Option::unwrap_or_default);
    let bundle = longer(&before.concat(), &certificate.ca_bundle);
    let waits = if bundle == certificate.ca_bundle {
        // Where the issuer knows no better than what is published, that may be a longer one already.
        sealed.is_some_and(|sealed| sealed == bundle).then_some(None)
    } else {
        waits_for(case, &certificate).await?
    };
    match waits {
        Some(warning) => {
            certificate.longer = Some(Longer { seal: seal(case, &bundle), bundle });
            certificate.warning = certificate.warning.or(warning);
            let look = case.now.checked_add(LOOK).ok();
            certificate.again = certificate.again.into_iter().chain(look).min();
        }
        // After a restart no target is remembered, and the shorter bundle would be taken for drift.
        None if bundle != certificate.ca_bundle => expect_change(case),
        None => {}
    }
    Ok(certificate)
}

fn expect_change(case: &Case<'_>) {
    case.ctx.cache.expect_change(Kind::ConfigMap, &case.key.namespace, &child(case));
}

/// Whether a ready pod still serves another certificate, and why that cannot be seen.
async fn waits_for(case: &Case<'_>, certificate: &Certificate) -> Result<Option<Option<Problem>>, Error> {
    let Some(wanted) = fingerprint(certificate) else { return Ok(Some(None)) };
    let host = render::hosts::certificate_names(case.service, case.facts).swap_remove(0);
    let server = (&*host, render::https_port(case.service));
    match served::everywhere(case.ctx, case.key, server, &wanted).await {
        Ok(Ok(())) => Ok(None),
        Ok(Err(why)) => {
            tracing::debug!(why, "the issuer before stays trusted");
            Ok(Some(None))
        }
        Err(Error::Api(error)) if let Some(refusal) = Refusal::of_error(&error) => {
            Ok(Some(Some(refusal.problem())))
        }
        Err(error) => Err(error),
    }
}

/// Of the certificate that the TLS Secret has or gets.
fn fingerprint(certificate: &Certificate) -> Option<Fingerprint> {
    match (&certificate.plan, &certificate.found) {
        (Plan::Content(content), _) => Some(content.leaf.fingerprint),
        (Plan::Keep(_), TlsSecret::Known(note)) => note.leaf.as_ref().map(|leaf| leaf.fingerprint),
        _ => None,
    }
}

/// What clients need for the operator's own pair that is about to be replaced.
fn replaced_bundle(case: &Case<'_>, certificate: &Certificate) -> Option<String> {
    let (Plan::Content(_), TlsSecret::Read(secret)) = (&certificate.plan, &certificate.found) else {
        return None;
    };
    let differs = text(secret, "ca.crt").is_some_and(|old| old != certificate.ca_bundle);
    differs.then(|| kept::own_content(case, secret)).flatten().map(|own| own.ca_bundle)
}

/// The published bundle, if this operator made it longer than the issuer says.
fn sealed_bundle(case: &Case<'_>) -> Option<String> {
    let map = case.ctx.cache.get(Kind::ConfigMap, &case.key.namespace, &child(case))?;
    let bundle =
        map.data.pointer("/data/ca.crt")?.as_str().filter(|_| is_ours(&map.metadata, case.service))?;
    let found = map.annotations().get(crds::SEAL_ANNOTATION)?;
    (*found == seal(case, bundle)).then(|| bundle.to_owned())
}

/// Of this bundle for this service, and as long as the operator's CA is this one: another CA may have come in an
/// emergency, and then the old one must not be trusted a moment longer.
fn seal(case: &Case<'_>, bundle: &str) -> String {
    let ca = case.keys.authority.as_ref().map(|authority| &*authority.ca.id).unwrap_or_default();
    case.keys.seal_bundle(case.service.metadata.uid.as_deref().unwrap_or_default(), bundle, ca)
}

fn child(case: &Case<'_>) -> String {
    render::child_name(&case.key.name, "ca")
}

/// The bundle with those before it that it lacks, the oldest first.
fn longer(before: &str, bundle: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for pem in before.split_inclusive(END).map(str::trim).filter(|pem| pem.ends_with(END)) {
        if !bundle.contains(pem) && !kept.contains(&pem) {
            kept.push(pem);
        }
    }
    let from = kept.len().saturating_sub(KEPT);
    let kept = kept[from..].iter().flat_map(|pem| [*pem, "\n"]);
    kept.chain([bundle]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(name: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{name}\n{END}\n")
    }

    #[test]
    fn the_bundle_begins_with_what_it_lacks_once_and_ends_as_the_issuer_has_it() {
        let [a, b, c] = ["a", "b", "c"].map(pem);
        assert_eq!(longer("", &b), b);
        assert_eq!(longer(&b, &b), b);
        assert_eq!(longer(&format!("{a}{b}{a}"), &format!("{b}{c}")), format!("{a}{b}{c}"));
        assert_eq!(longer(a.trim_end(), &c), format!("{a}{c}"), "without a line's end");
        assert_eq!(longer("no certificate", &c), c);
    }

    #[test]
    fn however_often_the_issuer_changes_meanwhile_the_bundle_ends_with_the_newest() {
        let all: Vec<_> = (0..100).map(|number| pem(&number.to_string())).collect();
        assert_eq!(longer(&all.concat(), &pem("last")), format!("{}{}", all[36..].concat(), pem("last")));
    }
}
