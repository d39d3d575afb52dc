//! The middleware stack, one file per concern. None of it knows a route; all of it answers, none returns an error.

mod api_prefix;
mod auth;
mod body_limit;
mod cors;
mod last_answer;
mod problems;
mod rate_limit;
mod request_log;
mod security_headers;
mod trusted_hosts;

pub use self::{
    api_prefix::api_prefix,
    auth::auth,
    body_limit::body_limit,
    cors::cors,
    last_answer::last_answer,
    problems::problems,
    rate_limit::rate_limit,
    request_log::{new_id, request_log},
    security_headers::security_headers,
    trusted_hosts::trusted_hosts,
};

/// Paths that kubelet and Prometheus ask by IP address and often: any host, no log line while all is well.
const PROBE_PATHS: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

fn is_probe(path: &str) -> bool {
    PROBE_PATHS.contains(&path)
}
