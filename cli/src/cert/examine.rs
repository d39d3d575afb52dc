//! Judges what was read. Pure: no files, no network, no clock.

use std::net::IpAddr;

use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::algorithm::{GOOD_KEYS, Key as PublicKey, Signature};
use super::chain::Chain;
use super::material::{Half, Key, Material};
use super::report::{
    Certificate, Check, Finding, Name, PrivateKey, Report, Trust, days_ago, ends, numbered, shown,
};
use super::{fingerprint, minute, trust};

/// Everything that is wrong, and everything else that was seen.
pub fn examine(material: &Material, now: Timestamp) -> Result<Report> {
    let half = material.key.as_ref().and_then(|key| match &key.half {
        Half::Public(half) => Some(half.as_slice()),
        _ => None,
    });
    let chain = Chain::new(parse(material)?, half);
    let name = material.name.as_ref().map(|name| (name, trust::name(&chain, name)));
    let trust = material.anchors.as_ref().map(|anchors| (anchors, trust::trust(&chain, anchors, now)));
    let mut findings = of_material(material, &chain, now);
    findings.extend(name.iter().filter_map(|(_, finding)| finding.clone()));
    findings.extend(trust.iter().filter_map(|(_, (_, finding))| finding.clone()));
    findings.sort_by_key(|finding| finding.check);
    Ok(Report {
        target: material.target.clone(),
        ok: findings.is_empty(),
        findings,
        connection: material.connection.clone(),
        certificates: (0..chain.certificates.len()).map(|index| certificate(&chain, index, now)).collect(),
        private_key: material.key.as_ref().map(|key| private_key(key, &chain)),
        name: name.map(|(name, finding)| Name { name: name.to_str().into(), covered: finding.is_none() }),
        trust: trust.map(|(anchors, (trusted, _))| Trust { anchors: anchors.place.clone(), trusted }),
    })
}

/// What is wrong, besides the name and the trust.
fn of_material(material: &Material, chain: &Chain<'_>, now: Timestamp) -> Vec<Finding> {
    let mut findings = chain.findings();
    for index in 0..chain.certificates.len() {
        findings.extend(expiry(chain, index, now));
        findings.extend(weak(chain, index));
    }
    let error = material.connection.as_ref().and_then(|connection| connection.error.as_deref());
    findings.extend(error.map(handshake));
    findings.extend(material.key.as_ref().and_then(|key| key_match(key, chain)));
    let expired = |anchors| trust::expired_anchor(chain, anchors, now);
    findings.extend(material.anchors.as_ref().and_then(expired));
    findings
}

fn parse(material: &Material) -> Result<Vec<X509Certificate<'_>>> {
    let parse = |(index, der)| {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Some(certificate),
            _ => None,
        }
        .with_context(|| format!("certificate {} of {} is broken", index + 1, material.target))
    };
    material.chain.iter().map(AsRef::as_ref).enumerate().map(parse).collect()
}

fn certificate(chain: &Chain<'_>, index: usize, now: Timestamp) -> Certificate {
    let certificate = &chain.certificates[index];
    let link = chain.links[index];
    Certificate {
        subject: shown(&certificate.subject().to_string()),
        issuer: shown(&certificate.issuer().to_string()),
        signed_by: link.map(|link| link.by + 1),
        signature_verified: link.is_some_and(|link| link.verified),
        authority: certificate.is_ca(),
        names: names(certificate),
        serial: certificate.raw_serial_as_string(),
        not_before: begins(certificate),
        not_after: ends(certificate),
        days_left: (ends(certificate).as_second() - now.as_second()).div_euclid(86_400),
        key: PublicKey::of(certificate.public_key()),
        signature: Signature::of(certificate).name,
        sha256: fingerprint(certificate.as_raw()),
    }
}

/// What the certificate is for.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let all = extension.iter().flat_map(|extension| &extension.value.general_names);
    all.map(|name| match name {
        GeneralName::DNSName(name) => shown(name),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => IpAddr::from(v4).to_string(),
            (_, Ok(v6)) => IpAddr::from(v6).to_string(),
            _ => "a broken address".into(),
        },
        other => shown(&other.to_string()),
    })
    .collect()
}

