//! What one `CustomResourceDefinition` has and another lacks. Pure.

use crds::HardenedService;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::Resource;
use serde_json::Value;

/// The first thing of ours that the other definition does not serve.
pub fn missing(ours: &CustomResourceDefinition, theirs: &CustomResourceDefinition) -> Option<String> {
    ours.spec.versions.iter().find_map(|version| {
        let served = theirs.spec.versions.iter().find(|v| v.name == version.name && v.served);
        let Some(served) = served else { return Some(format!("version {}", version.name)) };
        let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
        match served.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()) {
            None => Some(format!("the schema of version {}", version.name)),
            Some(theirs) => missing_field(schema, theirs, "").map(|path| format!("the field {path}")),
        }
    })
}

fn missing_field(ours: &JSONSchemaProps, theirs: &JSONSchemaProps, path: &str) -> Option<String> {
    if theirs.x_kubernetes_preserve_unknown_fields == Some(true) {
        return None;
    }
    let fields = ours.properties.iter().flatten().map(|(name, field)| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        (field, theirs.properties.as_ref().and_then(|t| t.get(name)).or_else(|| values(theirs)), path)
    });
    let items = items(ours).map(|own| (own, items(theirs), format!("{path}[]")));
    let values = values(ours).map(|own| (own, values(theirs), format!("{path}[*]")));
    fields.chain(items).chain(values).find_map(|(own, their, path)| match their {
        Some(their) => missing_field(own, their, &path),
        None => Some(path),
    })
}

fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

fn values(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        _ => None,
    }
}

/// The schema of `spec` in our version.
pub fn spec(definition: &CustomResourceDefinition) -> Option<&JSONSchemaProps> {
    let version = definition.spec.versions.iter().find(|v| v.name == HardenedService::version(&()))?;
    version.schema.as_ref()?.open_api_v3_schema.as_ref()?.properties.as_ref()?.get("spec")
}

/// Whether somebody set a field that the schema does not have, as managedFields (fieldsV1) remember it. They are kept when
/// the field itself is hidden from readers.
pub fn hides(schema: &JSONSchemaProps, fields: &Value) -> bool {
    if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
        return false;
    }
    fields.as_object().into_iter().flatten().any(|(step, below)| {
        let next = match step.split_once(':') {
            Some(("f", name)) => {
                schema.properties.as_ref().and_then(|p| p.get(name)).or_else(|| values(schema))
            }
            Some(_) => items(schema),
            // The object itself.
            None => return false,
        };
        next.is_none_or(|next| hides(next, below))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use serde_json::{Value, json};

    use super::*;

    const ROOT: &str = "/spec/versions/0/schema/openAPIV3Schema";

    static OURS: LazyLock<CustomResourceDefinition> = LazyLock::new(|| crds::all().pop().expect("one CRD"));

    /// What an installed definition lacks that is ours after a change.
    fn lacks(change: impl Fn(&mut Value)) -> Option<String> {
        let mut theirs = serde_json::to_value(&*OURS).expect("a CRD serialises");
        change(&mut theirs);
        missing(&OURS, &serde_json::from_value(theirs).expect("still a CRD"))
    }

    fn without(pointer: &str, field: &str) -> Option<String> {
        lacks(|crd| {
            let holder = crd.pointer_mut(&format!("{ROOT}{pointer}")).and_then(Value::as_object_mut);
            holder.expect(pointer).remove(field).expect(field);
        })
    }

    #[test]
    fn every_field_counts_however_deep() {
        assert_eq!(lacks(|_| ()), None);
        let cases = [
            ("/properties/spec/properties", "suspend", "spec.suspend"),
            ("/properties/spec/properties", "tls", "spec.tls"),
            ("/properties/status/properties", "restarts", "status.restarts"),
            (
                "/properties/spec/properties/workload/properties/env/items/properties",
                "value",
                "spec.workload.env[].value",
            ),
            (
                "/properties/spec/properties/workload/properties/podLabels",
                "additionalProperties",
                "spec.workload.podLabels[*]",
            ),
            ("/properties/spec/properties/workload/properties/env", "items", "spec.workload.env[]"),
        ];
        for (pointer, field, expected) in cases {
            assert_eq!(without(pointer, field), Some(format!("the field {expected}")));
        }
    }

    #[test]
    fn every_single_property_that_is_taken_away_is_found() {
        fn walk(node: &Value, pointer: &str, found: &mut Vec<(String, String)>) {
            for (name, field) in node["properties"].as_object().into_iter().flatten() {
                found.push((format!("{pointer}/properties"), name.clone()));
                walk(field, &format!("{pointer}/properties/{name}"), found);
            }
            for below in ["items", "additionalProperties"] {
                if node[below].is_object() {
                    walk(&node[below], &format!("{pointer}/{below}"), found);
                }
            }
        }
        let crd = serde_json::to_value(&*OURS).expect("a CRD serialises");
        let mut found = Vec::new();
        walk(crd.pointer(ROOT).expect("a schema"), "", &mut found);
        assert!(found.len() > 100, "only {} properties", found.len());
        for (pointer, name) in found {
            let lacks = without(&pointer, &name);
            assert!(lacks.as_ref().is_some_and(|path| path.ends_with(&name)), "{pointer} {name}: {lacks:?}");
        }
    }

    #[test]
    fn a_field_that_somebody_set_and_the_schema_hides_is_seen() {
        let fields = json!({".": {}, "f:environment": {}, "f:workload": {
            "f:podLabels": {"f:team": {}},
            "f:disruption": {".": {}, "f:maxUnavailable": {}},
            "f:env": {"k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}},
            "f:args": {"v:\"--x\"": {}},
        }});
        let hidden = |pointer: &str, field: &str| {
            let mut theirs = serde_json::to_value(spec(&OURS).expect("a spec")).expect("a schema serialises");
            let holder = theirs.pointer_mut(pointer).and_then(Value::as_object_mut);
            assert!(field.is_empty() || holder.expect(pointer).remove(field).is_some(), "{field}");
            hides(&serde_json::from_value(theirs).expect("still a schema"), &fields)
        };
        let workload = "/properties/workload/properties";
        assert!(!hidden("", ""), "every field is known");
        assert!(!hidden(workload, "probes"), "nobody set it");
        assert!(hidden(workload, "disruption"));
        assert!(hidden(&format!("{workload}/disruption/properties"), "maxUnavailable"));
        assert!(hidden(&format!("{workload}/env/items/properties"), "value"));
        assert!(hidden(&format!("{workload}/podLabels"), "additionalProperties"));
        assert!(hidden(&format!("{workload}/args"), "items"));
    }

    #[test]
    fn a_newer_or_an_open_schema_is_enough_and_another_version_is_not() {
        let spec = format!("{ROOT}/properties/spec");
        let more = |crd: &mut Value| {
            crd.pointer_mut(&spec).expect("spec")["properties"]["later"] = json!({"type": "string"});
        };
        assert_eq!(lacks(more), None);
        let open = |crd: &mut Value| {
            *crd.pointer_mut(&spec).expect("spec") =
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        };
        assert_eq!(lacks(open), None);
        for (member, value) in [("served", json!(false)), ("name", json!("v1"))] {
            let other = lacks(|crd| crd["spec"]["versions"][0][member] = value.clone());
            assert_eq!(other.as_deref(), Some("version v1alpha1"), "{member}");
        }
        let bare = lacks(|crd| crd["spec"]["versions"][0]["schema"] = Value::Null);
        assert_eq!(bare.as_deref(), Some("the schema of version v1alpha1"));
    }
}
