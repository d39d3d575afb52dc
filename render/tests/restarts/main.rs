//! The ledger of restarts: each revision once, with the cause that stood in the write that made it.
#![allow(clippy::unwrap_used, reason = "a fixture that does not parse fails the test")]

mod by_hand;

use crds::{HardenedService, LAST_CHANGE_ANNOTATION, RestartCause};
use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use kube::ResourceExt;
use render::{Applied, Change, Facts, Kind, Outcome, RESTARTED_AT, status};
use serde_json::json;

const THEN: i64 = 1_800_000_000;

/// A service with its Deployment, as the operator and the Deployment controller leave them.
struct World {
    service: HardenedService,
    deployment: Deployment,
    settled: bool,
    now: i64,
}

impl World {
    fn new() -> Self {
        let service = serde_json::from_value(json!({
            "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService",
            "metadata": {"name": "studio", "namespace": "team", "uid": "u", "generation": 1},
            "spec": {"environment": "staging", "workload": {"image": "example.com/app:1"}}
        }))
        .unwrap();
        let deployment = serde_json::from_value(json!({
            "metadata": {"name": "studio", "uid": "d"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "app", "image": "a"}]}}}
        }))
        .unwrap();
        Self { service, deployment, settled: true, now: THEN }
    }

    /// With the first revision, which is no restart.
    fn running() -> Self {
        let mut world = Self::new();
        world.look();
        world.revision(1);
        world.look();
        world
    }

    fn image(&mut self, image: &str) {
        self.deployment.spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
    }

    /// The operator's write: the template and its cause together.
    fn write(&mut self, cause: RestartCause, image: &str) {
        let live = self.deployment.clone();
        self.image(image);
        let ledger = self.service.status.clone().unwrap_or_default().restarts;
        let keys = vec![format!("spec.template.spec.containers[app].image={image}")];
        let change = Change::new(cause, keys, (&live, &self.deployment), &ledger, self.time()).unwrap();
        self.deployment.annotations_mut().insert(LAST_CHANGE_ANNOTATION.into(), change.annotation());
    }

    fn by_hand(&mut self, at: &str) {
        let metadata = self.deployment.spec.template.metadata.get_or_insert_default();
        metadata.annotations.get_or_insert_default().insert(RESTARTED_AT.into(), at.into());
    }

    fn revision(&mut self, revision: i64) {
        let key = "deployment.kubernetes.io/revision".to_owned();
        self.deployment.annotations_mut().insert(key, revision.to_string());
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap() + std::time::Duration::from_millis(250)
    }

    /// A pass of any operator; the next one is a second later.
    fn look(&mut self) {
        let outcome = Outcome {
            kind: Kind::Deployment,
            name: "studio".into(),
            uid: self.deployment.metadata.uid.clone(),
            state: crds::ChildState::Applied,
            problem: None,
        };
        let applied = Applied {
            outcomes: vec![outcome],
            deployment: Some(self.deployment.clone()),
            deployment_is_settled: self.settled,
            ..Applied::default()
        };
        let first = status(&self.service, &applied, &Facts::default(), self.time());
        // As the server keeps it: whole seconds.
        let kept = serde_json::from_value(serde_json::to_value(first).unwrap()).unwrap();
        self.service.status = Some(kept);
        self.now += 1;
        let second = status(&self.service, &applied, &Facts::default(), self.time());
        assert!(self.service.status.as_ref() == Some(&second), "a second look must find nothing to write");
    }

    /// Revision, cause, first key, seconds since the start.
    fn ledger(&self) -> Vec<(i64, RestartCause, String, i64)> {
        let entries = &self.service.status.as_ref().unwrap().restarts;
        let line = |r: &crds::Restart| {
            let key = r.keys.first().cloned().unwrap_or_default();
            (r.revision.unwrap_or(-1), r.cause, key, r.at.0.as_second() - THEN)
        };
        entries.iter().map(line).collect()
    }

    fn causes(&self) -> Vec<(i64, RestartCause)> {
        self.ledger().into_iter().map(|(revision, cause, ..)| (revision, cause)).collect()
    }
}

#[test]
fn the_first_revision_is_no_restart() {
    let world = World::running();
    assert_eq!(world.ledger(), []);
    assert_eq!(world.service.status.unwrap().revision, Some(1));
}

#[test]
fn the_number_of_the_first_revision_costs_no_write_of_its_own() {
    let mut world = World::new();
    world.look();
    let before = world.service.status.clone();
    for settled in [false, true] {
        world.settled = settled;
        world.revision(1);
        world.look();
        assert_eq!(world.service.status, before);
    }
    assert_eq!(before.unwrap().revision, Some(1));
}

