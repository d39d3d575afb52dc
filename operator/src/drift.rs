//! Who changed a child, as its managedFields tell. Names of fields only, never values.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

/// Managers of Kubernetes' own whose writes are no drift.
const CONTROLLERS: [&str; 2] = ["kube-controller-manager", crds::MANAGER];

/// The manager that wrote last, ours and the cluster's own aside. A removed field has no owner any more,
/// so the newest other writer is the best answer that the object can give.
pub fn manager(fields: &[ManagedFieldsEntry]) -> Option<&str> {
    fields
        .iter()
        .filter(|f| f.subresource.as_deref().unwrap_or_default() != "status")
        .filter(|f| f.manager.as_deref().is_some_and(|m| !CONTROLLERS.contains(&m)))
        .max_by_key(|f| f.time.as_ref().map(|t| t.0))
        .and_then(|f| f.manager.as_deref())
}

/// Keeps of managedFields what [`manager`] reads. The fields themselves are trees of many small maps, and most of the
/// memory of a cached object.
pub fn forget_fields(object: &mut ObjectMeta) {
    for entry in object.managed_fields.iter_mut().flatten() {
        entry.fields_v1 = None;
    }
}

/// Label of a manager in metrics: a closed set, because the name is chosen by whoever writes.
pub fn label(manager: Option<&str>) -> &'static str {
    const KNOWN: [(&str, &str); 7] = [
        ("kubectl", "kubectl"),
        ("helm", "helm"),
        ("argocd", "argocd"),
        ("kustomize-controller", "flux"),
        ("helm-controller", "flux"),
        ("terraform", "terraform"),
        ("k9s", "k9s"),
    ];
    let Some(manager) = manager else { return "unknown" };
    let known = KNOWN.iter().find(|(prefix, _)| manager.to_ascii_lowercase().starts_with(prefix));
    known.map_or("other", |(_, label)| label)
}

/// What to use instead, where the spec has a field for what somebody tried by hand.
pub fn hint(paths: &[String]) -> Option<&'static str> {
    const HINTS: [(&str, &str); 8] = [
        ("spec.replicas", "spec.workload.replicas (leave it out to let others scale)"),
        ("spec.paused", "spec.suspend"),
        ("spec.template.spec.containers[app].image", "spec.workload.image"),
        ("spec.template.spec.containers[app].env", "spec.workload.env"),
        ("spec.template.spec.containers[app].resources", "spec.workload.resources"),
        ("spec.template.metadata.annotations", "spec.workload.podAnnotations"),
        ("spec.template.metadata.labels", "spec.workload.podLabels"),
        ("spec.egress", "spec.network.egressTo"),
    ];
    HINTS.iter().find(|(prefix, _)| paths.iter().any(|p| p.starts_with(prefix))).map(|(_, hint)| *hint)
}

/// Paths for people, at most so many.
pub fn shown(paths: &[String], most: usize) -> String {
    let more = paths.len().saturating_sub(most);
    let shown = paths.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// The note of an event: which object, which paths (at most eight), by whom, and what to use instead.
pub fn note(kind: &str, name: &str, paths: &[String], manager: Option<&str>) -> String {
    let mut note = format!(
        "{kind} {name}: {} changed by {}; restored",
        shown(paths, 8),
        manager.unwrap_or("an unknown manager"),
    );
    if let Some(hint) = hint(paths) {
        note.push_str("; use ");
        note.push_str(hint);
    }
    note
}

/// managedFields of an object that came as JSON.
pub fn managed_fields(object: &Value) -> Vec<ManagedFieldsEntry> {
    object
        .pointer("/metadata/managedFields")
        .and_then(|f| serde_json::from_value(f.clone()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_foreign_writer_is_named() {
        let object = json!({"metadata": {"managedFields": [
            {"manager": "hardened-operator", "time": "2026-11-24T04:00:09Z"},
            {"manager": "helm", "time": "2026-11-24T04:00:01Z"},
            {"manager": "kubectl-edit", "time": "2026-11-24T04:00:05Z"},
            {"manager": "someone", "subresource": "status", "time": "2026-11-24T04:00:08Z"},
            {"manager": "kube-controller-manager", "time": "2026-11-24T04:00:08Z"}
        ]}});
        assert_eq!(manager(&managed_fields(&object)), Some("kubectl-edit"));
        assert_eq!(manager(&[]), None);
    }

    #[test]
    fn metric_labels_come_from_a_closed_set() {
        for (manager, expected) in [("kubectl-patch", "kubectl"), ("Helm", "helm"), ("x\"} 1", "other")] {
            assert_eq!(label(Some(manager)), expected);
        }
        assert_eq!(label(None), "unknown");
    }

    #[test]
    fn a_note_is_short_and_names_the_field_to_use() {
        let paths: Vec<String> =
            (0..40).map(|i| format!("spec.template.spec.containers[app].env[{i}].value")).collect();
        let note = note("Deployment", "studio", &paths, Some("kubectl-edit"));
        assert!(note.contains("and 32 more changed by kubectl-edit"), "{note}");
        assert!(note.ends_with("use spec.workload.env"), "{note}");
    }
}
