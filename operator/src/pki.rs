//! Certificates: the operator's CA, leaves from it, and whether a given pair is still good. No requests, no clock.

use std::fmt::Write;

use crds::{KeyAlgorithm, PrivateKey};
use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, RsaKeySize, SerialNumber,
};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use x509_parser::{
    extensions::GeneralName, oid_registry, pem::parse_x509_pem, prelude::X509Certificate,
    x509::SubjectPublicKeyInfo,
};

mod reason;

pub use reason::IssueReason;

use crate::error::Error;

/// Life of the CA. A leaf lives at most 825 days, less than a quarter of it.
const CA_DAYS: i64 = 3650;
/// notBefore lies this far back, for clients whose clock is slow.
const BACKDATE_SECONDS: i64 = 300;

/// The operator's CA; no Debug.
pub struct Ca {
    /// The certificate (PEM), as clients get it.
    pub pem: String,
    /// The first 16 hex digits of the SHA-256 of its public key.
    pub id: String,
    /// Start of its life.
    pub not_before: Timestamp,
    /// End of its life. No certificate of it lives longer.
    pub not_after: Timestamp,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key; no Debug.
pub struct Pair {
    /// The certificate (PEM).
    pub certificate: String,
    /// The private key (PEM, PKCS#8).
    pub key: SecretString,
}

/// What status says of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Start of its life.
    pub not_before: Timestamp,
    /// End of its life.
    pub not_after: Timestamp,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
}

/// SHA-256 of a certificate (DER).
pub type Fingerprint = [u8; 32];

impl Leaf {
    /// The life that it was issued for, in seconds.
    pub fn life(&self) -> i64 {
        self.not_after.as_second() - self.not_before.as_second() - BACKDATE_SECONDS
    }
}

/// A new CA: its certificate and its key (PEM).
pub fn new_ca(now: Timestamp) -> Result<Pair, Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("hardened-operator CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = lifetime(now, CA_DAYS * 86_400)?;
    params.serial_number = Some(serial()?);
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem().into() })
}

impl Ca {
    /// Reads certificate and key, and checks that they belong together.
    pub fn read(pair: &Pair) -> Option<Self> {
        let key = KeyPair::from_pem(pair.key.expose_secret()).ok()?;
        let der = parse_x509_pem(pair.certificate.as_bytes()).ok()?.1.contents;
        let certificate = parse(&der)?;
        let public_key = certificate.public_key().raw;
        if public_key != key.subject_public_key_info() {
            return None;
        }
        let id = hex(&sha256(public_key)[..8]);
        let (not_before, not_after) = life(&certificate)?;
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate, key).ok()?;
        Some(Self { pem: pair.certificate.clone(), id, not_before, not_after, der, issuer })
    }

    /// A new certificate for exactly these names, which ends with the CA at the latest. `key` is kept when given.
    pub fn issue(
        &self,
        names: &[String],
        spec: &PrivateKey,
        key: Option<&SecretString>,
        seconds: i64,
        now: Timestamp,
    ) -> Result<Pair, Error> {
        let key = key_for(spec, key)?;
        let mut params = CertificateParams::new(names)?;
        // CN holds 64 bytes at most and no client reads it; the names stand in the SANs.
        params.distinguished_name = common_name("hardened-service");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let left = self.not_after.as_second() - now.as_second();
        (params.not_before, params.not_after) = lifetime(now, seconds.min(left))?;
        params.serial_number = Some(serial()?);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem().into() })
    }

    /// Whether this pair is from us, for exactly these names and of this kind (any without one); content decides, never
    /// annotations (C5).
    pub fn examine(
        &self,
        certificate: &str,
        key: &SecretString,
        names: &[String],
        spec: Option<&PrivateKey>,
    ) -> Result<Leaf, IssueReason> {
        let (rest, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|_| IssueReason::Unparsable)?;
        // Exactly one certificate: what follows it would be served as its chain.
        if !rest.iter().all(u8::is_ascii_whitespace) {
            return Err(IssueReason::Unparsable);
        }
        let leaf = parse(&pem.contents).ok_or(IssueReason::Unparsable)?;
        let key = KeyPair::from_pem(key.expose_secret()).map_err(|_| IssueReason::Unparsable)?;
        if leaf.public_key().raw != key.subject_public_key_info() {
            return Err(IssueReason::KeyMismatch);
        }
        if !is_signed_by(&leaf, &self.der) {
            return Err(IssueReason::WrongIssuer);
        }
        if !carries_exactly(&leaf, names) {
            return Err(IssueReason::NamesChanged);
        }
        if spec.is_some_and(|spec| !of_kind(leaf.public_key(), spec)) {
            return Err(IssueReason::KeyTypeChanged);
        }
        let (not_before, not_after) = life(&leaf).ok_or(IssueReason::Unparsable)?;
        let (serial, fingerprint) = (hex(leaf.raw_serial()), sha256(&pem.contents));
        Ok(Leaf { not_before, not_after, serial, fingerprint })
    }
}

