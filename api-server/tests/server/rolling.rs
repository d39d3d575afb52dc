//! Processes replaced under load behind a real nginx (reliability scenario L8): no request fails, those in flight finish.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use testbed::{Nginx, etcd::free_port};

use crate::{
    open_loop::{Load, Report},
    process::{Service, policy, wait_until},
    tls::Authority,
};

/// More than nginx keeps an unused connection.
const DRAIN: (&str, &str) = ("DRAIN_DELAY", "3");
/// Two serve, and each has another port for its successor.
const SLOTS: usize = 2;

/// nginx in front of four ports. It speaks TLS to them, keeps connections, and asks another one when none is taken.
const HTTP: &str = r#"
    access_log off; keepalive_requests 1000000;
    upstream api { SERVERS keepalive 16; keepalive_timeout 1s; }
    server {
        listen ADDRESS;
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host studio.example;
        proxy_ssl_verify on; proxy_ssl_trusted_certificate FOLDER/ca.crt; proxy_ssl_name studio.example;
        proxy_ssl_server_name on; proxy_ssl_session_reuse off; proxy_connect_timeout 2s;
        location / { proxy_pass https://api; }
        location = /login { proxy_pass https://api; proxy_request_buffering off; }
    }
"#;

fn nginx(upstreams: [SocketAddr; 2 * SLOTS], address: SocketAddr, ca: &Path) -> Nginx {
    let servers = upstreams.map(|one| format!("server {one} max_fails=1 fail_timeout=1s;")).join(" ");
    let http = HTTP.replace("SERVERS", &servers).replace("ADDRESS", &address.to_string());
    let ca = fs::read_to_string(ca).unwrap();
    Nginx::start(&http, &[("ca.crt", &ca)], address.port()).unwrap()
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

/// The running processes and what the next one needs.
struct Stage {
    slots: Vec<Service>,
    free: Vec<SocketAddr>,
    certificates: (Authority, TempDir),
    policy: tempfile::NamedTempFile,
}

impl Stage {
    /// With the address of nginx.
    fn set() -> (Self, Nginx, SocketAddr) {
        let certificates = Authority::with_pair();
        let policy = policy(r#"{"version": 1, "rateLimits": {}}"#);
        let addresses = [(); 2 * SLOTS].map(|()| free_address());
        let mut stage = Self { slots: Vec::new(), free: addresses.to_vec(), certificates, policy };
        for _ in 0..SLOTS {
            let service = stage.start();
            stage.slots.push(service);
        }
        let address = free_address();
        let nginx = nginx(addresses, address, &stage.certificates.1.path().join("ca.crt"));
        (stage, nginx, address)
    }

    fn settings<'a>(&'a self, address: &'a str) -> [(&'a str, &'a str); 4] {
        let (dir, policy) = (self.certificates.1.path(), self.policy.path());
        let text = |path: &'a Path| path.to_str().unwrap();
        [("API_BIND", address), ("TLS_DIR", text(dir)), ("POLICY_FILE", text(policy)), DRAIN]
    }

    fn start(&mut self) -> Service {
        let address = self.free.remove(0);
        Service::start(&self.settings(&address.to_string()))
    }

    /// Starts the successor of the oldest, waits until that is ready and ends the oldest; every other one is told twice.
    fn update(&mut self, number: usize) -> Duration {
        let successor = self.start();
        wait_until("the successor to be ready", || self.is_ready(&successor).then_some(()));
        let mut old = std::mem::replace(&mut self.slots[number % SLOTS], successor);
        let begin = Instant::now();
        old.terminate();
        wait_until("readiness off", || {
            old.log().iter().any(|line| line["message"] == "draining").then_some(())
        });
        assert!(!self.is_ready(&old), "not ready, and still served");
        if number % 2 == 1 {
            old.terminate();
        }
        assert!(old.exit_within(Duration::from_secs(30)).success());
        self.free.push(old.api);
        begin.elapsed()
    }

    fn is_ready(&self, service: &Service) -> bool {
        self.certificates.0.get(service, "/readyz").status == 200
    }

    /// One that is told to end before it serves.
    fn start_in_vain(&mut self, after: Duration) -> Option<i32> {
        let address = self.free[0].to_string();
        let mut command = crate::process::command(&self.settings(&address));
        let mut child = command.spawn().unwrap();
        thread::sleep(after);
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        wait_until("its end", || child.try_wait().unwrap()).code()
    }
}

fn check(report: &Report, nginx: &Nginx) {
    assert!(report.failures.is_empty(), "{report}\n{}", nginx.log());
}

#[test]
#[ignore = "soak: nine minutes; SOAK_REQUESTS=5000 for a short trial"]
fn ten_rolling_updates_at_200_requests_a_second_behind_nginx_fail_none_of_100000() {
    let requests = std::env::var("SOAK_REQUESTS").map_or(100_000, |number| number.parse().unwrap());
    let (mut stage, nginx, address) = Stage::set();
    let load = Load::start(address, 200);
    for number in 0..10 {
        let took = stage.update(number);
        stage.certificates.0.issue(stage.certificates.1.path());
        let after = Duration::from_millis(20 * number as u64);
        let code = stage.start_in_vain(after);
        // Nothing: by the signal itself, before there is anything to end.
        assert!(matches!(code, None | Some(0)), "{code:?}");
        println!(
            "SOAK update {number}: the old process ended in {took:.1?}; one told to end {after:?} after its start ended with {code:?}; {}",
            load.report()
        );
        // Spread over the whole run.
        while load.report().sent < requests * (number + 1) / 10 {
            thread::sleep(Duration::from_millis(100));
        }
    }
    let report = load.end();
    println!("SOAK end: {report}");
    check(&report, &nginx);
    assert!(report.long > 10, "{report}");
    for service in &mut stage.slots {
        service.terminate();
        assert!(service.exit_within(Duration::from_secs(30)).success());
    }
}
