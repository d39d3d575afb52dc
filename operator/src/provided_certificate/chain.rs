//! The chain from the leaf to what clients trust: each certificate signed by the next, in this order.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::jiff::Timestamp;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_parser::prelude::X509Certificate;

use super::{Check, Failure, Parsed, Wanted, fail, leaf};

/// The path from the leaf upwards, as far as it goes.
pub struct Built {
    /// Indexes into the chain; never empty.
    path: Vec<usize>,
    /// Indexes into `ca.crt` of those in which the path ends.
    ends: Vec<usize>,
}

impl Built {
    /// The leaf is the certificate of the key, or the first.
    pub fn new(parsed: &Parsed<'_>) -> Self {
        let chain = &parsed.chain;
        let leaf = chain.iter().position(|certificate| parsed.is_keys(certificate)).unwrap_or(0);
        let mut path = vec![leaf];
        let mut last = leaf;
        while !signed(&chain[last], &chain[last]) {
            // As it stands in the file, first of all.
            let mut others = (last + 1..chain.len()).chain(0..last);
            let Some(next) = others.find(|i| !path.contains(i) && signed(&chain[last], &chain[*i])) else {
                break;
            };
            path.push(next);
            last = next;
        }
        let ends = |authority: &X509Certificate<'_>| {
            path.iter().any(|i| authority.as_raw() == chain[*i].as_raw() || signed(&chain[*i], authority))
        };
        let ends = (0..parsed.ca.len()).filter(|i| ends(&parsed.ca[*i])).collect();
        Self { path, ends }
    }

    /// The leaf.
    pub fn leaf<'p, 'a>(&self, parsed: &'p Parsed<'a>) -> &'p X509Certificate<'a> {
        &parsed.chain[self.path[0]]
    }

    /// The certificates of the chain, and of `ca.crt` the one in which it ends; of several the one that lives longest.
    pub fn everybody<'p, 'a>(&self, parsed: &'p Parsed<'a>) -> impl Iterator<Item = &'p X509Certificate<'a>> {
        let ends = self.ends.iter().map(|i| &parsed.ca[*i]);
        parsed.chain.iter().chain(ends.max_by_key(|end| end.validity().not_after.timestamp()))
    }

    /// What clients should trust: `ca.crt` if there is one, else the last of the chain.
    pub fn anchors<'p, 'a>(&self, parsed: &'p Parsed<'a>) -> impl Iterator<Item = &'p X509Certificate<'a>> {
        let last = parsed.ca.is_empty().then(|| self.path.last().map(|i| &parsed.chain[*i])).flatten();
        parsed.ca.iter().chain(last)
    }
}

/// The checks `order` and `chain`.
pub fn failures(parsed: &Parsed<'_>, built: &Built) -> Vec<Failure> {
    let (chain, path) = (&parsed.chain, &built.path);
    let mut failures = Vec::new();
    if path.len() == chain.len() && !path.is_sorted() {
        let order: Vec<_> = path.iter().map(|i| (i + 1).to_string()).collect();
        let message = format!(
            "the certificates of tls.crt are out of order; put the leaf first and after each one its issuer: {}",
            order.join(", ")
        );
        failures.push(fail(Check::Order, message));
    }
    let last = path[path.len() - 1];
    if let Some(stray) = (0..chain.len()).find(|i| !path.contains(i)) {
        let message = format!(
            "{} of tls.crt is not signed by any other of it, so that {} is no part of its chain; add what is missing between them, or remove the latter",
            name(chain, last),
            name(chain, stray)
        );
        failures.push(fail(Check::Chain, message));
    } else if let Some(weak) = path[1..].iter().find(|i| !may_sign(&chain[**i])) {
        let message = format!(
            "{} of tls.crt is not allowed to sign certificates (basicConstraints CA, keyUsage keyCertSign); use its issuer's real one",
            name(chain, *weak)
        );
        failures.push(fail(Check::Chain, message));
    } else if !parsed.ca.is_empty() && built.ends.is_empty() {
        let message =
            format!("{} of tls.crt is not signed by any of ca.crt; put its issuer there", name(chain, last));
        failures.push(fail(Check::Chain, message));
    } else if parsed.ca.is_empty() && path.len() == 1 && !signed(&chain[last], &chain[last]) {
        let message = format!(
            "{} is not self-signed, and neither tls.crt nor ca.crt holds its issuer ({}), which clients must trust; add it as ca.crt",
            name(chain, last),
            short(&chain[last].issuer().to_string())
        );
        failures.push(fail(Check::Chain, message));
    }
    failures
}

/// What a client says that knows nothing but the anchors: path lengths, name constraints and whatever else it looks at.
pub fn as_client(parsed: &Parsed<'_>, built: &Built, wanted: &Wanted, now: Timestamp) -> Option<Failure> {
    let refused = |why: String| {
        let message =
            format!("a TLS client that trusts the end of the chain refuses it: {why}; have it issued anew");
        Some(fail(Check::Chain, message))
    };
    let der = |certificate: &X509Certificate<'_>| CertificateDer::from(certificate.as_raw().to_vec());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(built.anchors(parsed).map(der));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() {
        Ok(verifier) => verifier,
        Err(error) => return refused(error.to_string()),
    };
    let chain: Vec<_> = parsed.chain.iter().map(der).collect();
    let now = UnixTime::since_unix_epoch(now.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs());
    wanted.client_names.iter().find_map(|host| {
        let Ok(name) = ServerName::try_from(host.as_str()) else {
            return refused(format!("{host} is no DNS name"));
        };
        let answer = verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now);
        answer.err().and_then(|error| refused(error.to_string()))
    })
}

/// As PEM.
pub fn pem<'p, 'a: 'p>(certificates: impl Iterator<Item = &'p X509Certificate<'a>>) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let base64 = BASE64_STANDARD.encode(certificate.as_raw());
        for line in base64.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// Whether one certificate is signed by another. What check `algorithm` refuses anyway cannot be verified here, and is
/// no fault of the chain.
fn signed(certificate: &X509Certificate<'_>, by: &X509Certificate<'_>) -> bool {
    let unverifiable = || leaf::weak_signature(certificate).is_some() || leaf::weak_key(by).is_some();
    certificate.issuer().as_raw() == by.subject().as_raw()
        && (certificate.verify_signature(Some(by.public_key())).is_ok() || unverifiable())
}

fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    certificate.is_ca()
        && !matches!(certificate.key_usage(), Ok(Some(usage)) if !usage.value.key_cert_sign())
        && certificate.key_usage().is_ok()
}

/// `certificate 2 (CN=Example CA)`.
pub fn name(chain: &[X509Certificate<'_>], index: usize) -> String {
    format!("certificate {} ({})", index + 1, short(&chain[index].subject().to_string()))
}

/// A name that somebody else chose, as a message can carry it.
fn short(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