#[test]
fn a_change_of_the_spec_is_entered_when_its_revision_is_there_and_not_before() {
    let mut world = World::running();
    world.write(RestartCause::SpecChanged, "b");
    world.look();
    assert_eq!(world.ledger(), []);
    world.revision(2);
    world.look();
    let key = "spec.template.spec.containers[app].image=b".to_owned();
    assert_eq!(world.ledger(), [(2, RestartCause::SpecChanged, key, 2)]);
}

#[test]
fn an_operator_that_died_after_its_write_left_the_cause_behind() {
    let mut world = World::new();
    world.look();
    world.write(RestartCause::SpecChanged, "b");
    // Nobody looked in between: not even the first revision was seen.
    world.revision(2);
    world.look();
    assert_eq!(world.causes(), [(2, RestartCause::SpecChanged)]);
    world.look();
    assert_eq!(world.causes().len(), 1);
}

#[test]
fn an_attack_that_is_undone_is_two_revisions_however_they_are_seen() {
    for seen in [vec![3], vec![2, 3]] {
        let mut world = World::running();
        world.image("evil");
        if seen.len() == 2 {
            // The controller was faster than the operator.
            world.revision(2);
        }
        world.write(RestartCause::DriftReverted, "a");
        for revision in seen {
            world.revision(revision);
            world.look();
        }
        assert_eq!(world.causes(), [(2, RestartCause::DriftReverted), (3, RestartCause::DriftReverted)]);
        assert!(world.ledger().iter().all(|entry| entry.2.ends_with("image=a")));
    }
}

#[test]
fn an_attack_that_is_not_undone_yet_waits_for_its_cause() {
    let mut world = World::running();
    world.settled = false;
    world.image("evil");
    world.revision(2);
    world.look();
    assert_eq!(world.ledger(), []);
    world.write(RestartCause::DriftReverted, "a");
    world.look();
    world.revision(3);
    world.look();
    assert_eq!(world.causes(), [(2, RestartCause::DriftReverted), (3, RestartCause::DriftReverted)]);
}

#[test]
fn an_attack_that_the_controller_never_saw_is_no_revision() {
    let mut world = World::running();
    world.image("evil");
    world.write(RestartCause::DriftReverted, "a");
    world.look();
    assert_eq!(world.ledger(), []);
}

#[test]
fn two_changes_of_which_one_revision_is_made_are_one_entry_with_the_names_of_both() {
    let mut world = World::running();
    world.write(RestartCause::SpecChanged, "b");
    world.write(RestartCause::SpecChanged, "c");
    world.revision(2);
    world.look();
    let keys = &world.service.status.as_ref().unwrap().restarts[0].keys;
    assert!(keys[0].ends_with("image=b") && keys[1].ends_with("image=c"), "{keys:?}");
    world.write(RestartCause::SpecChanged, "d");
    world.revision(3);
    world.look();
    assert!(world.ledger()[1].2.ends_with("image=d"), "{:?}", world.ledger());
}

#[test]
fn a_status_from_before_the_ledger_starts_where_the_deployment_is() {
    let mut world = World::new();
    world.revision(7);
    world.look();
    assert_eq!(world.ledger(), []);
    assert_eq!(world.service.status.unwrap().revision, Some(7));
}

#[test]
fn an_adopted_deployment_is_entered_from_its_adoption_on() {
    let mut world = World::new();
    world.revision(7);
    world.write(RestartCause::Adopted, "b");
    world.look();
    world.revision(8);
    world.look();
    assert_eq!(world.causes(), [(8, RestartCause::Adopted)]);
}

#[test]
fn a_deployment_that_was_made_anew_counts_from_the_start() {
    let mut world = World::running();
    world.write(RestartCause::SpecChanged, "b");
    world.revision(2);
    world.look();
    world.deployment.metadata.uid = Some("another".into());
    world.deployment.metadata.annotations = None;
    world.look();
    world.revision(1);
    world.look();
    world.write(RestartCause::SpecChanged, "c");
    world.revision(2);
    world.look();
    assert_eq!(world.causes(), [(2, RestartCause::SpecChanged); 2]);
}

#[test]
fn what_others_write_into_the_annotations_fits_the_schema() {
    let mut world = World::running();
    let keys = vec!["ä".repeat(300); 100];
    let live = world.deployment.clone();
    world.image("b");
    let change =
        Change::new(RestartCause::SpecChanged, keys.clone(), (&live, &world.deployment), &[], world.time());
    let mut annotation: serde_json::Value = serde_json::from_str(&change.unwrap().annotation()).unwrap();
    annotation["keys"] = json!(keys);
    world.deployment.annotations_mut().insert(LAST_CHANGE_ANNOTATION.into(), annotation.to_string());
    world.revision(i64::MAX);
    world.look();
    let restarts = &world.service.status.as_ref().unwrap().restarts;
    assert_eq!(restarts.len(), 10);
    assert!(restarts.iter().all(|r| r.keys.len() <= 64 && r.keys.iter().all(|key| key.len() <= 253)));
}
