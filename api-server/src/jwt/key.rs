//! One key: what it may be, its name and its algorithm. The algorithm is the key's, never the token's.

use std::{ops::RangeInclusive, sync::LazyLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, crypto,
    jwk::{
        AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse, ThumbprintHash,
    },
};
use rustls::pki_types::pem::SectionKind;
use thiserror::Error;

use super::pem;

/// Sizes of RSA keys in bits: below it is too weak, above the library refuses it and each check costs too much.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// Why a key is not taken. It says nothing of the key's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// No section of a kind that is read.
    #[error(
        "is no PEM with PRIVATE KEY (PKCS#8) or PUBLIC KEY; make one with `openssl genpkey -algorithm ed25519`"
    )]
    Pem,
    /// More than one key to sign with.
    #[error("holds more than one key; give one, and the former ones in JWT_PREVIOUS_KEYS")]
    Many,
    /// A public key to sign with.
    #[error("is a public key; give the private one")]
    Public,
    /// Another kind of key.
    #[error("is neither Ed25519 nor RSA")]
    Kind,
    /// An RSA key of another size.
    #[error("is RSA of fewer than 2048 or more than 8192 bits")]
    Size,
    /// A key for another use, of another algorithm or without a usable name.
    #[error("is not for checking EdDSA or RS256 signatures")]
    Use,
}

/// A key that checks signatures.
#[derive(Debug)]
pub struct PublicKey {
    kid: String,
    algorithm: Algorithm,
    decoding: DecodingKey,
    jwk: Jwk,
}

/// A key that makes them. `EncodingKey` hides its bytes in `Debug`.
#[derive(Debug)]
pub struct SigningKey {
    encoding: EncodingKey,
    public: PublicKey,
}

/// Whether a key may be called that: what is no name of this form is never looked up, logged or compared.
pub fn is_kid(kid: &str) -> bool {
    let bytes = kid.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Checks a signature with a key that has signed nothing, for the time that it takes.
pub fn pretend(algorithm: Algorithm, message: &str, signature: &str) {
    let key = if algorithm == Algorithm::RS256 { &NOBODY.1 } else { &NOBODY.0 };
    if let Some(key) = key {
        std::hint::black_box(key.has_signed(message, signature));
    }
}

/// Keys that only have the form of one. What they say of a signature is not looked at.
static NOBODY: LazyLock<(Option<PublicKey>, Option<PublicKey>)> = LazyLock::new(|| {
    // A valid point of the curve (its base point); a number of 2048 bits.
    let mut point = [0x66; 32];
    point[0] = 0x58;
    let named = |jwk| PublicKey::named_by_thumbprint(jwk).ok();
    (named(pem::ed25519(&point)), named(pem::rsa(&[0xff; 256], &[1, 0, 1])))
});

impl PublicKey {
    /// Takes a key of a JWK Set, if it is for signatures that are checked here.
    pub fn from_jwk(jwk: Jwk) -> Result<Self, KeyError> {
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature);
        let verifies = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let kid =
            common.key_id.clone().filter(|kid| signs && verifies && is_kid(kid)).ok_or(KeyError::Use)?;
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let n = URL_SAFE_NO_PAD.decode(&rsa.n).map_err(|_| KeyError::Kind)?;
                if !RSA_BITS.contains(&bits(&n)) {
                    return Err(KeyError::Size);
                }
                (Algorithm::RS256, KeyAlgorithm::RS256)
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                let x = URL_SAFE_NO_PAD.decode(&pair.x).map_err(|_| KeyError::Kind)?;
                if x.len() != 32 {
                    return Err(KeyError::Kind);
                }
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return Err(KeyError::Kind),
        };
        // Many sets leave `alg` out; the kind of key decides then.
        if common.key_algorithm.is_some_and(|given| given != named) {
            return Err(KeyError::Use);
        }
        let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| KeyError::Kind)?;
        Ok(Self { kid, algorithm, decoding, jwk })
    }

    /// All keys of a PEM text, private ones too, named by their thumbprint.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, KeyError> {
        let sections = pem::sections(text)?;
        sections.iter().map(|(kind, der)| Self::named_by_thumbprint(pem::public(*kind, der)?)).collect()
    }

    /// RFC 7638: the same key has the same name in every replica, and nobody has to choose one.
    fn named_by_thumbprint(mut jwk: Jwk) -> Result<Self, KeyError> {
        jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::Kind)?);
        Self::from_jwk(jwk)
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public part.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Whether the signature over the message is this key's.
    pub fn has_signed(&self, message: &str, signature: &str) -> bool {
        crypto::verify(signature, message.as_bytes(), &self.decoding, self.algorithm).unwrap_or(false)
    }
}

