//! The checks of a certificate that somebody provides in a Secret. Pure: no requests, no clock; no check quotes a key.

mod chain;
mod leaf;
#[cfg(test)]
mod recipe;

use std::fmt;

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{
        PrivateKeyDer,
        pem::{PemObject, SectionKind},
    },
};
use secrecy::SecretString;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::pki::{Leaf, Pair, hex, sha256};

/// Largest `tls.crt` and `ca.crt`, and largest `tls.key`, in bytes.
const LARGEST: [usize; 2] = [64 * 1024, 16 * 1024];
/// Most certificates in `tls.crt` and in `ca.crt`. Public chains have two to four.
const MOST: [usize; 2] = [8, 32];
const TYPE: &str = "kubernetes.io/tls";

/// One check, by the name that conditions and events give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The Secret is of type `kubernetes.io/tls`.
    Type,
    /// No more bytes and certificates than a chain needs.
    Size,
    /// PEM certificates, and one private key that the workload can use.
    Parsable,
    /// The key is the first certificate's.
    KeyMatch,
    /// The leaf comes first, then each one's issuer.
    Order,
    /// Each is signed by the next, and clients find an anchor.
    Chain,
    /// Clients find the service by its names, and it claims no others.
    Names,
    /// Valid now.
    Expiry,
    /// Keys and signatures that clients accept.
    Algorithm,
    /// The leaf is a server's and no CA.
    Usage,
}

impl Check {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Size => "size",
            Self::Parsable => "parsable",
            Self::KeyMatch => "keyMatch",
            Self::Order => "order",
            Self::Chain => "chain",
            Self::Names => "names",
            Self::Expiry => "expiry",
            Self::Algorithm => "algorithm",
            Self::Usage => "usage",
        }
    }
}

/// A check that failed: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub check: Check,
    /// In words; never a secret.
    pub message: String,
}

/// Every check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// At least one.
    pub failures: Vec<Failure>,
    /// When time alone changes this.
    pub until: Option<Timestamp>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, failure) in self.failures.iter().enumerate() {
            let between = if i > 0 { ". " } else { "" };
            write!(out, "{between}check {}: {}", failure.check.as_str(), failure.message)?;
        }
        Ok(())
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failures: vec![failure], until: None }
    }
}

/// What the certificate is for.
pub struct Wanted {
    /// Names by which clients find the service: it must carry them.
    pub client_names: Vec<String>,
    /// Names that it may carry.
    pub own_names: Vec<String>,
    /// Patterns of further ones.
    pub allowed_hosts: Vec<String>,
}

/// A certificate that passed every check, with its key; no Debug.
pub struct Provided {
    /// Chain and key as they were provided.
    pub pair: Pair,
    /// What clients should trust (PEM): nothing but certificates, because it is published.
    pub ca_bundle: String,
    /// Its life ends with the first of the chain.
    pub leaf: Leaf,
    /// When time alone changes this.
    pub until: Option<Timestamp>,
}

/// The certificates and the public half of the key, parsed.
struct Parsed<'a> {
    chain: Vec<X509Certificate<'a>>,
    ca: Vec<X509Certificate<'a>>,
    /// The bits of the public key, when the key can be read.
    public_key: Option<Vec<u8>>,
}

/// Runs every check.
pub fn examine(secret: &Secret, wanted: &Wanted, now: Timestamp) -> Result<Provided, Refusal> {
    let [certificate, key, ca] = texts(secret)?;
    let chain = certificates("tls.crt", certificate, MOST[0])?;
    let authorities = if ca.is_empty() { Vec::new() } else { certificates("ca.crt", ca, MOST[1])? };
    let parsed = Parsed {
        chain: parse("tls.crt", &chain)?,
        ca: parse("ca.crt", &authorities)?,
        public_key: public_key(&private_key(key)?),
    };
    let built = chain::Built::new(&parsed);
    let life = leaf::Life::of(built.everybody(&parsed), now);
    let mut failures = chain::failures(&parsed, &built);
    failures.extend(leaf::key_match(&parsed, &built));
    failures.extend(leaf::names(built.leaf(&parsed), wanted));
    failures.extend(life.failure.clone());
    failures.extend(leaf::algorithm(&parsed, &built));
    failures.extend(leaf::usage(built.leaf(&parsed)));
    if failures.is_empty() {
        failures.extend(chain::as_client(&parsed, &built, wanted, now));
    }
    if !failures.is_empty() {
        failures.sort_by_key(|failure| failure.check);
        return Err(Refusal { failures, until: life.until });
    }
    let leaf = Leaf {
        not_before: life.not_before,
        not_after: life.not_after,
        serial: serial(built.leaf(&parsed)),
        // The order was checked: the leaf comes first.
        fingerprint: sha256(&chain[0]),
    };
    Ok(Provided {
        pair: Pair { certificate: certificate.to_owned(), key: SecretString::from(key) },
        ca_bundle: chain::pem(built.anchors(&parsed)),
        leaf,
        until: life.until,
    })
}

