//! Cross-origin requests (Fetch standard, "CORS protocol"): which pages of other origins may ask, compiled per policy.

use actix_web::http::{
    Method,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;

use super::Period;
use crate::{config::Environment, headers::insert};

/// The cors part of the file. Without it no other origin may read an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Origins, each compared as a whole: scheme, host and port.
    pub allow_origins: Vec<String>,
    /// Methods that a page may use.
    #[serde(default = "default_methods")]
    pub allow_methods: Vec<String>,
    /// Request headers that a page may set.
    #[serde(default)]
    pub allow_headers: Vec<String>,
    /// Response headers that a page may read.
    #[serde(default)]
    pub expose_headers: Vec<String>,
    /// Whether a page may send cookies and read the answer.
    #[serde(default)]
    pub allow_credentials: bool,
    /// How long a browser may keep the answer to a preflight.
    #[serde(default)]
    pub max_age: Option<Period>,
}

fn default_methods() -> Vec<String> {
    ["GET", "HEAD", "POST"].map(str::to_owned).into()
}

/// The same as header values.
#[derive(Debug)]
pub struct CorsSet {
    origins: Vec<HeaderValue>,
    methods: Vec<Method>,
    headers: Vec<HeaderName>,
    /// Beside the origin, on every answer.
    answer: Vec<(HeaderName, HeaderValue)>,
    /// On the answer to a preflight.
    preflight: Vec<(HeaderName, HeaderValue)>,
}

impl CorsSet {
    /// Compiles and checks. The error names the field.
    pub fn new(cors: &Cors, environment: Option<Environment>) -> Result<Self, String> {
        let plain = environment == Some(Environment::Development);
        if let Some(origin) = cors.allow_origins.iter().find(|origin| !is_origin(origin, plain)) {
            let scheme = if plain { "http(s)" } else { "https" };
            return Err(format!(
                "cors.allowOrigins: {origin:?} is not an origin such as {scheme}://app.example"
            ));
        }
        list::<HeaderName>("exposeHeaders", &cors.expose_headers)?;
        let credentials = cors.allow_credentials.then_some(HeaderValue::from_static("true"));
        let answer = [
            (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, joined("exposeHeaders", &cors.expose_headers)?),
        ];
        let preflight = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, joined("allowMethods", &cors.allow_methods)?),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, joined("allowHeaders", &cors.allow_headers)?),
            (header::ACCESS_CONTROL_MAX_AGE, cors.max_age.map(|period| period.as_secs().into())),
        ];
        Ok(Self {
            origins: list("allowOrigins", &cors.allow_origins)?,
            methods: list("allowMethods", &cors.allow_methods)?,
            headers: list("allowHeaders", &cors.allow_headers)?,
            answer: present(answer),
            preflight: present(preflight),
        })
    }

    /// Whether pages of this origin may ask.
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins.contains(origin)
    }

    /// Whether a preflight asks for no more than is allowed.
    pub fn allows_request(&self, method: &HeaderValue, headers: Option<&HeaderValue>) -> bool {
        let method = Method::from_bytes(method.as_bytes());
        let names = headers.map_or(Ok(""), HeaderValue::to_str);
        let (Ok(method), Ok(names)) = (method, names) else { return false };
        let mut names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        self.methods.contains(&method)
            && names.all(|name| self.headers.iter().any(|own| own.as_str().eq_ignore_ascii_case(name)))
    }

    /// Writes what lets the page of an allowed origin read the answer.
    pub fn apply(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        insert(&self.answer, headers);
    }

    /// Writes what a preflight asks for.
    pub fn apply_preflight(&self, headers: &mut HeaderMap) {
        insert(&self.preflight, headers);
    }
}

fn present<const N: usize>(
    headers: [(HeaderName, Option<HeaderValue>); N],
) -> Vec<(HeaderName, HeaderValue)> {
    headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// As browsers write it: lower case, no default port, no path. A wildcard is none: it would let every page read.
fn is_origin(text: &str, plain: bool) -> bool {
    let host = text.strip_prefix("https://").map(|host| (host, ":443"));
    let host = host.or_else(|| text.strip_prefix("http://").filter(|_| plain).map(|host| (host, ":80")));
    host.is_some_and(|(host, default_port)| {
        let bytes =
            host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b));
        !host.is_empty()
            && bytes
            && !host.ends_with(default_port)
            && text.parse::<actix_web::http::Uri>().is_ok()
    })
}

fn list<T: std::str::FromStr>(field: &str, texts: &[String]) -> Result<Vec<T>, String> {
    let parsed = |text: &String| text.parse().map_err(|_| format!("cors.{field}: {text:?} is not valid"));
    texts.iter().map(parsed).collect()
}

fn joined(field: &str, texts: &[String]) -> Result<Option<HeaderValue>, String> {
    if texts.is_empty() {
        return Ok(None);
    }
    texts.join(", ").parse().map(Some).map_err(|_| format!("cors.{field}: the list cannot stand in a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_do_and_encrypted_outside_development() {
        for text in ["https://app.example", "https://app.example:8443", "https://[fd00::1]"] {
            assert!(is_origin(text, false), "{text}");
        }
        for text in [
            "*",
            "null",
            "https://",
            "https://*.example",
            "https://app.example/",
            "https://App.example",
            "https://app.example:443",
            "https://a@app.example",
            "app.example",
            "http://app.example",
        ] {
            assert!(!is_origin(text, false), "{text}");
        }
        assert!(is_origin("http://localhost:5173", true));
    }
}
