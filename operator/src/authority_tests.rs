//! Tests of the CA's rotation: what each step leaves in the Secret, what clients trust meanwhile, and when it is time.

use k8s_openapi::jiff::SignedDuration;

use super::*;
use crate::pki;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn secret() -> Secret {
    Secret { data: Some(first(now()).unwrap()), ..Secret::default() }
}

fn asked(value: &str) -> Secret {
    let mut secret = secret();
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(ROTATE_CA_ANNOTATION.into(), value.into());
    secret
}

fn keys(secret: &Secret) -> Vec<&str> {
    secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn read(secret: &Secret) -> Authority {
    Authority::of(secret).unwrap_or_else(|error| panic!("{error}"))
}

fn leaf(authority: &Authority) -> String {
    let names = ["studio".to_owned()];
    authority.ca.issue(&names, &crds::PrivateKey::default(), None, 3600, now()).unwrap().certificate
}

#[test]
fn at_each_step_clients_trust_what_was_served_before_and_what_is_served_next() {
    let mut secret = secret();
    let mut certificates = vec![leaf(&read(&secret))];
    let steps = [
        (Step::Introduce, vec!["next.crt", "next.key", "tls.crt", "tls.key"], 2),
        (Step::Switch, vec!["previous.crt", "tls.crt", "tls.key"], 2),
        (Step::Retire, vec!["tls.crt", "tls.key"], 1),
    ];
    for (step, left, trusted) in steps {
        let before = read(&secret);
        secret = after(secret, step, now()).unwrap();
        let authority = read(&secret);
        assert_eq!(keys(&secret), left, "{step:?}");
        assert_eq!(authority.bundle().matches("BEGIN CERTIFICATE").count(), trusted, "{step:?}");
        assert_ne!(authority.epoch(), before.epoch());
        if step != Step::Retire {
            let served = certificates.last().unwrap();
            assert!(trusts(&authority, served), "{step:?}: what is served");
        }
        certificates.push(leaf(&authority));
        let next = certificates.last().unwrap();
        assert!(trusts(&before, next), "{step:?}: with the bundle before it");
    }
    let (first, last) = (&certificates[0], &certificates[3]);
    assert!(!trusts(&read(&secret), first) && trusts(&read(&secret), last));
}

fn trusts(authority: &Authority, certificate: &str) -> bool {
    let bundle = authority.bundle();
    let end = "-----END CERTIFICATE-----\n";
    bundle.split_inclusive(end).any(|ca| pki::signed(ca, certificate))
}

#[test]
fn the_bundle_stays_when_the_next_ca_begins_to_sign() {
    let introduced = after(secret(), Step::Introduce, now()).unwrap();
    let switched = after(introduced.clone(), Step::Switch, now()).unwrap();
    assert_eq!(read(&introduced).bundle(), read(&switched).bundle());
    assert_ne!(read(&introduced).ca.id, read(&switched).ca.id);
}

#[test]
fn an_emergency_leaves_nothing_of_what_was_there_at_any_stage() {
    for steps in [vec![], vec![Step::Introduce], vec![Step::Introduce, Step::Switch]] {
        let before =
            steps.iter().fold(asked("emergency"), |secret, step| after(secret, *step, now()).unwrap());
        let replaced = after(before.clone(), Step::Replace, now()).unwrap();
        assert_eq!(keys(&replaced), ["tls.crt", "tls.key"]);
        let (old, new) = (read(&before).bundle(), read(&replaced).bundle());
        assert!(!old.contains(&new) && !new.contains(&old));
        assert!(read(&replaced).due(true, now()).is_none(), "the request is answered");
    }
}

#[test]
fn a_step_is_due_when_it_was_asked_for_or_the_ca_is_old_and_the_next_when_everybody_arrived() {
    let idle = read(&secret());
    let later = |days: i64| now() + SignedDuration::from_hours(24 * days);
    assert_eq!(idle.due(true, now()), None);
    assert_eq!((idle.due(true, later(2432)), idle.due(true, later(2434))), (None, Some(Step::Introduce)));
    assert_eq!(read(&asked("")).due(false, now()), Some(Step::Introduce));
    let introduced = after(asked("yes"), Step::Introduce, now()).unwrap();
    assert_eq!(
        (read(&introduced).due(false, now()), read(&introduced).due(true, now())),
        (None, Some(Step::Switch))
    );
    let switched = after(introduced, Step::Switch, now()).unwrap();
    assert_eq!(
        (read(&switched).due(false, now()), read(&switched).due(true, now())),
        (None, Some(Step::Retire))
    );
    let done = after(switched, Step::Retire, now()).unwrap();
    assert_eq!(read(&done).due(true, now()), None, "one request is one rotation");
    assert_eq!(read(&asked("emergency")).due(false, now()), Some(Step::Replace));
}

#[test]
fn a_secret_that_was_cut_is_unusable_and_never_half_used() {
    let introduced = after(secret(), Step::Introduce, now()).unwrap();
    for key in ["tls.crt", "tls.key", "next.key"] {
        let mut cut = introduced.clone();
        cut.data.as_mut().unwrap().remove(key);
        assert!(Authority::of(&cut).is_err(), "{key}");
    }
}
