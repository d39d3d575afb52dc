//! The claims of an access token: what stands in one, and whether it counts here and now. It reads no clock.

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::Refusal;
use crate::{
    auth::{Role, Subject},
    config::Environment,
};

/// Clocks may differ by so many seconds.
pub const LEEWAY: u64 = 60;
/// No token is good for longer: one that was stolen and cannot be revoked must end soon.
const LONGEST: u64 = 24 * 3600;

/// Claims. Those without `Option` are required; further ones are ignored. Times are whole seconds as JSON numbers: a
/// reader that takes a string for a missing number would skip the check.
#[derive(Debug, Deserialize, Serialize)]
pub struct Claims {
    pub iss: String,
    pub sub: Uuid,
    pub aud: Audience,
    pub exp: u64,
    pub iat: u64,
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    pub role: Role,
    pub env: Environment,
}

/// Whom a token is for (RFC 7519 4.1.3).
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What a token must say to count.
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub audiences: &'a [String],
    pub environment: Environment,
    /// Seconds since 1970.
    pub now: u64,
}

impl Claims {
    /// Whom the claims speak for, if they count.
    pub fn check(&self, expected: &Expected<'_>) -> Result<Subject, Refusal> {
        let given = match &self.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::Many(many) => many,
        };
        let soon = expected.now.saturating_add(LEEWAY);
        if self.iss != expected.issuer {
            return Err(Refusal::Issuer);
        }
        if !given.iter().any(|aud| expected.audiences.contains(aud)) {
            return Err(Refusal::Audience);
        }
        if self.env != expected.environment {
            return Err(Refusal::Environment);
        }
        if self.exp.saturating_add(LEEWAY) <= expected.now {
            return Err(Refusal::Expired);
        }
        if self.iat > soon || self.nbf.is_some_and(|nbf| nbf > soon) {
            return Err(Refusal::NotYet);
        }
        if self.exp.checked_sub(self.iat).is_none_or(|lifetime| lifetime > LONGEST) {
            return Err(Refusal::Lifetime);
        }
        Ok(Subject { id: self.sub, role: self.role })
    }
}

/// `null` is no number.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    u64::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn claims() -> Value {
        json!({
            "iss": "api-server", "sub": "6f1b0a52-9d2a-4c52-8a0c-0d6a0c3c9a11", "aud": "api", "exp": NOW + 900,
            "iat": NOW, "role": "editor", "env": "staging"
        })
    }

    fn check(claims: Value) -> Result<Subject, Refusal> {
        let expected = Expected {
            issuer: "api-server",
            audiences: &["api".into(), "other".into()],
            environment: Environment::Staging,
            now: NOW,
        };
        serde_json::from_value::<Claims>(claims).map_err(|_| Refusal::Claims)?.check(&expected)
    }

    fn with(name: &str, value: Value) -> Result<Subject, Refusal> {
        let mut claims = claims();
        claims[name] = value;
        check(claims)
    }

    #[test]
    fn good_claims_say_who_asks() {
        let subject = check(claims()).unwrap();
        assert_eq!(subject.role, Role::Editor);
        assert_eq!(subject.id.to_string(), "6f1b0a52-9d2a-4c52-8a0c-0d6a0c3c9a11");
        for (name, value) in [
            ("aud", json!(["third", "other"])),
            ("nbf", json!(NOW + 60)),
            ("iat", json!(NOW + 60)),
            ("exp", json!(NOW - 59)),
            ("exp", json!(NOW + 24 * 3600)),
            ("jti", json!("a")),
            ("scope", json!({"x": [1]})),
        ] {
            let mut changed = claims();
            if name == "exp" && value.as_u64() < Some(NOW) {
                changed["iat"] = json!(NOW - 900);
            }
            changed[name] = value;
            assert!(check(changed.clone()).is_ok(), "{changed}");
        }
    }

    #[test]
    fn each_required_claim_is_required() {
        for name in ["iss", "sub", "aud", "exp", "iat", "role", "env"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(name);
            assert_eq!(check(claims), Err(Refusal::Claims), "{name}");
        }
    }

    #[test]
    fn a_claim_of_another_type_is_refused() {
        let text = json!((NOW + 900).to_string());
        for name in ["exp", "nbf", "iat"] {
            for value in [text.clone(), json!(null), json!(1.5), json!(-1), json!([NOW]), json!(true)] {
                assert_eq!(with(name, value.clone()), Err(Refusal::Claims), "{name}: {value}");
            }
        }
        for (name, value) in [
            ("sub", json!("admin")),
            ("sub", json!(7)),
            ("aud", json!({"api": true})),
            ("aud", json!([7])),
            ("iss", json!(["api-server"])),
            ("role", json!("root")),
            ("role", json!(["admin"])),
            ("env", json!("Staging")),
        ] {
            assert_eq!(with(name, value.clone()), Err(Refusal::Claims), "{name}: {value}");
        }
    }

    #[test]
    fn a_claim_that_does_not_fit_is_refused() {
        for (name, value, refusal) in [
            ("iss", json!("api-server/"), Refusal::Issuer),
            ("aud", json!("API"), Refusal::Audience),
            ("aud", json!([]), Refusal::Audience),
            ("aud", json!(["ap", "api2"]), Refusal::Audience),
            ("env", json!("production"), Refusal::Environment),
            ("exp", json!(NOW - 60), Refusal::Expired),
            ("nbf", json!(NOW + 61), Refusal::NotYet),
            ("nbf", json!(u64::MAX), Refusal::NotYet),
            ("iat", json!(NOW + 61), Refusal::NotYet),
            ("exp", json!(NOW + 24 * 3600 + 1), Refusal::Lifetime),
            ("exp", json!(u64::MAX), Refusal::Lifetime),
            ("exp", json!(NOW - 1), Refusal::Lifetime),
        ] {
            assert_eq!(with(name, value.clone()), Err(refusal), "{name}: {value}");
        }
    }
}
