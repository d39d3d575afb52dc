//! How the service is reached from outside.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Exposure of the service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// Host names that clients use. Each must be covered by the namespace's annotation `hardened.dev/allowed-hosts`;
    /// the certificate carries them, and the workload answers to no other host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    #[x_kube(validation = crate::rules::each_matches(
        "spec.exposure.hostnames",
        "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])*[a-z]([-a-z0-9]{0,61}[a-z0-9])?$",
        "lower-case host names such as app.example.com, without scheme, port, path, wildcard or IP address",
    ))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hostnames: Vec<String>,
}
