//! Counts a request against the policy's limits, and says in its answer what is left.

use std::net::IpAddr;

use actix_web::{
    HttpResponse,
    dev::ServiceRequest,
    http::{
        StatusCode,
        header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    },
};

use super::is_probe;
use crate::{
    limiter::{Closed, Verdict},
    metrics::Limited,
    policy::Compiled,
    problem,
    state::State,
};

const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Nothing where no limit counts it; the error is the answer where it cannot be counted and must be.
pub async fn count<'a>(
    state: &State,
    policy: &'a Compiled,
    req: &ServiceRequest,
    client: Option<IpAddr>,
) -> Result<Option<Verdict<'a>>, HttpResponse> {
    // Kubelet and Prometheus are never told to come later.
    let client = client.filter(|_| !is_probe(req.path()));
    let turn = client.and_then(|client| policy.limiter.turn(req.method(), req.match_info().as_str(), client));
    let Some(turn) = turn else { return Ok(None) };
    let verdict = turn.take(&state.redis, state.uptime()).await.map_err(|closed| {
        state.metrics.limited(closed.rule, Limited::Closed);
        close(&closed)
    })?;
    state.metrics.limited(verdict.rule, if verdict.allowed { Limited::Allowed } else { Limited::Denied });
    Ok(Some(verdict))
}

/// The answer to a request that was one too many.
pub fn refuse(verdict: Option<&Verdict<'_>>) -> Option<HttpResponse> {
    let detail =
        "Too many requests of this client; Retry-After says in how many seconds the next one passes.";
    let denied = verdict.is_some_and(|verdict| !verdict.allowed);
    denied.then(|| problem::respond(StatusCode::TOO_MANY_REQUESTS, detail))
}

/// Guessing passwords without a count is worth more to an attacker than the outage costs.
fn close(closed: &Closed<'_>) -> HttpResponse {
    let detail = "The rate-limit store does not answer, and this route stays closed while requests are not counted; \
                  Retry-After says in how many seconds to try again.";
    let mut response = problem::respond(StatusCode::SERVICE_UNAVAILABLE, detail);
    response.headers_mut().insert(RETRY_AFTER, closed.retry_after.into());
    response
}

/// The widespread names, and those of draft-ietf-httpapi-ratelimit-headers.
pub fn say(verdict: &Verdict<'_>, headers: &mut HeaderMap) {
    let mut numbers = [itoa::Buffer::new(), itoa::Buffer::new()];
    let [remaining, reset] = &mut numbers;
    let (remaining, reset) = (remaining.format(verdict.remaining), reset.format(verdict.reset));
    let now = ["\"", verdict.rule, "\";r=", remaining, ";t=", reset].concat();
    headers.insert(X_RATELIMIT_LIMIT, verdict.limit.clone());
    headers.insert(RATELIMIT_POLICY, verdict.policy.clone());
    for (name, text) in [(X_RATELIMIT_REMAINING, remaining), (X_RATELIMIT_RESET, reset), (RATELIMIT, &now)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    if !verdict.allowed {
        headers.insert(RETRY_AFTER, verdict.retry_after.max(1).into());
    }
}
