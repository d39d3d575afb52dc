//! Limits that replicas share in a real Redis: what they count together, and what happens while it is away.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use testbed::Redis;

use crate::{
    client::{Answer, ask, get},
    process::{Service, command, policy, wait_until},
};

/// Hours, so that nothing refills meanwhile. Of two replicas each gives half while it counts for itself.
const POLICY: &str = r#"{"version": 1, "rateLimits": {"store": "redis", "replicas": 2, "rules": [
    {"name": "login", "methods": ["POST"], "path": {"value": "/login"}, "requests": 50, "period": "24h"},
    {"name": "about", "path": {"value": "/"}, "requests": 20, "period": "24h"},
    {"name": "guarded", "path": {"value": "/guarded"}, "requests": 9, "period": "24h", "whenStoreFails": "Deny"}
]}}"#;

/// A pause is up to 10 s long, and the machine may be busy.
const RECOVERY: Duration = Duration::from_secs(30);

fn start(url: &str, settings: &[(&str, &str)]) -> Service {
    start_with(&[&[("REDIS_URL", url)], settings].concat())
}

fn start_with(settings: &[(&str, &str)]) -> Service {
    let file = policy(POLICY);
    let path = file.path().to_str().unwrap().to_owned();
    let needed = [("POLICY_FILE", path.as_str()), ("WORKERS", "4")];
    let mut service = Service::start(&[&needed[..], settings].concat());
    service.keep(file);
    service
}

pub fn login(service: &Service) -> Answer {
    ask(service.api, "POST /login", "")
}

/// The answer of a route that is closed, not of one that lacks its database.
pub fn is_closed(answer: &Answer) -> bool {
    answer.status == 503 && answer.body.contains("rate-limit store")
}

const AWAY: &str = "the rate-limit store is away: this replica counts for itself";

/// Why the store is away, as the log says it.
fn reason(service: &Service) -> String {
    service.wait_for_log(|line| line["message"] == AWAY)["reason"].as_str().unwrap().to_owned()
}

fn metric(service: &Service, line: &str) -> bool {
    get(service.metrics, "/metrics").body.contains(line)
}

/// Asks until the whole limit is said again.
pub fn wait_for_recovery(service: &Service) {
    let end = Instant::now() + RECOVERY;
    while is_closed(&login(service)) {
        assert!(Instant::now() < end, "the service did not find Redis again");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn two_services_with_four_workers_each_share_one_limit_exactly() {
    let redis = Redis::start().unwrap();
    let services = [start(&redis.url(), &[]), start(&redis.url(), &[])];
    let passed: usize = thread::scope(|scope| {
        let ask = |n: usize| (0..10).filter(|_| get(services[n % 2].api, "/").status == 200).count();
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || ask(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 20);
    let refused = get(services[0].api, "/");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("x-ratelimit-limit"), "20", "not divided by replicas");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=24 * 3600 / 20).contains(&wait), "{wait}");
    assert!(metric(&services[0], "rate_limit_store_up 1\n"));
}

#[test]
fn while_redis_is_away_logins_are_closed_and_the_rest_is_counted_by_halves_until_it_is_back() {
    let mut redis = Redis::start().unwrap();
    let service = start(&redis.url(), &[]);
    assert_eq!(login(&service).header("x-ratelimit-limit"), "50");
    redis.stop();
    for path in ["POST /login", "GET /guarded"] {
        let closed = ask(service.api, path, "");
        assert!(is_closed(&closed), "{path}: {closed:?}");
        assert_eq!(closed.header("content-type"), "application/problem+json");
        assert_eq!(closed.header("x-frame-options"), "DENY");
        let wait: u64 = closed.header("retry-after").parse().unwrap();
        assert!((1..=10).contains(&wait), "{wait}");
    }
    let local = [(); 12].map(|()| get(service.api, "/"));
    assert_eq!(local.iter().filter(|answer| answer.status == 200).count(), 10);
    assert_eq!(local[11].status, 429);
    assert!(local.iter().all(|answer| answer.header("x-ratelimit-limit") == "10"));
    assert!(metric(&service, "rate_limit_store_up 0\n"));
    assert!(!metric(&service, "rate_limit_store_errors_total 0\n"));
    assert!(metric(&service, r#"rate_limit_requests_total{rule="login",result="closed"} 1"#));

    redis.start_again().unwrap();
    wait_for_recovery(&service);
    let shared = get(service.api, "/");
    assert_eq!((shared.status, shared.header("x-ratelimit-remaining")), (200, "19"), "shared again");
    assert!(metric(&service, "rate_limit_store_up 1\n"));
    let back = "the rate-limit store answers again: replicas count together";
    service.wait_for_log(|line| line["message"] == back);
    let told = service.log().into_iter().filter(|line| line["message"] == AWAY).count();
    assert_eq!(told, 1, "once, not with each request");
}

#[test]
fn a_redis_that_hangs_delays_only_those_who_were_under_way() {
    let redis = Redis::start().unwrap();
    let service = start(&redis.url(), &[]);
    assert_eq!(get(service.api, "/").status, 200);
    redis.signal(Signal::STOP);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(is_closed(&login(&service))));
        }
    });
    // Each of these alone would wait 250 ms for an answer, or 500 ms for a connection.
    assert!((0..100).all(|_| is_closed(&login(&service))));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    redis.signal(Signal::CONT);
    wait_for_recovery(&service);
    assert_eq!(get(service.api, "/").header("x-ratelimit-limit"), "20");
}