fn begins(certificate: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_second(certificate.validity().not_before.timestamp()).unwrap_or(Timestamp::MIN)
}

fn expiry(chain: &Chain<'_>, index: usize, now: Timestamp) -> Option<Finding> {
    let (begin, end) = (begins(&chain.certificates[index]), ends(&chain.certificates[index]));
    let name = numbered(&chain.certificates, index);
    // notAfter itself is still within.
    if now.as_second() > end.as_second() {
        let problem = format!("{name} {}", days_ago(end, now));
        return Some(Finding::new(Check::Expiry, problem, "put a new certificate there"));
    }
    let problem = format!("{name} begins only on {}", minute(begin));
    let fix = "wait, put one there that is valid already, or set this machine's clock";
    (now < begin).then(|| Finding::new(Check::Expiry, problem, fix))
}

fn weak(chain: &Chain<'_>, index: usize) -> Option<Finding> {
    let certificate = &chain.certificates[index];
    let (key, signature) = (PublicKey::of(certificate.public_key()), Signature::of(certificate));
    let name = numbered(&chain.certificates, index);
    if !key.good {
        let problem = format!("{name} has a key that clients refuse ({})", key.words());
        return Some(Finding::new(Check::Algorithm, problem, format!("make a key of {GOOD_KEYS}")));
    }
    // Nobody verifies how a root signed itself.
    let root = certificate.is_ca() && certificate.subject().as_raw() == certificate.issuer().as_raw();
    let problem = format!("{name} has a signature that clients refuse ({})", signature.name);
    (!root && !signature.good)
        .then(|| Finding::new(Check::Algorithm, problem, "have it issued with SHA-256 or SHA-384"))
}

fn handshake(error: &str) -> Finding {
    let problem = format!("the handshake did not come to its end: {error}");
    let fix =
        "look at the server's log; it may have another key than its certificate, or ask clients for one";
    Finding::new(Check::Handshake, problem, fix)
}

fn matches(key: &Key, chain: &Chain<'_>) -> Option<bool> {
    let Half::Public(half) = &key.half else { return None };
    Some(*half == *chain.leaf().public_key().subject_public_key.data)
}

fn private_key(key: &Key, chain: &Chain<'_>) -> PrivateKey {
    let words = match (&key.half, matches(key, chain)) {
        (Half::Encrypted, _) => "encrypted, not compared".into(),
        (Half::Unusable, _) => "cannot be used".into(),
        (Half::Unread(why), _) => format!("not compared ({why})"),
        (Half::Public(_), Some(true)) => "the certificate's".into(),
        (Half::Public(_), _) => "not the certificate's".into(),
    };
    PrivateKey { place: key.place.clone(), matches: matches(key, chain), words }
}

fn key_match(key: &Key, chain: &Chain<'_>) -> Option<Finding> {
    let place = &key.place;
    let (problem, fix) = match &key.half {
        Half::Unread(_) => return None,
        Half::Encrypted => (
            format!("{place} is encrypted: it cannot be compared, and a server cannot load it alone"),
            "remove the passphrase with: openssl pkey -in FILE".to_owned(),
        ),
        // A key of a kind that no client accepts is the fault that `algorithm` tells.
        Half::Unusable if !PublicKey::of(chain.leaf().public_key()).good => return None,
        Half::Unusable => (
            format!("{place} is not exactly one private key that TLS uses"),
            format!("put one there in PEM (PKCS#8, PKCS#1 or SEC1): {GOOD_KEYS}"),
        ),
        Half::Public(_) if matches(key, chain) == Some(true) => return None,
        Half::Public(_) => (
            format!("the key of {place} is of no certificate here"),
            "put certificate and key of one pair there, or name the right key with --key FILE".into(),
        ),
    };
    Some(Finding::new(Check::KeyMatch, problem, fix))
}

#[cfg(test)]
#[path = "examine_tests.rs"]
mod tests;
