//! What the counters of the rate limits cost and forgive (reliability scenario L5): millions of clients in memory, and a
//! Redis that is late, full, stopped or replaced. What its clock does is tested beside the script.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use actix_web::http::Method;
use api_server::limiter::Limiter;
use testbed::Redis;

use crate::{
    client::{ask, connect, get, send},
    process::{Service, policy, wait_until},
    shared_limits::{is_closed, login, wait_for_recovery},
};

const MILLION: u32 = 1_000_000;
/// Ten million clients in ten minutes.
const STEP: Duration = Duration::from_micros(60);

/// Resident memory in MiB.
fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

#[test]
#[ignore = "soak: a minute"]
fn ten_million_clients_in_memory_cost_little_and_give_an_attacker_no_fresh_bucket() {
    let rules = r#"{"rules": [
        {"name": "login", "methods": ["POST"], "path": {"value": "/login"}, "requests": 5, "period": "1h"},
        {"name": "videos", "path": {"value": "/videos"}, "requests": 60, "period": "1m"}]}"#;
    let limiter = Limiter::new(&serde_json::from_str(rules).unwrap()).unwrap();
    let before = resident(std::process::id());
    let begin = Instant::now();
    let attacker: IpAddr = "203.0.113.7".parse().unwrap();
    let passes = |method: &Method, path, client, now| {
        limiter.turn(method, path, client).is_some_and(|turn| turn.count(now).allowed)
    };
    let start = Duration::from_hours(1);
    let mut logins = 0;
    let mut videos = 0;
    for number in 0..10 * MILLION {
        let now = start + STEP * number;
        if number % 100_000 == 0 {
            // Each 6 s, in which 6 of the 60 come back.
            logins += (0..10).filter(|_| passes(&Method::POST, "/login", attacker, now)).count();
            videos += (0..100).filter(|_| passes(&Method::GET, "/videos", attacker, now)).count();
        }
        let client = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
        passes(&Method::POST, "/login", client, now);
        passes(&Method::GET, "/videos", client, now);
    }
    let grown = resident(std::process::id()).saturating_sub(before);
    let took = begin.elapsed().as_secs();
    println!(
        "SOAK 10 million clients of two rules in {took} s: {grown} MiB more; the attacker passed {logins} and {videos} times"
    );
    assert_eq!(logins, 5, "the next one is due after 12 minutes");
    // All at once, and then those that came back.
    assert!((600..=660).contains(&videos), "{videos}");
    assert!(grown < 32, "{grown} MiB");
}

/// Hands bytes on to a server, its answers so many milliseconds late.
struct Late {
    address: SocketAddr,
    delay: Arc<AtomicU64>,
}

impl Late {
    fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, delay) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let shared = delay.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // One that is away is away here too.
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let shared = shared.clone();
                thread::spawn(move || hand_on(client, server, &AtomicU64::new(0)));
                thread::spawn(move || hand_on(down, up, &shared));
            }
        });
        Self { address, delay }
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, delay: &AtomicU64) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        thread::sleep(Duration::from_millis(delay.load(Ordering::Relaxed)));
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// A rule of 1,000 a day among five replicas, beside login.
const FIVE: &str = r#"{"version": 1, "rateLimits": {"store": "redis", "replicas": 5, "rules": [
    {"name": "login", "methods": ["POST"], "path": {"value": "/login"}, "requests": 100, "period": "24h"},
    {"name": "about", "path": {"value": "/"}, "requests": 1000, "period": "24h"}]}}"#;

fn replica(settings: &[(&str, &str)]) -> Service {
    let file = policy(FIVE);
    let path = file.path().to_str().unwrap().to_owned();
    let mut service = Service::start(&[&[("POLICY_FILE", path.as_str())][..], settings].concat());
    service.keep(file);
    service
}

/// The store is away in the way that the promise names: logins closed, the rest by this replica's part.
fn check_away(service: &Service, what: &str) -> String {
    wait_until("the store to be away", || is_closed(&login(service)).then_some(()));
    let begin = Instant::now();
    let answers: Vec<_> = (0..20).map(|_| get(service.api, "/")).collect();
    let took = begin.elapsed();
    assert!(answers.iter().all(|answer| answer.header("x-ratelimit-limit") == "200"), "{what}");
    assert!(is_closed(&login(service)), "{what}");
    format!("{what}: logins closed, / by 200 of 1000; 20 requests in {} ms", took.as_millis())
}

fn check_back(service: &Service, what: &str) -> String {
    let begin = Instant::now();
    wait_for_recovery(service);
    let took = begin.elapsed().as_millis();
    assert_eq!(get(service.api, "/").header("x-ratelimit-limit"), "1000", "{what}");
    format!("{what} is over: counted together again after {took} ms")
}

