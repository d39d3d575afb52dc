//! Checks of single certificates: key, names, life, algorithms, usage.

use k8s_openapi::jiff::Timestamp;
use render::hosts::allowed;
use x509_parser::{
    extensions::GeneralName,
    oid_registry::{self as oid, Oid},
    prelude::X509Certificate,
    public_key::PublicKey,
    signature_algorithm::SignatureAlgorithm,
};

use super::{
    Check, Failure, Parsed, Wanted,
    chain::{Built, name},
    day, fail,
};

/// Names that a message lists.
const SHOWN: usize = 4;
/// Sizes of RSA keys, in bits, that clients and the workload accept.
const RSA: std::ops::RangeInclusive<usize> = 2048..=8192;

impl Parsed<'_> {
    /// Whether the private key belongs to this certificate.
    pub fn is_keys(&self, certificate: &X509Certificate<'_>) -> bool {
        self.public_key.as_deref() == Some(&certificate.public_key().subject_public_key.data)
    }
}

/// `keyMatch`, and the part of `parsable` that needs to know the certificate.
pub fn key_match(parsed: &Parsed<'_>, built: &Built) -> Option<Failure> {
    let leaf = built.leaf(parsed);
    match parsed.public_key {
        Some(_) if parsed.is_keys(leaf) => None,
        Some(_) => Some(fail(
            Check::KeyMatch,
            "tls.key is not the key of any certificate in tls.crt; put the two of one pair there",
        )),
        // A key of a kind that no client accepts is the fault that `algorithm` tells.
        None if weak_key(leaf).is_some() => None,
        None => Some(fail(
            Check::Parsable,
            "tls.key is broken or of a kind that TLS does not use; use RSA (2048 bits or more), ECDSA P-256, P-384 or Ed25519",
        )),
    }
}

/// When the certificates live.
pub struct Life {
    /// The last begin.
    pub not_before: Timestamp,
    /// The first end.
    pub not_after: Timestamp,
    /// The next begin or end.
    pub until: Option<Timestamp>,
    /// The check `expiry`.
    pub failure: Option<Failure>,
}

impl Life {
    /// All of them must be valid.
    pub fn of<'p, 'a: 'p>(all: impl Iterator<Item = &'p X509Certificate<'a>>, now: Timestamp) -> Self {
        let mut life =
            Self { not_before: Timestamp::MIN, not_after: Timestamp::MAX, until: None, failure: None };
        for certificate in all {
            let at = |second: i64, else_: Timestamp| Timestamp::from_second(second).unwrap_or(else_);
            let begin = at(certificate.validity().not_before.timestamp(), Timestamp::MIN);
            let end = at(certificate.validity().not_after.timestamp(), Timestamp::MAX);
            life.not_before = life.not_before.max(begin);
            life.not_after = life.not_after.min(end);
            // notAfter itself is still within.
            let end = end.checked_add(k8s_openapi::jiff::SignedDuration::from_secs(1)).unwrap_or(end);
            let next = [begin, end].into_iter().filter(|time| now < *time);
            life.until = life.until.into_iter().chain(next).min();
            let who: String = certificate.subject().to_string().chars().take(80).collect();
            let message = if now >= end {
                format!("{who} ended on {}; put a new certificate there", day(end))
            } else if now < begin {
                format!("{who} begins only on {}; wait, or put one there that is valid already", day(begin))
            } else {
                continue;
            };
            life.failure.get_or_insert(fail(Check::Expiry, message));
        }
        life
    }
}

/// `names`: every name by which clients find the service, and none that the namespace may not use, because the workload
/// and the edge would answer for it.
pub fn names(leaf: &X509Certificate<'_>, wanted: &Wanted) -> Vec<Failure> {
    let (mut found, mut others) = (Vec::new(), Vec::new());
    let extension = leaf.subject_alternative_name().ok().flatten();
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => found.push(name.to_ascii_lowercase()),
            other => others.push(other.to_string()),
        }
    }
    let missing: Vec<_> = wanted.client_names.iter().filter(|host| !allowed(host, &found)).cloned().collect();
    others.extend(found.into_iter().filter(|name| !may_claim(name, wanted)));
    let mut failures = Vec::new();
    if !missing.is_empty() {
        let message = format!(
            "subjectAltName does not cover {}; have it issued with {}",
            list(&missing),
            if missing.len() == 1 { "this name" } else { "these names" }
        );
        failures.push(fail(Check::Names, message));
    }
    if !others.is_empty() {
        let message = format!(
            "subjectAltName claims {}, neither a name of the Service nor covered by the namespace's annotation {}; \
             have it issued without, or ask the platform to allow it",
            list(&others),
            crds::ALLOWED_HOSTS_ANNOTATION
        );
        failures.push(fail(Check::Names, message));
    }
    failures
}

