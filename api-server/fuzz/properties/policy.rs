//! What holds for every text that may stand in a policy file: it is refused with the field named, or it is read the same
//! however it is spelled, and everything it says is in force.

use actix_web::http::{Method, header::HeaderValue};
use api_server::{
    config::Environment,
    policy::{Compiled, PathMatch, PolicyError},
};
use serde_json::Value;

const FIELDS: [&str; 6] = ["version", "trustedHosts", "headers", "cors", "rateLimits", "auth"];
const NAMES: [&str; 13] = [
    "cache-control",
    "content-security-policy",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "permissions-policy",
    "referrer-policy",
    "server",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "x-permitted-cross-domain-policies",
    "x-xss-protection",
];

/// Whether the text is accepted.
pub fn check(text: &[u8]) -> bool {
    let compiled = match Compiled::parse(text) {
        Ok(compiled) => compiled,
        Err(error) => {
            refusal_names_the_field(&error, text);
            return false;
        }
    };
    spelling_does_not_matter(&compiled, text);
    headers_are_whole(&compiled);
    only_listed_origins_and_hosts_count(&compiled);
    rules_are_in_force(&compiled);
    true
}

fn refusal_names_the_field(error: &PolicyError, text: &[u8]) {
    match error {
        PolicyError::Invalid(message) => {
            assert!(FIELDS.iter().any(|field| message.starts_with(field)), "{message}");
        }
        PolicyError::Syntax { field, source } => {
            assert!(source.line() > 0 || text.is_empty(), "{source}");
            let is_object = serde_json::from_slice::<Value>(text).is_ok_and(|value| value.is_object());
            // A field that is missing, unlike one that is wrong, is named by the message.
            let named = FIELDS.iter().any(|name| field.starts_with(name)) || source.to_string().contains('`');
            assert!(named || field == "environment" || !is_object, "{field}: {source}");
        }
        PolicyError::Read(error) => panic!("nothing was read from a file: {error}"),
    }
}

fn spelling_does_not_matter(compiled: &Compiled, text: &[u8]) {
    // Deeper or odder than a value may be, in a field that is ignored.
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return };
    let again = Compiled::parse(value.to_string().as_bytes()).unwrap();
    assert_eq!(format!("{:?}", compiled.policy), format!("{:?}", again.policy));
}

/// No value ends its line, none is lost, and each answer has a nonce of its own.
fn headers_are_whole(compiled: &Compiled) {
    let [first, second] = [(); 2].map(|()| {
        let mut head = Vec::new();
        compiled.headers.push_lines(true, &mut head);
        String::from_utf8(head).unwrap()
    });
    let lines: Vec<_> = first.strip_suffix("\r\n").unwrap().split("\r\n").collect();
    assert!(lines.iter().all(|line| line.bytes().all(|byte| (0x20..0x7f).contains(&byte))), "{first}");
    let mut names: Vec<_> = lines.iter().map(|line| line.split_once(": ").unwrap().0).collect();
    names.sort_unstable();
    assert_eq!(names, NAMES);
    assert!(lines.iter().all(|line| !line.split_once(": ").unwrap().1.trim().is_empty()), "{first}");
    assert_ne!(first, second, "the nonce came twice");
}

fn only_listed_origins_and_hosts_count(compiled: &Compiled) {
    let policy = &compiled.policy;
    for host in &policy.trusted_hosts {
        assert!(!host.is_empty() && !host.contains(['*', '/', '@', ' ']), "{host:?}");
        assert_eq!(*host, host.to_ascii_lowercase());
    }
    let Some((cors, set)) = policy.cors.as_ref().zip(compiled.cors.as_ref()) else { return };
    let allows = |origin: &str| HeaderValue::from_str(origin).is_ok_and(|value| set.allows(&value));
    for origin in &cors.allow_origins {
        assert!(allows(origin), "{origin:?}");
        let plain = policy.environment == Some(Environment::Development) && origin.starts_with("http://");
        assert!(origin.starts_with("https://") || plain, "{origin:?}");
        assert!(!origin.contains('*'), "{origin:?}");
        for foreign in [format!("{origin}.evil"), format!("{origin}/"), format!("x{origin}")] {
            assert!(!allows(&foreign) || cors.allow_origins.contains(&foreign), "{foreign:?}");
        }
    }
    assert!(!allows("null") && !allows("https://"));
}

/// A rule that is accepted guards at least the path that it names, with each method that it names.
fn rules_are_in_force(compiled: &Compiled) {
    let client = [203, 0, 113, 7].into();
    let limits = &compiled.policy.rate_limits;
    let all = limits.rules.iter().map(|rule| (rule.requests, rule.period));
    for (requests, period) in all.chain(limits.default.map(|limit| (limit.requests, limit.period))) {
        assert!((1..=100_000).contains(&requests) && (1..=86_400).contains(&period.as_secs()));
    }
    for rule in &limits.rules {
        for method in methods(&rule.methods) {
            let counted = compiled.limiter.turn(&method, &rule.path.value, client).is_some();
            assert!(counted, "{method} {:?} is not counted", rule.path);
        }
    }
    for rule in compiled.policy.auth.iter().flat_map(|auth| &auth.jwt.roles) {
        for method in methods(&rule.methods) {
            let needed = needed(compiled, &method, &rule.path);
            assert!(needed > 0, "{method} {:?} is open", rule.path);
        }
    }
}

fn methods(names: &[String]) -> Vec<Method> {
    let all = [Method::GET, Method::HEAD, Method::DELETE];
    if names.is_empty() { all.into() } else { names.iter().map(|name| name.parse().unwrap()).collect() }
}

/// How many roles may pass.
fn needed(compiled: &Compiled, method: &Method, path: &PathMatch) -> usize {
    compiled.auth.needed(method, &path.value).map_or(0, <[_]>::len)
}
