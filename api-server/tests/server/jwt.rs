//! Who gets past the policy's roles: every kind of bad token gets one and the same answer.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::{
    client::{Answer, ask, connect, get},
    headers,
    process::{Service, command, policy},
    tokens::{Key, claims, forged, now, unfit, with, without},
};

/// `/` for everybody with a token, `/livez` for admins; both answer 200 behind it.
const POLICY: &str = r#"{"version": 1, "auth": {"jwt": {"roles": [
    {"methods": ["GET"], "path": {"value": "/"}, "anyOf": ["viewer", "editor", "admin"]},
    {"path": {"type": "Prefix", "value": "/livez"}, "anyOf": ["admin"]}]}}}"#;
const NO_TOKEN: &str = "Bearer realm=\"api\"";
const BAD_TOKEN: &str = "Bearer realm=\"api\", error=\"invalid_token\"";

struct Api {
    service: Service,
    key: Key,
    _file: tempfile::NamedTempFile,
}

impl Api {
    /// A service with this key; the key gets the name that the service gives it.
    fn start(mut key: Key, settings: &[(&str, &str)]) -> Self {
        let file = policy(POLICY);
        let own = [("JWT_SIGNING_KEY", &*key.pem), ("POLICY_FILE", file.path().to_str().unwrap())];
        let service = Service::start(&[&own[..], settings].concat());
        key.kid = published(&service)[0]["kid"].as_str().unwrap().into();
        Self { service, key, _file: file }
    }

    fn with(&self, line: &str, token: &str) -> Answer {
        ask(self.service.api, line, &format!("authorization: Bearer {token}\r\n"))
    }

    fn status(&self, claims: &Value) -> u16 {
        self.with("GET /", &self.key.token(claims)).status
    }
}

fn published(service: &Service) -> Vec<Value> {
    get(service.api, "/.well-known/jwks.json").json()["keys"].as_array().unwrap().clone()
}

/// The body without what differs from answer to answer.
fn body(answer: &Answer) -> Value {
    without(&answer.json(), "requestId")
}

#[test]
fn every_bad_token_gets_the_same_answer_and_none_is_logged() {
    for (key, other) in [(Key::ed25519(""), Key::ed25519("evil")), (Key::rsa(""), Key::rsa("evil"))] {
        let api = Api::start(key, &[("RUST_LOG", "trace")]);
        let good = api.key.token(&claims("viewer"));
        assert_eq!(api.with("GET /", &good).status, 200);
        let reference = body(&ask(api.service.api, "GET /", ""));
        let cases: Vec<_> = forged(&api.key, &other).into_iter().chain(unfit(&api.key)).collect();
        for (name, token) in &cases {
            let answer = api.with("GET /", token);
            assert_eq!(answer.status, 401, "{name}");
            assert_eq!(answer.header("www-authenticate"), BAD_TOKEN, "{name}");
            assert_eq!(body(&answer), reference, "{name}");
            headers::check(&answer);
        }
        let log = json!(api.service.log()).to_string();
        for token in cases.iter().map(|(_, token)| token).chain([&good]) {
            let secret = token.rsplit('.').find(|part| part.len() > 20).unwrap_or("no secret");
            assert!(!log.contains(secret), "a token is in the log: {secret}");
        }
        let pem: Vec<_> =
            api.key.pem.lines().filter(|line| line.len() > 20 && !line.contains("---")).collect();
        assert!(!pem.is_empty() && pem.iter().all(|line| !log.contains(line)), "a key is in the log");
    }
}

#[test]
fn a_request_without_one_bearer_token_gets_the_same_body() {
    let api = Api::start(Key::ed25519(""), &[]);
    let good = api.key.token(&claims("admin"));
    let reference = body(&api.with("GET /", "x"));
    let line = |value: &str| format!("authorization: {value}\r\n");
    for (headers, challenge) in [
        (String::new(), NO_TOKEN),
        (format!("x-access-token: {good}\r\ncookie: token={good}\r\n"), NO_TOKEN),
        (line(&format!("Bearer {good}")).repeat(2), BAD_TOKEN),
        (line("Basic YTpi") + &line(&format!("Bearer {good}")), BAD_TOKEN),
        (line(&format!("Bearer {good}, Bearer {good}")), BAD_TOKEN),
        (line(&format!("Bearer  {good}")), BAD_TOKEN),
        (line(&good), BAD_TOKEN),
        (line("Bearer"), BAD_TOKEN),
        (line("Basic YTpi"), BAD_TOKEN),
    ] {
        let answer = ask(api.service.api, "GET /", &headers);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, challenge), "{headers}");
        assert_eq!(body(&answer), reference, "{headers}");
    }
    let query = get(api.service.api, &format!("/?access_token={good}"));
    assert_eq!((query.status, query.header("www-authenticate")), (401, NO_TOKEN));
    assert_eq!(body(&query), reference);
    assert_eq!(ask(api.service.api, "GET /", &line(&format!("bearer {good}"))).status, 200);
}

