//! The policy file of the workload: headers, limits and hosts as JSON of a fixed order. It holds no secret.

use std::collections::BTreeMap;

use crds::{GepDuration, HardenedService, HeaderPreset, PathMatchType, RateLimit, RateLimitRule, RateLimits};
use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use crate::{
    Facts, defaults, hosts, identity,
    meta::{self, Component},
    redis,
};

/// Where the `ConfigMap` is mounted.
pub const DIR: &str = "/etc/hardened/policy";
/// Its key with the policy.
pub const KEY: &str = "policy.json";

pub fn policy(service: &HardenedService, facts: &Facts) -> ConfigMap {
    // Structs of strings and numbers: serialising them cannot fail.
    let text = serde_json::to_string_pretty(&file(service, facts)).unwrap_or_default();
    let mut data = BTreeMap::from([(KEY.to_owned(), text)]);
    data.extend(identity::gcp_file(service).map(|text| (identity::GCP_KEY.to_owned(), text)));
    ConfigMap {
        metadata: meta::named_with(service, "policy", Component::Policy),
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// Version 1 of the file. Structs and not JSON values: their order does not depend on features of other crates.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    version: u32,
    environment: &'static str,
    trusted_hosts: Vec<String>,
    headers: Headers,
    cors: Option<()>,
    rate_limits: Limits,
}

#[derive(Serialize)]
struct Headers {
    preset: HeaderPreset,
    overrides: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    store: &'static str,
    default: Option<RateLimit>,
    rules: Vec<Rule>,
    ipv6_prefix_length: i32,
    trusted_proxies: Vec<String>,
}

/// One limit.
#[derive(Serialize)]
pub struct Rule {
    pub name: String,
    pub methods: Vec<String>,
    pub path: Path,
    pub requests: i32,
    pub period: GepDuration,
}

/// Which paths a limit counts.
#[derive(Serialize)]
pub struct Path {
    /// `Exact` or `Prefix`.
    #[serde(rename = "type")]
    pub type_: &'static str,
    pub value: String,
}

fn file(service: &HardenedService, facts: &Facts) -> Policy {
    let headers = service.spec.headers.clone().unwrap_or_default();
    Policy {
        version: 1,
        environment: service.spec.environment.as_str(),
        trusted_hosts: hosts::certificate_names(service, facts),
        headers: Headers { preset: headers.preset.unwrap_or_default(), overrides: headers.overrides },
        cors: None,
        rate_limits: limits(service),
    }
}

fn limits(service: &HardenedService) -> Limits {
    let limits = service.spec.rate_limits.clone().unwrap_or_default();
    Limits {
        store: if redis::secret_ref(service).is_some() { "redis" } else { "memory" },
        rules: rules(&limits),
        default: limits.default,
        ipv6_prefix_length: limits.ipv6_prefix_length.unwrap_or(defaults::IPV6_PREFIX_LENGTH),
        trusted_proxies: limits.trusted_proxies,
    }
}

/// The spec's rules. A spec that limits nothing (a store alone, say) gets the table, so that it does not open `/login`.
pub fn rules(limits: &RateLimits) -> Vec<Rule> {
    if limits.rules.is_empty() && limits.default.is_none() {
        return defaults::RATE_LIMITS.map(table_rule).into();
    }
    limits.rules.iter().map(rule).collect()
}

fn table_rule((name, method, kind, path, requests): (&str, &str, PathMatchType, &str, i32)) -> Rule {
    Rule {
        name: name.into(),
        methods: vec![method.into()],
        path: Path { type_: path_type(kind), value: path.into() },
        requests,
        period: GepDuration::from_secs(60),
    }
}

fn rule(rule: &RateLimitRule) -> Rule {
    Rule {
        name: rule.name.clone(),
        methods: rule.methods.clone(),
        path: Path { type_: path_type(rule.path.type_.unwrap_or_default()), value: rule.path.value.clone() },
        requests: rule.requests,
        period: rule.period,
    }
}

const fn path_type(kind: PathMatchType) -> &'static str {
    match kind {
        PathMatchType::Exact => "Exact",
        PathMatchType::PathPrefix => "Prefix",
    }
}
