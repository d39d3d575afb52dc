//! JSON objects of tokens, read strictly: a name that stands twice is refused, since readers differ in which one counts.

use std::{collections::HashSet, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Visitor},
};

/// The object in a part of a token.
pub fn object<T: DeserializeOwned>(part: &str) -> Option<T> {
    let text = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice::<EachOnce>(&text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// An object of any content.
struct EachOnce;

impl<'de> Deserialize<'de> for EachOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for EachOnce {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            map.next_value::<IgnoredAny>()?;
            if !names.insert(name) {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(text: &str) -> Option<Value> {
        object(&URL_SAFE_NO_PAD.encode(text))
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_also_when_it_is_spelled_differently() {
        assert!(read(r#"{"exp": 1, "iat": 1}"#).is_some());
        for text in [r#"{"exp": 1, "exp": 1}"#, r#"{"a": 1, "b": 2, "a": 1}"#, r#"{"exp": 1, "e\u0078p": 2}"#]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "null", "{", "{} {}", "\"a\"", "{\"a\":}"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(object::<Value>("e30="), None, "padded");
        assert_eq!(object::<Value>("e31"), None, "bits that count for nothing");
        assert_eq!(read(&"[".repeat(4000)), None);
    }
}
