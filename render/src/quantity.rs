//! Quantities in the form in which the API server returns them, and what counts where the spec names none.

use std::collections::BTreeMap;

use crds::{ResourceList, Resources};
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use crate::defaults;

/// Units from small to large, each `base` times the one before.
struct Scale {
    base: u64,
    units: &'static [&'static str],
}

const CPU: Scale = Scale { base: 1000, units: &["m", "", "k", "M"] };
const BYTES: Scale = Scale { base: 1024, units: &["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] };

impl Scale {
    /// The amount in the smallest unit.
    fn parse(&self, text: &str) -> Option<u64> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let unit = self.units.iter().position(|unit| *unit == &text[digits..])?;
        text[..digits].parse::<u64>().ok()?.checked_mul(self.base.checked_pow(u32::try_from(unit).ok()?)?)
    }

    /// In the largest unit that needs no fraction: `1024Mi` is `1Gi`. What the schema would refuse is left alone.
    fn canonical(&self, text: &str) -> Quantity {
        let Some(mut amount) = self.parse(text).filter(|amount| *amount > 0) else {
            return Quantity(text.into());
        };
        let mut unit = 0;
        while amount % self.base == 0 && unit + 1 < self.units.len() {
            amount /= self.base;
            unit += 1;
        }
        Quantity(format!("{amount}{}", self.units[unit]))
    }

    /// Request and limit. A default gives way to what the user wrote for the other one, because the API server refuses
    /// a request above its limit.
    fn pair(
        &self,
        request: Option<&String>,
        limit: Option<&String>,
        defaults: (&str, &str),
    ) -> (Quantity, Quantity) {
        let (least, most) = match (request, limit) {
            (Some(request), Some(limit)) => (request.as_str(), limit.as_str()),
            (Some(request), None) if self.parse(request) > self.parse(defaults.1) => {
                (request.as_str(), request.as_str())
            }
            (Some(request), None) => (request.as_str(), defaults.1),
            (None, Some(limit)) if self.parse(limit) < self.parse(defaults.0) => {
                (limit.as_str(), limit.as_str())
            }
            (None, Some(limit)) => (defaults.0, limit.as_str()),
            (None, None) => defaults,
        };
        (self.canonical(least), self.canonical(most))
    }
}

/// An amount of memory or storage.
pub fn bytes(text: &str) -> Quantity {
    BYTES.canonical(text)
}

/// Requests and limits of the container; all three of each are always there.
pub fn requirements(resources: Option<&Resources>) -> ResourceRequirements {
    let requests = resources.and_then(|r| r.requests.as_ref());
    let limits = resources.and_then(|r| r.limits.as_ref());
    let pair = |scale: &Scale, of: fn(&ResourceList) -> Option<&String>, i: usize| {
        scale.pair(requests.and_then(of), limits.and_then(of), (defaults::REQUESTS[i], defaults::LIMITS[i]))
    };
    let (cpu, memory, storage) = (
        pair(&CPU, |list| list.cpu.as_ref(), 0),
        pair(&BYTES, |list| list.memory.as_ref(), 1),
        pair(&BYTES, |list| list.ephemeral_storage.as_ref(), 2),
    );
    let list = |cpu, memory, storage| {
        Some(BTreeMap::from([
            ("cpu".into(), cpu),
            ("ephemeral-storage".into(), storage),
            ("memory".into(), memory),
        ]))
    };
    ResourceRequirements {
        requests: list(cpu.0, memory.0, storage.0),
        limits: list(cpu.1, memory.1, storage.1),
        ..ResourceRequirements::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_the_server_returns_them() {
        for (text, expected) in
            [("1000m", "1"), ("1500m", "1500m"), ("2", "2"), ("10000", "10k"), ("999999m", "999999m")]
        {
            assert_eq!(CPU.canonical(text).0, expected, "{text}");
        }
        for (text, expected) in
            [("1024Ki", "1Mi"), ("1536Mi", "1536Mi"), ("1048576Mi", "1Ti"), ("1048576Gi", "1Pi")]
        {
            assert_eq!(BYTES.canonical(text).0, expected, "{text}");
        }
    }

    #[test]
    fn a_default_gives_way_to_what_the_user_wrote() {
        let text = |s: &str| Some(s.to_owned());
        let pair = |request: &str, limit: &str| {
            let of = |s: &str| if s.is_empty() { None } else { text(s) };
            let (request, limit) = CPU.pair(of(request).as_ref(), of(limit).as_ref(), ("100m", "1"));
            (request.0, limit.0)
        };
        assert_eq!(pair("", ""), ("100m".into(), "1".into()));
        assert_eq!(pair("2", ""), ("2".into(), "2".into()));
        assert_eq!(pair("200m", ""), ("200m".into(), "1".into()));
        assert_eq!(pair("", "50m"), ("50m".into(), "50m".into()));
        assert_eq!(pair("", "4"), ("100m".into(), "4".into()));
        assert_eq!(pair("300m", "400m"), ("300m".into(), "400m".into()));
    }
}
