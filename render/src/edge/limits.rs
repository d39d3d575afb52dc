//! Rate limits as nginx counts them: a leaky bucket of whole requests a second or a minute, in thousandths.

use crds::{GepDuration, HardenedService};

use super::{
    EdgeError, NotExpressible,
    quote::{self, refuse},
};
use crate::{defaults, policy};

/// One rule as nginx counts it.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What it is called in a comment.
    pub title: String,
    /// What `METHOD:PATH` must match, quoted; nothing for the limit of all other requests.
    pub pattern: Option<String>,
    /// The rate, with its unit.
    pub rate: String,
    /// Requests that may come at once.
    pub requests: u32,
    /// Seconds until all of them pass again.
    pub reset: u64,
    /// Seconds until one request more passes.
    pub wait: u64,
}

/// Kubelets and Prometheus are never told to come later, as in the workload.
pub const PROBES: &str = r#""~^[^:]+:/(health|livez|readyz|metrics)\z""#;

const RULES: &str = "spec.rateLimits.rules";

/// The limits in the order in which they are tried, and what is lost of them.
pub fn limits(service: &HardenedService) -> Result<(Vec<Limit>, Vec<NotExpressible>), EdgeError> {
    let spec = service.spec.rate_limits.clone().unwrap_or_default();
    let (mut limits, mut lost) = (Vec::new(), Vec::new());
    for rule in policy::rules(&spec) {
        let name = quote::name(&format!("{RULES}.name"), &rule.name)?;
        let field = format!("{RULES}[{name}]");
        let pattern = pattern(&field, &rule)?;
        limits.push(limit(&field, name, Some(pattern), (rule.requests, rule.period), &mut lost)?);
    }
    if let Some(all) = &spec.default {
        let quota = (all.requests, all.period);
        limits.push(limit("spec.rateLimits.default", "every other request", None, quota, &mut lost)?);
    }
    let prefix = spec.ipv6_prefix_length.unwrap_or(defaults::IPV6_PREFIX_LENGTH);
    if prefix != 128 {
        lost.push(NotExpressible {
            field: "spec.rateLimits.ipv6PrefixLength".into(),
            here: format!("nginx counts every IPv6 address for itself, not a /{prefix} as one client"),
            instead: "the app counts prefixes".into(),
        });
    }
    if spec.store.is_some_and(|store| store.redis.is_some()) {
        lost.push(NotExpressible {
            field: "spec.rateLimits.store.redis".into(),
            here: "nginx counts in the memory of its own host".into(),
            instead: "the app counts in Redis over all hosts".into(),
        });
    }
    lost.push(if spec.trusted_proxies.is_empty() {
        NotExpressible {
            field: "spec.rateLimits.trustedProxies".into(),
            here: "is empty, so to the app all clients behind this nginx are one, its address".into(),
            instead: "add that address, such as 127.0.0.1/32".into(),
        }
    } else {
        NotExpressible {
            field: "spec.rateLimits.trustedProxies".into(),
            here: "nginx believes no X-Forwarded-For and writes the address that it sees over it".into(),
            instead: "the app must have the address of this nginx among them".into(),
        }
    });
    Ok((limits, lost))
}

fn pattern(field: &str, rule: &policy::Rule) -> Result<String, EdgeError> {
    let path = quote::path(&format!("{field}.path.value"), &rule.path.value)?;
    let mut methods = Vec::new();
    for method in &rule.methods {
        methods.push(quote::method(&format!("{field}.methods"), method)?);
    }
    // HEAD costs what GET does.
    if methods.contains(&"GET") && !methods.contains(&"HEAD") {
        methods.push("HEAD");
    }
    let methods = if methods.is_empty() { "[^:]+".into() } else { format!("({})", methods.join("|")) };
    Ok(if rule.path.type_ == "Prefix" {
        format!(r#""~^{methods}:{}(/|\z)""#, path.trim_end_matches('/'))
    } else {
        format!(r#""~^{methods}:{path}\z""#)
    })
}

fn limit(
    field: &str,
    title: &str,
    pattern: Option<String>,
    (requests, period): (i32, GepDuration),
    lost: &mut Vec<NotExpressible>,
) -> Result<Limit, EdgeError> {
    let requests = u32::try_from(requests).ok().filter(|n| (1..=100_000).contains(n));
    let requests = requests.ok_or_else(|| refuse(&format!("{field}.requests"), "1 to 100000"))?;
    let milliseconds = u64::try_from(period.get().as_millis()).unwrap_or(u64::MAX);
    if !(1000..=86_400_000).contains(&milliseconds) {
        return Err(refuse(&format!("{field}.period"), "1s to 24h"));
    }
    let (rate, thousandths) = rate(requests.into(), milliseconds);
    let (asked, counted) = (u64::from(requests) * 1_000_000, thousandths * milliseconds);
    if asked != counted {
        let hundredths = counted / 10_000;
        let side = if counted < asked { "less" } else { "more" };
        lost.push(NotExpressible {
            field: field.into(),
            here: format!(
                "{requests} per {period} is {}.{:02} per {period} here ({rate}, counted in thousandths of a request a \
                 second), {side} than asked",
                hundredths / 100,
                hundredths % 100
            ),
            instead: "the app counts exactly".into(),
        });
    }
    Ok(Limit {
        title: format!("{title}: {requests} per {period}"),
        pattern,
        rate,
        requests,
        reset: milliseconds.div_ceil(1000),
        wait: 1000_u64.div_ceil(thousandths),
    })
}

/// The highest rate that nginx can say and that is not above the one asked for, and thousandths of a request a second that
/// nginx makes of it. Less than one a minute it cannot say.
fn rate(requests: u64, milliseconds: u64) -> (String, u64) {
    if (requests * 1000).is_multiple_of(milliseconds) {
        let per_second = requests * 1000 / milliseconds;
        return (format!("{per_second}r/s"), per_second * 1000);
    }
    let per_minute = (requests * 60_000 / milliseconds).max(1);
    (format!("{per_minute}r/m"), per_minute * 1000 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_above_the_one_asked_for_but_where_nginx_has_no_lower_one() {
        for (requests, period, expected) in [
            (60, 60, "1r/s"),
            (5, 60, "5r/m"),
            (7, 90, "4r/m"),
            (100_000, 1, "100000r/s"),
            (3, 2, "90r/m"),
            (1, 60, "1r/m"),
            (5, 3600, "1r/m"),
        ] {
            let (rate, thousandths) = rate(requests, period * 1000);
            assert_eq!(rate, expected);
            assert!(thousandths * period <= requests * 1000 || expected == "1r/m", "{requests} per {period}");
        }
    }
}
