//! Request id, metrics and one JSON line per request. Never a body, a query or a header that can hold a token.

use std::{
    net::IpAddr,
    time::{Instant, SystemTime},
};

use actix_web::{
    Error, HttpMessage as _,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
    web::Data,
};

use super::is_probe;
use crate::{
    failure::Cause,
    headers::{hex, random},
    limiter,
    metrics::NO_ROUTE,
    policy::Cidr,
    state::State,
    traces::Answered,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A path is a client's text: what is longer tells nothing more.
const LOGGED_PATH: usize = 256;

/// The id of a request: the client's if it has the right form, else ours.
#[derive(Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Takes the given id or makes one.
    fn of(given: Option<&HeaderValue>) -> Self {
        match given {
            Some(value) if is_request_id(value.as_bytes()) => Self(value.clone()),
            _ => Self(HeaderValue::try_from(new_id()).unwrap_or(HeaderValue::from_static("unknown"))),
        }
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// An id in the form that clients may send too.
pub fn new_id() -> String {
    hex(&random::<16>().unwrap_or_default())
}

fn is_request_id(text: &[u8]) -> bool {
    (1..=64).contains(&text.len()) && text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// The client's address, behind trusted proxies that of `X-Forwarded-For`.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    fn of(req: &ServiceRequest, trusted: &[Cidr]) -> Option<Self> {
        let peer = req.peer_addr()?.ip();
        let lines: Vec<_> =
            req.headers().get_all(X_FORWARDED_FOR).map(|v| v.to_str().unwrap_or("")).collect();
        Some(Self(limiter::address(peer, lines.into_iter(), trusted)))
    }
}

pub async fn request_log(
    state: Data<State>,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let start = Instant::now();
    let id = RequestId::of(req.headers().get(X_REQUEST_ID));
    req.extensions_mut().insert(id.clone());
    let client = ClientAddress::of(&req, &state.policy().policy.rate_limits.trusted_proxies);
    if let Some(client) = client {
        req.extensions_mut().insert(client);
    }
    let mut response = next.call(req).await?.map_into_boxed_body();
    let took = start.elapsed();
    response.headers_mut().insert(X_REQUEST_ID, id.0.clone());

    let status = response.status().as_u16();
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| NO_ROUTE.to_owned());
    let path: String = request.path().chars().take(LOGGED_PATH).collect();
    let quiet = status < 400 && is_probe(&path);
    if !quiet {
        let bytes = match response.response().body().size() {
            BodySize::Sized(n) => n,
            BodySize::None | BodySize::Stream => 0,
        };
        tracing::info!(
            target: "access",
            request_id = id.as_str(),
            client = client.map(|client| client.0.to_string()),
            method = request.method().as_str(),
            path,
            route = &*route,
            version = ?request.version(),
            status,
            bytes,
            cause = response.response().extensions().get::<Cause>().map(|cause| &*cause.0),
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        );
    }
    if let Some(traces) = &state.traces {
        let (headers, method) = (request.headers(), request.method().as_str());
        let started = SystemTime::now() - took;
        traces.record(&Answered { headers, started, method, route: &route, status, request_id: id.as_str() });
    }
    state.metrics.answered(request.method(), route, status, took);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_of_the_right_form_is_taken_over() {
        let of =
            |text: &'static str| RequestId::of(Some(&HeaderValue::from_static(text))).as_str().to_owned();
        assert_eq!(of("Abc-123"), "Abc-123");
        for text in ["", "a b", "a\"b", "a_b", "{}", "x".repeat(65).leak()] {
            let id = of(text);
            assert!(id != text && is_request_id(id.as_bytes()), "{text}");
        }
    }
}
