//! Keys from PEM: what is in a text, and the public part of each key. Nothing of a key's bytes gets into an error.

use aws_lc_rs::{
    rsa::PublicKey,
    signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair, RsaPublicKeyComponents},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm,
    jwk::{
        AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, OctetKeyPairParameters, OctetKeyPairType,
        PublicKeyUse, RSAKeyParameters, RSAKeyType,
    },
};
use rustls::pki_types::pem::{PemObject as _, SectionKind};

use super::key::KeyError;

/// What stands before the 32 bytes of an Ed25519 key in its DER form (RFC 8410 4).
const ED25519_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A section: its kind and its DER.
pub type Section = (SectionKind, Vec<u8>);

/// The keys in a text; at least one.
pub fn sections(text: &str) -> Result<Vec<Section>, KeyError> {
    let sections = Section::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let sections = sections.map_err(|_| KeyError::Pem)?;
    let good = |(kind, _): &Section| matches!(kind, SectionKind::PrivateKey | SectionKind::PublicKey);
    if sections.is_empty() || !sections.iter().all(good) {
        return Err(KeyError::Pem);
    }
    Ok(sections)
}

/// The public part of a key.
pub fn public(kind: SectionKind, der: &[u8]) -> Result<Jwk, KeyError> {
    if kind == SectionKind::PublicKey {
        if let Some(x) = der.strip_prefix(ED25519_PREFIX) {
            return Ok(ed25519(x));
        }
        let key = PublicKey::from_der(der).map_err(|_| KeyError::Kind)?;
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(&key);
        return Ok(rsa(&n, &e));
    }
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
        return Ok(ed25519(pair.public_key().as_ref()));
    }
    let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::Kind)?;
    let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    Ok(rsa(&n, &e))
}

/// An Ed25519 key by its 32 bytes.
pub fn ed25519(x: &[u8]) -> Jwk {
    jwk(
        Algorithm::EdDSA,
        AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
            key_type: OctetKeyPairType::OctetKeyPair,
            curve: EllipticCurve::Ed25519,
            x: URL_SAFE_NO_PAD.encode(x),
        }),
    )
}

/// An RSA key by modulus and exponent.
pub fn rsa(n: &[u8], e: &[u8]) -> Jwk {
    jwk(
        Algorithm::RS256,
        AlgorithmParameters::RSA(RSAKeyParameters {
            key_type: RSAKeyType::RSA,
            n: URL_SAFE_NO_PAD.encode(n),
            e: URL_SAFE_NO_PAD.encode(e),
        }),
    )
}

fn jwk(algorithm: Algorithm, parameters: AlgorithmParameters) -> Jwk {
    Jwk {
        common: CommonParameters {
            public_key_use: Some(PublicKeyUse::Signature),
            key_algorithm: Some(algorithm.into()),
            ..CommonParameters::default()
        },
        algorithm: parameters,
    }
}
