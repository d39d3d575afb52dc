//! The routes. They know nothing of headers, hosts, ids and logs: the stack around them does that.

mod about;
mod health;

use actix_web::{
    Handler, HttpResponse, Responder,
    http::{StatusCode, header},
    web::{self, Data},
};

use crate::{problem, state::State};

/// Routes of the API.
pub fn api(config: &mut web::ServiceConfig) {
    config
        .service(read_only("/", about::about))
        .service(read_only("/health", health::health))
        .service(read_only("/livez", health::health))
        .service(read_only("/readyz", health::ready));
}

/// Routes of the metrics port.
pub fn metrics(config: &mut web::ServiceConfig) {
    config.service(read_only("/metrics", exposition));
}

async fn exposition(state: Data<State>) -> HttpResponse {
    state.metrics.secret_backends(&state.secrets.health());
    match state.metrics.text() {
        Ok(text) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(_) => problem::respond(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written."),
    }
}

/// A resource for GET and HEAD; any other method is answered with 405 and `Allow`.
fn read_only<F, Args>(path: &str, handler: F) -> actix_web::Resource
where
    F: Handler<Args> + Clone,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path).route(web::get().to(handler.clone())).route(web::head().to(handler)).default_service(
        web::to(|| async {
            let mut refusal = problem::respond(StatusCode::METHOD_NOT_ALLOWED, "This path can only be read.");
            refusal.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            refusal
        }),
    )
}
