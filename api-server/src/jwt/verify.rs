//! A token from the outside: its form and header are checked before a key is looked for, its signature before its
//! claims. It finds no keys and reads no clock.

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{
    Refusal,
    claims::{Claims, Expected},
    json,
    key::{PublicKey, is_kid, pretend},
};
use crate::auth::Subject;

/// An own token has about 500 bytes; more than this is no token but work.
const LONGEST: usize = 8 * 1024;

/// Zeros in the form of an Ed25519 signature: one of another length is refused before any work.
const NO_SIGNATURE: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Header parameters that decide something here; others are ignored (RFC 7515 4).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    /// Extensions that must be understood; none is.
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
    // A token must not bring or name the key that it is checked with.
    #[serde(default, deserialize_with = "present")]
    jku: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    jwk: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    x5u: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    x5c: Option<IgnoredAny>,
}

/// Something for any value, `null` too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IgnoredAny>, D::Error> {
    IgnoredAny::deserialize(deserializer).map(Some)
}

/// A token of the right form, of which nothing is believed yet.
pub struct Token<'a> {
    kid: String,
    algorithm: Algorithm,
    /// Header and claims as they were signed.
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Token<'a> {
    /// Checks form and header. A refusal takes as long as checking a signature.
    pub fn read(token: &'a str) -> Result<Self, Refusal> {
        parse(token).inspect_err(|_| pretend(Algorithm::EdDSA, "", NO_SIGNATURE))
    }

    /// The name of its key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whom it speaks for, checked with the key of its name. Without one, and with one of another algorithm, the
    /// refusal takes as long as checking a signature, so that time does not tell which names exist.
    pub fn verify(&self, key: Option<&PublicKey>, expected: &Expected<'_>) -> Result<Subject, Refusal> {
        let Some(key) = key.filter(|key| key.algorithm() == self.algorithm) else {
            pretend(self.algorithm, self.message, self.signature);
            return Err(Refusal::UnknownKey);
        };
        if !key.has_signed(self.message, self.signature) {
            return Err(Refusal::Signature);
        }
        json::object::<Claims>(self.claims).ok_or(Refusal::Claims)?.check(expected)
    }
}

