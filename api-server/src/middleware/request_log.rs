//! Request id, metrics and one JSON line per request. Never a body, a query or a header that can hold a token.

use std::{
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use actix_web::{
    body::{BodySize, MessageBody as _},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Version,
        header::{HeaderName, HeaderValue},
    },
};

use super::is_probe;
use crate::{
    failure::Cause,
    headers::{hex, random_to_show},
    limiter,
    metrics::NO_ROUTE,
    policy::Compiled,
    state::State,
    traces::Answered,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A path is a client's text: what is longer tells nothing more.
const LOGGED_PATH: usize = 256;

/// What the log says of a request before it is answered.
pub struct Asked {
    pub start: Instant,
    pub id: RequestId,
    pub client: Option<IpAddr>,
}

/// The id of a request: the client's if it has the right form, else ours.
pub struct RequestId(HeaderValue);

impl RequestId {
    pub fn of(req: &ServiceRequest) -> Self {
        Self::given(req.headers().get(X_REQUEST_ID))
    }

    fn given(value: Option<&HeaderValue>) -> Self {
        match value {
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
    hex(&random_to_show().unwrap_or_default())
}

fn is_request_id(text: &[u8]) -> bool {
    (1..=64).contains(&text.len()) && text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// The client's address, behind trusted proxies that of `X-Forwarded-For`.
pub fn client(req: &ServiceRequest, policy: &Compiled) -> Option<IpAddr> {
    let peer = req.peer_addr()?.ip();
    let trusted = &policy.policy.rate_limits.trusted_proxies;
    let lines: Vec<_> = req.headers().get_all(X_FORWARDED_FOR).map(|v| v.to_str().unwrap_or("")).collect();
    Some(limiter::address(peer, lines.into_iter(), trusted))
}

pub fn answered(state: &State, asked: Asked, response: &mut ServiceResponse) {
    let took = asked.start.elapsed();
    let status = response.status().as_u16();
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| NO_ROUTE.to_owned());
    if status >= 400 || !is_probe(request.path()) {
        write(&asked, took, &route, response);
    }
    let id = asked.id.as_str();
    if let Some(traces) = &state.traces {
        let (headers, method) = (request.headers(), request.method().as_str());
        let started = SystemTime::now() - took;
        traces.record(&Answered { headers, started, method, route: &route, status, request_id: id });
    }
    state.metrics.answered(request.method(), route, status, took);
    response.headers_mut().insert(X_REQUEST_ID, asked.id.0);
}

fn write(asked: &Asked, took: Duration, route: &str, response: &ServiceResponse) {
    let request = response.request();
    let path = request.path();
    let bytes = match response.response().body().size() {
        BodySize::Sized(n) => n,
        BodySize::None | BodySize::Stream => 0,
    };
    tracing::info!(
        target: "access",
        request_id = asked.id.as_str(),
        client = asked.client.map(address).as_deref(),
        method = request.method().as_str(),
        path = &path[..path.floor_char_boundary(LOGGED_PATH)],
        route,
        version = version(request.version()),
        status = response.status().as_u16(),
        bytes,
        cause = response.response().extensions().get::<Cause>().map(|cause| &*cause.0),
        duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    );
}

/// An IPv4 address without the work that the library's formatter makes of it: 1,300 instructions.
fn address(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let [a, b, c, d] = address.octets();
    let mut numbers = [itoa::Buffer::new(); 4];
    let [first, second, third, fourth] = &mut numbers;
    [first.format(a), second.format(b), third.format(c), fourth.format(d)].join(".")
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_the_library_writes_it() {
        for text in ["0.0.0.0", "127.0.0.1", "255.25.2.100", "2001:db8::7"] {
            assert_eq!(address(text.parse().unwrap()), text);
        }
    }

    #[test]
    fn only_an_id_of_the_right_form_is_taken_over() {
        let of =
            |text: &'static str| RequestId::given(Some(&HeaderValue::from_static(text))).as_str().to_owned();
        assert_eq!(of("Abc-123"), "Abc-123");
        for text in ["", "a b", "a\"b", "a_b", "{}", "x".repeat(65).leak()] {
            let id = of(text);
            assert!(id != text && is_request_id(id.as_bytes()), "{text}");
        }
    }
}
