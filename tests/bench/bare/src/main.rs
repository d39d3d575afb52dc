//! The least that answers `GET /` on actix-web and writes the same line of JSON for it, as the libraries do that out of
//! the box: what the stack of this service is measured against. It has no headers, no limits, no hosts. With `LINES=ours`
//! its lines are written by this service's own formatter.
#![allow(clippy::unwrap_used, reason = "a benchmark's program may end at any error")]

use std::time::Instant;

use actix_web::{
    App, Error, HttpServer,
    body::{BodySize, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    web,
};
use serde::Serialize;
use tracing_subscriber::util::SubscriberInitExt as _;
use uuid::Uuid;

#[derive(Serialize)]
struct About {
    name: &'static str,
    version: &'static str,
    environment: &'static str,
}

async fn about() -> web::Json<About> {
    web::Json(About {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        environment: "production",
    })
}

async fn log(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let start = Instant::now();
    let id = Uuid::new_v4();
    let response = next.call(req).await?;
    let request = response.request();
    let bytes = match response.response().body().size() {
        BodySize::Sized(bytes) => bytes,
        BodySize::None | BodySize::Stream => 0,
    };
    tracing::info!(
        target: "access",
        request_id = %id.simple(),
        client = request.peer_addr().map(|peer| peer.ip().to_string()),
        method = request.method().as_str(),
        path = request.path(),
        route = request.match_pattern(),
        version = ?request.version(),
        status = response.status().as_u16(),
        bytes,
        duration_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
    );
    Ok(response)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    match std::env::var("LINES").as_deref() {
        Ok("ours") => api_server::log::subscriber(None, std::io::stdout).init(),
        _ => tracing_subscriber::fmt().json().flatten_event(true).with_ansi(false).init(),
    }
    let address = std::env::var("API_BIND").unwrap();
    let app = || App::new().route("/", web::get().to(about)).wrap(from_fn(log));
    let server = HttpServer::new(app).workers(1);
    match std::env::var_os("TLS_DIR") {
        None => server.bind(address)?.run().await,
        Some(dir) => {
            rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
            let certificate = api_server::tls::Certificate::load(dir.as_ref()).unwrap();
            let config = api_server::tls::server_config(certificate.into()).unwrap();
            server.bind_rustls_0_23(address, config)?.run().await
        }
    }
}
