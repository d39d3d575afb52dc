//! The policy file: its schema, reading and checking. What a policy does is up to the middleware.

mod auth;
mod cors;
mod limits;
mod period;

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Deserialize;
use thiserror::Error;

pub use self::{
    auth::{Auth, AuthSet, JwtPolicy, RoleRule},
    cors::{Cors, CorsSet},
    limits::{Cidr, PathMatch, PathType, RateLimit, RateLimits, Rule, Store, WhenStoreFails},
    period::Period,
};
use crate::{config::Environment, headers::HeaderSet, limiter::Limiter};

/// The largest file that is read; a `ConfigMap` cannot hold more.
const MAX_BYTES: u64 = 1024 * 1024;

/// Version 1 of the file. Unknown fields are ignored, so that a newer operator can write for an older service.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    version: u32,
    /// The environment that the policy was written for.
    pub environment: Option<Environment>,
    /// Host names that are answered; empty means any.
    #[serde(default)]
    pub trusted_hosts: Vec<String>,
    /// Response headers.
    #[serde(default)]
    pub headers: Headers,
    /// Pages of other origins.
    #[serde(default)]
    pub cors: Option<Cors>,
    /// Request limits.
    #[serde(default)]
    pub rate_limits: RateLimits,
    /// Who may do what. Left out, the roles of the app's own routes count.
    #[serde(default)]
    pub auth: Option<Auth>,
}

/// The headers part of the file.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Headers {
    /// The set of values to start from.
    #[serde(default)]
    pub preset: Preset,
    /// Other values by header name.
    #[serde(default)]
    pub overrides: BTreeMap<String, String>,
}

/// A named set of header values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Preset {
    /// Nothing is loaded but what carries the response's nonce.
    #[default]
    Strict,
    /// Nothing is loaded, framed or run: for JSON.
    Api,
    /// Own origin and the response's nonce: for pages.
    Web,
}

/// Why a policy file is not used.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("read policy file")]
    Read(#[from] io::Error),
    /// The text is not JSON of this schema.
    #[error("parse policy file: {field}")]
    Syntax {
        /// Where, such as `rateLimits.rules[0].requests`; a point for the whole.
        field: String,
        /// What is wrong there.
        source: serde_json::Error,
    },
    /// A value is out of bounds; the message names the field.
    #[error("{0}")]
    Invalid(String),
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: 1,
            environment: None,
            trusted_hosts: Vec::new(),
            headers: Headers::default(),
            cors: None,
            rate_limits: RateLimits::default(),
            auth: None,
        }
    }
}

/// A policy in the form that requests are served with: parsed, checked, header values ready.
#[derive(Debug)]
pub struct Compiled {
    /// The policy as read.
    pub policy: Policy,
    /// The response headers.
    pub headers: HeaderSet,
    /// Which pages of other origins may ask.
    pub cors: Option<CorsSet>,
    /// The rate limits with their counters.
    pub limiter: Limiter,
    /// Who may do what.
    pub auth: AuthSet,
}

impl Compiled {
    /// The policy that counts where no file is given.
    pub fn built_in() -> Result<Self, PolicyError> {
        compile(Policy::default())
    }

    /// The policy of the file, or without one the built-in.
    pub fn load(file: Option<&Path>) -> Result<Self, PolicyError> {
        file.map_or_else(Self::built_in, |path| Self::parse(&read(path)?))
    }

    /// Reads the text of a policy file.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let mut parser = serde_json::Deserializer::from_slice(text);
        let policy = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
            let field = error.path().to_string();
            PolicyError::Syntax { field, source: error.into_inner() }
        })?;
        parser.end().map_err(|source| PolicyError::Syntax { field: ".".to_owned(), source })?;
        compile(policy)
    }
}

/// Reads the file's bytes, up to the limit.
pub fn read(path: &Path) -> Result<Vec<u8>, PolicyError> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(PolicyError::Invalid(format!("the file is larger than {MAX_BYTES} bytes")));
    }
    Ok(fs::read(path)?)
}

