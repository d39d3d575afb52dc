//! When a certificate is renewed. Pure.

use crds::{HardenedService, PrivateKey, RotationPolicy};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::pki::{IssueReason, Leaf};

/// The life that is asked for.
pub fn life(service: &HardenedService) -> SignedDuration {
    // The schema has 19800h at most.
    SignedDuration::try_from(render::life(service).get()).unwrap_or(SignedDuration::MAX)
}

/// The spec's key, its defaults left to pki.
pub fn private_key(service: &HardenedService) -> PrivateKey {
    service.spec.tls.as_ref().and_then(|t| t.private_key.clone()).unwrap_or_default()
}

/// The old key is used again only when the spec says so and the key itself was not at fault.
pub fn keeps_key(spec: &PrivateKey, why: IssueReason) -> bool {
    let reusable = !why.is_fault() && why != IssueReason::KeyTypeChanged;
    reusable && spec.rotation_policy == Some(RotationPolicy::Never)
}

/// At two thirds of its life, or as early as the spec says, and by up to a twentieth of that time earlier. Otherwise a
/// thousand certificates that were issued together would be renewed together. Of an issuer that gives less life than
/// was asked for, `renewBefore` may be longer than all of it: then it says nothing.
pub fn renew_at(service: &HardenedService, leaf: &Leaf) -> Timestamp {
    let life = leaf.not_after.duration_since(leaf.not_before);
    let before = service.spec.tls.as_ref().and_then(|t| t.renew_before);
    let before = before.and_then(|d| SignedDuration::try_from(d.get()).ok()).filter(|before| *before < life);
    let before = before.unwrap_or_else(|| third(leaf));
    // Random, and the same at each look; the first digit has its top bit set.
    let part = leaf.serial.get(2..6).and_then(|digits| i32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let early = before.min(life - before) / 20 * part / 0x1_0000;
    leaf.not_after.checked_sub(before + early).unwrap_or(leaf.not_after)
}

/// How long before its end a certificate of this life should be replaced when nobody said so.
pub fn third(leaf: &Leaf) -> SignedDuration {
    leaf.not_after.duration_since(leaf.not_before) / 3
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn renewed(tls: &Value, serial: &str) -> i64 {
        let service = serde_json::from_value(json!({
            "metadata": {"name": "studio", "namespace": "team"},
            "spec": {"environment": "staging", "workload": {"image": "registry.example/studio:1"}, "tls": tls},
        }))
        .unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let (not_before, not_after) = (at(1_000_000), at(1_900_000));
        let leaf = Leaf { not_before, not_after, serial: serial.into(), fingerprint: [7; 32] };
        renew_at(&service, &leaf).as_second()
    }

    #[test]
    fn certificates_issued_together_are_renewed_within_a_twentieth_of_the_time_that_is_left() {
        for (tls, before) in [(json!({}), 300_000), (json!({"renewBefore": "10h"}), 36_000)] {
            let early = |serial| 1_900_000 - before - renewed(&tls, serial);
            let (latest, middle, earliest) = (early("400000ab"), early("408000ab"), early("40ffffab"));
            assert_eq!((latest, middle), (0, before / 40), "{tls}");
            assert!((before / 21..=before / 20).contains(&earliest), "{tls}: {earliest}");
            assert_eq!(early("40"), 0, "a serial number of somebody else's choice");
        }
    }

    #[test]
    fn none_is_due_when_it_comes_however_early_the_spec_wants_it_renewed() {
        let tls = json!({"renewBefore": "249h"});
        assert!(renewed(&tls, "40ffffab") > 1_003_400, "3600 seconds, less a twentieth of them");
        let tls = json!({"renewBefore": "250h"});
        assert_eq!(
            renewed(&tls, "400000ab"),
            1_600_000,
            "longer than its life, as an issuer that gives less makes it"
        );
    }
}
