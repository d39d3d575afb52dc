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

fn message(header: &str, claims: &str) -> String {
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

/// Tokens whose header or signature is an attack, by name.
pub fn forged(key: &Key, other: &Key) -> Vec<(String, String)> {
    let (head, claims) = (key.header(), claims("admin").to_string());
    let unsigned = |alg: &str| format!("{}.", message(&with(&head, "alg", alg).to_string(), &claims));
    let hmac = |secret: &[u8]| {
        let message = message(&with(&head, "alg", "HS256").to_string(), &claims);
        let signature = sign(message.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256);
        format!("{message}.{}", signature.unwrap())
    };
    let good = key.sign(&head.to_string(), &claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut table: Vec<(String, String)> = [
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg empty", unsigned("")),
        ("alg none with a signature", format!("{}{signature}", unsigned("none"))),
        ("HS256 by the public key", hmac(key.public_pem.as_bytes())),
        ("HS256 by the published key", hmac(key.jwk()["x"].as_str().unwrap_or("n").as_bytes())),
        ("another key under our name", other.sign(&head.to_string(), &claims)),
        ("another key", other.token(&serde_json::from_str(&claims).unwrap())),
        ("another claim under the signature", format!("{signed}A.{signature}")),
        ("no signature", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("10 kB", "A".repeat(10_000)),
        ("100 kB", "A".repeat(100_000)),
        ("no token", "x".into()),
        (
            "a name twice in the header",
            key.sign(&head.to_string().replacen('{', "{\"alg\":\"none\",", 1), &claims),
        ),
    ]
    .map(|(name, token)| (name.to_owned(), token))
    .into();
    for (name, value) in [
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("' UNION SELECT 'a' --")),
        ("kid", json!("k".repeat(4_000))),
        ("kid", json!(null)),
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/chain")),
        ("jwk", other.jwk()),
        ("crit", json!(["b64"])),
    ] {
        table.push((
            format!("{name}: {value}"),
            key.sign(&with(&head, name, value.clone()).to_string(), &claims),
        ));
    }
    let embedded = with(&head, "jwk", other.jwk()).to_string();
    table.push(("an embedded key that has signed".into(), other.sign(&embedded, &claims)));
    table
}

/// Well signed tokens whose claims do not count, by name.
pub fn unfit(key: &Key) -> Vec<(String, String)> {
    let good = claims("admin");
    let old = with(&good, "iat", now() - 900);
    let mut claims = vec![
        with(&old, "exp", now() - 61),
        with(&good, "nbf", now() + 70),
        with(&good, "iat", now() + 70),
        with(&good, "exp", (now() + 600).to_string()),
        with(&good, "nbf", now().to_string()),
        with(&good, "exp", now() + 25 * 3600),
        with(&good, "iss", "https://evil.example"),
        with(&good, "aud", "other"),
        with(&good, "aud", json!([])),
        with(&good, "aud", json!(["other"])),
        with(&good, "env", "production"),
        with(&good, "role", "root"),
        with(&good, "sub", "admin"),
    ];
    claims.extend(["exp", "iat", "iss", "sub", "aud", "env", "role"].map(|name| without(&good, name)));
    let mut table: Vec<_> = claims.iter().map(|claims| (claims.to_string(), key.token(claims))).collect();
    let twice = good.to_string().replacen('{', &format!("{{\"exp\":{},", now() + 600), 1);
    table.push((twice.clone(), key.sign(&key.header().to_string(), &twice)));
    table
}