fn compile(mut policy: Policy) -> Result<Compiled, PolicyError> {
    let invalid = PolicyError::Invalid;
    if policy.version != 1 {
        return Err(invalid(format!(
            "version: {} is not known, this service reads version 1",
            policy.version
        )));
    }
    for host in &mut policy.trusted_hosts {
        host.make_ascii_lowercase();
        if !is_host(host) {
            return Err(invalid(format!(
                "trustedHosts: {host:?} is not a host name or address without a port"
            )));
        }
    }
    limits::check(&policy.rate_limits).map_err(invalid)?;
    let headers = HeaderSet::new(&policy.headers).map_err(invalid)?;
    let cors = policy.cors.as_ref().map(|cors| CorsSet::new(cors, policy.environment)).transpose();
    let cors = cors.map_err(invalid)?;
    let limiter = Limiter::new(&policy.rate_limits).map_err(invalid)?;
    let auth = AuthSet::new(policy.auth.as_ref()).map_err(invalid)?;
    Ok(Compiled { policy, headers, cors, limiter, auth })
}

fn is_host(host: &str) -> bool {
    let bytes = host.as_bytes();
    let name = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    let v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    !host.is_empty() && host.len() <= 253 && (name || v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that the operator renders, with one value replaced.
    fn with(old: &str, new: &str) -> Result<Compiled, PolicyError> {
        let text = include_str!("../tests/policy.json");
        assert!(text.contains(old), "{old}");
        Compiled::parse(text.replacen(old, new, 1).as_bytes())
    }

    #[test]
    fn the_file_of_the_operator_is_read_in_full() {
        let policy = with("", "").unwrap().policy;
        assert_eq!(policy.environment, Some(Environment::Staging));
        assert_eq!(policy.trusted_hosts, ["studio.example", "studio.team.svc"]);
        assert_eq!(policy.headers.preset, Preset::Web);
        let limits = policy.rate_limits;
        assert_eq!(limits.store, Store::Redis);
        assert_eq!(limits.default.unwrap().period.as_secs(), 5400);
        assert_eq!((limits.rules[0].requests, limits.rules[0].period.as_secs()), (7, 90));
        assert_eq!(limits.rules[1].path.kind, PathType::Prefix);
        assert_eq!(limits.trusted_proxies[0].to_string(), "10.0.0.0/8");
    }

    #[test]
    fn without_a_file_the_nine_limits_of_the_mission_count() {
        let limits = Policy::default().rate_limits;
        let of = |name: &str| limits.rules.iter().find(|r| r.name == name).map(|r| r.requests);
        assert_eq!(limits.rules.len(), 8, "health is unlimited: no rule");
        assert_eq!(
            (of("login"), of("transcribe"), of("videos"), of("jobs-read")),
            (Some(5), Some(10), Some(60), Some(30))
        );
    }

    #[test]
    fn unknown_fields_are_ignored_so_that_newer_operators_can_write() {
        with("\"version\": 1", "\"version\": 1, \"future\": {\"a\": []}").unwrap();
    }

    #[test]
    fn a_value_out_of_bounds_is_refused_with_the_field_named() {
        let table = [
            ("\"version\": 1", "\"version\": 2", "version"),
            ("studio.example", "studio.example:443", "trustedHosts"),
            ("studio.example", "*.example", "trustedHosts"),
            ("\"requests\": 7", "\"requests\": 0", "requests"),
            ("\"name\": \"jobs\"", "\"name\": \"login\"", "name"),
            ("\"/login\"", "\"login\"", "path"),
            ("\"POST\"", "\"post\"", "methods"),
            ("\"ipv6PrefixLength\": 56", "\"ipv6PrefixLength\": 20", "ipv6PrefixLength"),
            ("Referrer-Policy", "Set-Cookie", "overrides"),
            ("\"no-referrer\"", "\"\"", "Referrer-Policy"),
            ("\"no-referrer\"", "\"a\\r\\nX-Evil: 1\"", "Referrer-Policy"),
        ];
        for (old, new, field) in table {
            let error = with(old, new).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(field), "{new}: {error}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_form_is_refused_with_its_place_named() {
        for (old, new, place) in [
            ("90s", "90", "rateLimits.rules[0].period"),
            ("90s", "0s", "rateLimits.rules[0].period"),
            ("90s", "25h", "rateLimits.rules[0].period"),
            ("\"requests\": 31", "\"requests\": \"31\"", "rateLimits.rules[1].requests"),
            ("10.0.0.0/8", "10.0.0.0/33", "rateLimits.trustedProxies[0]"),
            ("Web", "Lax", "headers.preset"),
        ] {
            let Err(PolicyError::Syntax { field, .. }) = with(old, new) else { panic!("{new} is accepted") };
            assert_eq!(field, place, "{new}");
        }
        assert!(Compiled::parse(b"{\"version\": 1} {}").is_err(), "something behind it");
    }
}
