//! Openings in the default-deny `NetworkPolicy` that is always there.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may reach the service and what it may reach. Everything else is denied, both ways.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Pods that may connect to the `http` port, besides the platform's edge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ingress_from: Vec<IngressPeer>,
    /// What the service may connect to, besides the platform's DNS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub egress_to: Vec<EgressRule>,
}

/// Labels that must all match.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Label keys and values.
    #[schemars(schema_with = "crate::schema::match_labels")]
    #[x_kube(validation = Rule::new("size(self) > 0")
        .message("spec.network: matchLabels must name at least one label, because an empty selector would match everything"))]
    #[x_kube(validation = crate::rules::label_keys("spec.network: matchLabels"))]
    #[x_kube(validation = crate::rules::label_values("spec.network: matchLabels"))]
    pub match_labels: BTreeMap<String, String>,
}

/// Pods chosen by labels of theirs, of their namespace, or both.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.namespaceSelector) || has(self.podSelector)")
        .message("spec.network.ingressFrom: set namespaceSelector, podSelector or both")
)]
pub struct IngressPeer {
    /// Namespaces by label. Left out: this namespace only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Pods by label. Left out: every pod of the chosen namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// A destination: pods by labels, or an address range.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.cidr) != (has(self.namespaceSelector) || has(self.podSelector))")
        .message("spec.network.egressTo: set either cidr, or namespaceSelector and/or podSelector")
)]
pub struct EgressRule {
    /// Namespaces by label. Left out: this namespace only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Pods by label. Left out: every pod of the chosen namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// An IPv4 or IPv6 range. The cloud's metadata addresses (169.254.0.0/16 and `fd00:ec2::254`) stay closed also inside a wider range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self) && cidr(self).masked() == cidr(self)")
        .message("spec.network.egressTo.cidr: must be an address range that begins with its first address, such as 10.20.0.0/16 or fd00::/64"))]
    #[x_kube(validation = Rule::new("!isCIDR(self) || !(cidr('169.254.0.0/16').containsCIDR(cidr(self)) || cidr('fd00:ec2::254/128').containsCIDR(cidr(self)))")
        .message("spec.network.egressTo.cidr: 169.254.0.0/16 and fd00:ec2::254 are the cloud's metadata service and cannot be opened; use spec.workload.identity"))]
    pub cidr: Option<String>,
    /// Destination ports; at least one.
    #[schemars(length(min = 1, max = 8))]
    pub ports: Vec<NetworkPort>,
}

/// A destination port.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPort {
    /// Port number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// TCP or UDP. Default: TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// Transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum Protocol {
    /// TCP.
    #[default]
    TCP,
    /// UDP.
    UDP,
}
