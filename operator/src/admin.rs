//! /livez, /readyz and /metrics, on a port of their own. Nothing about tenants beyond counts.

use std::{future::Future, net::SocketAddr, sync::Arc};

use actix_web::{App, HttpResponse, HttpServer, web};
use tokio::task::JoinHandle;

use crate::{Context, watch::Pending};

struct State {
    ctx: Arc<Context>,
    pending: Pending,
}

/// Serves until `stop` resolves.
pub fn serve(
    bind: SocketAddr,
    ctx: Arc<Context>,
    pending: Pending,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<JoinHandle<std::io::Result<()>>> {
    let state = web::Data::new(State { ctx, pending });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics))
    })
    .workers(1)
    .disable_signals()
    .shutdown_signal(stop)
    .bind(bind)?
    .run();
    Ok(tokio::spawn(server))
}

async fn livez() -> HttpResponse {
    HttpResponse::Ok().body("ok")
}

/// Ready when every list has arrived. A lost CA does not take the operator out of service: what runs is still guarded.
async fn readyz(state: web::Data<State>) -> HttpResponse {
    let missing = state.pending.missing();
    let lists = if missing.is_empty() { "ok".into() } else { format!("waiting for {}", missing.join(", ")) };
    let ca = if state.ctx.keys.ca.is_some() { "ok" } else { "lost" };
    let body = format!("lists: {lists}\nca: {ca}\n");
    if missing.is_empty() {
        HttpResponse::Ok().body(body)
    } else {
        HttpResponse::ServiceUnavailable().body(body)
    }
}

async fn metrics(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(state.ctx.metrics.text())
}
