//! Rate limits as data: the operator writes them into the policy file, the workload enforces them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GepDuration;

/// An object without members; its presence is the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct EmptyObject {}

/// Limits per client address and rule. N per period is GCRA: a burst of N, then an even refill.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.rules) || self.rules.all(r, self.rules.exists_one(s, s.name == r.name))")
        .message("spec.rateLimits.rules: every name must be unique; rename one of the two")
)]
pub struct RateLimits {
    /// Where the counters live; exactly one member. Default: memory of each replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<RateLimitStore>,
    /// The limits. The first rule that matches method and path counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<RateLimitRule>,
    /// The limit for requests that no rule matches. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<RateLimit>,
    /// Prefix length by which IPv6 clients are counted as one, 32 to 128. Default: 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 32, max = 128))]
    pub ipv6_prefix_length: Option<i32>,
    /// Address ranges of proxies whose `X-Forwarded-For` is believed, counted from the right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 43)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))")
        .message("spec.rateLimits.trustedProxies: must be address ranges such as 10.0.0.0/8; write a single address as 10.0.0.7/32"))]
    pub trusted_proxies: Vec<String>,
}

/// Exactly one member.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.memory), has(self.redis)].filter(x, x).size() == 1")
        .message("spec.rateLimits.store: set exactly one of memory, redis")
)]
pub struct RateLimitStore {
    /// Counters in the memory of each replica: a replica enforces its share of the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<EmptyObject>,
    /// Counters in Redis: exact over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisStore>,
}

/// A Redis server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisStore {
    /// The Secret with the connection URL. It must carry the label `hardened.dev/service: NAME`.
    #[x_kube(validation = crate::rules::object_name("spec.rateLimits.store.redis.secretRef.name", "self.name"))]
    #[x_kube(validation = Rule::new("self.key.matches('^[-._a-zA-Z0-9]+$')")
        .message("spec.rateLimits.store.redis.secretRef.key: must be a key of a Secret: letters, digits, -, _ and ."))]
    pub secret_ref: SecretKeyRef,
}

/// One key of a Secret in the service's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Key in the Secret.
    #[schemars(length(max = 253))]
    pub key: String,
}

/// A number of requests in a period.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Requests per period, 1 to 100000.
    #[schemars(range(min = 1, max = 100_000))]
    pub requests: i32,
    /// The period (GEP-2257), 1s to 24h.
    #[x_kube(validation = crate::rules::duration("spec.rateLimits.default.period", "1s", "24h"))]
    pub period: GepDuration,
}

/// A limit for some methods and paths.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitRule {
    /// Name of the rule, unique; it appears in headers and metrics.
    #[schemars(length(max = 40))]
    #[x_kube(validation = crate::rules::label_name("spec.rateLimits.rules.name"))]
    pub name: String,
    /// HTTP methods. Left out: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), inner(length(max = 7)))]
    #[x_kube(validation = crate::rules::each_matches(
        "spec.rateLimits.rules.methods",
        "^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$",
        "GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS; leave methods out for all",
    ))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub methods: Vec<String>,
    /// Which paths.
    pub path: PathMatch,
    /// Requests per period, 1 to 100000.
    #[schemars(range(min = 1, max = 100_000))]
    pub requests: i32,
    /// The period (GEP-2257), 1s to 24h.
    #[x_kube(validation = crate::rules::duration("spec.rateLimits.rules.period", "1s", "24h"))]
    pub period: GepDuration,
}

/// A path, as in Gateway API's `HTTPRoute`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    /// How the value is compared. Default: Exact.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<PathMatchType>,
    /// The path: a slash, then letters, digits and `-._~%/`; no `//`, `/./` or `/../`.
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^/[-A-Za-z0-9._~%/]*$') && !self.contains('//') && !self.matches('/[.]{1,2}(/|$)')")
        .message("spec.rateLimits.rules.path.value: must be a path such as /jobs: a slash, then letters, digits and -._~%/, without //, /./ or /../"))]
    pub value: String,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum PathMatchType {
    /// The whole path.
    #[default]
    Exact,
    /// The path itself and everything below it, by segments.
    PathPrefix,
}
