//! Requests at a fixed rate, sent by many clients that keep their connections. It counts what fails and hides
//! nothing: only a request of which no byte was sent goes to another connection, as in every HTTP client.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use http::{Uri, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tower::service_fn;

/// Half of them speak HTTP/1.1, the other half HTTP/2.
const CLIENTS: usize = 40;
/// A request without an answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that a client has at most; then its requests wait for one. More than one is in use only while an answer
/// is late, and a client that knew no limit would drown a busy machine in handshakes.
const KEPT: usize = 4;
/// Requests that share one connection of HTTP/2.
const STREAMS: usize = 100;
/// A client closes an unused connection before a server that drains does: of two ends that close at the same moment,
/// the client's may have a request on it.
const IDLE: Duration = Duration::from_secs(2);
/// So many failures are told in full.
const TOLD: usize = 20;

/// What is asked, and from where.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where connections go.
    pub address: SocketAddr,
    /// The name that the certificate must carry; it is also the `Host`.
    pub host: String,
    /// The only authority that is trusted, as PEM.
    pub ca: String,
    /// Name of the network namespace that the clients live in.
    pub netns: &'static str,
}

/// Requests that are being sent, by a thread of their own.
#[derive(Debug)]
pub struct Load {
    counts: Arc<Counts>,
    thread: JoinHandle<Result<()>>,
}

/// What became of them.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests that were sent.
    pub sent: usize,
    /// Connections that were opened.
    pub connections: usize,
    /// Requests without an answer of 2xx.
    pub failed: usize,
    /// When the first of those failed, and why.
    pub failures: Vec<String>,
    /// Good answers by version of HTTP.
    pub versions: BTreeMap<String, usize>,
    /// How long the good answers took, sorted.
    pub times: Vec<Duration>,
}

#[derive(Debug)]
struct Counts {
    start: Instant,
    stop: AtomicBool,
    report: Mutex<Report>,
}

impl Load {
    /// Begins to send so many requests per second.
    pub fn start(target: Target, rate: u32) -> Self {
        let counts = Arc::new(Counts {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            report: Mutex::default(),
        });
        let shared = counts.clone();
        let thread = std::thread::spawn(move || {
            enter(target.netns)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(send(&target, rate, &shared))
        });
        Self { counts, thread }
    }

    /// How many were sent by now.
    pub fn sent(&self) -> usize {
        self.counts.report().sent
    }

    /// What became of them by now.
    pub fn report(&self) -> Report {
        let mut report = self.counts.report().clone();
        report.times.sort_unstable();
        report
    }

    /// Sends no more, waits for the last answers and tells what became of all.
    pub fn end(self) -> Result<Report> {
        self.counts.stop.store(true, Ordering::Relaxed);
        let counts = self.counts.clone();
        self.thread.join().map_err(|_| anyhow!("the thread of the load died"))??;
        let mut report = counts.report().clone();
        report.times.sort_unstable();
        Ok(report)
    }
}

impl Report {
    /// The time in which this share of the answers came.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.times.len().saturating_sub(1);
        self.times.get(last * percent / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} requests over {} connections, {} failed; ",
            self.sent, self.connections, self.failed
        )?;
        for (version, count) in &self.versions {
            write!(out, "{count} answers by {version}, ")?;
        }
        let milliseconds = |percent| self.percentile(percent).as_secs_f64() * 1000.0;
        write!(out, "p50 {:.1} ms, p99 {:.1} ms", milliseconds(50), milliseconds(99))?;
        self.failures.iter().try_for_each(|failure| write!(out, "\n  {failure}"))
    }
}

impl Counts {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, result: Result<Version>, begin: Instant) {
        let mut report = self.report();
        match result {
            Ok(version) => {
                *report.versions.entry(format!("{version:?}")).or_default() += 1;
                report.times.push(begin.elapsed());
            }
            Err(error) => {
                report.failed += 1;
                if report.failures.len() < TOLD {
                    let at = begin.duration_since(self.start).as_secs_f64();
                    report.failures.push(format!("at {at:.1} s: {error:#}"));
                }
            }
        }
    }
}

