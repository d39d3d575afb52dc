//! What a live child should become, and whether it is that already. Pure JSON; server-side defaults are render's business.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use render::{Kind, RESTARTED_AT};
use serde::Serialize;
use serde_json::{Map, Value};

/// Rules of the comparison that depend on the service and the platform.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Whether the spec sets `replicas`; otherwise the live number is carried over.
    pub replicas_are_fixed: bool,
    /// Annotations that others may set where foreign ones are removed otherwise.
    pub tolerated_annotations: &'a [String],
}

const JOB_LABELS: [&str; 4] =
    ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"];

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// The object that a PUT would send: live metadata with our keys, our body, and the carried fields.
/// Whatever else somebody added to the body is not in it (V19).
pub fn target(kind: Kind, live: &Value, desired: &Value, rules: Rules<'_>) -> Value {
    let mut target = desired.clone();
    target["metadata"] = metadata(kind, &live["metadata"], &desired["metadata"], rules);
    if let Some(status) = live.get("status") {
        target["status"] = status.clone();
    }
    match kind {
        Kind::Deployment => carry_deployment(&mut target, live, rules),
        Kind::Service => carry_service(&mut target, live),
        Kind::Job => carry_job(&mut target, live),
        _ => {}
    }
    target
}

fn metadata(kind: Kind, live: &Value, desired: &Value, rules: Rules<'_>) -> Value {
    let mut merged = live.as_object().cloned().unwrap_or_default();
    merged.remove("managedFields");
    merged.insert("labels".into(), union(&live["labels"], &desired["labels"], |_| true));
    // On these kinds an annotation is an instruction to somebody else's controller (load balancers, cloud identities,
    // cert-manager).
    let strict = matches!(kind, Kind::Service | Kind::ServiceAccount | Kind::Certificate);
    let tolerated = |key: &str| !strict || rules.tolerated_annotations.iter().any(|t| t == key);
    // The operator's own: one that is not wanted any more would outlive what it is about.
    let keep =
        |key: &str| ![crds::SEAL_ANNOTATION, crds::REJECTED_ANNOTATION].contains(&key) && tolerated(key);
    let annotations = union(&live["annotations"], &desired["annotations"], keep);
    if annotations.as_object().is_some_and(Map::is_empty) {
        merged.remove("annotations");
    } else {
        merged.insert("annotations".into(), annotations);
    }
    merged.insert("ownerReferences".into(), desired["ownerReferences"].clone());
    Value::Object(merged)
}

fn union(live: &Value, desired: &Value, keep: impl Fn(&str) -> bool) -> Value {
    let mut merged = Map::new();
    for (key, value) in live.as_object().into_iter().flatten().filter(|(key, _)| keep(key)) {
        merged.insert(key.clone(), value.clone());
    }
    for (key, value) in desired.as_object().into_iter().flatten() {
        merged.insert(key.clone(), value.clone());
    }
    Value::Object(merged)
}

fn carry_deployment(target: &mut Value, live: &Value, rules: Rules<'_>) {
    if !rules.replicas_are_fixed
        && let Some(replicas) = live.pointer("/spec/replicas")
    {
        // Omitted it would become 1, whatever `kubectl scale` or an autoscaler had set (V2).
        target["spec"]["replicas"] = replicas.clone();
    }
    let annotations = live.pointer("/spec/template/metadata/annotations").and_then(Value::as_object);
    for (key, value) in annotations.into_iter().flatten() {
        let restart = key == RESTARTED_AT
            && value.as_str().is_some_and(|at| at.parse::<k8s_openapi::jiff::Timestamp>().is_ok());
        if restart || rules.tolerated_annotations.contains(key) {
            target["spec"]["template"]["metadata"]["annotations"][key] = value.clone();
        }
    }
}

/// `healthCheckNodePort` belongs to type `LoadBalancer` only, which no child of ours has: it is not carried.
fn carry_service(target: &mut Value, live: &Value) {
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = live["spec"].get(field) {
            target["spec"][field] = value.clone();
        }
    }
}

/// What the Job controller finds its pods by. Without it a PUT is refused, because the template cannot change.
fn carry_job(target: &mut Value, live: &Value) {
    target["spec"]["selector"] = live["spec"]["selector"].clone();
    let labels = live.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        if JOB_LABELS.contains(&&**key) {
            target["spec"]["template"]["metadata"]["labels"][key] = value.clone();
        }
    }
}

/// The parts of an object by which two versions of it are the same.
pub fn essence(object: &Value) -> Value {
    let mut essence = object.clone();
    if let Some(fields) = essence.as_object_mut() {
        // The items of a list come without apiVersion and kind, everything else with them.
        for field in ["status", "apiVersion", "kind"] {
            fields.remove(field);
        }
    }
    if let Some(metadata) = essence.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(field);
        }
    }
    essence
}

/// Whether two versions of an object have the same [`essence`]. Of a Secret only metadata is known: never.
pub fn only_status_differs(kind: Kind, left: &DynamicObject, right: &DynamicObject) -> bool {
    let metadata = |object: &DynamicObject| ObjectMeta {
        managed_fields: None,
        resource_version: None,
        generation: None,
        ..object.metadata.clone()
    };
    kind != Kind::Secret && body(left).eq(body(right)) && metadata(left) == metadata(right)
}

fn body(object: &DynamicObject) -> impl Iterator<Item = (&String, &Value)> {
    object.data.as_object().into_iter().flatten().filter(|(field, _)| *field != "status")
}

