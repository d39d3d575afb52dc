//! Limits as a client meets them: how many pass, whose they are, and what makes no other client.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::scene::{HOST, ONE, Scene, TWO};

const LIMITS: &str = "
rules:
- {name: login, methods: [POST], path: {value: /login}, requests: 5, period: 1m}
- {name: videos, methods: [GET], path: {value: /videos}, requests: 3, period: 1m}
- {name: dotted, path: {value: /a.b}, requests: 1, period: 1m}
- {name: own-jobs, path: {value: /jobs/mine}, requests: 2, period: 1m}
- {name: jobs, path: {type: PathPrefix, value: /jobs/}, requests: 1, period: 1m}
- {name: quick, methods: [PUT], path: {value: /quick}, requests: 2, period: 4s}
";

/// How many of N+1 requests in a row pass; fails unless they were within period/N.
fn passed(scene: &Scene, from: Ipv4Addr, line: &str, count: usize, within: Duration) -> Result<usize> {
    let start = Instant::now();
    let mut passed = 0;
    for _ in 0..count {
        passed += usize::from(scene.status(from, line, "")? != 429);
    }
    ensure!(
        start.elapsed() < within,
        "{line}: {count} requests took {:?}, too long to judge",
        start.elapsed()
    );
    Ok(passed)
}

#[test]
fn one_request_more_than_the_limit_is_refused_for_its_method_its_path_and_its_client_alone() -> Result<()> {
    let scene = Scene::set(LIMITS)?;
    let within = Duration::from_secs(12);
    ensure!(passed(&scene, ONE, "POST /login", 6, within)? == 5);
    // Neither the method nor the path is another's, and another client has all of it.
    for line in [
        "GET /login",
        "POST /login/",
        "POST /login/x",
        "POST /loginx",
        "POST /LOGIN",
        "POST /login%0a",
        "GET /other",
    ] {
        ensure!(scene.status(ONE, line, "")? == 200, "{line}");
    }
    ensure!(passed(&scene, TWO, "POST /login", 6, within)? == 5);
    for line in ["POST /%6cogin", "POST //login", "POST /./login", "POST /x/../login", "POST /login?a=b"] {
        ensure!(scene.status(ONE, line, "")? == 429, "{line}");
    }
    ensure!(passed(&scene, ONE, "GET /videos", 4, within)? == 3);
    ensure!(scene.status(ONE, "HEAD /videos", "")? == 429, "HEAD costs what GET does");
    ensure!(scene.status(ONE, "POST /videos", "")? == 200);
    // By segments, and the first rule that matches counts alone.
    ensure!(passed(&scene, ONE, "GET /jobs/7", 2, within)? == 1);
    for (line, status) in
        [("DELETE /jobs", 429), ("GET /jobs2", 200), ("GET /jobs/mine", 200), ("GET /jobs/mine/x", 429)]
    {
        ensure!(scene.status(ONE, line, "")? == status, "{line}");
    }
    ensure!(passed(&scene, ONE, "GET /a.b", 2, within)? == 1);
    ensure!(scene.status(ONE, "GET /axb", "")? == 200, "a point is a point");
    Ok(())
}

#[test]
fn after_retry_after_one_passes_and_after_a_period_all_of_them() -> Result<()> {
    let scene = Scene::set(LIMITS)?;
    ensure!(passed(&scene, ONE, "PUT /quick", 3, Duration::from_secs(2))? == 2);
    let refused = scene.ask(ONE, "PUT /quick", &format!("host: {HOST}\r\n"), "")?;
    ensure!((refused.status, refused.header("retry-after")?) == (429, "2"), "{:?}", refused.headers);
    sleep(Duration::from_secs(2));
    ensure!(passed(&scene, ONE, "PUT /quick", 2, Duration::from_secs(2))? == 1);
    sleep(Duration::from_secs(4));
    ensure!(passed(&scene, ONE, "PUT /quick", 3, Duration::from_secs(2))? == 2);
    Ok(())
}

#[test]
fn no_header_makes_another_client() -> Result<()> {
    let scene = Scene::set(LIMITS)?;
    let forged = [
        "x-forwarded-for: 203.0.113.7\r\n",
        "x-forwarded-for: 127.0.0.2\r\nx-forwarded-for: 203.0.113.9\r\n",
        "x_forwarded_for: 203.0.113.11\r\n",
        "forwarded: for=203.0.113.12\r\nx-real-ip: 203.0.113.12\r\nx-forwarded-host: evil.example\r\n",
        "connection: x-forwarded-for\r\nx-forwarded-for: 203.0.113.13\r\n",
        "x-client-ip: 203.0.113.14\r\n",
    ];
    let mut passed = 0;
    for headers in forged {
        let answer = scene.ask(ONE, "POST /login", &format!("host: {HOST}\r\n{headers}"), "")?;
        if answer.status != 429 {
            passed += 1;
            ensure!(
                answer.header("x-seen")? == format!("127.0.0.1|{HOST}|"),
                "{headers}: {:?}",
                answer.headers
            );
        }
    }
    ensure!(passed == 5, "{passed}");
    let other = scene.ask(TWO, "GET /", &format!("host: {}:443\r\n", HOST.to_uppercase()), "")?;
    ensure!(other.header("x-seen")? == format!("127.0.0.2|{HOST}|"), "{:?}", other.headers);
    Ok(())
}

#[test]
fn a_default_counts_what_no_rule_does_but_no_probe() -> Result<()> {
    let scene = Scene::set("default: {requests: 2, period: 1m}")?;
    ensure!(passed(&scene, ONE, "GET /anything", 3, Duration::from_secs(30))? == 2);
    ensure!(scene.status(ONE, "PATCH /else", "")? == 429);
    for probe in ["/health", "/livez", "/readyz"] {
        ensure!(passed(&scene, ONE, &format!("GET {probe}"), 4, Duration::from_secs(30))? == 4, "{probe}");
    }
    Ok(())
}
