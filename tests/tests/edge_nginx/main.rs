//! Does a real nginx load the configuration of every example, and keep what it promises: TLS, hosts, headers, limits, an app
//! that is the right one, and files that stay in their folder? No cluster.

mod limits;
mod scene;
mod tls;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use anyhow::{Context as _, Result, ensure};
use render::edge::nginx::conf;
use testbed::Nginx;
use testbed::certificate::Pair;

use scene::{APP, Answer, HOST, Identity, ONE, Scene, example, host, port};

const NO_LIMITS: &str = "rules: [{name: one, methods: [POST], path: {value: /one}, requests: 1, period: 1m}]";

const FIXED: [(&str, &str); 7] = [
    ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("permissions-policy", "geolocation=(), microphone=(), camera=(), payment=(), usb=(), magnetometer=()"),
    ("server", "Unknown"),
];

/// All eight, each once.
fn check(answer: &Answer) -> Result<()> {
    for (name, value) in FIXED {
        ensure!(answer.header(name)? == value, "{}: {name}: {:?}", answer.status, answer.headers);
    }
    ensure!(
        answer.header("content-security-policy")?.starts_with("default-src 'none'"),
        "{:?}",
        answer.headers
    );
    Ok(())
}

/// Of nginx itself: not a word of it.
fn check_own(answer: &Answer, status: u16) -> Result<()> {
    check(answer)?;
    ensure!(answer.status == status, "{} and not {status}: {}", answer.status, answer.body);
    ensure!(answer.header("content-type")? == "application/problem+json", "{:?}", answer.headers);
    ensure!(
        answer.header("content-security-policy")?.ends_with("frame-ancestors 'none'"),
        "{:?}",
        answer.headers
    );
    ensure!(answer.header("cache-control")? == "no-store, max-age=0", "{:?}", answer.headers);
    let body: serde_json::Value = serde_json::from_str(&answer.body)?;
    ensure!(body["status"] == status, "{body}");
    Ok(())
}

#[test]
fn nginx_loads_the_configuration_of_every_example_without_a_warning() -> Result<()> {
    let pair = Pair::forged(&[HOST.to_owned()])?;
    let files = [("cert.pem", &*pair.certificate), ("key.pem", &pair.key), ("app-ca.pem", &pair.ca)];
    let mut count = 0;
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let host = host((port(), port()), 1, Some("/srv".into()));
        let text = conf(&example(&name)?, &host)?.text.replace("/FOLDER/", "FOLDER/");
        let said = Nginx::check(&text, &files).with_context(|| name.clone())?;
        ensure!(!["[warn]", "[error]", "[alert]"].iter().any(|bad| said.contains(bad)), "{name}: {said}");
        count += 1;
    }
    ensure!(count > 15, "{count} examples");
    // A configuration that is none is seen.
    ensure!(Nginx::check("events {}\nhttp {\nno_such_directive;\n}\n", &files).is_err());
    Ok(())
}

#[test]
fn plain_http_only_leads_to_https_and_to_no_other_host() -> Result<()> {
    let scene = Scene::set(NO_LIMITS)?;
    let moved = scene.plain("GET /a%20b/../c?d=e", HOST)?;
    check(&moved)?;
    ensure!(moved.status == 301, "{}", moved.status);
    let expected = format!("https://{HOST}:{}/a%20b/../c?d=e", scene.https);
    ensure!(moved.header("location")? == expected, "{:?}", moved.headers);
    check_own(&scene.plain("GET /.well-known/acme-challenge/token", HOST)?, 404)?;
    check_own(&scene.plain("GET /", "evil.example")?, 421)?;
    check_own(&scene.plain("GET /", &format!("{HOST}.evil.example"))?, 421)?;
    check_own(&scene.plain("GET / evil", HOST)?, 400)
}

