//! Slow and abusive connections (reliability scenario L1): each ends in its time, and others do not notice.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use rustls::version::TLS13;
use tempfile::TempDir;
use tokio::{
    net::TcpSocket,
    task::JoinSet,
    time::{interval, timeout},
};

use crate::{
    attack::{Attack, Target},
    client::{Answer, connect, get, send},
    process::{Service, policy, wait_until},
    tls::{Authority, start_with},
};

const UNLIMITED: &str = r#"{"version": 1, "rateLimits": {}}"#;
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// A service that is attacked, and how others reach it.
struct Stage {
    service: Service,
    target: Arc<Target>,
    authority: Option<(Authority, TempDir)>,
}

impl Stage {
    /// For attacks without TLS or for those that need it.
    fn set(secured: bool, settings: &[(&str, &str)]) -> Self {
        raise_open_files();
        let file = policy(UNLIMITED);
        let path = file.path().to_str().unwrap().to_owned();
        let settings = [&[("POLICY_FILE", path.as_str()), ("WORKERS", "2")][..], settings].concat();
        let (mut service, authority) = if secured {
            let (authority, dir, _, service) = start_with(&settings);
            (service, Some((authority, dir)))
        } else {
            (Service::start(&settings), None)
        };
        service.keep(file);
        let tls = authority.as_ref().map(|(authority, _)| {
            let mut config = authority.config(&[&TLS13]);
            config.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(config)
        });
        let target = Arc::new(Target { address: service.api, tls });
        Self { service, target, authority }
    }

    /// One request of somebody who means no harm, over a connection of its own.
    fn ask(&self) -> Answer {
        match &self.authority {
            Some((authority, _)) => authority.get(&self.service, "/"),
            None => send(&mut connect(self.service.api), GET),
        }
    }

    /// The 99th percentile of such requests; of some rounds the median, since other work on the machine disturbs one.
    fn p99(&self, rounds: usize, requests: usize) -> Duration {
        let one = || {
            let begin = Instant::now();
            assert_eq!(self.ask().status, 200);
            begin.elapsed()
        };
        let round = || {
            let mut times: Vec<_> = (0..requests).map(|_| one()).collect();
            times.sort_unstable();
            times[requests * 99 / 100]
        };
        let mut all: Vec<_> = (0..rounds).map(|_| round()).collect();
        all.sort_unstable();
        all[rounds / 2]
    }

    /// The most memory that the service has had, in MiB.
    fn peak(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.service.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
    }
}

/// A connection that lasts so long has no limit.
const LONGEST: Duration = Duration::from_secs(150);
/// Addresses that attackers come from: 500 of 10,000 from each.
const SOURCES: u8 = 20;

/// Clients that attack once each, so many of them a second, on a thread that leaves the processors to the service.
struct Crowd(JoinHandle<Vec<Duration>>);

impl Crowd {
    fn start(attack: Attack, target: &Arc<Target>, clients: usize, rate: u32) -> Self {
        let target = target.clone();
        Self(thread::spawn(move || {
            // On Linux it is this thread's alone.
            setpriority_process(None, 19).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut ticks = interval(Duration::from_secs(1) / rate);
                let mut all = JoinSet::new();
                for source in (0..SOURCES).cycle().take(clients) {
                    ticks.tick().await;
                    let target = target.clone();
                    all.spawn(async move { timeout(LONGEST, attack.run(&target, source)).await.unwrap() });
                }
                all.join_all().await
            })
        }))
    }

    /// Waits for the last; gives how long each was let.
    fn end(self) -> Vec<Duration> {
        let mut times = self.0.join().unwrap();
        times.sort_unstable();
        times
    }
}

/// As far as this user may: each connection of a test is an open file.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

const IDLE: Duration = Duration::from_secs(75);

/// How long an attack may take of a connection.
fn limit(attack: Attack, head: Duration, body: Duration) -> Duration {
    match attack {
        Attack::SlowHead | Attack::SlowHead2 | Attack::HalfHandshake => head,
        Attack::SlowBody | Attack::SlowRead => body,
        // It is looked for as often as a head would end.
        Attack::NoWindow => body + head,
        Attack::Idle => IDLE,
        // Both are told to go, and get the time of a head.
        Attack::Silent2 => head + head,
        Attack::Idle2 => IDLE + head,
        Attack::RapidReset | Attack::Continuation | Attack::Streams => Duration::ZERO,
    }
}

#[test]
fn every_kind_of_slow_or_flooding_connection_ends_in_its_time_while_others_are_served() {
    // Others need time for a handshake too, while everything shares a machine.
    let settings = [("HEADER_TIMEOUT", "4"), ("BODY_TIMEOUT", "5")];
    for (secured, attacks) in [(false, &Attack::PLAIN[..]), (true, &Attack::TLS)] {
        let stage = Stage::set(secured, &settings);
        for attack in attacks.iter().copied() {
            // Handshakes cost both ends some ms, and here they share the machine.
            let clients = if secured { 60 } else { 200 };
            let crowd = Crowd::start(attack, &stage.target, clients, 60);
            let mut worst = Duration::ZERO;
            while !crowd.0.is_finished() {
                let begin = Instant::now();
                assert_eq!(stage.ask().status, 200, "{attack:?}");
                worst = worst.max(begin.elapsed());
            }
            assert!(worst < Duration::from_secs(10), "{attack:?}: {worst:?}");
            let (times, limit) = (crowd.end(), limit(attack, Duration::from_secs(4), Duration::from_secs(5)));
            // The crowd gets what other tests leave of the processors, and may be late itself.
            assert!(times[clients - 1] < limit + Duration::from_secs(45), "{attack:?}: {times:?}");
            println!("{attack:?}: {:?} to {:?}, others {worst:?} at most", times[0], times[clients - 1]);
        }
        assert!(stage.peak() < 300, "{} MiB", stage.peak());
    }
}

