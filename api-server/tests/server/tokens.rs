//! Tokens of every kind, made by hand: the library that checks them would refuse to make most of them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};

pub const SUBJECT: &str = "6f1b0a52-9d2a-4c52-8a0c-0d6a0c3c9a11";

/// A key pair with its name.
pub struct Key {
    pub algorithm: Algorithm,
    pub kid: String,
    pub pem: String,
    pub public_pem: String,
    pub encoding: EncodingKey,
}

impl Key {
    pub fn ed25519(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let encoding = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::new(Algorithm::EdDSA, kid, &pair, encoding)
    }

    pub fn rsa(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let encoding = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::new(Algorithm::RS256, kid, &pair, encoding)
    }

    fn new(algorithm: Algorithm, kid: &str, pair: &KeyPair, encoding: EncodingKey) -> Self {
        let (pem, public_pem) = (pair.serialize_pem(), pair.public_key_pem());
        Self { algorithm, kid: kid.into(), pem, public_pem, encoding }
    }

    /// The public part as a JWK Set has it.
    pub fn jwk(&self) -> Value {
        let mut jwk = if self.algorithm == Algorithm::EdDSA {
            let decoding = jsonwebtoken::DecodingKey::from_ed_pem(self.public_pem.as_bytes()).unwrap();
            json!(Jwk::from_decoding_key(&decoding, Some(self.algorithm)).unwrap())
        } else {
            json!(Jwk::from_encoding_key(&self.encoding, self.algorithm).unwrap())
        };
        jwk["kid"] = json!(self.kid);
        jwk
    }

    pub fn header(&self) -> Value {
        json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT", "kid": self.kid})
    }

    /// Signs whatever it is given.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let message = message(header, claims);
        let signature = sign(message.as_bytes(), &self.encoding, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// A token with a good header.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

pub fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// What the service under test believes of itself.
pub fn claims(role: &str) -> Value {
    json!({
        "iss": "api-server", "sub": SUBJECT, "aud": "api-server", "iat": now(), "exp": now() + 600, "role": role,
        "env": "development"
    })
}

pub fn with(object: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut changed = object.clone();
    changed[name] = value.into();
    changed
}

pub fn without(object: &Value, name: &str) -> Value {
    let mut changed = object.clone();
    changed.as_object_mut().unwrap().remove(name);
    changed
}
