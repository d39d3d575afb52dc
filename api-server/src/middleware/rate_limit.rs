//! Counts the request against the policy's limits before anything else is spent on it, authentication included.

use actix_web::{
    Error, HttpMessage as _,
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
use crate::{limiter::Verdict, problem, state::State};

pub async fn rate_limit(
    state: Data<State>,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let client = req.extensions().get::<ClientAddress>().copied();
    let policy = state.policy();
    // Kubelet and Prometheus are never told to come later.
    let verdict = client.filter(|_| !is_probe(req.path())).and_then(|ClientAddress(client)| {
        policy.limiter.take(req.method(), req.match_info().as_str(), client, state.uptime())
    });
    let Some(verdict) = verdict else {
        return next.call(req).await.map(ServiceResponse::map_into_boxed_body);
    };
    state.metrics.limited(verdict.rule, verdict.allowed);
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
