//! Security headers of every response.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Response headers. Left out: preset `Strict`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Headers {
    /// The set of values to start from. Default: Strict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<HeaderPreset>,
    /// Other values for single headers, by name. A header can be changed, never removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::header_overrides")]
    // A closed list, so that no name can smuggle in another header, and values without double quotes, braces, `$`, backslash or
    // control characters, because they reach a proxy's configuration.
    #[x_kube(validation = Rule::new("self.all(k, k in ['Strict-Transport-Security', 'X-Frame-Options', 'Content-Security-Policy', 'Referrer-Policy', 'Permissions-Policy', 'Cross-Origin-Opener-Policy', 'Cross-Origin-Resource-Policy', 'Cross-Origin-Embedder-Policy', 'Cache-Control'])")
        .message("spec.headers.overrides: only Strict-Transport-Security, X-Frame-Options, Content-Security-Policy, Referrer-Policy, Permissions-Policy, Cross-Origin-Opener-Policy, Cross-Origin-Resource-Policy, Cross-Origin-Embedder-Policy and Cache-Control can be overridden; remove the other names"))]
    #[x_kube(validation = crate::rules::values_match(
        "spec.headers.overrides",
        "^[-A-Za-z0-9 :;,._=/()*?&%+@!~\\x27]+$",
        "made of values of letters, digits, spaces and :;,._=/()*?&%+@!~-' only; remove the other characters",
    ))]
    pub overrides: BTreeMap<String, String>,
}

/// A named set of header values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum HeaderPreset {
    /// No content may be loaded from anywhere without the response's nonce.
    #[default]
    Strict,
    /// For JSON APIs: nothing may be loaded or framed at all.
    Api,
    /// For pages: own origin plus the response's nonce.
    Web,
}
