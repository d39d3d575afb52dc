//! The rate limits in force: which rule counts a request, for whom, and what it gets. It reads no clock and no request.

mod breaker;
mod client;
mod gcra;
mod redis;
mod rule;
mod store;

use std::{net::IpAddr, time::Duration};

use actix_web::http::{Method, header::HeaderValue};

pub use self::{
    client::{Client, address},
    redis::{Redis, RedisUrlError},
};
use self::{gcra::Decision, redis::Away, rule::Counted};
use crate::policy::{RateLimits, WhenStoreFails};

/// All clients of an IPv6 /48 together get so many times what one client gets.
const SITE: u64 = 16;

/// The rules of one policy with their counters.
#[derive(Debug)]
pub struct Limiter {
    rules: Vec<Counted>,
    ipv6_prefix: u8,
}

/// A request that a rule counts, before it is counted.
#[derive(Debug)]
pub struct Turn<'a> {
    rule: &'a Counted,
    client: Client,
}

/// The store of a rule is away, and the rule lets nothing pass that is not counted.
#[derive(Debug)]
pub struct Closed<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// Seconds until the store is asked again, rounded up.
    pub retry_after: u64,
}

/// What a request gets, as its answer says it.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// Whether it passes.
    pub allowed: bool,
    /// Requests per period.
    pub limit: &'a HeaderValue,
    /// Requests that would pass right now.
    pub remaining: u64,
    /// Seconds until all of them would, rounded up.
    pub reset: u64,
    /// Seconds until one passes, rounded up; only where this one did not.
    pub retry_after: u64,
    /// The value of `RateLimit-Policy`.
    pub policy: &'a HeaderValue,
}

impl Limiter {
    /// Compiles checked limits, with empty counters.
    pub fn new(limits: &RateLimits) -> Result<Self, String> {
        let mut rules = Vec::new();
        for rule in &limits.rules {
            rules.push(Counted::of_rule(rule, limits)?);
        }
        if let Some(limit) = limits.default {
            rules.push(Counted::of_default("default", limit, limits)?);
        }
        Ok(Self { rules, ipv6_prefix: limits.ipv6_prefix_length })
    }

    /// Goes on with the counters of the same rules, so that a reload forgives nobody. What a client has to wait stays as
    /// it is, also where the rule's numbers have changed.
    pub fn keep_counters(&mut self, before: &Self) {
        for rule in &mut self.rules {
            if let Some(old) = before.rules.iter().find(|old| old.is_same(rule)) {
                rule.store = old.store.clone();
            }
        }
    }

    /// Finds the rule that counts a request. Nothing when none does. The path must be the decoded one that routes are
    /// found by: otherwise `/%6cogin` would be another path here and the same there.
    pub fn turn(&self, method: &Method, path: &str, address: IpAddr) -> Option<Turn<'_>> {
        let rule = self.rules.iter().find(|rule| rule.counts(method, path))?;
        Some(Turn { rule, client: Client::new(address, self.ipv6_prefix) })
    }
}

impl<'a> Turn<'a> {
    /// Counts it, `now` after a fixed moment. Where no store is shared, this waits for nothing and allocates nothing.
    pub async fn take(self, redis: &Redis, now: Duration) -> Result<Verdict<'a>, Closed<'a>> {
        let Some(limit) = &self.rule.shared else { return Ok(self.count(now)) };
        let site = self.client.site().map(|site| (site, limit.quota.scaled(SITE, 1)));
        // In a box: most requests need none of it, and each would move it about.
        match Box::pin(redis.take(self.rule.key(), self.client, limit.quota, site)).await {
            Ok(decision) => Ok(self.rule.verdict(limit, decision)),
            Err(Away(pause)) => match self.rule.when_store_fails {
                WhenStoreFails::CountLocally => Ok(self.count(now)),
                WhenStoreFails::Deny => {
                    let retry_after = seconds(nanoseconds(pause)).max(1);
                    Err(Closed { rule: &self.rule.name, retry_after })
                }
            },
        }
    }

    /// Counts it in memory.
    pub fn count(&self, now: Duration) -> Verdict<'a> {
        let (rule, now) = (self.rule, nanoseconds(now));
        let quota = rule.own.quota;
        let site = self.client.site().map(|site| rule.store.take(site, quota.scaled(SITE, 1), now));
        let decision = match site {
            Some(site) if !site.allowed => Decision { remaining: 0, ..site },
            _ => rule.store.take(self.client, quota, now),
        };
        rule.verdict(&rule.own, decision)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn limiter(limits: &str) -> Limiter {
        Limiter::new(&serde_json::from_str(limits).unwrap()).unwrap()
    }

