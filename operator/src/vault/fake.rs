//! A Vault and an API server for tests that no real ones can be made to pass: they count, and answer what the test says.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

/// What the fake was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// With the query, without `/v1/`.
    pub path: String,
    /// Empty when there was none.
    pub token: String,
}

/// A running one; it ends with its test.
pub struct Fake {
    /// The connection to it.
    pub connection: Connection,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Each login gives another token: `token-1`, `token-2` and so on, of five minutes. `answer` has everything else.
    pub async fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let (log, logins, answer) = (asked.clone(), AtomicUsize::new(0), Arc::new(answer));
        let respond = Arc::new(move |request: Request<Incoming>| {
            let path = request.uri().path_and_query().unwrap().as_str().trim_start_matches("/v1/");
            let token = request.headers().get("x-vault-token").map_or("", |token| token.to_str().unwrap());
            let asked = Asked { path: path.to_owned(), token: token.to_owned() };
            log.lock().unwrap().push(asked.clone());
            let (status, body) = match (&*asked.path, answer(&asked)) {
                ("auth/kubernetes/login", (0, _)) => {
                    let number = logins.fetch_add(1, Ordering::SeqCst) + 1;
                    (200, auth(&format!("token-{number}"), 300, true))
                }
                (_, other) => other,
            };
            Response::builder().status(status).body(Body::from(body.into_bytes())).unwrap()
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let respond = respond.clone();
                let service = service_fn(move |request| {
                    let answer = respond(request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let mut connection = connection();
        connection.address = address.parse().unwrap();
        Self { connection, asked }
    }

    /// How often this path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path == path).count()
    }

    /// Everything, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// The answer to a login or a renewal.
pub fn auth(token: &str, seconds: u64, renewable: bool) -> String {
    json!({"auth": {"client_token": token, "lease_duration": seconds, "renewable": renewable}}).to_string()
}

/// What tells the fake to log in.
pub fn log_in() -> (u16, String) {
    (0, String::new())
}

/// Where nobody listens.
pub fn connection() -> Connection {
    let ca = crate::pki::new_ca(k8s_openapi::jiff::Timestamp::UNIX_EPOCH).unwrap().certificate;
    let settings = json!({
        "address": "https://vault.example:8200", "caBundle": ca, "kv": {"mounts": ["secret", "of-{namespace}"]},
        "kubernetesAuth": {"role": "hardened-{namespace}-{name}"},
    });
    Connection::new("default", serde_json::from_value(settings).unwrap()).unwrap()
}

/// An API server that gives tokens of every account, or this answer.
pub fn api_server(answer: Option<(u16, Value)>) -> Client {
    let (status, body) = answer.unwrap_or_else(|| {
        let token = json!({"token": "account-token", "expirationTimestamp": "2030-01-01T00:00:00Z"});
        let kind = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"});
        let mut body = json!({"metadata": {}, "spec": {"audiences": ["vault"]}, "status": token});
        body.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        (201, body)
    });
    let service = tower::service_fn(move |_: Request<Body>| {
        let response = Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
        async move { Ok::<_, Infallible>(response.unwrap()) }
    });
    Client::new(service, "default")
}

/// The service `NAME` of namespace `team`.
pub fn service(name: &str) -> Key {
    Key { namespace: "team".into(), name: name.into() }
}

/// The problem that was told.
pub fn told<T>(answer: Result<T, Failure>) -> Problem {
    match answer {
        Err(Failure::Told(problem)) => problem,
        Err(Failure::Pass(error)) => panic!("{error}"),
        Ok(_) => panic!("it went well"),
    }
}