/// A request (PEM) for exactly these names, and its key. `key` is kept when given.
pub fn request(
    names: &[String],
    spec: &PrivateKey,
    key: Option<&SecretString>,
) -> Result<(SecretString, String), Error> {
    let key = key_for(spec, key)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = common_name(names.first().map_or("hardened-service", String::as_str));
    let request = params.serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem().into(), request))
}

/// Whether the key of this certificate (PEM) is of this kind.
pub fn is_of_kind(certificate: &str, spec: &PrivateKey) -> bool {
    let pem = parse_x509_pem(certificate.as_bytes());
    pem.is_ok_and(|(_, pem)| parse(&pem.contents).is_some_and(|leaf| of_kind(leaf.public_key(), spec)))
}

/// Whether this certificate (PEM) is a root.
pub fn is_self_issued(certificate: &str) -> bool {
    let pem = parse_x509_pem(certificate.as_bytes());
    pem.is_ok_and(|(_, pem)| {
        parse(&pem.contents).is_some_and(|c| c.subject().as_raw() == c.issuer().as_raw())
    })
}

/// Whether this CA (PEM) signed this certificate (PEM).
pub fn signed(ca: &str, certificate: &str) -> bool {
    let der = |pem: &str| parse_x509_pem(pem.as_bytes()).map(|(_, pem)| pem.contents);
    let (Ok(ca), Ok(leaf)) = (der(ca), der(certificate)) else { return false };
    parse(&leaf).is_some_and(|leaf| is_signed_by(&leaf, &ca))
}

fn is_signed_by(leaf: &X509Certificate<'_>, ca: &[u8]) -> bool {
    parse(ca).is_some_and(|ca| {
        leaf.issuer().as_raw() == ca.subject().as_raw()
            && leaf.verify_signature(Some(ca.public_key())).is_ok()
    })
}

fn life(certificate: &X509Certificate<'_>) -> Option<(Timestamp, Timestamp)> {
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((at(certificate.validity().not_before)?, at(certificate.validity().not_after)?))
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Fingerprint {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate)
}

fn carries_exactly(leaf: &X509Certificate<'_>, names: &[String]) -> bool {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else { return false };
    let mut found = Vec::new();
    for name in &extension.value.general_names {
        let GeneralName::DNSName(name) = name else { return false };
        found.push(*name);
    }
    let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    found == wanted
}

fn of_kind(key: &SubjectPublicKeyInfo<'_>, spec: &PrivateKey) -> bool {
    let bits = key.parsed().map_or(0, |k| k.key_size());
    let algorithm = &key.algorithm.algorithm;
    match (spec.algorithm.unwrap_or_default(), spec.size) {
        (KeyAlgorithm::ECDSA, size) => {
            let curve = key.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
            let wanted =
                if size == Some(384) { oid_registry::OID_NIST_EC_P384 } else { oid_registry::OID_EC_P256 };
            *algorithm == oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(wanted)
        }
        (KeyAlgorithm::Ed25519, _) => *algorithm == oid_registry::OID_SIG_ED25519,
        (KeyAlgorithm::RSA, size) => {
            *algorithm == oid_registry::OID_PKCS1_RSAENCRYPTION
                && i32::try_from(bits).ok() == Some(size.unwrap_or(3072))
        }
    }
}

fn key_for(spec: &PrivateKey, kept: Option<&SecretString>) -> Result<KeyPair, rcgen::Error> {
    kept.map_or_else(|| new_key(spec), |pem| KeyPair::from_pem(pem.expose_secret()))
}

fn new_key(spec: &PrivateKey) -> Result<KeyPair, rcgen::Error> {
    match (spec.algorithm.unwrap_or_default(), spec.size) {
        (KeyAlgorithm::ECDSA, Some(384)) => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        (KeyAlgorithm::ECDSA, _) => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        (KeyAlgorithm::Ed25519, _) => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        (KeyAlgorithm::RSA, size) => {
            let size = match size {
                Some(2048) => RsaKeySize::_2048,
                Some(4096) => RsaKeySize::_4096,
                _ => RsaKeySize::_3072,
            };
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size)
        }
    }
}

fn lifetime(now: Timestamp, seconds: i64) -> Result<(OffsetDateTime, OffsetDateTime), Error> {
    let at = |second: i64| OffsetDateTime::from_unix_timestamp(second).map_err(|_| rcgen::Error::Time);
    Ok((at(now.as_second() - BACKDATE_SECONDS)?, at(now.as_second() + seconds)?))
}

/// 127 random bits: positive in DER and unpredictable (CA/Browser Forum Baseline Requirements 7.1).
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CommonName, name);
    dn
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[path = "pki_tests.rs"]
mod tests;