/// The certificate that a new connection gets, from an authority that is trusted.
pub fn served_certificate(target: &Target) -> Result<CertificateDer<'static>> {
    let target = target.clone();
    let look = move || {
        enter(target.netns)?;
        let client = handshake(&target, Arc::new(trust(&target.ca)?), PATIENCE)?;
        let chain = client.peer_certificates().unwrap_or_default();
        chain.first().cloned().map(CertificateDer::into_owned).context("no certificate was served")
    };
    std::thread::spawn(look).join().map_err(|_| anyhow!("the thread of the handshake died"))?
}

/// Connects from this thread's namespace and verifies the server; nothing is sent.
pub fn handshake(target: &Target, config: Arc<ClientConfig>, patience: Duration) -> Result<ClientConnection> {
    let mut client = ClientConnection::new(config, ServerName::try_from(target.host.clone())?)?;
    let mut stream = std::net::TcpStream::connect_timeout(&target.address, patience).context("connect")?;
    stream.set_read_timeout(Some(patience))?;
    while client.is_handshaking() {
        client.complete_io(&mut stream)?;
    }
    Ok(client)
}

/// Moves this thread into a network namespace; it never comes back.
pub fn enter(netns: &str) -> Result<()> {
    let path = Path::new("/run/netns").join(netns);
    let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
    Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// A client that trusts these certificates (PEM) and no others.
pub fn trust(ca: &str) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate?)?;
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

async fn send(target: &Target, rate: u32, counts: &Arc<Counts>) -> Result<()> {
    let uri: Uri = format!("https://{}/", target.host).parse()?;
    let clients = (0..CLIENTS).map(|number| {
        let client = client(target, number % 2 == 1, counts)?;
        Ok((client, Arc::new(Semaphore::new(if number % 2 == 1 { STREAMS } else { KEPT }))))
    });
    let clients: Vec<_> = clients.collect::<Result<_>>()?;
    let mut ticks = interval(Duration::from_secs(1) / rate);
    // Open loop: a slow answer holds no other request up, and a late tick is made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    let mut chance = 1_u32;
    while !counts.stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        // Marsaglia's xorshift: the pauses of a client differ, as real ones do.
        chance ^= chance << 13;
        chance ^= chance >> 17;
        chance ^= chance << 5;
        let (client, turns) = clients[chance as usize % CLIENTS].clone();
        let (counts, uri) = (counts.clone(), uri.clone());
        counts.report().sent += 1;
        under_way.spawn(async move {
            let begin = Instant::now();
            let answer = timeout(PATIENCE, async {
                let _turn = turns.acquire().await?;
                ask(&client, uri).await
            })
            .await;
            counts.note(answer.unwrap_or_else(|_| Err(anyhow!("no answer"))), begin);
        });
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
    Ok(())
}

async fn ask<C>(client: &Client<C, Empty<Bytes>>, uri: Uri) -> Result<Version>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let answer = client.get(uri).await.context("send")?;
    let (status, version) = (answer.status(), answer.version());
    answer.into_body().collect().await.context("read the body")?;
    ensure!(status.is_success(), "{version:?}: {status}");
    Ok(version)
}

/// A client that counts the connections that it opens, and speaks one version of HTTP only.
fn client(
    target: &Target,
    http2: bool,
    counts: &Arc<Counts>,
) -> Result<Client<impl Connect + Clone + Send + Sync + 'static, Empty<Bytes>>> {
    let (address, counts) = (target.address, counts.clone());
    let tcp = service_fn(move |_: Uri| {
        counts.report().connections += 1;
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            std::io::Result::Ok(TokioIo::new(stream))
        }
    });
    let connector = HttpsConnectorBuilder::new().with_tls_config(trust(&target.ca)?).https_only();
    let connector = if http2 {
        connector.enable_http2().wrap_connector(tcp)
    } else {
        connector.enable_http1().wrap_connector(tcp)
    };
    let mut builder = Client::builder(TokioExecutor::new());
    builder.http2_only(http2).pool_max_idle_per_host(KEPT);
    Ok(builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(connector))
}
