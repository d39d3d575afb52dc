//! The middleware stack: the order is here, each concern in a file of its own. None of it knows a route; all of it answers,
//! none returns an error. It is one service, not one for each concern: ten around each other cost as much as all the rest.

mod api_prefix;
mod auth;
mod body_limit;
mod cors;
mod parts;
mod problems;
mod rate_limit;
mod request_log;
mod trusted_hosts;

use std::{net::IpAddr, rc::Rc, time::Instant};

use actix_http::ConnectionType;
use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::Version,
    middleware::Next,
    web::Data,
};

use self::request_log::{Asked, RequestId};
pub use self::{parts::PART, request_log::new_id};
use crate::{limiter::Verdict, policy::Compiled, state::State, turn::Turn};

/// Paths that kubelet and Prometheus ask by IP address and often: any host, no log line while all is well.
const PROBE_PATHS: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

pub fn is_probe(path: &str) -> bool {
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
    let response = answer(&state, &policy, asked.client, req, next).await?;
    let mut response = problems::explain(response, &asked.id).map_body(|_, body| parts::part(body));
    match &state.stamp {
        Some(stamp) if passes_wire(response.request()) => {
            stamp.mark(&policy.headers, response.headers_mut());
        }
        _ => policy.headers.apply(response.headers_mut()),
    }
    // A connection closed while nothing is under way can meet a request that has just been sent, and that request is
    // lost. So while the process drains, each HTTP/1 connection is closed behind an answer that says so.
    if state.draining() {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    request_log::answered(&state, asked, &mut response);
    Ok(response)
}

/// Whether the answer leaves as HTTP/1 over a wire that completes its head.
fn passes_wire(request: &HttpRequest) -> bool {
    request.version() < Version::HTTP_2 && request.conn_data::<Rc<Turn>>().is_some()
}

/// Asks the route, unless something before it answers.
async fn answer(
    state: &State,
    policy: &Compiled,
    client: Option<IpAddr>,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(refusal) = trusted_hosts::refuse(&policy.policy.trusted_hosts, &req) {
        return Ok(req.into_response(refusal));
    }
    let cors = policy.cors.as_ref().map(|cors| (cors, cors::origin(&req)));
    let (refusal, verdict) = refuse(state, policy, client, &req).await;
    let mut response = match refusal {
        Some(refusal) => req.into_response(refusal),
        None => next.call(req).await?.map_into_boxed_body(),
    };
    if let Some(verdict) = verdict {
        rate_limit::say(&verdict, response.headers_mut());
    }
    if let Some((cors, origin)) = cors {
        cors::allow(cors, origin, response.headers_mut());
    }
    Ok(response)
}

/// The answer where the route is not asked, and what the limits say. A request is counted before anything else is spent on
/// it, authentication included.
async fn refuse<'a>(
    state: &State,
    policy: &'a Compiled,
    client: Option<IpAddr>,
    req: &ServiceRequest,
) -> (Option<HttpResponse>, Option<Verdict<'a>>) {
    if let Some(answer) = policy.cors.as_ref().and_then(|cors| cors::preflight(cors, req)) {
        return (Some(answer), None);
    }
    let verdict = match rate_limit::count(state, policy, req, client).await {
        Ok(verdict) => verdict,
        Err(closed) => return (Some(closed), None),
    };
    if let Some(refusal) = rate_limit::refuse(verdict.as_ref()) {
        return (Some(refusal), verdict);
    }
    let refusal = auth::refuse(state, policy, req).await;
    (refusal.or_else(|| body_limit::refuse(state.config.max_body_bytes, req)), verdict)
}