#[test]
fn a_redis_that_is_not_there_at_the_start_or_not_named_stops_no_start() {
    let mut redis = Redis::start().unwrap();
    redis.stop();
    let service = start(&redis.url(), &[]);
    assert!(is_closed(&login(&service)));
    assert_eq!(get(service.api, "/").header("x-ratelimit-limit"), "10");
    redis.start_again().unwrap();
    wait_for_recovery(&service);
    let unnamed = start_with(&[]);
    assert!(is_closed(&login(&unnamed)));
    assert_eq!(reason(&unnamed), "REDIS_URL is not set");
}

#[test]
fn a_new_address_in_a_file_counts_without_a_restart() {
    let (old, new) = (Redis::start().unwrap(), Redis::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("REDIS_URL");
    fs::write(&file, old.url()).unwrap();
    let service = start_with(&[("SECRETS_DIR", folder.path().to_str().unwrap())]);
    assert_eq!(get(service.api, "/").header("x-ratelimit-remaining"), "19");
    drop(old);
    fs::write(&file, new.url()).unwrap();
    wait_until("a key in the new Redis", || {
        get(service.api, "/");
        (new.command(&["DBSIZE"]).unwrap() != ":0").then_some(())
    });
    assert!(!is_closed(&login(&service)));
}

#[test]
fn the_password_of_redis_is_in_no_log_whatever_happens() {
    let mut redis = Redis::start().unwrap();
    let wrong = redis.url().replace(redis.password(), "hunter2-of-redis");
    let refused = start(&wrong, &[("RUST_LOG", "trace")]);
    assert!(is_closed(&login(&refused)));
    assert_eq!(reason(&refused), "authentication failed");

    let service = start(&redis.url(), &[("RUST_LOG", "trace")]);
    login(&service);
    redis.stop();
    login(&service);
    redis.start_again().unwrap();
    wait_for_recovery(&service);
    for (service, password) in [(&refused, "hunter2-of-redis"), (&service, redis.password())] {
        let log = service.log();
        assert!(log.iter().any(|line| line["target"] == "access"), "{log:?}");
        let told = log.iter().find(|line| line.to_string().contains(password));
        assert!(told.is_none(), "{told:?}");
    }
    for bad in ["http://:hunter2@a", "rediss://:hunter2@a/#insecure"] {
        let output = command(&[("REDIS_URL", bad)]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains("REDIS_URL") && !text.contains("hunter2"));
    }
}
