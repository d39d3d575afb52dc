//! Schema fragments that the attributes of schemars cannot write, and the last touches on the generated CRD.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use schemars::{Schema, SchemaGenerator, json_schema};

/// Labels.
pub fn labels(_: &mut SchemaGenerator) -> Schema {
    string_map(16, 63)
}

/// Labels of a selector.
pub fn match_labels(_: &mut SchemaGenerator) -> Schema {
    string_map(8, 63)
}

/// Annotations.
pub fn annotations(_: &mut SchemaGenerator) -> Schema {
    string_map(16, 1024)
}

/// Response headers.
pub fn header_overrides(_: &mut SchemaGenerator) -> Schema {
    string_map(16, 2048)
}

/// Conditions as in Kubernetes' own API; k8s-openapi has the type without its bounds.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {
            "description": "One aspect of the observed state.",
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "description": "What it is about, in CamelCase.", "type": "string", "maxLength": 316,
                    "pattern": "^[A-Za-z][A-Za-z0-9]*$"
                },
                "status": {"description": "Whether it holds.", "type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {
                    "description": "Why, as one CamelCase word; docs/custom-resource.md lists them.", "type": "string",
                    "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z][A-Za-z0-9]*$"
                },
                "message": {"description": "Why, and what to do about it.", "type": "string", "maxLength": 32768},
                "lastTransitionTime": {
                    "description": "When `status` changed last.", "type": "string", "format": "date-time"
                },
                "observedGeneration": {
                    "description": "The generation of the spec that it describes.", "type": "integer", "format": "int64",
                    "minimum": 0
                }
            }
        }
    })
}

/// Takes a type's own description away: kube 5 would put it in the place of the field's.
pub fn without_description(schema: &mut Schema) {
    schema.remove("description");
}

/// The CRD as it is published. Without a status, kstatus calls an object current: `observedGeneration: -1` says that
/// nobody has looked yet. It is the only default here: the others live in code and belong to the environment.
pub fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) else {
            continue;
        };
        plain(root);
        if let Some(status) = root.properties.as_mut().and_then(|p| p.get_mut("status")) {
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
        }
    }
    crd
}

/// A null is pruned by the server where a field is not nullable, so that no rule has to think of it; a nullable status
/// would even keep a null in the place of its default.
fn plain(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.default = None;
    schema.properties.iter_mut().flat_map(|p| p.values_mut()).for_each(plain);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        plain(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        plain(values);
    }
}

fn string_map(max_properties: u32, max_length: u32) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": max_properties,
        "additionalProperties": {"type": "string", "maxLength": max_length}
    })
}
