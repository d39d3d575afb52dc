//! Durations as GEP-2257 writes them: `1h30m`, `90s`, `500ms`.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A duration of up to four number-unit pairs (h, m, s, ms), at most five digits each (GEP-2257).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GepDuration(Duration);

impl GepDuration {
    /// The duration of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Reads the GEP-2257 form; `None` when the text is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut total = Duration::ZERO;
        for _ in 0..4 {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits == 0 || digits > 5 {
                return None;
            }
            let (number, tail) = rest.split_at(digits);
            let unit = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
            let (unit, tail) = tail.split_at(unit);
            let number: u64 = number.parse().ok()?;
            total += match unit {
                "h" => Duration::from_secs(number * 3600),
                "m" => Duration::from_secs(number * 60),
                "s" => Duration::from_secs(number),
                "ms" => Duration::from_millis(number),
                _ => return None,
            };
            if tail.is_empty() {
                return Some(Self(total));
            }
            rest = tail;
        }
        None
    }
}

impl fmt::Display for GepDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [
            (seconds / 3600, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (self.0.subsec_millis().into(), "ms"),
        ];
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        parts.iter().filter(|(n, _)| *n > 0).try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
    }
}

impl Serialize for GepDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GepDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!("{text:?} is not a duration such as 1h30m or 90s (GEP-2257)"))
        })
    }
}

impl JsonSchema for GepDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The pattern is in the CEL rule of each field, whose message can say what to write.
        json_schema!({"type": "string", "maxLength": 32})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_survives_the_round_trip() {
        for text in ["1h30m", "90s", "2160h", "1h1m1s1ms", "0s"] {
            let parsed = GepDuration::parse(text).expect(text);
            assert_eq!(GepDuration::parse(&parsed.to_string()), Some(parsed), "{text}");
        }
        assert_eq!(GepDuration::parse("1h30m"), Some(GepDuration::from_secs(5400)));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "1", "h", "1d", "1.5h", "-1s", "123456s", "1h1h1h1h1h", "1 h"] {
            assert_eq!(GepDuration::parse(text), None, "{text:?}");
        }
    }
}
