//! The rate limits of the policy file as checked data. Counting requests happens elsewhere.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use actix_web::http::Method;
use serde::Deserialize;

use super::period::Period;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Where passwords and tokens are guessed.
const CREDENTIAL_PATHS: [&str; 2] = ["/login", "/token/refresh"];

/// Limits per client and rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimits {
    /// Where the counters live.
    #[serde(default)]
    pub store: Store,
    /// The limit for requests that no rule matches.
    #[serde(default)]
    pub default: Option<RateLimit>,
    /// The first rule that matches method and path counts.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// IPv6 clients are counted by this prefix.
    #[serde(default = "default_ipv6_prefix")]
    pub ipv6_prefix_length: u8,
    /// Proxies whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub trusted_proxies: Vec<Cidr>,
    /// Replicas that share a limit where each counts for itself: each gives a part of it, at least 1.
    #[serde(default = "default_replicas")]
    pub replicas: u32,
}

/// Where the counters live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In this process.
    #[default]
    Memory,
    /// In Redis, shared by all replicas.
    Redis,
}

/// A number of requests in a period.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct RateLimit {
    /// Requests per period.
    pub requests: u32,
    /// The period.
    pub period: Period,
}

/// What a rule does while the shared store does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum WhenStoreFails {
    /// Each replica counts for itself and gives its part.
    CountLocally,
    /// Nothing passes.
    Deny,
}

/// A limit for some methods and paths.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Unique name, used in headers and metrics.
    pub name: String,
    /// Methods; empty means all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Paths.
    pub path: PathMatch,
    /// Requests per period.
    pub requests: u32,
    /// The period.
    pub period: Period,
    /// What it does while the shared store does not answer.
    #[serde(default)]
    pub when_store_fails: Option<WhenStoreFails>,
}

impl Rule {
    /// Where the file says nothing, what guards passwords and tokens stays closed: by filling up Redis nobody gets more
    /// guesses.
    pub fn when_store_fails(&self) -> WhenStoreFails {
        let is_credential =
            self.path.kind == PathType::Exact && CREDENTIAL_PATHS.contains(&self.path.value.as_str());
        let default = if is_credential { WhenStoreFails::Deny } else { WhenStoreFails::CountLocally };
        self.when_store_fails.unwrap_or(default)
    }
}

/// Which paths a rule counts.
#[derive(Clone, Debug, Deserialize)]
pub struct PathMatch {
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: PathType,
    /// The path.
    pub value: String,
}

impl PathMatch {
    /// Whether a request is meant. The path must be the decoded one that routes are found by: otherwise `/%6cogin` would
    /// be another path here and the same there. No methods means all; HEAD asks for what GET does.
    pub(crate) fn covers(&self, methods: &[Method], method: &Method, path: &str) -> bool {
        let by_path = match self.kind {
            PathType::Exact => path == self.value,
            PathType::Prefix => {
                let below = path.strip_prefix(self.value.trim_end_matches('/'));
                below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        };
        by_path && (methods.is_empty() || methods.contains(method) || methods.contains(as_get(method)))
    }
}

/// HEAD costs and tells what GET does.
fn as_get(method: &Method) -> &Method {
    if method == Method::HEAD { &Method::GET } else { method }
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum PathType {
    /// The whole path.
    #[default]
    Exact,
    /// The path and everything below it, by segments. The custom resource writes `PathPrefix`, as Gateway API does.
    #[serde(alias = "PathPrefix")]
    Prefix,
}

/// An address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cidr {
    /// The first part of the range.
    pub address: IpAddr,
    /// Significant bits.
    pub prefix: u8,
}

impl Cidr {
    /// Whether the address lies in the range. An IPv4 address in IPv6 form is one of IPv6 here.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let differing: u128 = own ^ other;
        differing.checked_shr(width - u32::from(self.prefix)).unwrap_or(0) == 0
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?);
            (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, prefix })
        });
        parsed.ok_or_else(|| format!("trustedProxies: {text:?} is not an address range such as 10.0.0.0/8"))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

const fn default_ipv6_prefix() -> u8 {
    64
}

const fn default_replicas() -> u32 {
    1
}

/// The limits that count where the file says nothing: what each endpoint of the app is protected from.
impl Default for RateLimits {
    fn default() -> Self {
        let table = [
            ("login", "POST", PathType::Exact, "/login", 5),
            ("token-refresh", "POST", PathType::Exact, "/token/refresh", 5),
            ("transcribe", "POST", PathType::Exact, "/transcribe", 10),
            ("videos", "GET", PathType::Exact, "/videos", 60),
            ("analyze", "POST", PathType::Exact, "/analyze", 60),
            ("jobs-read", "GET", PathType::Prefix, "/jobs", 30),
            ("jobs-delete", "DELETE", PathType::Prefix, "/jobs", 30),
            ("schedule", "POST", PathType::Exact, "/schedule", 10),
        ];
        let rules = table.map(|(name, method, kind, path, requests)| Rule {
            name: name.into(),
            methods: vec![method.into()],
            path: PathMatch { kind, value: path.into() },
            requests,
            period: Period::MINUTE,
            when_store_fails: None,
        });
        Self {
            store: Store::Memory,
            default: None,
            rules: rules.into(),
            ipv6_prefix_length: default_ipv6_prefix(),
            trusted_proxies: Vec::new(),
            replicas: default_replicas(),
        }
    }
}

/// Checks methods and path of a rule in a list of the file.
pub(super) fn check_target(
    list: &str,
    rule: &str,
    methods: &[String],
    path: &PathMatch,
) -> Result<(), String> {
    if let Some(method) = methods.iter().find(|m| !METHODS.contains(&m.as_str())) {
        return Err(format!("{list}.methods: {method:?} in rule {rule:?} is none of {METHODS:?}"));
    }
    let path = &path.value;
    if !path.starts_with('/') || path.contains("//") || path.len() > 256 {
        return Err(format!("{list}.path: {path:?} in rule {rule:?} is not an absolute path"));
    }
    Ok(())
}

/// Checks what the types do not say; the message names the field.
pub(super) fn check(limits: &RateLimits) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for rule in &limits.rules {
        let name = &rule.name;
        if name.is_empty() || name.len() > 40 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return Err(format!("rateLimits.rules.name: {name:?} is not 1 to 40 letters, digits and dashes"));
        }
        if !names.insert(name) {
            return Err(format!("rateLimits.rules.name: {name:?} stands twice"));
        }
        check_target("rateLimits.rules", name, &rule.methods, &rule.path)?;
    }
    let requests = limits.rules.iter().map(|r| r.requests).chain(limits.default.map(|d| d.requests));
    if let Some(n) = requests.into_iter().find(|n| !(1..=100_000).contains(n)) {
        return Err(format!("rateLimits: requests {n} is not between 1 and 100000"));
    }
    if !(32..=128).contains(&limits.ipv6_prefix_length) {
        return Err(format!(
            "rateLimits.ipv6PrefixLength: {} is not between 32 and 128",
            limits.ipv6_prefix_length
        ));
    }
    Ok(())
}
