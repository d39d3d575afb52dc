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
