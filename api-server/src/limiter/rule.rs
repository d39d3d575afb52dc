//! One rule of the limits in the form that requests are counted by. It counts none itself.

use std::{sync::Arc, time::Duration};

use actix_web::http::{Method, header::HeaderValue};

use super::{
    Verdict,
    gcra::{Decision, Quota},
    nanoseconds, seconds,
    store::Store,
};
use crate::policy::{self, PathMatch, RateLimit, RateLimits, Rule, WhenStoreFails};

/// Clients that each rule remembers: 32 bytes each.
const CLIENTS: usize = 65_536;

/// One rule.
#[derive(Debug)]
pub struct Counted {
    /// The rule's name.
    pub name: String,
    methods: Vec<Method>,
    /// Nothing for the default, which counts what no rule does.
    path: Option<PathMatch>,
    /// What this replica gives where it counts for itself.
    pub own: Limit,
    /// What all replicas give together, where Redis counts.
    pub shared: Option<Limit>,
    /// What it does while Redis is away.
    pub when_store_fails: WhenStoreFails,
    /// The counters of this replica.
    pub store: Arc<Store>,
}

/// A number of requests in a period, and the values of `X-RateLimit-Limit` and `RateLimit-Policy` that say it.
#[derive(Debug)]
pub struct Limit {
    /// The number and the period.
    pub quota: Quota,
    number: HeaderValue,
    policy: HeaderValue,
}

impl Limit {
    fn new(name: &str, quota: Quota) -> Result<Self, String> {
        let policy = format!("\"{name}\";q={};w={}", quota.requests(), seconds(quota.period()));
        let policy = HeaderValue::try_from(policy)
            .map_err(|_| format!("rateLimits.rules.name: {name:?} cannot stand in a header"))?;
        Ok(Self { quota, number: quota.requests().into(), policy })
    }
}

impl Counted {
    /// A rule of checked limits.
    pub fn of_rule(rule: &Rule, limits: &RateLimits) -> Result<Self, String> {
        let methods = rule.methods.iter().map(|m| m.parse()).collect::<Result<_, _>>();
        let methods = methods.map_err(|_| format!("rateLimits.rules.methods: rule {:?}", rule.name))?;
        let limit = RateLimit { requests: rule.requests, period: rule.period };
        let (path, when_store_fails) = (Some(rule.path.clone()), rule.when_store_fails());
        Ok(Self { methods, path, when_store_fails, ..Self::of_default(&rule.name, limit, limits)? })
    }

    /// The default of checked limits, which counts every path.
    pub fn of_default(name: &str, limit: RateLimit, limits: &RateLimits) -> Result<Self, String> {
        let period = nanoseconds(Duration::from_secs(limit.period.as_secs()));
        let whole = Quota::new(limit.requests.into(), period);
        let is_shared = limits.store == policy::Store::Redis;
        Ok(Self {
            name: name.into(),
            methods: Vec::new(),
            path: None,
            // Each replica that counts for itself gets its part.
            own: Limit::new(name, whole.scaled(1, limits.replicas.into()))?,
            shared: is_shared.then(|| Limit::new(name, whole)).transpose()?,
            when_store_fails: WhenStoreFails::CountLocally,
            store: Arc::new(Store::new(CLIENTS)),
        })
    }

    /// The name in the shared store, where a rule may be called "default" too.
    pub fn key(&self) -> &str {
        if self.path.is_none() { "*" } else { &self.name }
    }

    /// What an answer says of a decision.
    pub fn verdict<'a>(&'a self, limit: &'a Limit, decision: Decision) -> Verdict<'a> {
        Verdict {
            rule: &self.name,
            allowed: decision.allowed,
            limit: &limit.number,
            remaining: decision.remaining,
            reset: seconds(decision.reset),
            retry_after: seconds(decision.retry_after),
            policy: &limit.policy,
        }
    }

    /// A rule may be called "default" too.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.path.is_none() == other.path.is_none()
    }

    /// Whether it is meant by a request.
    pub fn counts(&self, method: &Method, path: &str) -> bool {
        self.path.as_ref().is_none_or(|own| own.covers(&self.methods, method, path))
    }
}
