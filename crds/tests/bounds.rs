//! Holds that every field of the CRD is documented and bounded: an unbounded list costs the API server, not us.

use serde_json::Value;

#[test]
fn every_field_has_a_description() {
    let undocumented =
        fields().filter(|(_, field)| field["description"].as_str().is_none_or(|text| text.len() < 4));
    let undocumented: Vec<_> = undocumented.map(|(path, _)| path).collect();
    assert!(undocumented.is_empty(), "{undocumented:#?}");
}

#[test]
fn every_string_list_and_map_is_bounded() {
    let unbounded = nodes().filter(|(_, node)| match node["type"].as_str() {
        Some("string") => {
            node["maxLength"].is_null() && node["enum"].is_null() && node["format"] != "date-time"
        }
        Some("array") => node["maxItems"].is_null(),
        Some("object") if node["properties"].is_null() => {
            !node["additionalProperties"].is_null() && node["maxProperties"].is_null()
        }
        Some("object" | "integer" | "boolean") => false,
        _ => true,
    });
    let unbounded: Vec<_> = unbounded.map(|(path, _)| path).collect();
    assert!(unbounded.is_empty(), "{unbounded:#?}");
}

#[test]
fn every_number_of_the_spec_has_both_ends() {
    let open = nodes().filter(|(path, node)| {
        path.starts_with(".spec")
            && node["type"] == "integer"
            && (node["minimum"].is_null() || node["maximum"].is_null())
    });
    let open: Vec<_> = open.map(|(path, _)| path).collect();
    assert!(open.is_empty(), "{open:#?}");
}

#[test]
fn the_only_default_is_that_nobody_has_looked_at_the_object() {
    let defaults: Vec<_> = nodes().filter(|(_, node)| !node["default"].is_null()).collect();
    assert_eq!(defaults.len(), 1, "{defaults:#?}");
    assert_eq!(defaults[0].0, ".status");
    assert_eq!(defaults[0].1["default"], serde_json::json!({"observedGeneration": -1}));
}

#[test]
fn each_message_under_the_spec_begins_with_its_field() {
    for (path, node) in nodes().filter(|(path, _)| !path.is_empty()) {
        for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().unwrap_or_default();
            assert!(message.starts_with("spec.") && message.len() < 400, "{path}: {message:?}");
        }
    }
}

/// Every member of an object, with its path.
fn fields() -> impl Iterator<Item = (String, Value)> {
    nodes().filter(|(path, _)| !path.ends_with(']'))
}

/// Every schema of the CRD, with its path: `[]` for entries of a list, `[*]` for values of a map.
fn nodes() -> impl Iterator<Item = (String, Value)> {
    let mut found = Vec::new();
    for version in crds::all().iter().flat_map(|crd| &crd.spec.versions) {
        let version = serde_json::to_value(version).unwrap_or_default();
        walk(String::new(), &version["schema"]["openAPIV3Schema"], &mut found);
    }
    assert!(found.len() > 100, "the walk found only {} schemas", found.len());
    found.into_iter()
}

fn walk(path: String, node: &Value, found: &mut Vec<(String, Value)>) {
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        walk(format!("{path}.{name}"), child, found);
    }
    if node["items"].is_object() {
        walk(format!("{path}[]"), &node["items"], found);
    }
    if node["additionalProperties"].is_object() {
        walk(format!("{path}[*]"), &node["additionalProperties"], found);
    }
    found.push((path, node.clone()));
}