/// A wildcard stands for one whole label (RFC 9525, 6.3).
fn may_claim(name: &str, wanted: &Wanted) -> bool {
    let whole = !name.strip_prefix("*.").unwrap_or(name).contains('*');
    whole && (wanted.own_names.iter().any(|own| own == name) || allowed(name, &wanted.allowed_hosts))
}

fn list(names: &[String]) -> String {
    let short = |name: &String| name.chars().filter(|c| !c.is_control()).take(80).collect::<String>();
    let shown: Vec<_> = names.iter().take(SHOWN).map(short).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// `algorithm`, of every certificate of the chain and of the one in which it ends.
pub fn algorithm(parsed: &Parsed<'_>, built: &Built) -> Option<Failure> {
    let weak = |(i, certificate): (usize, &X509Certificate<'_>)| {
        // Nobody verifies how a root signed itself.
        let root = certificate.is_ca() && certificate.subject().as_raw() == certificate.issuer().as_raw();
        let signature = if root { None } else { weak_signature(certificate) };
        let what = weak_key(certificate).or(signature)?;
        let who =
            parsed.chain.get(i).map_or_else(|| "the anchor in ca.crt".to_owned(), |_| name(&parsed.chain, i));
        Some(fail(Check::Algorithm, format!("{who} {what}")))
    };
    built.everybody(parsed).enumerate().find_map(weak)
}

/// What is wrong with the key of a certificate.
pub fn weak_key(certificate: &X509Certificate<'_>) -> Option<String> {
    let key = certificate.public_key();
    let kind = &key.algorithm.algorithm;
    let curve = || key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let advice = "use RSA of 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519";
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if *kind == oid::OID_PKCS1_RSAENCRYPTION => {
            let bits = rsa.key_size();
            (!RSA.contains(&bits)).then(|| format!("has an RSA key of {bits} bits; {advice}"))
        }
        Ok(PublicKey::EC(_)) if [Some(oid::OID_EC_P256), Some(oid::OID_NIST_EC_P384)].contains(&curve()) => {
            None
        }
        _ if *kind == oid::OID_SIG_ED25519 => None,
        _ => {
            Some(format!("has a key of another kind ({}); {advice}", curve().unwrap_or_else(|| kind.clone())))
        }
    }
}

/// What is wrong with the signature on a certificate.
pub fn weak_signature(certificate: &X509Certificate<'_>) -> Option<String> {
    const STRONG: [Oid<'_>; 6] = [
        oid::OID_PKCS1_SHA256WITHRSA,
        oid::OID_PKCS1_SHA384WITHRSA,
        oid::OID_PKCS1_SHA512WITHRSA,
        oid::OID_SIG_ECDSA_WITH_SHA256,
        oid::OID_SIG_ECDSA_WITH_SHA384,
        oid::OID_SIG_ED25519,
    ];
    const HASHES: [Oid<'_>; 3] =
        [oid::OID_NIST_HASH_SHA256, oid::OID_NIST_HASH_SHA384, oid::OID_NIST_HASH_SHA512];
    let algorithm = &certificate.signature_algorithm;
    let strong = STRONG.contains(&algorithm.algorithm)
        || matches!(SignatureAlgorithm::try_from(algorithm),
            Ok(SignatureAlgorithm::RSASSA_PSS(pss)) if HASHES.contains(pss.hash_algorithm_oid()));
    (!strong)
        .then(|| format!("is signed with {}; have it issued with SHA-256 or SHA-384", algorithm.algorithm))
}

/// `usage`: clients refuse a CA as a server, and a certificate for something else.
pub fn usage(leaf: &X509Certificate<'_>) -> Option<Failure> {
    let extended = leaf.extended_key_usage();
    let usage = leaf.key_usage();
    let what = if leaf.is_ca() {
        "the first certificate is a CA; have a leaf issued (with openssl req -x509: -addext basicConstraints=critical,CA:FALSE)"
    } else if !matches!(extended, Ok(None)) && !matches!(&extended, Ok(Some(e)) if e.value.server_auth) {
        "extendedKeyUsage lacks serverAuth; have it issued for a TLS server"
    } else if !matches!(usage, Ok(None)) && !matches!(&usage, Ok(Some(u)) if u.value.digital_signature()) {
        "keyUsage lacks digitalSignature; have it issued for a TLS server"
    } else {
        return None;
    };
    Some(fail(Check::Usage, what))
}

#[cfg(test)]
#[path = "leaf_tests.rs"]
mod tests;
