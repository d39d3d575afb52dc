//! Tests of pki: which pairs count as ours. The cases follow cert-manager's list of triggers (reliability H2).

use crds::{KeyAlgorithm, PrivateKey};
use k8s_openapi::jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::*;

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("time")
}

fn ca() -> Ca {
    Ca::read(&new_ca(now()).expect("ca")).expect("ca")
}

fn names() -> Vec<String> {
    vec!["studio".into(), "studio.team.svc".into(), "studio.example.com".into()]
}

fn issue(ca: &Ca, spec: &PrivateKey) -> Pair {
    ca.issue(&names(), spec, None, 3600, now()).expect("pair")
}

fn examine(ca: &Ca, pair: &Pair, names: &[String]) -> Result<Leaf, IssueReason> {
    ca.examine(&pair.certificate, &pair.key, names, Some(&PrivateKey::default()))
}

#[test]
fn a_fresh_pair_is_good_and_backdated() {
    let ca = ca();
    let leaf = examine(&ca, &issue(&ca, &PrivateKey::default()), &names()).expect("good");
    assert_eq!(leaf.not_before.as_second(), NOW - 300);
    assert_eq!(leaf.not_after.as_second(), NOW + 3600);
    assert_eq!(leaf.serial.len(), 32);
}

#[test]
fn the_order_of_names_does_not_matter_but_their_set_does() {
    let ca = ca();
    let pair = issue(&ca, &PrivateKey::default());
    let mut other = names();
    other.reverse();
    assert!(examine(&ca, &pair, &other).is_ok());
    other.pop();
    assert_eq!(examine(&ca, &pair, &other), Err(IssueReason::NamesChanged));
}

#[test]
fn a_pair_of_another_ca_of_the_same_name_is_refused() {
    let pair = issue(&ca(), &PrivateKey::default());
    assert_eq!(examine(&ca(), &pair, &names()), Err(IssueReason::WrongIssuer));
}

#[test]
fn a_foreign_key_is_refused() {
    let ca = ca();
    let mut pair = issue(&ca, &PrivateKey::default());
    pair.key = issue(&ca, &PrivateKey::default()).key;
    assert_eq!(examine(&ca, &pair, &names()), Err(IssueReason::KeyMismatch));
}

#[test]
fn broken_or_doubled_pem_is_refused() {
    let ca = ca();
    let pair = issue(&ca, &PrivateKey::default());
    let half = pair.certificate[..pair.certificate.len() / 2].to_owned();
    let twice = pair.certificate.repeat(2);
    for certificate in ["", &half, &twice] {
        let pair = Pair { certificate: certificate.into(), key: pair.key.clone() };
        assert_eq!(examine(&ca, &pair, &names()), Err(IssueReason::Unparsable));
    }
    let pair = Pair { certificate: pair.certificate, key: SecretString::from("not a key") };
    assert_eq!(examine(&ca, &pair, &names()), Err(IssueReason::Unparsable));
}

#[test]
fn every_kind_of_key_is_made_and_told_from_the_others() {
    let ca = ca();
    let kinds = [
        (KeyAlgorithm::ECDSA, None),
        (KeyAlgorithm::ECDSA, Some(384)),
        (KeyAlgorithm::Ed25519, None),
        (KeyAlgorithm::RSA, Some(2048)),
    ]
    .map(|(algorithm, size)| PrivateKey { algorithm: Some(algorithm), size, rotation_policy: None });
    for made in &kinds {
        let pair = issue(&ca, made);
        for asked in &kinds {
            let result = ca.examine(&pair.certificate, &pair.key, &names(), Some(asked)).map(drop);
            let expected = if made == asked { Ok(()) } else { Err(IssueReason::KeyTypeChanged) };
            assert_eq!(result, expected, "made {made:?}, asked {asked:?}");
        }
    }
}

#[test]
fn a_kept_key_stays_the_same() {
    let ca = ca();
    let spec = PrivateKey::default();
    let first = issue(&ca, &spec);
    let second = ca.issue(&names(), &spec, Some(&first.key), 3600, now()).expect("pair");
    assert_eq!(first.key.expose_secret(), second.key.expose_secret());
    assert_ne!(first.certificate, second.certificate);
}

#[test]
fn a_ca_whose_key_is_another_ones_is_unusable() {
    let [first, other] = [0, 1].map(|_| new_ca(now()).expect("ca"));
    assert!(Ca::read(&Pair { key: other.key, ..first }).is_none());
}

#[test]
fn no_certificate_outlives_its_ca() {
    let ca = ca();
    let near_its_end = ca.not_after - k8s_openapi::jiff::SignedDuration::from_hours(10);
    let pair = ca.issue(&names(), &PrivateKey::default(), None, 86_400, near_its_end).expect("pair");
    let leaf = examine(&ca, &pair, &names()).expect("good");
    assert_eq!((leaf.not_after, leaf.life()), (ca.not_after, 36_000));
}