    impl Limiter {
        fn take(&self, method: &Method, path: &str, address: IpAddr, now: Duration) -> Option<Verdict<'_>> {
            self.turn(method, path, address).map(|turn| turn.count(now))
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_method_and_path_by_segments_counts() {
        let limiter = limiter(
            r#"{"rules": [
                {"name": "login", "methods": ["POST"], "path": {"value": "/login"}, "requests": 5, "period": "1m"},
                {"name": "jobs", "path": {"type": "Prefix", "value": "/jobs/"}, "requests": 30, "period": "1m"},
                {"name": "heads", "methods": ["HEAD"], "path": {"value": "/heads"}, "requests": 3, "period": "1m"},
                {"name": "all", "methods": ["GET"], "path": {"type": "Prefix", "value": "/"}, "requests": 9, "period": "1m"}
            ], "default": {"requests": 7, "period": "1h"}}"#,
        );
        for (method, path, rule) in [
            (Method::POST, "/login", "login"),
            (Method::POST, "/login/", "default"),
            (Method::DELETE, "/jobs/7", "jobs"),
            (Method::GET, "/jobs", "jobs"),
            (Method::GET, "/jobs2", "all"),
            (Method::HEAD, "/jobs2", "all"),
            (Method::HEAD, "/heads", "heads"),
            (Method::GET, "/heads", "all"),
            (Method::PUT, "/jobs2", "default"),
        ] {
            let verdict = limiter.take(&method, path, address("203.0.113.7"), HOUR);
            assert_eq!(verdict.map(|v| v.rule), Some(rule), "{method} {path}");
        }
    }

    #[test]
    fn what_no_rule_counts_is_not_limited() {
        let limiter = Limiter::new(&RateLimits::default()).unwrap();
        assert!(limiter.take(&Method::GET, "/health", address("203.0.113.7"), HOUR).is_none());
    }

    #[test]
    fn a_site_of_many_prefixes_is_limited_as_a_whole() {
        let limiter = Limiter::new(&RateLimits::default()).unwrap();
        let passes = |subnet: u32| {
            let client = address(&format!("2001:db8:1:{subnet:x}::1"));
            limiter.take(&Method::POST, "/login", client, HOUR).is_some_and(|verdict| verdict.allowed)
        };
        assert_eq!((0..10_000).filter(|subnet| passes(*subnet)).count(), 16 * 5);
    }

    #[test]
    fn replicas_that_count_for_themselves_get_a_part_each_and_say_so() {
        let limiter = limiter(
            r#"{"replicas": 3, "rules": [{"name": "a", "path": {"value": "/"}, "requests": 10, "period": "90s"}]}"#,
        );
        let verdict = limiter.take(&Method::GET, "/", address("203.0.113.7"), HOUR).unwrap();
        assert_eq!((verdict.limit, verdict.remaining, verdict.reset), (&HeaderValue::from(3_u64), 2, 30));
        assert_eq!(verdict.policy, "\"a\";q=3;w=90");
    }

    #[test]
    fn a_reload_keeps_the_counters_of_rules_of_the_same_name() {
        let rules = |requests: u32| {
            limiter(&format!(
                r#"{{"rules": [{{"name": "a", "path": {{"value": "/"}}, "requests": {requests}, "period": "1m"}}]}}"#
            ))
        };
        let (before, mut after) = (rules(2), rules(4));
        let allowed = |limiter: &Limiter| {
            limiter.take(&Method::GET, "/", address("203.0.113.7"), HOUR).unwrap().allowed
        };
        assert_eq!([(); 3].map(|()| allowed(&before)), [true, true, false]);
        after.keep_counters(&before);
        assert!(!allowed(&after), "the bucket is as empty as it was");
        assert!(allowed(&rules(4)), "a new one would be full");
        let both = || {
            limiter(
                r#"{"rules": [{"name": "default", "path": {"value": "/"}, "requests": 1, "period": "1m"}],
                    "default": {"requests": 1, "period": "1m"}}"#,
            )
        };
        let (before, mut after) = (both(), both());
        after.keep_counters(&before);
        assert!(allowed(&after));
        let other = after.take(&Method::GET, "/other", address("203.0.113.7"), HOUR);
        assert!(other.unwrap().allowed, "a rule of that name is not the default");
    }
}
