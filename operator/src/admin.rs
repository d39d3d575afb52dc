//! /livez, /readyz and /metrics, on a port of their own. Nothing about tenants beyond counts.

use std::{future::Future, net::SocketAddr, sync::Arc};

use actix_web::{App, HttpResponse, HttpServer, web};
use tokio::task::JoinHandle;

use crate::view::{Phase, View};

/// Serves until `stop` resolves.
pub fn serve(
    bind: SocketAddr,
    view: Arc<View>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<JoinHandle<std::io::Result<()>>> {
    let view = web::Data::from(view);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(view.clone())
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

/// Ready is a leader whose lists have arrived, and whoever stands by for one. A lost CA does not take the operator out of
/// service: what runs is still guarded.
/// Nor does a refused list, besides that of the services: the rest works, and this names what is missing.
async fn readyz(view: web::Data<View>) -> HttpResponse {
    let (ready, body) = match view.phase() {
        Phase::Starting => (false, "starting\n".into()),
        Phase::Standby(holder) => (true, format!("standby: {holder} leads\n")),
        Phase::Unable(why) => (false, format!("{why}\n")),
        Phase::Leading { watches, keys } => {
            let missing = watches.missing();
            let lists =
                if missing.is_empty() { "ok".into() } else { format!("waiting for {}", missing.join(", ")) };
            let ca = match &keys.load().authority {
                None => "lost",
                Some(authority) if authority.is_rotating() => "being replaced",
                Some(_) => "ok",
            };
            let denied = watches.denied().into_iter().map(|refusal| format!("denied: {refusal}\n"));
            let body = format!("lists: {lists}\nca: {ca}\n{}", denied.collect::<String>());
            (missing.is_empty() && watches.sees_services(), body)
        }
    };
    if ready { HttpResponse::Ok().body(body) } else { HttpResponse::ServiceUnavailable().body(body) }
}

async fn metrics(view: web::Data<View>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(view.metrics.text())
}
