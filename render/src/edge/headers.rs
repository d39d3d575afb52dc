//! Header values of an edge: the seven that are the same in every answer, and the policy of answers without a nonce.

use crds::{HardenedService, HeaderPreset};

use super::{
    EdgeError,
    quote::{refuse, text},
};

/// As the workload sends them.
const FIXED: [(&str, &str); 7] = [
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload"),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-XSS-Protection", "1; mode=block"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Permissions-Policy", "geolocation=(), microphone=(), camera=(), payment=(), usb=(), magnetometer=()"),
    ("Server", "Unknown"),
];

/// Headers that the spec may change besides the fixed ones; unchanged they are the workload's.
const OTHERS: [&str; 3] =
    ["Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Cross-Origin-Embedder-Policy"];

const CSP: &str = "Content-Security-Policy";

/// For what the edge answers by itself: an error, a file.
pub const OWN_CSP: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `NAME: VALUE` of each header that goes over whatever the workload has sent, quoted.
pub fn fixed(service: &HardenedService) -> Result<Vec<String>, EdgeError> {
    let headers = service.spec.headers.clone().unwrap_or_default();
    let mut all = FIXED.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    for (name, value) in headers.overrides {
        let field = field(&name);
        if let Some(slot) = all.iter_mut().find(|(known, _)| *known == name && name != "Server") {
            slot.1 = value;
        } else if OTHERS.contains(&&*name) {
            all.push((name, value));
        } else if ![CSP, "Cache-Control"].contains(&&*name) {
            return Err(refuse(
                "spec.headers.overrides",
                "made of headers that can be overridden; `kubectl explain` lists them",
            ));
        } else {
            given(&field, &value)?;
        }
    }
    all.iter().map(|(name, value)| line(name, value)).collect()
}

/// The policy of an answer of the workload that has none, quoted. Browsers would let everything run without one.
pub fn csp_where_none(service: &HardenedService) -> Result<String, EdgeError> {
    let headers = service.spec.headers.clone().unwrap_or_default();
    let preset = match headers.preset.unwrap_or_default() {
        HeaderPreset::Strict | HeaderPreset::Api => OWN_CSP,
        HeaderPreset::Web => {
            "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; \
             frame-ancestors 'none'; upgrade-insecure-requests"
        }
    };
    let value = headers.overrides.get(CSP).map_or(preset, String::as_str);
    given(&field(CSP), value)?;
    text(&field(CSP), value)
}

fn line(name: &str, value: &str) -> Result<String, EdgeError> {
    let field = field(name);
    given(&field, value)?;
    text(&field, &format!("{name}: {value}"))
}

/// Without a value nginx would send no such header at all.
fn given(field: &str, value: &str) -> Result<(), EdgeError> {
    text(field, value)?;
    if value.trim().is_empty() {
        Err(refuse(field, "a value: a header can be changed, never removed"))
    } else {
        Ok(())
    }
}

fn field(name: &str) -> String {
    format!("spec.headers.overrides[{name}]")
}
