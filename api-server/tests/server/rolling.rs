//! Processes replaced under load behind a real nginx (reliability scenario L8): no request fails, those in flight finish.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    open_loop::{Load, Report},
    process::{Service, policy, wait_until},
    tls::Authority,
};

const PROGRAM: &str = "/usr/sbin/nginx";
/// More than nginx keeps an unused connection.
const DRAIN: (&str, &str) = ("DRAIN_DELAY", "3");
/// Two serve, and each has another port for its successor.
const SLOTS: usize = 2;

/// nginx in front of four ports. It speaks TLS to them, keeps connections, and asks another one when none is taken.
struct Nginx {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Nginx {
    fn start(upstreams: [SocketAddr; 2 * SLOTS], ca: &Path) -> Self {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is missing: run tests/install-debian.sh soak");
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let servers = upstreams.map(|one| format!("server {one} max_fails=1 fail_timeout=1s;")).join(" ");
        let (dir, ca) = (folder.path().display(), ca.display());
        let text = format!(
            "worker_processes 1; daemon off; pid {dir}/pid; error_log {dir}/error.log warn;
             events {{ worker_connections 2048; }}
             http {{
               access_log off; keepalive_requests 1000000;
               client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
               uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
               upstream api {{ {servers} keepalive 16; keepalive_timeout 1s; }}
               server {{
                 listen {address};
                 proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host studio.example;
                 proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_ssl_name studio.example;
                 proxy_ssl_server_name on; proxy_ssl_session_reuse off; proxy_connect_timeout 2s;
                 location / {{ proxy_pass https://api; }}
                 location = /login {{ proxy_pass https://api; proxy_request_buffering off; }}
               }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text).unwrap();
        let child =
            Command::new("setpriv").args(["--pdeathsig", "TERM", PROGRAM, "-c"]).arg(&file).spawn().unwrap();
        let nginx = Self { address, child, folder };
        wait_until("nginx", || TcpStream::connect(address).ok());
        nginx
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The running processes and what the next one needs.
struct Stage {
    slots: Vec<Service>,
    free: Vec<SocketAddr>,
    certificates: (Authority, TempDir),
    policy: tempfile::NamedTempFile,
}

impl Stage {
    fn set() -> (Self, Nginx) {
        let certificates = Authority::with_pair();
        let policy = policy(r#"{"version": 1, "rateLimits": {}}"#);
        let addresses = [(); 2 * SLOTS].map(|()| free_address());
        let mut stage = Self { slots: Vec::new(), free: addresses.to_vec(), certificates, policy };
        for _ in 0..SLOTS {
            let service = stage.start();
            stage.slots.push(service);
        }
        let nginx = Nginx::start(addresses, &stage.certificates.1.path().join("ca.crt"));
        (stage, nginx)
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
    let (mut stage, nginx) = Stage::set();
    let load = Load::start(nginx.address, 200);
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
