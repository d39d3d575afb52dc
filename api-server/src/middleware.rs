//! The middleware stack: the order is here, each concern in a file of its own. None of it knows a route; all of it answers,
//! none returns an error. It is one service, not one for each concern: ten around each other cost as much as all the rest.

mod api_prefix;
mod auth;
mod body_limit;
mod cors;
mod problems;
mod rate_limit;
mod request_log;
mod trusted_hosts;

use std::time::Instant;

use actix_http::ConnectionType;
use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};

pub use self::request_log::new_id;
use self::request_log::{Asked, RequestId};
use crate::{policy::Compiled, state::State};

/// Paths that kubelet and Prometheus ask by IP address and often: any host, no log line while all is well.
const PROBE_PATHS: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

fn is_probe(path: &str) -> bool {
    PROBE_PATHS.contains(&path)
}

/// Serves one request. A policy that changes meanwhile counts from the next request on.
pub async fn stack(
    state: Data<State>,
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let start = Instant::now();
    api_prefix::cut_off(&mut req);
    let policy = state.policy();
    let asked = Asked { start, id: RequestId::of(&req), client: request_log::client(&req, &policy) };
    let mut response =
        problems::explain(for_trusted_hosts(&state, &policy, &asked, req, next).await?, &asked.id);
    policy.headers.apply(response.headers_mut());
    // A connection closed while nothing is under way can meet a request that has just been sent, and that request is
    // lost. So while the process drains, each HTTP/1 connection is closed behind an answer that says so.
    if state.draining() {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    request_log::answered(&state, asked, &mut response);
    Ok(response)
}

async fn for_trusted_hosts(
    state: &State,
    policy: &Compiled,
    asked: &Asked,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(refusal) = trusted_hosts::refuse(&policy.policy.trusted_hosts, &req) {
        return Ok(req.into_response(refusal));
    }
    let Some(cors) = &policy.cors else { return counted(state, policy, asked, req, next).await };
    let origin = cors::origin(&req);
    let mut response = match cors::preflight(cors, &req) {
        Some(answer) => req.into_response(answer),
        None => counted(state, policy, asked, req, next).await?,
    };
    cors::allow(cors, origin, response.headers_mut());
    Ok(response)
}

/// Counts the request before anything else is spent on it, authentication included.
async fn counted(
    state: &State,
    policy: &Compiled,
    asked: &Asked,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let verdict = match rate_limit::count(state, policy, &req, asked.client).await {
        Ok(verdict) => verdict,
        Err(closed) => return Ok(req.into_response(closed)),
    };
    let refusal = match rate_limit::refuse(verdict.as_ref()) {
        Some(refusal) => Some(refusal),
        None => match auth::refuse(state, policy, &req).await {
            Some(refusal) => Some(refusal),
            None => body_limit::refuse(state.config.max_body_bytes, &req),
        },
    };
    let mut response = match refusal {
        Some(refusal) => req.into_response(refusal),
        None => next.call(req).await?.map_into_boxed_body(),
    };
    if let Some(verdict) = verdict {
        rate_limit::say(&verdict, response.headers_mut());
    }
    Ok(response)
}