/// Digest of an essence; keys are sorted, so equal objects have equal digests.
pub fn digest(essence: &Value) -> Digest {
    let mut digest = [0; 32];
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, essence.to_string().as_bytes());
    digest.copy_from_slice(hash.as_ref());
    digest
}

/// An object as JSON.
pub fn json(object: &impl Serialize) -> Value {
    // What came as JSON goes back to it, and typed objects hold strings, numbers, lists and maps only.
    serde_json::to_value(object).unwrap_or_default()
}

/// Paths at which two objects differ, list items by name where they have one: `spec.template.spec.containers[evil]`.
/// Values stay out: they may be secrets.
pub fn paths(left: &Value, right: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(left, right, "", &mut found);
    found
}

fn walk(left: &Value, right: &Value, path: &str, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(l), Value::Object(r)) => {
            let keys: std::collections::BTreeSet<_> = l.keys().chain(r.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(l.get(key).unwrap_or(&Value::Null), r.get(key).unwrap_or(&Value::Null), &path, found);
            }
        }
        (Value::Array(l), Value::Array(r)) => walk_lists(l, r, path, found),
        _ if left != right => found.push(path.to_owned()),
        _ => {}
    }
}

fn walk_lists(left: &[Value], right: &[Value], path: &str, found: &mut Vec<String>) {
    let name = |item: &Value| item.get("name").and_then(Value::as_str).map(str::to_owned);
    let named = |items: &[Value]| items.iter().all(|i| name(i).is_some());
    if !named(left) || !named(right) {
        for index in 0..left.len().max(right.len()) {
            let at = |items: &[Value]| items.get(index).cloned().unwrap_or(Value::Null);
            walk(&at(left), &at(right), &format!("{path}[{index}]"), found);
        }
        return;
    }
    let all: std::collections::BTreeSet<_> = left.iter().chain(right).filter_map(name).collect();
    for key in all {
        let at = |items: &[Value]| {
            items.iter().find(|i| name(i).as_ref() == Some(&key)).cloned().unwrap_or(Value::Null)
        };
        walk(&at(left), &at(right), &format!("{path}[{key}]"), found);
    }
    let order = |items: &[Value]| items.iter().filter_map(name).collect::<Vec<_>>();
    if found.is_empty() && order(left) != order(right) {
        found.push(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: Rules<'_> = Rules { replicas_are_fixed: false, tolerated_annotations: &[] };

    fn deployment(replicas: i32, annotations: &Value) -> Value {
        json!({
            "metadata": {"name": "a", "labels": {"ours": "1"}, "ownerReferences": [{"uid": "u"}]},
            "spec": {"replicas": replicas, "template": {"metadata": {"annotations": annotations}}}
        })
    }

    #[test]
    fn what_others_added_to_the_body_is_not_in_the_target() {
        let desired = json!({"metadata": {"ownerReferences": []}, "data": {"a": "1"}});
        let live =
            json!({"metadata": {"uid": "x"}, "data": {"a": "1", "LD_PRELOAD": "2"}, "immutable": true});
        let target = target(Kind::ConfigMap, &live, &desired, RULES);
        assert_eq!(target["data"], json!({"a": "1"}));
        assert!(target.get("immutable").is_none());
        assert_eq!(target["metadata"]["uid"], "x");
    }

    #[test]
    fn replicas_are_carried_unless_the_spec_sets_them() {
        let (live, desired) = (deployment(7, &json!({})), deployment(2, &json!({"hash": "v1"})));
        assert_eq!(target(Kind::Deployment, &live, &desired, RULES)["spec"]["replicas"], 7);
        let fixed = Rules { replicas_are_fixed: true, ..RULES };
        assert_eq!(target(Kind::Deployment, &live, &desired, fixed)["spec"]["replicas"], 2);
    }

    #[test]
    fn a_restart_is_carried_only_when_it_is_a_time() {
        let desired = deployment(2, &json!({"hash": "v1"}));
        for (at, kept) in [("2026-11-24T04:00:05Z", true), ("yesterday", false)] {
            let live = deployment(2, &json!({RESTARTED_AT: at, "evil": "1"}));
            let target = target(Kind::Deployment, &live, &desired, RULES);
            let annotations =
                target["spec"]["template"]["metadata"]["annotations"].as_object().expect("annotations");
            assert_eq!(annotations.contains_key(RESTARTED_AT), kept, "{at}");
            assert!(!annotations.contains_key("evil"));
        }
    }

    #[test]
    fn a_foreign_annotation_stays_except_where_it_instructs_a_controller() {
        let desired = json!({"metadata": {"ownerReferences": []}});
        let live = json!({"metadata": {"annotations": {"lb": "internal", "ok": "1"}}});
        let rules = Rules { tolerated_annotations: &["ok".to_owned()], ..RULES };
        let kept = |kind| target(kind, &live, &desired, rules)["metadata"]["annotations"].clone();
        assert_eq!(kept(Kind::Service), json!({"ok": "1"}));
        assert_eq!(kept(Kind::ConfigMap), json!({"lb": "internal", "ok": "1"}));
    }

    #[test]
    fn paths_name_list_items_and_never_values() {
        let left = json!({"c": [{"name": "app", "image": "x"}, {"name": "evil", "image": "y"}], "p": [1, 2]});
        let right = json!({"c": [{"name": "app", "image": "z"}], "p": [1]});
        assert_eq!(paths(&left, &right), ["c[app].image", "c[evil]", "p[1]"]);
    }
}
