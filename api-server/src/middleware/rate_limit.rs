//! Counts the request against the policy's limits before anything else is spent on it, authentication included.

use actix_web::{
    Error, HttpMessage as _, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    },
    middleware::Next,
    web::Data,
};

use super::{is_probe, request_log::ClientAddress};
use crate::{
    limiter::{Closed, Verdict},
    metrics::Limited,
    problem,
    state::State,
};

pub async fn rate_limit(
    state: Data<State>,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let client = req.extensions().get::<ClientAddress>().copied();
    let policy = state.policy();
    // Kubelet and Prometheus are never told to come later.
    let turn = client.filter(|_| !is_probe(req.path())).and_then(|ClientAddress(client)| {
        policy.limiter.turn(req.method(), req.match_info().as_str(), client)
    });
    let Some(turn) = turn else {
        return next.call(req).await.map(ServiceResponse::map_into_boxed_body);
    };
    let verdict = match turn.take(&state.redis, state.uptime()).await {
        Ok(verdict) => verdict,
        Err(closed) => {
            state.metrics.limited(closed.rule, Limited::Closed);
            return Ok(req.into_response(close(&closed)));
        }
    };
    state.metrics.limited(verdict.rule, if verdict.allowed { Limited::Allowed } else { Limited::Denied });
    let mut response = if verdict.allowed {
        next.call(req).await?.map_into_boxed_body()
    } else {
        let detail =
            "Too many requests of this client; Retry-After says in how many seconds the next one passes.";
        req.into_response(problem::respond(StatusCode::TOO_MANY_REQUESTS, detail))
    };
    say(&verdict, response.headers_mut());
    Ok(response)
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
fn say(verdict: &Verdict<'_>, headers: &mut HeaderMap) {
    let mut set =
        |name: &'static str, value: HeaderValue| headers.insert(HeaderName::from_static(name), value);
    set("x-ratelimit-limit", verdict.limit.into());
    set("x-ratelimit-remaining", verdict.remaining.into());
    set("x-ratelimit-reset", verdict.reset.into());
    set("ratelimit-policy", verdict.policy.clone());
    let now = format!("\"{}\";r={};t={}", verdict.rule, verdict.remaining, verdict.reset);
    if let Ok(now) = HeaderValue::try_from(now) {
        set("ratelimit", now);
    }
    if !verdict.allowed {
        headers.insert(RETRY_AFTER, verdict.retry_after.max(1).into());
    }
}