fn parse(token: &str) -> Result<Token<'_>, Refusal> {
    if token.len() > LONGEST {
        return Err(Refusal::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
    let (head, claims) = message.split_once('.').ok_or(Refusal::Malformed)?;
    if claims.contains('.') || signature.is_empty() {
        return Err(Refusal::Malformed);
    }
    let header: Header = json::object(head).ok_or(Refusal::Malformed)?;
    // Compared as written: "none", "None" and "rs256" are all no algorithm.
    let algorithm = match header.alg.as_str() {
        "RS256" => Algorithm::RS256,
        "EdDSA" => Algorithm::EdDSA,
        _ => return Err(Refusal::Algorithm),
    };
    let refused = [header.crit, header.jku, header.jwk, header.x5u, header.x5c];
    if refused.iter().any(Option::is_some) || !is_kid(&header.kid) {
        return Err(Refusal::Header);
    }
    Ok(Token { kid: header.kid, algorithm, message, claims, signature })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::crypto::sign;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        auth::Role,
        config::Environment,
        jwt::{key::SigningKey, signer::Signer},
    };

    const NOW: u64 = 1_800_000_000;

    fn expected() -> Expected<'static> {
        static AUDIENCES: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| vec!["api".into()]);
        Expected { issuer: "me", audiences: &AUDIENCES, environment: Environment::Production, now: NOW }
    }

    fn claims() -> String {
        format!(
            r#"{{"iss":"me","sub":"6f1b0a52-9d2a-4c52-8a0c-0d6a0c3c9a11","aud":"api","exp":{},"iat":{NOW},"role":"admin","env":"production"}}"#,
            NOW + 900
        )
    }

    fn token(key: &SigningKey, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = sign(message.as_bytes(), key.encoding(), key.algorithm()).unwrap();
        format!("{message}.{signature}")
    }

    fn header(key: &SigningKey) -> Value {
        json!({"alg": format!("{:?}", key.algorithm()), "typ": "JWT", "kid": key.public().kid()})
    }

    fn verify(token: &str, key: &SigningKey) -> Result<Subject, Refusal> {
        let token = Token::read(token)?;
        token.verify(Some(key.public()).filter(|key| key.kid() == token.kid()), &expected())
    }

    fn keys() -> [SigningKey; 2] {
        let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
        [SigningKey::generate().unwrap(), SigningKey::from_pem(&rsa).unwrap()]
    }

    #[test]
    fn a_token_of_the_signer_is_believed_with_the_key_of_its_name_only() {
        let [ed, rsa] = keys();
        let other = SigningKey::generate().unwrap();
        let subject = Subject { id: uuid::Uuid::nil(), role: Role::Editor };
        for key in [ed, rsa] {
            let key = std::sync::Arc::new(key);
            let ttl = Duration::from_mins(15);
            let environment = Environment::Production;
            let signer = Signer { key: key.clone(), issuer: "me", audience: "api", environment, ttl };
            let token = signer.access_token(subject, UNIX_EPOCH + Duration::from_secs(NOW)).unwrap();
            assert!(token.len() < 1024);
            assert_eq!(verify(&token, &key), Ok(subject));
            assert_eq!(verify(&token, &other), Err(Refusal::UnknownKey));
            let read = Token::read(&token).unwrap();
            assert!(read.verify(Some(other.public()), &expected()).is_err());
            assert_eq!(read.verify(None, &expected()), Err(Refusal::UnknownKey));
        }
    }

    #[test]
    fn each_header_that_decides_something_is_checked() {
        for key in keys() {
            let good = header(&key);
            assert!(verify(&token(&key, &good.to_string(), &claims()), &key).is_ok());
            let other = if key.algorithm() == Algorithm::EdDSA { "RS256" } else { "EdDSA" };
            for (name, value, refusal) in [
                ("alg", json!("none"), Refusal::Algorithm),
                ("alg", json!("None"), Refusal::Algorithm),
                ("alg", json!(""), Refusal::Algorithm),
                ("alg", json!("HS256"), Refusal::Algorithm),
                ("alg", json!("eddsa"), Refusal::Algorithm),
                ("alg", json!(other), Refusal::UnknownKey),
                ("alg", json!(["EdDSA"]), Refusal::Malformed),
                ("kid", json!("../../etc/passwd"), Refusal::Header),
                ("kid", json!("' OR 1=1 --"), Refusal::Header),
                ("kid", json!("x".repeat(129)), Refusal::Header),
                ("kid", json!(""), Refusal::Header),
                ("kid", json!(null), Refusal::Malformed),
                ("kid", json!("x".repeat(128)), Refusal::UnknownKey),
                ("crit", json!(["exp"]), Refusal::Header),
                ("crit", json!([]), Refusal::Header),
                ("crit", json!(null), Refusal::Header),
                ("jku", json!("https://evil.example/keys"), Refusal::Header),
                ("x5u", json!("https://evil.example/chain"), Refusal::Header),
                ("x5c", json!(["AAAA"]), Refusal::Header),
                ("jwk", json!(key.public().jwk()), Refusal::Header),
            ] {
                let mut header = good.clone();
                header[name] = value;
                let token = token(&key, &header.to_string(), &claims());
                assert_eq!(verify(&token, &key), Err(refusal), "{header}");
            }
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let [key, _] = keys();
        let good = token(&key, &header(&key).to_string(), &claims());
        let (message, signature) = good.rsplit_once('.').unwrap();
        let twice = format!(r#"{{"alg":"EdDSA","kid":"{0}","kid":"{0}"}}"#, key.public().kid());
        for (token, refusal) in [
            (String::new(), Refusal::Malformed),
            (message.to_owned(), Refusal::Malformed),
            (format!("{message}."), Refusal::Malformed),
            (format!("{good}.{signature}"), Refusal::Malformed),
            (format!("{message}.{signature}="), Refusal::Signature),
            (format!("{message}A.{signature}"), Refusal::Signature),
            ("x".repeat(LONGEST + 1), Refusal::TooLong),
            (token(&key, &twice, &claims()), Refusal::Malformed),
            (token(&key, &header(&key).to_string(), &claims().replace('{', "{\"exp\":1,")), Refusal::Claims),
            (token(&key, &header(&key).to_string(), "[]"), Refusal::Claims),
            (token(&key, "[]", &claims()), Refusal::Malformed),
        ] {
            assert_eq!(verify(&token, &key), Err(refusal), "{token}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_believe(text in "\\PC{0,200}", parts in prop::array::uniform3(".{0,60}")) {
            let key = SigningKey::generate().unwrap();
            prop_assert!(verify(&text, &key).is_err());
            let encoded = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
            prop_assert!(verify(&encoded, &key).is_err());
        }

        #[test]
        fn a_good_token_with_one_byte_changed_is_not_believed(at: prop::sample::Index, byte in 0_u8..128) {
            let key = SigningKey::generate().unwrap();
            let good = token(&key, &header(&key).to_string(), &claims());
            let mut bytes = good.clone().into_bytes();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            prop_assert!(verify(&String::from_utf8(bytes).unwrap(), &key).is_err());
        }
    }
}
