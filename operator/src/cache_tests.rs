//! Tests of the cache: whose news counts, and in which order.

use serde_json::json;

use super::*;

fn object(name: &str, service: &str, uid: &str, version: u32) -> DynamicObject {
    serde_json::from_value(json!({"metadata": {
        "namespace": "team", "name": name, "uid": uid, "resourceVersion": version.to_string(),
        "labels": {SERVICE_LABEL: service}
    }}))
    .expect("object")
}

fn key(name: &str) -> Key {
    Key { namespace: "team".into(), name: name.into() }
}

#[test]
fn an_older_version_changes_nothing() {
    let cache = Cache::default();
    assert_eq!(cache.insert(Kind::Service, object("a", "studio", "u1", 10)), BTreeSet::from([key("studio")]));
    assert_eq!(cache.insert(Kind::Service, object("a", "other", "u1", 9)), BTreeSet::new());
    assert_eq!(cache.of(&key("studio")).len(), 1);
}

#[test]
fn a_label_that_moves_touches_both_services() {
    let cache = Cache::default();
    cache.insert(Kind::Service, object("a", "studio", "u1", 1));
    let touched = cache.insert(Kind::Service, object("a", "other", "u1", 2));
    assert_eq!(touched, BTreeSet::from([key("studio"), key("other")]));
    assert!(cache.of(&key("studio")).is_empty());
}

#[test]
fn a_late_delete_does_not_remove_the_successor() {
    let cache = Cache::default();
    cache.insert(Kind::Service, object("a", "studio", "u1", 1));
    cache.insert(Kind::Service, object("a", "studio", "u2", 5));
    assert!(cache.remove(Kind::Service, &object("a", "studio", "u1", 3)).is_empty());
    assert!(cache.get(Kind::Service, "team", "a").is_some());
}

#[test]
fn a_complete_list_forgets_what_is_not_in_it() {
    let cache = Cache::default();
    cache.insert(Kind::Service, object("a", "studio", "u1", 1));
    cache.insert(Kind::Secret, object("a", "studio", "u2", 2));
    assert_eq!(cache.replace(Kind::Service, None, Vec::new()), BTreeSet::from([key("studio")]));
    assert!(cache.get(Kind::Service, "team", "a").is_none());
    assert!(cache.get(Kind::Secret, "team", "a").is_some());
    assert!(cache.replace(Kind::Secret, Some("elsewhere"), Vec::new()).is_empty());
}

#[test]
fn the_answer_to_a_write_does_not_bring_back_what_the_watch_has_lost_since() {
    let cache = Cache::default();
    cache.insert(Kind::Service, object("a", "studio", "u1", 1));
    cache.remove(Kind::Service, &object("a", "studio", "u1", 3));
    cache.insert_answer(Kind::Service, object("a", "studio", "u1", 2));
    assert!(cache.get(Kind::Service, "team", "a").is_none());
    cache.insert_answer(Kind::Service, object("a", "studio", "u2", 4));
    assert!(cache.get(Kind::Service, "team", "a").is_some());
}

#[test]
fn the_loss_of_a_label_that_was_written_again_since_is_old_news() {
    let cache = Cache::default();
    cache.insert(Kind::Service, object("a", "studio", "u1", 1));
    cache.insert_answer(Kind::Service, object("a", "studio", "u1", 3));
    assert!(cache.remove(Kind::Service, &object("a", "studio", "u1", 2)).is_empty());
    assert!(cache.get(Kind::Service, "team", "a").is_some());
}

#[test]
fn of_managed_fields_the_managers_are_kept() {
    let cache = Cache::default();
    let mut changed = object("a", "studio", "u1", 1);
    let entry = json!({"manager": "kubectl-edit", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}});
    changed.metadata.managed_fields = Some(vec![serde_json::from_value(entry).expect("entry")]);
    cache.insert(Kind::Service, changed);
    let live = cache.get(Kind::Service, "team", "a").expect("it is there");
    assert_eq!(drift::manager(live.managed_fields()), Some("kubectl-edit"));
    assert!(live.managed_fields()[0].fields_v1.is_none());
}

/// The same object with a spec and a status.
fn with(version: u32, spec: u32, status: u32) -> DynamicObject {
    let mut object = object("a", "studio", "u1", version);
    object.data = json!({"spec": {"replicas": spec}, "status": {"replicas": status}});
    object
}

#[test]
fn a_status_that_changes_concerns_only_those_who_read_it_and_what_was_right_stays_right() {
    for (kind, touched) in [
        (Kind::Deployment, BTreeSet::from([key("studio")])),
        (Kind::Certificate, BTreeSet::from([key("studio")])),
        (Kind::HorizontalPodAutoscaler, BTreeSet::new()),
        // Of a Secret the cache has metadata only.
        (Kind::Secret, BTreeSet::from([key("studio")])),
    ] {
        let cache = Cache::default();
        cache.insert(kind, with(1, 2, 0));
        cache.remember(kind, "team", "a", |note| note.version = exactly(&with(1, 2, 0)));
        assert_eq!(cache.insert(kind, with(2, 2, 1)), touched, "{kind:?}");
        let right = if kind == Kind::Secret { "1" } else { "2" };
        assert_eq!(cache.note(kind, "team", "a").version.1.as_deref(), Some(right), "{kind:?}");
        let seen = cache.get(kind, "team", "a").expect("object");
        assert_eq!(seen.data["status"]["replicas"], 1, "{kind:?}");
    }
}

#[test]
fn what_somebody_changed_is_not_taken_for_right_when_a_status_follows() {
    let cache = Cache::default();
    cache.insert(Kind::HorizontalPodAutoscaler, with(1, 2, 0));
    cache.remember(Kind::HorizontalPodAutoscaler, "team", "a", |note| note.version = exactly(&with(1, 2, 0)));
    assert_eq!(cache.insert(Kind::HorizontalPodAutoscaler, with(2, 9, 0)), BTreeSet::from([key("studio")]));
    let touched = cache.insert(Kind::HorizontalPodAutoscaler, with(3, 9, 1));
    assert_eq!(touched, BTreeSet::from([key("studio")]), "a DELETE of version 2 may have failed by this");
    let version = cache.note(Kind::HorizontalPodAutoscaler, "team", "a").version.1;
    assert_eq!(version.as_deref(), Some("1"), "a pass still has to look at version 3");
}
