//! Answers only for the policy's host names, so that a foreign Host never reaches a route or a link.

use std::{borrow::Cow, net::IpAddr};

use actix_web::{
    HttpResponse,
    dev::ServiceRequest,
    http::{StatusCode, header, uri::Authority},
};

use super::is_probe;
use crate::problem;

pub fn refuse(trusted: &[String], req: &ServiceRequest) -> Option<HttpResponse> {
    let refusal =
        || problem::respond(StatusCode::MISDIRECTED_REQUEST, "This service does not answer for that host.");
    let served = is_probe(req.path()) || is_trusted(req, trusted);
    (!served).then(refusal)
}

/// The target's authority (absolute URI, HTTP/2) and the Host header must both be trusted where they exist, and one
/// must exist. `X-Forwarded-Host` is never looked at: any client can send it.
fn is_trusted(req: &ServiceRequest, trusted: &[String]) -> bool {
    if trusted.is_empty() {
        return true;
    }
    let authority = req.uri().authority().map(Authority::as_str);
    let header = req.headers().get(header::HOST).map(|v| v.to_str().unwrap_or(""));
    let mut named = authority.into_iter().chain(header).peekable();
    let is_one = |text: &str| {
        trusted.iter().any(|host| host == text) || host_of(text).is_some_and(|host| matches(&host, trusted))
    };
    named.peek().is_some() && named.all(is_one)
}

fn matches(host: &str, trusted: &[String]) -> bool {
    trusted.iter().any(|t| t.eq_ignore_ascii_case(host))
}

/// The host without port and root dot; `None` for anything that is not `host` or `host:port`.
fn host_of(text: &str) -> Option<Cow<'_, str>> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_ok = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address = address.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv6() && port_ok);
        return address.map(|ip| ip.to_string().into());
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty() && port.is_none_or(is_port)).then(|| host.into())
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_without_port_and_root_dot() {
        for (text, host) in [
            ("Studio.Example", "Studio.Example"),
            ("studio.example.:8443", "studio.example"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[FD00::1]:443", "fd00::1"),
            ("[fd00::1]", "fd00::1"),
        ] {
            assert_eq!(host_of(text).as_deref(), Some(host));
        }
    }

    #[test]
    fn a_host_with_anything_beside_a_port_is_none() {
        for text in
            ["", ":80", "a:80@b", "a:b", "a:", "a:+80", "a:99999", "[::1", "[a]", "[::1]x", "[1.2.3.4]"]
        {
            assert_eq!(host_of(text), None, "{text}");
        }
    }
}
