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
    pub overrides: BTreeMap<String, String>,
}

/// A named set of header values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum HeaderPreset {
    /// No content may be loaded from anywhere without the response's nonce.
    #[default]
    Strict,
    /// For JSON APIs: nothing may be loaded or framed at all.
    Api,
    /// For pages: own origin plus the response's nonce.
    Web,
}
