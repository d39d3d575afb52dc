//! The security headers of every answer, compiled once per policy; per answer only the nonce is made.

use std::cell::RefCell;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::policy::{Headers, Preset};

const NONCE: &str = "{nonce}";

/// What an answer carries if the system has no randomness: nothing may run at all.
const CSP_WITHOUT_NONCE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Header values that are the same in every answer, in every preset.
const FIXED: [(&str, &str); 11] = [
    ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("permissions-policy", "geolocation=(), microphone=(), camera=(), payment=(), usb=(), magnetometer=()"),
    ("server", "Unknown"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("x-permitted-cross-domain-policies", "none"),
];

/// The headers of one policy.
#[derive(Debug)]
pub struct HeaderSet {
    fixed: Vec<(HeaderName, HeaderValue)>,
    cache_control: HeaderValue,
    /// The Content-Security-Policy, cut where the nonce goes.
    csp: Vec<String>,
    /// The fixed ones as lines of an HTTP/1 head.
    lines: String,
}

impl HeaderSet {
    /// Compiles preset and overrides. The error names the header.
    pub fn new(headers: &Headers) -> Result<Self, String> {
        let mut set = Self {
            fixed: FIXED
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .into(),
            cache_control: HeaderValue::from_static("no-store, max-age=0"),
            csp: cut(content_security_policy(headers.preset)),
            lines: String::new(),
        };
        for (name, value) in &headers.overrides {
            set.change(name, value)?;
        }
        // Every value was checked to be ASCII.
        let line = |(name, value): &(HeaderName, HeaderValue)| {
            format!("{name}: {}\r\n", value.to_str().unwrap_or_default())
        };
        set.lines = set.fixed.iter().map(line).collect();
        Ok(set)
    }

    fn change(&mut self, name: &str, text: &str) -> Result<(), String> {
        let refused = |why: &str| format!("headers.overrides: {name}: {why}");
        let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if text.trim().is_empty() || !printable || text.len() > 4096 {
            return Err(refused("the value must be 1 to 4096 printable ASCII characters"));
        }
        let value = HeaderValue::from_str(text).map_err(|_| refused("the value is not a header value"))?;
        let lower = name.to_ascii_lowercase();
        if lower == "content-security-policy" {
            self.csp = cut(&with_nonce(text));
        } else if lower == "cache-control" {
            self.cache_control = value;
        } else {
            let slot = self.fixed.iter_mut().find(|(known, _)| known.as_str() == lower);
            slot.ok_or_else(|| refused("only a security header can be overridden"))?.1 = value;
        }
        Ok(())
    }

    /// Writes the headers over whatever a handler or an upstream has set. Only a handler's own `Cache-Control` stays.
    pub fn apply(&self, headers: &mut HeaderMap) {
        insert(&self.fixed, headers);
        headers.insert(header::CONTENT_SECURITY_POLICY, self.csp());
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, self.cache_control.clone());
        }
    }

    /// The same headers as lines of an HTTP/1 head; `Cache-Control` only where the answer has none of its own.
    pub fn push_lines(&self, cache_control: bool, head: &mut Vec<u8>) {
        head.extend_from_slice(self.lines.as_bytes());
        if cache_control {
            head.extend_from_slice(b"cache-control: ");
            head.extend_from_slice(self.cache_control.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"content-security-policy: ");
        match nonce() {
            None => head.extend_from_slice(CSP_WITHOUT_NONCE.as_bytes()),
            Some(nonce) => {
                for (place, part) in self.csp.iter().enumerate() {
                    head.extend_from_slice(if place > 0 { &nonce } else { b"" });
                    head.extend_from_slice(part.as_bytes());
                }
            }
        }
        head.extend_from_slice(b"\r\n");
    }

    /// Whether a header is one of these, the handler's own `Cache-Control` aside.
    pub fn names(&self, name: &HeaderName) -> bool {
        *name == header::CONTENT_SECURITY_POLICY || self.fixed.iter().any(|(fixed, _)| fixed == name)
    }

    fn csp(&self) -> HeaderValue {
        let Some(nonce) = nonce() else { return CSP_WITHOUT_NONCE };
        let text = self.csp.join(str::from_utf8(&nonce).unwrap_or_default());
        HeaderValue::try_from(text).unwrap_or(CSP_WITHOUT_NONCE)
    }
}

/// 128 bits in base64.
fn nonce() -> Option<[u8; 24]> {
    let mut text = [0; 24];
    let length = STANDARD.encode_slice(random_to_show()?, &mut text).ok()?;
    (length == text.len()).then_some(text)
}

/// Writes headers over those of the same names.
pub(crate) fn insert(from: &[(HeaderName, HeaderValue)], headers: &mut HeaderMap) {
    for (name, value) in from {
        headers.insert(name.clone(), value.clone());
    }
}

