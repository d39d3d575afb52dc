//! Requests at a fixed rate over kept HTTP/1.1 connections, beside some that take seconds. No request is sent twice.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Long requests at once.
const LONG: usize = 4;

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub sent: usize,
    /// Of those the ones that take seconds.
    pub long: usize,
    pub connections: usize,
    pub failures: Vec<String>,
    times: Vec<Duration>,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times = self.times.clone();
        times.sort_unstable();
        let percentile = |percent| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        let Self { sent, long, connections, failures, .. } = self;
        let failed = failures.len();
        let (p50, p99) = (percentile(50), percentile(99));
        write!(
            out,
            "{sent} requests over {connections} connections, {long} of them long, {failed} failed; p50 {p50:.1?}, p99 {p99:.1?}"
        )?;
        failures.iter().take(20).try_for_each(|failure| write!(out, "\n  {failure}"))
    }
}

/// Requests that are being sent.
pub struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    address: SocketAddr,
    begin: Instant,
    stop: AtomicBool,
    report: Mutex<Report>,
    /// Connections without a request.
    kept: Mutex<Vec<TcpStream>>,
}

impl Load {
    /// Begins: so many a second, every tenth a POST, which a proxy must not repeat.
    pub fn start(address: SocketAddr, rate: u32) -> Self {
        let (begin, stop) = (Instant::now(), AtomicBool::new(false));
        let shared =
            Arc::new(Shared { address, begin, stop, report: Mutex::default(), kept: Mutex::default() });
        let ours = shared.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(ours.send(rate));
        });
        Self { shared, thread }
    }

    pub fn report(&self) -> Report {
        self.shared.report.lock().unwrap().clone()
    }

    /// Sends no more and waits for the last answers.
    pub fn end(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.shared.report.lock().unwrap().clone()
    }
}

impl Shared {
    async fn send(self: Arc<Self>, rate: u32) {
        // Late ticks are made up for: a slow answer holds no other request up.
        let mut ticks = interval(Duration::from_secs(1) / rate);
        let mut all = JoinSet::new();
        for _ in 0..LONG {
            let shared = self.clone();
            all.spawn(async move {
                while !shared.stop.load(Ordering::Relaxed) {
                    shared.clone().noted(true, shared.long()).await;
                }
            });
        }
        for number in 0_usize.. {
            ticks.tick().await;
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let shared = self.clone();
            all.spawn(async move { shared.noted(false, shared.short(number % 10 == 0)).await });
            while all.try_join_next().is_some() {}
        }
        all.join_all().await;
    }

    async fn noted(&self, is_long: bool, request: impl Future<Output = Result<(), String>>) {
        let begin = Instant::now();
        {
            let mut report = self.report.lock().unwrap();
            report.sent += 1;
            report.long += usize::from(is_long);
        }
        let result = timeout(PATIENCE, request).await.unwrap_or_else(|_| Err("no answer".into()));
        let mut report = self.report.lock().unwrap();
        match result {
            Ok(()) if is_long => {}
            Ok(()) => report.times.push(begin.elapsed()),
            Err(error) => {
                let at = begin.duration_since(self.begin);
                report.failures.push(format!("at {at:.1?}, long {is_long}: {error}"));
            }
        }
    }

    /// A connection that its other end has not closed.
    async fn connection(&self) -> io::Result<TcpStream> {
        loop {
            let Some(kept) = self.kept.lock().unwrap().pop() else { break };
            if matches!(kept.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                return Ok(kept);
            }
        }
        self.report.lock().unwrap().connections += 1;
        TcpStream::connect(self.address).await
    }

    /// A POST is answered by the service's own 405, so that it needs no part that is not here.
    async fn short(&self, is_post: bool) -> Result<(), String> {
        let mut stream = self.connection().await.map_err(|error| format!("connect: {error}"))?;
        let (method, wanted) = if is_post { ("POST", 405) } else { ("GET", 200) };
        let request = format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| format!("{method}: write: {error}"))?;
        let is_last = answer(&mut stream, wanted).await.map_err(|error| format!("{method}: {error}"))?;
        if !is_last {
            self.kept.lock().unwrap().push(stream);
        }
        Ok(())
    }

    /// A body that takes 6 s; what is wrong in it only the service can say.
    async fn long(&self) -> Result<(), String> {
        let failed = |error: io::Error| format!("long: {error}");
        let mut stream = TcpStream::connect(self.address).await.map_err(failed)?;
        let head = "POST /login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 31\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.map_err(failed)?;
        for _ in 0..30 {
            sleep(Duration::from_millis(200)).await;
            stream.write_all(b" ").await.map_err(failed)?;
        }
        answer(&mut stream, 400).await.map(drop).map_err(|error| format!("long: {error}"))
    }
}

/// Reads one answer; says whether the connection ends with it. An answer of nginx itself has no problem and no frame options.
async fn answer(stream: &mut TcpStream, wanted: u16) -> Result<bool, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.map_err(|error| format!("after {} bytes: {error}", head.len()))?;
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.ok_or("no length")?];
    stream.read_exact(&mut body).await.map_err(|error| format!("body: {error}"))?;
    if !head.starts_with(&format!("http/1.1 {wanted} ")) || !head.contains("x-frame-options: deny") {
        return Err(head.lines().take(3).collect::<Vec<_>>().join(", "));
    }
    Ok(head.contains("connection: close"))
}