/// The first certificate of a chain, unchecked.
pub fn first(chain: &str) -> Option<Leaf> {
    let ders = certificates("tls.crt", chain, MOST[0]).ok()?;
    let parsed = parse("tls.crt", &ders).ok()?;
    let life = leaf::Life::of(parsed.iter(), Timestamp::UNIX_EPOCH);
    Some(Leaf {
        not_before: life.not_before,
        not_after: life.not_after,
        serial: serial(parsed.first()?),
        fingerprint: sha256(ders.first()?),
    })
}

/// A day as conditions and events show it.
pub fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A serial number has 20 bytes at most (RFC 5280); status has room for 32.
fn serial(certificate: &X509Certificate<'_>) -> String {
    let serial = certificate.raw_serial();
    hex(&serial[..serial.len().min(32)])
}

fn fail(check: Check, message: impl Into<String>) -> Failure {
    Failure { check, message: message.into() }
}

/// `tls.crt`, `tls.key` and `ca.crt` (empty without one) of a Secret of the right type and size.
fn texts(secret: &Secret) -> Result<[&str; 3], Failure> {
    let type_ = secret.type_.as_deref().unwrap_or("Opaque");
    if type_ != TYPE {
        let message = format!(
            "the Secret is of type {type_}, which cannot be changed; delete it and make it anew with: kubectl create secret tls"
        );
        return Err(fail(Check::Type, message));
    }
    let value = |key: &'static str, most: usize| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |value| &value.0);
        if bytes.len() > most {
            let message =
                format!("{key} has {} bytes, more than {most}; keep only what the chain needs", bytes.len());
            return Err(fail(Check::Size, message));
        }
        std::str::from_utf8(bytes).map_err(|_| {
            let message = format!(
                "{key} is no text; convert it from DER with: openssl x509 -inform der, or openssl pkey"
            );
            fail(Check::Parsable, message)
        })
    };
    Ok([value("tls.crt", LARGEST[0])?, value("tls.key", LARGEST[1])?, value("ca.crt", LARGEST[0])?])
}

/// The certificates of a PEM file that holds nothing else. What is in `ca.crt` is published: a private key that slipped
/// in must not be.
fn certificates(file: &str, text: &str, most: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let unreadable = || {
        fail(
            Check::Parsable,
            format!("{file} is not PEM; write each certificate as a block BEGIN CERTIFICATE"),
        )
    };
    let sections: Vec<_> = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| unreadable())?;
    if sections.is_empty() {
        return Err(unreadable());
    }
    let only = sections.iter().all(|(kind, _)| *kind == SectionKind::Certificate);
    // The parser passes over blocks that it does not know.
    if !only || text.matches("-----BEGIN ").count() != sections.len() {
        let message =
            format!("{file} holds something else than certificates; keep only blocks BEGIN CERTIFICATE");
        return Err(fail(Check::Parsable, message));
    }
    if sections.len() > most {
        let message = format!(
            "{file} has {} certificates, more than {most}; keep only what the chain needs",
            sections.len()
        );
        return Err(fail(Check::Size, message));
    }
    Ok(sections.into_iter().map(|(_, der)| der).collect())
}

fn parse<'a>(file: &str, ders: &'a [Vec<u8>]) -> Result<Vec<X509Certificate<'a>>, Failure> {
    let parse = |(i, der): (usize, &'a Vec<u8>)| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(fail(
            Check::Parsable,
            format!("certificate {} of {file} is broken; put it there anew", i + 1),
        )),
    };
    ders.iter().enumerate().map(parse).collect()
}

/// The one private key of `tls.key`. The parser's own message may quote a line of it.
fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, Failure> {
    if text.contains("ENCRYPTED") {
        let message = "tls.key is encrypted; remove the passphrase with: openssl pkey -in tls.key";
        return Err(fail(Check::Parsable, message));
    }
    let keys: Result<Vec<_>, _> = PrivateKeyDer::pem_slice_iter(text.as_bytes()).collect();
    let message = "tls.key is not exactly one private key in PEM (PKCS#8, PKCS#1 or SEC1); put it there anew";
    let only = keys.ok().and_then(|keys| <[_; 1]>::try_from(keys).ok());
    only.map(|[key]| key).ok_or_else(|| fail(Check::Parsable, message))
}

/// As the workload loads it.
fn public_key(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    let key = aws_lc_rs::sign::any_supported_type(key).ok()?;
    let info = key.public_key()?;
    let (_, info) = x509_parser::x509::SubjectPublicKeyInfo::from_der(info.as_ref()).ok()?;
    Some(info.subject_public_key.data.to_vec())
}

#[cfg(test)]
#[path = "provided_certificate_tests.rs"]
mod tests;