#[test]
#[ignore = "soak: half a minute"]
fn a_redis_that_is_late_or_full_or_stopped_closes_logins_and_counts_the_rest_by_parts_until_it_is_well() {
    let mut redis = Redis::start().unwrap();
    let late = Late::start(redis.port());
    let url = format!("redis://:{}@{}", redis.password(), late.address);
    let service = replica(&[("REDIS_URL", &url)]);
    assert_eq!(get(service.api, "/").header("x-ratelimit-limit"), "1000");

    late.delay.store(2000, Ordering::Relaxed);
    println!("SOAK {}", check_away(&service, "Redis 2 s late"));
    late.delay.store(0, Ordering::Relaxed);
    println!("SOAK {}", check_back(&service, "the lateness"));

    for (name, value) in [("maxmemory-policy", "noeviction"), ("maxmemory", "1")] {
        redis.command(&["CONFIG", "SET", name, value]).unwrap();
    }
    println!("SOAK {}", check_away(&service, "Redis full"));
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    println!("SOAK {}", check_back(&service, "the fullness"));

    redis.stop();
    println!("SOAK {}", check_away(&service, "Redis stopped"));
    redis.start_again().unwrap();
    println!("SOAK {}", check_back(&service, "the stop"));
}

/// How many of so many requests pass, spread over all replicas at once.
fn passed(replicas: &[Service], requests: usize) -> usize {
    thread::scope(|scope| {
        let one = |service: &Service| {
            (0..requests / replicas.len()).filter(|_| get(service.api, "/").status == 200).count()
        };
        let threads: Vec<_> = replicas.iter().map(|service| scope.spawn(move || one(service))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
#[ignore = "soak: half a minute"]
fn five_replicas_give_one_limit_and_go_on_with_its_counters_on_the_redis_that_takes_over() {
    let (mut primary, standby) = (Redis::start().unwrap(), Redis::start().unwrap());
    standby.command(&["CONFIG", "SET", "masterauth", primary.password()]).unwrap();
    standby.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("REDIS_URL"), primary.url()).unwrap();
    let path: &Path = folder.path();
    let replicas = [(); 5].map(|()| replica(&[("SECRETS_DIR", path.to_str().unwrap())]));
    let before = passed(&replicas, 500);
    wait_until("the standby to have the counter", || {
        (standby.command(&["DBSIZE"]).unwrap() == primary.command(&["DBSIZE"]).unwrap()).then_some(())
    });
    primary.stop();
    standby.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    fs::write(folder.path().join("REDIS_URL"), standby.url()).unwrap();
    for service in &replicas {
        wait_for_recovery(service);
    }
    let after = passed(&replicas, 1500);
    println!(
        "SOAK five replicas, limit 1000: {before} of 500 passed, then Redis failed over, then {after} of 1500"
    );
    assert!((950..=1050).contains(&(before + after)), "{before} + {after}");
}

/// The 99th percentile and the median of requests one after the other, in microseconds.
fn times(service: &Service) -> (u128, u128) {
    let mut connection = connect(service.api);
    let mut all: Vec<_> = (0..3000)
        .map(|_| {
            let begin = Instant::now();
            assert_eq!(send(&mut connection, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").status, 200);
            begin.elapsed().as_micros()
        })
        .collect();
    all.sort_unstable();
    (all[2970], all[1500])
}

#[test]
#[ignore = "soak: half a minute"]
fn what_a_limit_adds_to_a_request() {
    let redis = Redis::start().unwrap();
    let url = redis.url();
    let with = |limits: &str| {
        let file = policy(&format!(r#"{{"version": 1, "rateLimits": {{{limits}}}}}"#));
        let path = file.path().to_str().unwrap().to_owned();
        let mut service = Service::start(&[("POLICY_FILE", &path), ("REDIS_URL", &url)]);
        service.keep(file);
        service
    };
    let limit = r#""default": {"requests": 100000, "period": "1s"}"#;
    let services = [
        ("no limit", with("")),
        ("a limit in memory", with(limit)),
        ("a limit in Redis", with(&format!(r#""store": "redis", {limit}"#))),
    ];
    for (name, service) in &services {
        let mut rounds = [(); 5].map(|()| times(service));
        rounds.sort_unstable();
        let (p99, p50) = rounds[2];
        println!("SOAK {name}: p50 {p50} us, p99 {p99} us, median of five rounds of 3000");
    }
    assert_eq!(ask(services[1].1.api, "GET /", "").header("x-ratelimit-limit"), "100000");
}
