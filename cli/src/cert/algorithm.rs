//! Keys and signatures: what they are called, and which of them clients refuse. Pure.

use serde::Serialize;
use x509_parser::oid_registry::{self as oid, Oid};
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// What a weak key is told; the operator's check of provided certificates accepts the same ones.
pub const GOOD_KEYS: &str = "RSA of 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519";
/// Sizes of RSA keys, in bits, that clients and the operator accept.
const RSA: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    pub algorithm: String,
    pub bits: usize,
    /// Whether clients accept it.
    #[serde(skip)]
    pub good: bool,
}

/// How a certificate is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    /// Whether clients accept it.
    pub good: bool,
}

impl Key {
    pub fn of(key: &SubjectPublicKeyInfo<'_>) -> Self {
        let kind = &key.algorithm.algorithm;
        let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        let named = |algorithm: &str, bits, good| Self { algorithm: algorithm.into(), bits, good };
        match key.parsed() {
            Ok(PublicKey::RSA(rsa)) if *kind == oid::OID_PKCS1_RSAENCRYPTION => {
                named("RSA", rsa.key_size(), RSA.contains(&rsa.key_size()))
            }
            Ok(PublicKey::EC(_)) if curve == Some(oid::OID_EC_P256) => named("ECDSA P-256", 256, true),
            Ok(PublicKey::EC(_)) if curve == Some(oid::OID_NIST_EC_P384) => named("ECDSA P-384", 384, true),
            Ok(PublicKey::EC(_)) if curve == Some(oid::OID_NIST_EC_P521) => named("ECDSA P-521", 521, false),
            _ if *kind == oid::OID_SIG_ED25519 => named("Ed25519", 256, true),
            parsed => {
                let bits = parsed.map_or(0, |key| key.key_size());
                named(&curve.unwrap_or_else(|| kind.clone()).to_string(), bits, false)
            }
        }
    }

    /// As a text shows it.
    pub fn words(&self) -> String {
        if self.algorithm == "RSA" { format!("RSA, {} bits", self.bits) } else { self.algorithm.clone() }
    }
}

impl Signature {
    pub fn of(certificate: &X509Certificate<'_>) -> Self {
        const KNOWN: [(Oid<'_>, &str, bool); 9] = [
            (oid::OID_PKCS1_SHA256WITHRSA, "RSA with SHA-256", true),
            (oid::OID_PKCS1_SHA384WITHRSA, "RSA with SHA-384", true),
            (oid::OID_PKCS1_SHA512WITHRSA, "RSA with SHA-512", true),
            (oid::OID_SIG_ECDSA_WITH_SHA256, "ECDSA with SHA-256", true),
            (oid::OID_SIG_ECDSA_WITH_SHA384, "ECDSA with SHA-384", true),
            (oid::OID_SIG_ED25519, "Ed25519", true),
            (oid::OID_PKCS1_SHA1WITHRSA, "RSA with SHA-1", false),
            (oid::OID_SHA1_WITH_RSA, "RSA with SHA-1", false),
            (oid::OID_PKCS1_MD5WITHRSAENC, "RSA with MD5", false),
        ];
        let algorithm = &certificate.signature_algorithm;
        if let Some((_, name, good)) = KNOWN.iter().find(|(id, ..)| *id == algorithm.algorithm) {
            return Self { name: (*name).into(), good: *good };
        }
        pss(algorithm).map_or_else(
            || Self { name: algorithm.algorithm.to_string(), good: false },
            |hash| Self { name: format!("RSA-PSS with {hash}"), good: true },
        )
    }
}

/// The hash, when it is one that clients accept.
fn pss(algorithm: &AlgorithmIdentifier<'_>) -> Option<&'static str> {
    let Ok(SignatureAlgorithm::RSASSA_PSS(pss)) = SignatureAlgorithm::try_from(algorithm) else {
        return None;
    };
    let hashes = [
        (oid::OID_NIST_HASH_SHA256, "SHA-256"),
        (oid::OID_NIST_HASH_SHA384, "SHA-384"),
        (oid::OID_NIST_HASH_SHA512, "SHA-512"),
    ];
    hashes.iter().find(|(id, _)| id == pss.hash_algorithm_oid()).map(|(_, name)| *name)
}
