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
}

/// An amount of memory or storage.
pub fn bytes(text: &str) -> Quantity {
    BYTES.canonical(text)
}

/// Requests and limits of the container; all three of each are always there.
pub fn requirements(resources: Option<&Resources>) -> ResourceRequirements {
    ResourceRequirements {
        requests: Some(quantities(resources.and_then(|r| r.requests.as_ref()), defaults::REQUESTS)),
        limits: Some(quantities(resources.and_then(|r| r.limits.as_ref()), defaults::LIMITS)),
        ..ResourceRequirements::default()
    }
}

fn quantities(list: Option<&ResourceList>, [cpu, memory, storage]: [&str; 3]) -> BTreeMap<String, Quantity> {
    let list = list.cloned().unwrap_or_default();
    BTreeMap::from([
        ("cpu".into(), CPU.canonical(list.cpu.as_deref().unwrap_or(cpu))),
        ("ephemeral-storage".into(), BYTES.canonical(list.ephemeral_storage.as_deref().unwrap_or(storage))),
        ("memory".into(), BYTES.canonical(list.memory.as_deref().unwrap_or(memory))),
    ])
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
}