#[test]
fn half_handshakes_keep_nobody_out() {
    // By itself actix-tls lets a worker have 256 handshakes, and accepts nobody meanwhile.
    let stage = Stage::set(true, &[("WORKERS", "1")]);
    let crowd = Crowd::start(Attack::HalfHandshake, &stage.target, 600, 2000);
    while !crowd.0.is_finished() {
        let begin = Instant::now();
        assert_eq!(stage.ask().status, 200);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
    crowd.end();
}

/// Asks over a connection from this loopback address that stays open; nothing when the server closes it at once.
fn ask_from(source: &str, api: SocketAddr) -> Option<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
        socket.connect(api).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut stream = stream;
    // The end may also come while the request is written.
    let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n");
    let answered = matches!(stream.read(&mut [0; 8192]), Ok(length) if length > 0);
    answered.then_some(stream)
}

#[test]
fn one_client_has_a_number_of_connections_at_most_and_others_have_theirs() {
    raise_open_files();
    let service = Service::start(&[("MAX_CONNECTIONS_PER_CLIENT", "20")]);
    let mut open: Vec<_> = (0..20).map(|_| ask_from("127.0.2.1", service.api).unwrap()).collect();
    assert!((0..10).all(|_| ask_from("127.0.2.1", service.api).is_none()));
    assert!(ask_from("127.0.2.2", service.api).is_some(), "another client");
    let metrics = get(service.metrics, "/metrics").body;
    assert!(metrics.contains("connections_refused_total 10\n"), "{metrics}");
    open.pop();
    wait_until("room for one more", || ask_from("127.0.2.1", service.api));
}

#[test]
fn a_trusted_proxy_has_as_many_connections_as_it_wants() {
    raise_open_files();
    let file = policy(r#"{"version": 1, "rateLimits": {"trustedProxies": ["127.0.2.0/24"]}}"#);
    let path = file.path().to_str().unwrap();
    let service = Service::start(&[("POLICY_FILE", path), ("MAX_CONNECTIONS_PER_CLIENT", "20")]);
    let ask = |source| (0..30).filter_map(|_| ask_from(source, service.api)).collect::<Vec<_>>().len();
    assert_eq!((ask("127.0.2.1"), ask("127.0.3.1")), (30, 20));
}

#[test]
fn a_soft_limit_of_open_files_is_no_limit_of_connections() {
    let service = Service::run(
        Command::new("sh").args(["-c", "ulimit -Sn 64; exec \"$0\"", env!("CARGO_BIN_EXE_api-server")]),
        &[],
    );
    let open: Vec<_> = (0..200).filter_map(|_| ask_from("127.0.2.1", service.api)).collect();
    assert_eq!(open.len(), 200);
}

/// A shared machine makes quiet answers late too; below this nobody notices.
const FLOOR: Duration = Duration::from_millis(25);

#[test]
#[ignore = "soak: fifteen minutes"]
fn ten_thousand_connections_of_every_kind_cost_little_and_slow_others_down_by_less_than_twice() {
    let plain = [&Attack::PLAIN[..], &[Attack::Idle]].concat();
    let tls = [&Attack::TLS[..], &[Attack::Idle2]].concat();
    for (secured, attacks) in [(false, plain), (true, tls)] {
        for attack in attacks {
            // A process for each, so that its memory is due to this kind.
            let stage = Stage::set(secured, &[]);
            let quiet = stage.p99(5, 100);
            // What costs a handshake on both sides comes at the pace of a machine that has other work.
            let rate = if secured && attack != Attack::HalfHandshake { 100 } else { 3000 };
            let begin = Instant::now();
            let crowd = Crowd::start(attack, &stage.target, 10_000, rate);
            let mut rounds = Vec::new();
            while !crowd.0.is_finished() {
                rounds.push(stage.p99(1, 100));
            }
            rounds.sort_unstable();
            let (took, times, peak) = (begin.elapsed().as_secs(), crowd.end(), stage.peak());
            let busy = rounds[rounds.len() / 2];
            let (shortest, median, longest) = (times[0], times[5000], times[9999]);
            println!(
                "SOAK {attack:?}: 10,000 connections in {took} s, each let for {shortest:.1?} to {longest:.1?}, half of them {median:.1?} at most; \
                 others' p99 {quiet:.1?} before, {busy:.1?} meanwhile (median of {} rounds), at worst {:.1?}; at most {peak} MiB",
                rounds.len(),
                rounds[rounds.len() - 1]
            );
            let limit = limit(attack, Duration::from_secs(5), Duration::from_secs(30));
            assert!(longest < limit + Duration::from_secs(10), "{attack:?}: {longest:?}");
            assert!(peak < 300, "{attack:?}: {peak} MiB");
            assert!(busy < (quiet * 2).max(FLOOR), "{attack:?}: {quiet:?} to {busy:?}");
        }
    }
}

#[tokio::test]
async fn an_http_2_client_is_told_how_many_streams_it_has() {
    let (authority, _dir, _, service) = start_with(&[]);
    let (client, connection) = h2::client::handshake(authority.http2(&service).await).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://studio.example/").body(()).unwrap();
    let (response, _) = client.clone().send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(client.current_max_send_streams(), 128);
}
