//! Pods that somebody other than the operator restarted.

use crds::RestartCause;

use crate::World;

#[test]
fn a_restart_by_hand_is_entered_with_its_own_time_and_once() {
    let mut world = World::running();
    world.by_hand("2027-01-15T08:00:07.5Z");
    world.look();
    assert_eq!(world.ledger(), []);
    world.revision(2);
    world.look();
    assert_eq!(world.ledger(), [(2, RestartCause::Manual, String::new(), 7)]);
    world.write(RestartCause::SpecChanged, "b");
    world.revision(3);
    world.look();
    assert_eq!(world.causes()[1], (3, RestartCause::SpecChanged));
}

#[test]
fn a_restart_by_hand_and_a_change_of_the_spec_that_come_together_are_both_entered() {
    let mut world = World::running();
    world.by_hand("2027-01-15T08:00:07Z");
    world.write(RestartCause::SpecChanged, "b");
    world.revision(3);
    world.look();
    assert_eq!(world.causes(), [(2, RestartCause::Manual), (3, RestartCause::SpecChanged)]);
}

#[test]
fn a_restart_by_hand_that_has_left_the_ledger_is_not_entered_again() {
    let mut world = World::running();
    world.by_hand("2027-01-15T08:00:07Z");
    world.revision(2);
    world.look();
    for revision in 3..16 {
        world.write(RestartCause::SpecChanged, &format!("image-{revision}"));
        world.revision(revision);
        world.look();
    }
    let ledger = world.causes();
    assert_eq!(ledger.len(), 10);
    assert!(ledger.iter().all(|(_, cause)| *cause == RestartCause::SpecChanged), "{ledger:?}");
    assert_eq!(ledger.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), (6..16).collect::<Vec<_>>());
}

#[test]
fn a_template_that_is_not_the_operator_s_was_changed_by_hand() {
    let mut world = World::running();
    world.write(RestartCause::SpecChanged, "b");
    world.revision(2);
    world.look();
    world.image("tolerated");
    world.revision(3);
    world.look();
    assert_eq!(world.causes(), [(2, RestartCause::SpecChanged), (3, RestartCause::Manual)]);
}
