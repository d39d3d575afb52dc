//! The resource itself: spec, print columns, scale subresource and the rule on its name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Adoption, Exposure, HardenedServiceStatus, Headers, Network, Postgres, RateLimits, Secrets, Tls, Workload,
};

/// What the service should be. Only `environment` and `workload.image` are required.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "hardened.dev",
    version = "v1alpha1",
    kind = "HardenedService",
    plural = "hardenedservices",
    shortname = "hsvc",
    category = "hardened",
    namespaced,
    status = "HardenedServiceStatus",
    derive = "PartialEq",
    doc = "HardenedService deploys an application and hardens it: certificate, network policy, security headers, rate limits, restricted pods. The operator keeps it so and reports in status.",
    scale(
        spec_replicas_path = ".spec.workload.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "TLS-Expiry", type_ = "string", json_path = ".status.tls.notAfter", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63")
        .message("metadata.name: must be a DNS label of at most 63 characters (a-z, 0-9, -, beginning with a letter), because the Service and the certificate carry it; choose a shorter name without dots")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.environment != 'production' || self.workload.image.contains('@sha256:')")
        .message("spec.workload.image: environment production needs an image by digest (name@sha256:...), because a tag can be moved; add the digest")
        .field_path(".workload.image"),
    validation = Rule::new("self.environment != 'production' || !has(self.workload.imagePullPolicy) || self.workload.imagePullPolicy != 'Never'")
        .message("spec.workload.imagePullPolicy: Never is not allowed in environment production; use IfNotPresent")
        .field_path(".workload.imagePullPolicy"),
    validation = Rule::new("self.environment != 'production' || !has(self.postgres) || !has(self.postgres.tls) || !has(self.postgres.tls.mode) || self.postgres.tls.mode != 'require'")
        .message("spec.postgres.tls.mode: require takes any server for the right one, which is not allowed in environment production; use verify-full")
        .field_path(".postgres.tls.mode"),
    validation = Rule::new("!has(self.suspendUntil) || (has(self.suspend) && self.suspend)")
        .message("spec.suspendUntil: needs suspend: true; set it, or remove suspendUntil")
        .field_path(".suspendUntil"),
    validation = Rule::new("!has(self.secrets) || !has(self.secrets.delivery) || self.secrets.delivery != 'files' || !has(self.workload.env) || !self.workload.env.exists(e, e.name == 'SECRETS_DIR')")
        .message("spec.workload.env: SECRETS_DIR is set by the operator with spec.secrets.delivery: files; remove it")
        .field_path(".workload.env")
)]
pub struct HardenedServiceSpec {
    /// Strictness of the defaults and rules: development, staging or production.
    pub environment: Environment,
    /// Stop creating and correcting; what runs keeps running.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// When `suspend` ends by itself (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend_until: Option<Time>,
    /// The application.
    pub workload: Workload,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    /// Its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Headers of its responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Headers>,
    /// Rate limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limits: Option<RateLimits>,
    /// Secret values of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Secrets>,
    /// Its database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
    /// Openings in the default-deny `NetworkPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Objects in the place of children that are taken over instead of being left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.kind == a.kind && b.name == a.name))")
        .message("spec.adopt: every kind and name must be unique; remove the second one"))]
    pub adopt: Vec<Adoption>,
}

/// Strictness rises from development to production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(transform = crate::schema::without_description)]
pub enum Environment {
    /// One replica by default, tags allowed.
    Development,
    /// As production, tags allowed.
    Staging,
    /// Images by digest.
    Production,
}

impl Environment {
    /// The name in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}