#[test]
fn every_answer_has_the_eight_headers_once_whoever_made_it() -> Result<()> {
    let scene = Scene::set(NO_LIMITS)?;
    let good = scene.get("/")?;
    check(&good)?;
    ensure!((good.status, &*good.body) == (200, "ok"), "{}", good.body);
    let nonces =
        [good.header("content-security-policy")?, scene.get("/")?.header("content-security-policy")?]
            .map(str::to_owned);
    ensure!(nonces.iter().all(|csp| csp.contains("'nonce-")) && nonces[0] != nonces[1], "{nonces:?}");
    ensure!(good.header("x-request-id")?.len() == 32, "{:?}", good.headers);
    for (path, status) in [("/missing", 404), ("/busy", 429)] {
        let answer = scene.get(path)?;
        check(&answer)?;
        ensure!(answer.status == status && answer.header("content-security-policy")?.contains("'nonce-"));
    }
    // The app's own advice stays, and is the only one.
    ensure!(scene.get("/busy")?.header("retry-after")? == "99");
    let bare = scene.get("/bare")?;
    check(&bare)?;
    ensure!(!bare.header("content-security-policy")?.contains("nonce"), "{:?}", bare.headers);
    check_own(&scene.get("/static/none.js")?, 404)?;
    let host = format!("host: {HOST}\r\n");
    check_own(&scene.ask(ONE, "POST /upload", &host, &"x".repeat(300_000))?, 413)?;
    check_own(&scene.ask(ONE, "GET /", &format!("{host}x: {}\r\n", "a".repeat(40_000)), "")?, 400)?;
    check_own(&scene.ask(ONE, "GET /", &format!("{host}content-length: x\r\n"), "")?, 400)?;
    check_own(&scene.ask(ONE, "GET /", "", "")?, 400)?;
    check_own(&scene.get("/.edge/problem")?, 404)?;
    ensure!(scene.status(ONE, "POST /one", "")? == 200);
    let limited = scene.ask(ONE, "POST /one", &host, "")?;
    check_own(&limited, 429)?;
    for (name, value) in [
        ("retry-after", "63"),
        ("x-ratelimit-limit", "1"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "60"),
    ] {
        ensure!(limited.header(name)? == value, "{name}: {:?}", limited.headers);
    }
    // Each line of the log is the request, not the page that answers it, and has no query.
    scene.get("/static/none?token=secret")?;
    let log = scene.edge.read("access.log");
    ensure!(log.contains(r#""method":"POST","path":"/one","status":429,"#), "{log}");
    ensure!(log.contains(r#""path":"/static/none","status":404,"#) && !log.contains("secret"), "{log}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).with_context(|| line.to_owned())?;
    }
    Ok(())
}

#[test]
fn what_would_mean_something_to_nginx_is_the_value_of_a_header() -> Result<()> {
    let mut service = example("studio.yaml")?;
    let value = "a; return 200 'x'; } server { # b `c` ~^/ {d}";
    let overrides = [("Referrer-Policy".to_owned(), value.to_owned())].into();
    service.spec.headers = Some(crds::Headers { preset: None, overrides });
    let scene = Scene::of(&service, &Identity::good()?)?;
    for path in ["/", "/static/none"] {
        let answer = scene.get(path).with_context(|| scene.edge.log())?;
        ensure!(answer.header("referrer-policy")? == value, "{:?}", answer.headers);
    }
    Ok(())
}

#[test]
fn an_app_with_a_certificate_of_another_authority_or_name_is_not_spoken_to() -> Result<()> {
    let stranger = Identity { ca: Pair::forged(&[APP.to_owned()])?.ca, ..Identity::good()? };
    let pair = Pair::forged(&["other.internal".to_owned()])?;
    let misnamed = Identity { ca: pair.ca.clone(), pair };
    for identity in [stranger, misnamed] {
        let scene = Scene::set_with(NO_LIMITS, &identity)?;
        let answer = scene.get("/")?;
        check_own(&answer, 502)?;
        ensure!(scene.edge.log().contains("upstream SSL certificate"), "{}", scene.edge.log());
    }
    Ok(())
}

#[test]
fn files_are_cached_for_ever_and_none_outside_of_the_folder_is_served() -> Result<()> {
    let scene = Scene::set(NO_LIMITS)?;
    let root = scene.folder.path();
    fs::create_dir_all(root.join("static/.git"))?;
    for (name, content) in [("static/app.1f.js", "x"), ("secret", "secret"), ("static/.git/config", "secret")]
    {
        fs::write(root.join(name), content)?;
    }
    for folder in ["static", "static/.git"] {
        fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o755))?;
    }
    symlink(root.join("secret"), root.join("static/link"))?;
    let file = scene.get("/static/app.1f.js")?;
    check(&file)?;
    ensure!(file.status == 200 && file.body == "x" && file.header("content-type")? == "text/javascript");
    ensure!(file.header("cache-control")? == "public, max-age=31536000, immutable", "{:?}", file.headers);
    for path in [
        "/static/../secret",
        "/static/%2e%2e/secret",
        "/static/..%2fsecret",
        "/static../secret",
        "/static/link",
        "/static/.git/config",
        "/static/%2egit/config",
        "/static//../../secret",
        "/static/",
        "/static/.",
    ] {
        let answer = scene.get(path)?;
        check(&answer)?;
        ensure!(!answer.body.contains("secret"), "{path}: {} {}", answer.status, answer.body);
    }
    Ok(())
}