#[test]
fn a_token_of_a_megabyte_never_gets_past_the_parser() {
    let api = Api::start(Key::ed25519(""), &[]);
    let mut stream = connect(api.service.api);
    let request =
        format!("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", "A".repeat(1_000_000));
    // The service stops reading, so the rest may find nobody.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(api.status(&claims("viewer")), 200);
}

#[test]
fn clocks_may_differ_by_a_minute_and_an_audience_may_be_one_of_many() {
    let api = Api::start(Key::ed25519(""), &[]);
    let good = claims("viewer");
    let old = with(&good, "iat", now() - 900);
    for claims in [
        with(&old, "exp", now() - 30),
        with(&good, "nbf", now() + 50),
        with(&good, "iat", now() + 50),
        with(&good, "aud", json!(["other", "api-server"])),
        with(&good, "scope", json!({"a": [1]})),
    ] {
        assert_eq!(api.status(&claims), 200, "{claims}");
    }
}

#[test]
fn a_role_that_may_not_is_told_so_and_no_spelling_of_the_path_helps() {
    let api = Api::start(Key::ed25519(""), &[]);
    let [viewer, admin] = ["viewer", "admin"].map(|role| api.key.token(&claims(role)));
    for line in
        ["GET /livez", "HEAD /livez", "GET /%6civez", "GET /api/livez", "GET /api/%6Civez", "GET /livez?a"]
    {
        assert_eq!(api.with(line, &admin).status, 200, "{line}");
        let refused = api.with(line, &viewer);
        assert_eq!(refused.status, 403, "{line}");
        assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"api\", error=\"insufficient_scope\"");
        assert_eq!(ask(api.service.api, line, "").status, 401, "{line}");
    }
    let metrics = get(api.service.metrics, "/metrics").body;
    for line in ["result=\"role\"} 6", "result=\"ok\"} 6", "result=\"no_token\"} 6"] {
        assert!(metrics.contains(&format!("auth_total{{{line}")), "{metrics}");
    }
}

#[test]
fn without_a_policy_the_routes_of_the_app_need_a_token_and_the_others_none() {
    let service = Service::start(&[]);
    for line in [
        "GET /videos",
        "GET /videos/7",
        "DELETE /videos/7",
        "POST /transcribe",
        "GET /%76ideos",
        "GET /jobs/7",
    ] {
        assert_eq!(ask(service.api, line, "").status, 401, "{line}");
    }
    for path in ["/", "/health", "/livez", "/readyz", "/.well-known/jwks.json", "/api/.well-known/jwks.json"]
    {
        let answer = ask(service.api, &format!("GET {path}"), "authorization: Bearer x\r\n");
        assert_eq!(answer.status, 200, "{path}");
    }
    let preflight = "origin: https://a.example\r\naccess-control-request-method: GET\r\n";
    assert_eq!(ask(service.api, "OPTIONS /videos", preflight).status, 405, "no cors policy");
}

#[test]
fn limits_come_before_the_token() {
    let (service, _file) = Service::with_policy(
        r#"{"version": 1, "rateLimits": {"rules": [{"name": "videos", "path": {"value": "/videos"}, "requests": 1, "period": "1h"}]}}"#,
    );
    let statuses = [(); 3].map(|()| ask(service.api, "GET /videos", "authorization: Bearer x\r\n").status);
    assert_eq!(statuses, [401, 429, 429]);
}

#[test]
fn the_public_keys_may_be_cached_and_former_ones_still_count() {
    let former = Key::ed25519("");
    let api = Api::start(Key::rsa(""), &[("JWT_PREVIOUS_KEYS", &former.public_pem)]);
    let answer = get(api.service.api, "/.well-known/jwks.json");
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    assert_eq!(answer.header("content-type"), "application/jwk-set+json");
    let keys = published(&api.service);
    assert_eq!(keys.len(), 2);
    let former = Key { kid: keys[1]["kid"].as_str().unwrap().into(), ..former };
    assert_eq!(api.with("GET /", &former.token(&claims("viewer"))).status, 200);
    assert_eq!(api.status(&claims("viewer")), 200);
}

#[test]
fn a_key_or_address_that_is_refused_ends_the_start_by_name_and_without_its_value() {
    for (name, value) in [
        ("JWT_SIGNING_KEY", "hunter2"),
        ("JWT_PREVIOUS_KEYS", "hunter2"),
        ("JWKS_URI", "https://a:hunter2@id.example/keys"),
        ("JWKS_URI", "http://id.example/hunter2"),
    ] {
        let output = command(&[(name, value)]).output().unwrap();
        assert!(!output.status.success(), "{name}");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn in_production_nothing_is_signed_with_a_key_that_nobody_gave() {
    let file = policy(r#"{"version": 1, "trustedHosts": ["a", "localhost"]}"#);
    let settings = [("ENVIRONMENT", "production"), ("POLICY_FILE", file.path().to_str().unwrap())];
    let service = Service::start(&settings);
    assert!(published(&service).is_empty());
    assert_eq!(ask(service.api, "GET /videos", "authorization: Bearer x\r\n").status, 401);
}
