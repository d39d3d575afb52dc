//! A proxy between the operator and the apiserver that can act between a write and its answer, lose an answer, or
//! refuse a write. It changes no request.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, unique};
use crate::process;

type Action = Box<dyn FnOnce() + Send>;

/// Listens on loopback in plain HTTP and forwards with the operator's own credentials; it ends when dropped.
pub struct FaultProxy {
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    client: Client,
    plan: Mutex<Plan>,
}

/// Pause that a refusal with 429 asks for by Retry-After, unless the test says another.
const PAUSE: u32 = 1;

/// What goes wrong with one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is committed, and the connection ends without an answer.
    LoseAnswer,
    /// It is not forwarded, and answered with this status code.
    Refuse(u16),
    /// It is not forwarded, and answered with 429 and so many seconds in Retry-After.
    Throttle(u32),
}

enum When {
    /// After so many writes.
    Count(usize),
    /// After a write whose path ends like this.
    Path(String),
}

#[derive(Default)]
struct Plan {
    /// Requests that came in, `METHOD path`, watches and leases aside.
    asked: Vec<String>,
    /// Writes that the apiserver has committed, `METHOD path`.
    writes: Vec<String>,
    /// What to do, and when.
    action: Option<(When, Action)>,
    /// By namespace: how many writes there are still to go well, and what then goes wrong once.
    faults: HashMap<String, (usize, Fault)>,
}

impl FaultProxy {
    /// Starts it.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let kubeconfig = write_kubeconfig(cluster, listener.local_addr()?)?;
        let shared = Arc::new(Shared { client: cluster.operator_client().await?, plan: Mutex::default() });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { kubeconfig, shared, server })
    }

    /// A kubeconfig that leads through the proxy.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Acts once, after this many writes from now on were committed and before the last one's answer is passed on.
    pub fn after_writes(&self, count: usize, action: impl FnOnce() + Send + 'static) {
        if let Ok(mut plan) = self.shared.plan.lock() {
            let count = plan.writes.len() + count;
            plan.action = Some((When::Count(count), Box::new(action)));
        }
    }

    /// Kills a process once, after a write whose path ends like this was committed and before its answer is passed on.
    pub fn kill_after_write(&self, end: &str, pid: i32) {
        if let Ok(mut plan) = self.shared.plan.lock() {
            let kill = move || process::signal(pid, Signal::KILL);
            plan.action = Some((When::Path(end.into()), Box::new(kill)));
        }
    }

    /// Kills a process at that moment.
    pub fn kill_after_writes(&self, count: usize, pid: i32) {
        self.after_writes(count, move || process::signal(pid, Signal::KILL));
    }

    /// Lets one write in a namespace go wrong: the one after this many from now on.
    pub fn fault_after(&self, namespace: &str, good: usize, fault: Fault) {
        if let Ok(mut plan) = self.shared.plan.lock() {
            plan.faults.insert(namespace.into(), (good, fault));
        }
    }

    /// Namespaces whose fault has not happened yet.
    pub fn faults_left(&self) -> Vec<String> {
        self.shared.plan.lock().map(|plan| plan.faults.keys().cloned().collect()).unwrap_or_default()
    }

    /// Everything that was asked, `METHOD path`, also what was refused; watches, lists and leases aside.
    pub fn asked(&self) -> Vec<String> {
        self.shared.plan.lock().map(|plan| plan.asked.clone()).unwrap_or_default()
    }

    /// The committed writes, `METHOD path`: no dry runs, events and leases aside.
    pub fn writes(&self) -> Vec<String> {
        self.shared.plan.lock().map(|plan| plan.writes.clone()).unwrap_or_default()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // A connection ends with its task; the set ends them all together with the proxy.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| forward(Arc::clone(&shared), request));
        connections.spawn(async move {
            // The operator was killed in the middle of a request: that is what this is for.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn forward(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let is_write = is_write(&request);
    let what = format!("{} {}", request.method(), request.uri().path());
    let fault = is_write.then(|| shared.plan.lock().ok()?.fault(request.uri().path())).flatten();
    if !is_watch(&request)
        && let Ok(mut plan) = shared.plan.lock()
    {
        plan.asked.push(what.clone());
    }
    match fault {
        Some(Fault::Refuse(code)) => return Ok(refusal(code, PAUSE)),
        Some(Fault::Throttle(pause)) => return Ok(refusal(429, pause)),
        _ => {}
    }
    let answer = match send(&shared.client, request).await {
        Ok(answer) => answer,
        Err(error) => failure(&error),
    };
    if is_write && answer.status().is_success() {
        let action = shared.plan.lock().ok().and_then(|mut plan| plan.note(what));
        if let Some(action) = action {
            action();
        }
    }
    match fault {
        Some(Fault::LoseAnswer) => Err(io::ErrorKind::ConnectionReset.into()),
        _ => Ok(answer),
    }
}

async fn send(client: &Client, request: Request<Incoming>) -> Result<Response<Body>> {
    let (mut head, body) = request.into_parts();
    head.headers.remove(header::HOST);
    head.headers.remove(header::CONNECTION);
    let body = Body::from(body.collect().await?.to_bytes());
    Ok(client.send(Request::from_parts(head, body)).await?)
}

/// As the apiserver words it.
fn refusal(code: u16, pause: u32) -> Response<Body> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        _ => "ServiceUnavailable",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "refused by the test",
        "reason": reason, "code": code,
    });
    let mut answer = Response::new(Body::from(status.to_string().into_bytes()));
    *answer.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::SERVICE_UNAVAILABLE);
    answer.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    if code == 429 {
        answer.headers_mut().insert(header::RETRY_AFTER, http::HeaderValue::from(pause));
    }
    answer
}

fn failure(error: &anyhow::Error) -> Response<Body> {
    let mut answer = Response::new(Body::from(format!("{error:#}").into_bytes()));
    *answer.status_mut() = http::StatusCode::BAD_GATEWAY;
    answer
}

/// Watches, the lists that begin them, and the lease are a matter of their own.
fn is_watch(request: &Request<Incoming>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.contains("watch=") || query.contains("limit=") || request.uri().path().contains("/leases")
}

/// Whether the apiserver stores what this asks for; events and leases are aside, and reviews are only questions.
fn is_write(request: &Request<Incoming>) -> bool {
    let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    let path = request.uri().path();
    let aside = ["/events", "/authorization.k8s.io/", "/leases"].iter().any(|part| path.contains(part));
    changes && !aside && !request.uri().query().is_some_and(|query| query.contains("dryRun=All"))
}

impl Plan {
    /// What goes wrong with a write to this path.
    fn fault(&mut self, path: &str) -> Option<Fault> {
        let namespace = path.split_once("/namespaces/")?.1.split('/').next()?;
        let (good, fault) = self.faults.get_mut(namespace)?;
        if *good > 0 {
            *good -= 1;
            return None;
        }
        let fault = *fault;
        self.faults.remove(namespace);
        Some(fault)
    }

    fn note(&mut self, what: String) -> Option<Action> {
        let is_due = |when: &When| match when {
            When::Count(count) => *count <= self.writes.len() + 1,
            When::Path(end) => what.ends_with(end),
        };
        let due = self.action.take_if(|(when, _)| is_due(when));
        self.writes.push(what);
        due.map(|(_, action)| action)
    }
}

fn write_kubeconfig(cluster: &Cluster, address: SocketAddr) -> Result<PathBuf> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "proxy", "user": {}}],
    });
    cluster.state().write(&format!("proxy/{}", unique("kubeconfig")), config.to_string())
}
