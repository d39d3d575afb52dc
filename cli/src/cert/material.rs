//! What is looked at: certificates, the public half of a key, anchors. It reads bytes that it is given, judges nothing, and
//! quotes no byte of a key: the parsers' own words would.

use anyhow::{Result, bail, ensure};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::report::Connection;

/// Most certificates of a chain; public ones have two to four. Each is compared with each.
const MOST: usize = 16;

/// Everything that `examine` judges.
pub struct Material {
    pub target: String,
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Option<Key>,
    pub anchors: Option<Anchors>,
    /// The name by which clients reach the server.
    pub name: Option<ServerName<'static>>,
    pub connection: Option<Connection>,
}

/// A private key, of which only the public half is kept.
pub struct Key {
    /// Where it is, for the reader.
    pub place: String,
    pub half: Half,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Half {
    /// The bits of the public key.
    Public(Vec<u8>),
    /// A passphrase protects it.
    Encrypted,
    /// Broken, more than one, or of a kind that TLS does not use.
    Unusable,
    /// The file could not be read, and why.
    Unread(String),
}

/// What a client trusts.
pub struct Anchors {
    /// Where they are, for the reader.
    pub place: String,
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The certificates of a PEM file, in its order.
pub fn certificates(place: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = sections(place, bytes)?
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| CertificateDer::from(der))
        .collect();
    if found.is_empty() {
        bail!("{place} holds no certificate in PEM; convert one from DER with: openssl x509 -inform der");
    }
    Ok(found)
}

/// Refuses what is no chain, but a whole store.
pub fn chain(place: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let chain = certificates(place, bytes)?;
    must_be_short(place, &chain)?;
    Ok(chain)
}

pub fn must_be_short(place: &str, chain: &[CertificateDer<'_>]) -> Result<()> {
    let count = chain.len();
    ensure!(count <= MOST, "{place} has {count} certificates, more than the {MOST} of the longest chain");
    Ok(())
}

/// The key of a PEM file; none when there is none.
pub fn key(place: &str, bytes: &[u8]) -> Option<Key> {
    let found = |half| Some(Key { place: place.into(), half });
    // RFC 7468 has a label of its own for it, the older form a header that the parser does not take.
    let text = String::from_utf8_lossy(bytes);
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return found(Half::Encrypted);
    }
    let Ok(sections) = sections(place, bytes) else { return found(Half::Unusable) };
    let keys: Vec<_> = sections
        .into_iter()
        .filter_map(|(kind, der)| match kind {
            SectionKind::PrivateKey => Some(PrivateKeyDer::Pkcs8(der.into())),
            SectionKind::RsaPrivateKey => Some(PrivateKeyDer::Pkcs1(der.into())),
            SectionKind::EcPrivateKey => Some(PrivateKeyDer::Sec1(der.into())),
            _ => None,
        })
        .collect();
    match keys.as_slice() {
        [] => None,
        [key] => found(public_half(key).map_or(Half::Unusable, Half::Public)),
        _ => found(Half::Unusable),
    }
}

fn sections(place: &str, bytes: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| anyhow::anyhow!("{place} is broken PEM; put it there anew"))
}

/// As a server loads it.
fn public_half(key: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    let key = any_supported_type(key).ok()?;
    let info = key.public_key()?;
    let (_, info) = SubjectPublicKeyInfo::from_der(info.as_ref()).ok()?;
    Some(info.subject_public_key.data.to_vec())
}

#[cfg(test)]
#[path = "material_tests.rs"]
mod tests;
