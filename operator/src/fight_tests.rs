//! When does a difference wait, how long, and when is a fight over?

use super::*;

const PAIR: Pair = ([1; 32], [2; 32]);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

fn paths() -> Vec<String> {
    vec!["spec.replicas".into()]
}

fn flip(paths: &[String], security: bool) -> Flip<'_> {
    Flip { paths, security, pair: PAIR }
}

fn object() -> Object {
    let service = Key { namespace: "team".into(), name: "studio".into() };
    Object { service, kind: Kind::Deployment, name: "studio".into() }
}

/// Decides, and restores when that is the decision.
fn decide(fight: &mut Fight, flip: Flip<'_>, now: i64) -> Decision {
    let decision = fight.decide(flip, at(now));
    if decision == Decision::Restore {
        fight.restored(flip.paths, at(now));
    }
    decision
}

/// Somebody sets the field again two seconds after each restore; the times at which the operator restored it.
fn restores(seconds: i64, security: bool) -> Vec<i64> {
    let (mut fight, paths, mut restored, mut changed) = (Fight::default(), paths(), Vec::new(), Some(0));
    for now in 0..seconds {
        if changed.is_some_and(|second| second <= now)
            && decide(&mut fight, flip(&paths, security), now) == Decision::Restore
        {
            restored.push(now);
            changed = Some(now + 2);
        }
    }
    restored
}

#[test]
fn the_sixth_change_within_a_minute_waits_longer_and_longer() {
    assert_eq!(restores(40, false), [0, 2, 4, 6, 8, 20]);
    let gaps: Vec<_> = restores(2000, false).windows(2).map(|two| two[1] - two[0]).skip(4).collect();
    assert_eq!(gaps, [12, 22, 42, 82, 162, 302, 302, 302, 302, 302]);
}

#[test]
fn a_matter_of_security_never_waits() {
    assert_eq!(restores(40, true), (0..20).map(|turn| turn * 2).collect::<Vec<_>>());
    let (mut fight, paths) = (Fight::default(), paths());
    for second in 0..6 {
        decide(&mut fight, flip(&paths, false), second);
    }
    assert_eq!(decide(&mut fight, flip(&paths, false), 7), Decision::Wait);
    assert_eq!(decide(&mut fight, flip(&paths, true), 8), Decision::Restore);
}

#[test]
fn five_changes_a_minute_are_no_fight() {
    let (mut fight, paths) = (Fight::default(), paths());
    for second in (0..1200).step_by(12) {
        assert_eq!(decide(&mut fight, flip(&paths, false), second), Decision::Restore, "{second}");
    }
}

#[test]
fn a_look_at_what_waits_is_no_further_change() {
    let (mut fight, paths) = (Fight::default(), paths());
    for second in 0..6 {
        decide(&mut fight, flip(&paths, false), second);
    }
    let wait = fight.wait;
    assert_eq!(decide(&mut fight, flip(&paths, false), 9), Decision::Wait);
    assert_eq!(fight.wait, wait);
    assert_eq!(decide(&mut fight, flip(&paths, false), 15), Decision::Restore);
}

#[test]
fn a_fight_is_described_while_it_lasts_and_over_five_minutes_after_the_last_change() {
    let (fights, object, paths) = (Fights::default(), object(), paths());
    let mut began = Vec::new();
    for second in 0..6 {
        let (decision, told) = fights.decide(&object, Some("mallory"), flip(&paths, false), at(second));
        began.extend(told);
        if decision == Decision::Restore {
            fights.restored(&object, Some("mallory"), &paths, at(second));
        }
        assert_eq!(fights.problem(&object, at(second)).is_some(), second == 5);
    }
    let message = "Deployment studio: spec.replicas changed again and again by mallory, and restored each time; make \
        mallory leave it alone, or use spec.workload.replicas (leave it out to let others scale)";
    assert_eq!(began, [message]);
    assert!(fights.waits(&object, PAIR, at(14)) && !fights.waits(&object, PAIR, at(15)));
    assert!(!fights.waits(&object, ([3; 32], [2; 32]), at(14)), "another difference was not judged yet");
    assert_eq!(fights.wake(&object.service, at(6)), Some(Duration::from_secs(9)));
    fights.decide(&object, Some("mallory"), flip(&paths, false), at(15));
    fights.restored(&object, Some("mallory"), &paths, at(15));
    assert_eq!(fights.wake(&object.service, at(15)), Some(Duration::from_mins(5)));
    let problem = fights.problem(&object, at(314)).expect("it lasts");
    assert_eq!((problem.reason, &*problem.message), (Reason::FieldFight, message));
    assert_eq!(fights.problem(&object, at(315)), None);
    assert_eq!(fights.wake(&object.service, at(315)), None);
}

#[test]
fn managers_are_counted_apart_until_there_are_too_many() {
    let (fights, object, paths) = (Fights::default(), object(), paths());
    let decide = |manager: &str| {
        let decision = fights.decide(&object, Some(manager), flip(&paths, false), at(0)).0;
        if decision == Decision::Restore {
            fights.restored(&object, Some(manager), &paths, at(0));
        }
        decision
    };
    for manager in ["helm", "argocd", "kubectl"] {
        assert!((0..5).all(|_| decide(manager) == Decision::Restore), "{manager}");
    }
    assert_eq!(decide("helm"), Decision::Wait);
    let waits = (0..40).filter(|name| decide(&format!("name-{name}")) == Decision::Wait).count();
    assert!(waits > 20, "{waits}");
    assert!(fights.all()[&object].len() <= MANAGERS + 1);
}

#[test]
fn a_lost_race_is_no_further_change() {
    let (mut fight, paths) = (Fight::default(), paths());
    for second in 0..5 {
        for _ in 0..3 {
            assert_eq!(fight.decide(flip(&paths, false), at(second)), Decision::Restore);
        }
        fight.restored(&paths, at(second));
    }
    assert_eq!(fight.decide(flip(&paths, false), at(5)), Decision::Wait);
}

#[test]
fn changes_of_different_fields_are_no_fight() {
    let mut fight = Fight::default();
    for second in 0..40 {
        let paths = [format!("metadata.labels.{}", second % 10)];
        assert_eq!(decide(&mut fight, flip(&paths, false), second), Decision::Restore, "{second}");
    }
    assert!(!fight.is_on(at(40)));
    assert_eq!(decide(&mut fight, flip(&["metadata.labels.3".into()], false), 40), Decision::Restore);
    assert_eq!(decide(&mut fight, flip(&["metadata.labels.3".into()], false), 41), Decision::Wait);
    let other = ["spec.minReadySeconds".into()];
    assert_eq!(decide(&mut fight, flip(&other, false), 42), Decision::Restore, "nobody fights over this one");
}