impl SigningKey {
    /// The one private key of a PEM text.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let sections = pem::sections(text)?;
        let [(kind, der)] = &sections[..] else { return Err(KeyError::Many) };
        if *kind == SectionKind::PublicKey {
            return Err(KeyError::Public);
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Self::of(&pair);
        }
        let public = PublicKey::named_by_thumbprint(pem::public(*kind, der)?)?;
        let encoding = EncodingKey::from_rsa_pem(text.as_bytes()).map_err(|_| KeyError::Kind)?;
        Ok(Self { encoding, public })
    }

    /// A new Ed25519 key.
    pub fn generate() -> Result<Self, KeyError> {
        Self::of(&Ed25519KeyPair::generate().map_err(|_| KeyError::Kind)?)
    }

    /// The library signs with version 1 of PKCS#8 only; here any comes in.
    fn of(pair: &Ed25519KeyPair) -> Result<Self, KeyError> {
        let der = pair.to_pkcs8v1().map_err(|_| KeyError::Kind)?;
        let public = PublicKey::named_by_thumbprint(pem::ed25519(pair.public_key().as_ref()))?;
        Ok(Self { encoding: EncodingKey::from_ed_der(der.as_ref()), public })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm
    }

    pub fn encoding(&self) -> &EncodingKey {
        &self.encoding
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

fn bits(number: &[u8]) -> usize {
    let digits = number.iter().skip_while(|byte| **byte == 0);
    let first = digits.clone().next().map_or(0, |byte| byte.leading_zeros() as usize);
    digits.count() * 8 - first
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn taken(jwk: &Value) -> Result<Algorithm, KeyError> {
        let jwk = serde_json::from_value(jwk.clone()).map_err(|_| KeyError::Kind)?;
        PublicKey::from_jwk(jwk).map(|key| key.algorithm())
    }

    fn rsa(bytes: usize) -> Value {
        json!({"kty": "RSA", "kid": "a", "n": URL_SAFE_NO_PAD.encode(vec![0xff; bytes]), "e": "AQAB"})
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    #[test]
    fn the_algorithm_comes_from_the_kind_of_the_key() {
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": X, "kid": "a"});
        assert_eq!(taken(&ed), Ok(Algorithm::EdDSA));
        assert_eq!(taken(&rsa(256)), Ok(Algorithm::RS256));
        assert_eq!(taken(&with(rsa(256), "alg", json!("RS256"))), Ok(Algorithm::RS256));
        assert_eq!(taken(&with(ed, "use", json!("sig"))), Ok(Algorithm::EdDSA));
        for alg in ["HS256", "PS256", "RS512", "EdDSA", "none", "RSA-OAEP"] {
            assert_eq!(taken(&with(rsa(256), "alg", json!(alg))), Err(KeyError::Use), "{alg}");
        }
    }

    #[test]
    fn a_key_that_is_weak_or_for_something_else_is_not_taken() {
        assert_eq!(taken(&rsa(255)), Err(KeyError::Size));
        assert_eq!(taken(&rsa(1025)), Err(KeyError::Size));
        for (name, value) in [
            ("use", json!("enc")),
            ("key_ops", json!(["encrypt"])),
            ("kid", json!("../keys/1")),
            ("kid", json!("x".repeat(129))),
            ("kid", json!("")),
            ("kid", json!(null)),
        ] {
            assert_eq!(taken(&with(rsa(256), name, value.clone())), Err(KeyError::Use), "{name}: {value}");
        }
        for jwk in [
            json!({"kty": "oct", "k": "AAAA", "kid": "a"}),
            json!({"kty": "EC", "crv": "P-256", "x": X, "y": X, "kid": "a"}),
            json!({"kty": "OKP", "crv": "X25519", "x": X, "kid": "a"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "a"}),
        ] {
            assert_eq!(taken(&jwk), Err(KeyError::Kind), "{jwk}");
        }
    }

    #[test]
    fn the_name_is_the_thumbprint_of_rfc_8037() {
        let x = URL_SAFE_NO_PAD.decode(X).unwrap();
        let key = PublicKey::named_by_thumbprint(pem::ed25519(&x)).unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn there_is_a_key_of_each_algorithm_to_spend_time_with() {
        assert!(NOBODY.0.is_some() && NOBODY.1.is_some());
    }
}
