//! The stack around routes that the service does not have: slow ones, redirects, and handlers that fail.

use std::{io::Write as _, net::SocketAddr, thread, time::Duration};

use actix_web::{
    HttpResponse,
    error::InternalError,
    http::{StatusCode, header},
    web,
};
use api_server::{config::Config, secrets::Secrets, server};
use clap::Parser;
use tokio::sync::oneshot;

use crate::{
    client::{Answer, connect, get, read, send},
    headers,
    process::wait_until,
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: Config,
}

struct InProcess {
    api: SocketAddr,
    metrics: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl InProcess {
    fn start() -> Self {
        let flags = ["--environment=development", "--api-bind=127.0.0.1:0", "--metrics-bind=127.0.0.1:0"];
        let limits = ["--workers=1", "--drain-delay=0", "--max-body-bytes=16"];
        let Cli { config } = Cli::parse_from(["test"].into_iter().chain(flags).chain(limits));
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, addresses) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = server::bind(config, Secrets::from_environment(), routes).unwrap();
                bound.send((server.api_addr, server.metrics_addr)).unwrap();
                server.run_until(async { drop(stopped.await) }).await.unwrap();
            });
        });
        let (api, metrics) = addresses.recv().unwrap();
        Self { api, metrics, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/slow", web::get().to(slow))
        .route("/json", web::post().to(|body: web::Json<Vec<u8>>| async move { format!("{}", body.len()) }))
        .route("/number/{n}", web::get().to(|n: web::Path<u8>| async move { n.to_string() }))
        .route("/moved", web::get().to(moved))
        .route("/fails", web::get().to(fails))
        .route("/loud", web::get().to(loud));
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(1)).await;
    "finished"
}

async fn moved() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/slow")).finish()
}

async fn fails() -> Result<&'static str, InternalError<&'static str>> {
    Err(InternalError::new("password at /etc/passwd", StatusCode::INTERNAL_SERVER_ERROR))
}

/// Sets what only the stack may set.
async fn loud() -> HttpResponse {
    HttpResponse::Ok()
        .append_header(("server", "nginx"))
        .append_header(("server", "actix"))
        .append_header(("x-frame-options", "ALLOWALL"))
        .body("loud")
}

fn post(service: &InProcess, headers: &str, body: &str) -> Answer {
    let request = format!("POST /json HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n{body}");
    send(&mut connect(service.api), &request)
}

#[test]
fn errors_of_extractors_and_handlers_are_problems_with_headers_and_without_internals() {
    let service = InProcess::start();
    let json = "content-type: application/json\r\ncontent-length: 4";
    let chunked = "content-type: application/json\r\ntransfer-encoding: chunked";
    let table = [
        (200, post(&service, json, "[1] ")),
        (400, post(&service, json, "[1,}")),
        (415, post(&service, "content-type: text/plain\r\ncontent-length: 4", "[1] ")),
        (413, post(&service, "content-type: application/json\r\ncontent-length: 17", "")),
        (413, post(&service, chunked, "11\r\n[1,1,1,1,1,1,1,1]\r\n0\r\n\r\n")),
        (404, get(service.api, "/number/many")),
        (500, get(service.api, "/fails")),
        (308, get(service.api, "/moved")),
    ];
    for (status, answer) in table {
        assert_eq!(answer.status, status, "{answer:?}");
        headers::check(&answer);
        if status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.json()["status"], status);
            assert!(!answer.body.contains("passwd") && !answer.body.contains("column"), "{}", answer.body);
        }
    }
}

#[test]
fn a_handler_cannot_weaken_a_header_or_name_the_server() {
    headers::check(&get(InProcess::start().api, "/loud"));
}

#[test]
fn a_request_in_flight_is_finished_after_the_stop() {
    let mut service = InProcess::start();
    let mut connection = connect(service.api);
    connection.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    // Answered behind the slow one on the same worker: so the slow one has begun.
    get(service.api, "/moved");
    drop(service.stop.take());
    wait_until("the end of new connections", || std::net::TcpStream::connect(service.api).err());
    let answer = read(&mut connection, false);
    assert_eq!((answer.status, answer.body.as_str()), (200, "finished"));
    assert_eq!(answer.header("connection"), "close");
    headers::check(&answer);
}

#[test]
fn a_route_label_is_the_template_and_not_the_path() {
    let service = InProcess::start();
    get(service.api, "/number/7");
    let metrics = get(service.metrics, "/metrics").body;
    assert!(
        metrics.contains(r#"http_requests_total{method="GET",route="/number/{n}",status="200"} 1"#),
        "{metrics}"
    );
}

#[test]
fn a_second_request_on_a_connection_is_answered_after_an_error() {
    let service = InProcess::start();
    let mut connection = connect(service.api);
    for (path, status) in [("/fails", 500), ("/moved", 308), ("/nothing", 404), ("/number/1", 200)] {
        assert_eq!(send(&mut connection, &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).status, status);
    }
}

#[test]
fn a_body_that_drips_is_given_up_in_time() {
    let service = crate::process::Service::start(&[
        ("BODY_TIMEOUT", "1"),
        ("DATABASE_URL", "postgres://a@127.0.0.1:1/a"),
    ]);
    let mut connection = connect(service.api);
    let head =
        "POST /login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    connection.write_all(head.as_bytes()).unwrap();
    let dripping = connection.try_clone().unwrap();
    thread::spawn(move || {
        let mut dripping = dripping;
        while dripping.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let answer = read(&mut connection, false);
    assert_eq!(answer.status, 408, "{answer:?}");
    headers::check(&answer);
}
