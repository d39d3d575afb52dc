//! Schema fragments for maps, whose keys and values the attributes of schemars cannot bound.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Labels: at most 16, values as Kubernetes allows them.
pub fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
        },
        "x-kubernetes-validations": [label_keys()]
    })
}

/// Annotations: at most 16, printable ASCII values of at most 1024 characters.
pub fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 1024, "pattern": "^[ -~]*$"},
        "x-kubernetes-validations": [label_keys()]
    })
}

/// Response headers that may be overridden: a closed list, so that no value can smuggle in another header, and
/// values without quotes, braces, `$`, backslash or control characters, because they reach a proxy's configuration.
pub fn header_overrides(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "type": "string", "minLength": 1, "maxLength": 2048, "pattern": "^[A-Za-z0-9 ':;,._=/()*?&%+@!~-]+$"
        },
        "x-kubernetes-validations": [{
            "rule": "self.all(k, k in ['Strict-Transport-Security','X-Frame-Options','Content-Security-Policy',\
                'Referrer-Policy','Permissions-Policy','Cross-Origin-Opener-Policy','Cross-Origin-Resource-Policy',\
                'Cross-Origin-Embedder-Policy','Cache-Control'])",
            "message": "spec.headers.overrides: only Strict-Transport-Security, X-Frame-Options, Content-Security-Policy, \
                Referrer-Policy, Permissions-Policy, Cross-Origin-Opener-Policy, Cross-Origin-Resource-Policy, \
                Cross-Origin-Embedder-Policy and Cache-Control can be overridden; remove the other names"
        }]
    })
}

fn label_keys() -> serde_json::Value {
    serde_json::json!({
        "rule": "self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$') \
            && !k.matches('(^|[.])(kubernetes[.]io|k8s[.]io|hardened[.]dev)/'))",
        "message": "keys must be Kubernetes label keys (optional DNS prefix, slash, name) and may not use the prefixes \
            kubernetes.io, k8s.io or hardened.dev; use a prefix of your own"
    })
}
