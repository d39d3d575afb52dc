//! A period of time as the policy file writes it.

use std::time::Duration;

use serde::Deserialize;

/// A period of 1 s to 24 h, written as GEP-2257 has it (`1h30m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(Duration);

impl Period {
    /// One minute.
    pub const MINUTE: Self = Self(Duration::from_mins(1));

    /// Whole seconds of the period.
    pub fn as_secs(self) -> u64 {
        self.0.as_secs()
    }
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration(&text)
            .filter(|d| (Duration::from_secs(1)..=Duration::from_hours(24)).contains(d))
            .map(Self)
            .ok_or_else(|| format!("period: {text:?} is not a duration of 1s to 24h such as 90s or 1h30m"))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| (1..=5).contains(n))?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| digits + n);
        total += match &rest[digits..unit] {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        rest = &rest[unit..];
    }
    Some(total)
}