/// Bytes as lower-case digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let text = digits.map(|digit| b"0123456789abcdef"[usize::from(digit)]).collect();
    String::from_utf8(text).unwrap_or_default()
}

/// Bytes of the system's generator.
pub fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok().map(|()| bytes)
}

/// The same for what the answer itself shows, nonce and request id. The generator takes as long for 16 bytes as for 1 KiB,
/// so they are cut from a thread's stock. No byte is given out twice, and none is kept after it was.
pub(crate) fn random_to_show() -> Option<[u8; 16]> {
    thread_local! {
        static STOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    STOCK.with_borrow_mut(|stock| {
        if stock.is_empty() {
            stock.extend(random::<1024>()?);
        }
        let from = stock.len() - 16;
        let bytes = stock[from..].try_into().ok();
        stock[from..].fill(0);
        stock.truncate(from);
        bytes
    })
}

fn content_security_policy(preset: Preset) -> &'static str {
    match preset {
        Preset::Strict => {
            "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'nonce-{nonce}'; \
             img-src 'self'; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; upgrade-insecure-requests"
        }
        Preset::Api => {
            "default-src 'none'; script-src 'nonce-{nonce}'; object-src 'none'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; sandbox"
        }
        Preset::Web => {
            "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'strict-dynamic'; \
             style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
             object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
             upgrade-insecure-requests"
        }
    }
}

fn cut(policy: &str) -> Vec<String> {
    policy.split(NONCE).map(str::to_owned).collect()
}

/// An overridden policy gets the nonce too: in `script-src`, which starts as a copy of `default-src` if it is missing.
fn with_nonce(policy: &str) -> String {
    if policy.contains(NONCE) {
        return policy.to_owned();
    }
    let mut directives: Vec<&str> = policy.split(';').map(str::trim).filter(|d| !d.is_empty()).collect();
    let position = |name: &str| {
        directives
            .iter()
            .position(|d| d.split_ascii_whitespace().next().is_some_and(|n| n.eq_ignore_ascii_case(name)))
    };
    let script = position("script-src");
    let sources = script.or_else(|| position("default-src")).map_or("", |at| directives[at]);
    // 'none' beside another source means nothing to a browser, so it goes.
    let sources = sources.split_ascii_whitespace().skip(1).filter(|s| !s.eq_ignore_ascii_case("'none'"));
    let line =
        ["script-src"].into_iter().chain(sources).chain(["'nonce-{nonce}'"]).collect::<Vec<_>>().join(" ");
    match script {
        Some(at) => directives[at] = &line,
        None => directives.push(&line),
    }
    directives.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> HeaderSet {
        let overrides = [(name.to_owned(), value.to_owned())].into();
        HeaderSet::new(&Headers { preset: Preset::Strict, overrides }).unwrap()
    }

    fn applied(set: &HeaderSet, name: &str) -> String {
        let mut headers = HeaderMap::new();
        set.apply(&mut headers);
        headers.get(name).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn an_override_changes_its_header_and_no_other() {
        let set = set("x-frame-options", "SAMEORIGIN");
        assert_eq!(applied(&set, "X-Frame-Options"), "SAMEORIGIN");
        assert_eq!(applied(&set, "X-Content-Type-Options"), "nosniff");
        let mut head = Vec::new();
        set.push_lines(true, &mut head);
        assert!(str::from_utf8(&head).unwrap().contains("x-frame-options: SAMEORIGIN\r\n"));
    }

    #[test]
    fn an_overridden_policy_still_has_a_fresh_nonce() {
        let table = [
            (
                "default-src 'self'; img-src *",
                "default-src 'self'; img-src *; script-src 'self' 'nonce-{nonce}'",
            ),
            ("script-src 'none'; default-src 'self'", "script-src 'nonce-{nonce}'; default-src 'self'"),
            ("Script-Src 'self' x.example", "script-src 'self' x.example 'nonce-{nonce}'"),
            ("default-src 'none'", "default-src 'none'; script-src 'nonce-{nonce}'"),
            ("style-src 'nonce-{nonce}'", "style-src 'nonce-{nonce}'"),
        ];
        for (policy, expected) in table {
            assert_eq!(with_nonce(policy), expected);
        }
        let set = set("Content-Security-Policy", "default-src 'self'");
        assert_ne!(applied(&set, "content-security-policy"), applied(&set, "content-security-policy"));
    }

    #[test]
    fn every_preset_has_the_nonce_and_forbids_frames_plugins_and_base() {
        for preset in [Preset::Strict, Preset::Api, Preset::Web] {
            let csp = content_security_policy(preset);
            for part in ["'nonce-{nonce}'", "frame-ancestors 'none'", "object-src 'none'", "base-uri 'none'"]
            {
                assert!(csp.contains(part), "{preset:?} lacks {part}");
            }
        }
    }
}
