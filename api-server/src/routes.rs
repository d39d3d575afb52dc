//! The routes. They know nothing of headers, hosts, ids and logs: the stack around them does that.

pub mod about;
pub mod health;
pub mod jobs;
pub mod jwks;
pub mod login;
pub mod provider_key;
pub mod videos;

use actix_web::{
    HttpResponse, Resource, Route,
    http::{
        Method, StatusCode,
        header::{ALLOW, HeaderValue},
    },
    web::{self, Data},
};

use crate::{problem, state::State};

/// A method and how its route is made.
type Served = (Method, fn() -> Route);

/// Routes of the API.
pub fn api(config: &mut web::ServiceConfig) {
    config
        .service(endpoint("/", &[(Method::GET, || web::to(about::about))]))
        .service(endpoint("/openapi.json", &[(Method::GET, || web::to(about::openapi))]))
        .service(endpoint("/health", &[(Method::GET, || web::to(health::health))]))
        .service(endpoint("/livez", &[(Method::GET, || web::to(health::live))]))
        .service(endpoint("/readyz", &[(Method::GET, || web::to(health::ready))]))
        .service(endpoint("/.well-known/jwks.json", &[(Method::GET, || web::to(jwks::published))]))
        .service(endpoint("/login", &[(Method::POST, || web::to(login::login))]))
        .service(endpoint("/token/refresh", &[(Method::POST, || web::to(login::refresh))]))
        .service(endpoint(
            "/videos",
            &[(Method::GET, || web::to(videos::list)), (Method::POST, || web::to(videos::create))],
        ))
        .service(endpoint(
            "/videos/{id}",
            &[
                (Method::GET, || web::to(videos::read)),
                (Method::PUT, || web::to(videos::replace)),
                (Method::DELETE, || web::to(videos::delete)),
            ],
        ))
        .service(endpoint("/transcribe", &[(Method::POST, || web::to(jobs::transcribe))]))
        .service(endpoint("/analyze", &[(Method::POST, || web::to(jobs::analyze))]))
        .service(endpoint("/schedule", &[(Method::POST, || web::to(jobs::schedule))]))
        .service(endpoint(
            "/jobs/{id}",
            &[(Method::GET, || web::to(jobs::read)), (Method::DELETE, || web::to(jobs::delete))],
        ))
        .service(endpoint(
            "/provider-key",
            &[
                (Method::PUT, || web::to(provider_key::set)),
                (Method::DELETE, || web::to(provider_key::remove)),
            ],
        ));
}

/// Routes of the metrics port.
pub fn metrics(config: &mut web::ServiceConfig) {
    config.service(endpoint("/metrics", &[(Method::GET, || web::to(exposition))]));
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

/// A path with its methods; GET is HEAD too. Any other method is answered with 405 and `Allow` (RFC 9110, 15.5.6).
fn endpoint(path: &str, methods: &[Served]) -> Resource {
    let mut resource = web::resource(path);
    let mut allowed = Vec::new();
    for (method, route) in methods {
        resource = resource.route(route().method(method.clone()));
        allowed.push(method.as_str());
        if method == Method::GET {
            resource = resource.route(route().method(Method::HEAD));
            allowed.push("HEAD");
        }
    }
    let allowed = HeaderValue::try_from(allowed.join(", ")).unwrap_or(HeaderValue::from_static("GET"));
    resource.default_service(web::to(move || {
        let mut refusal =
            problem::respond(StatusCode::METHOD_NOT_ALLOWED, "Allow lists this path's methods.");
        refusal.headers_mut().insert(ALLOW, allowed.clone());
        async { refusal }
    }))
}
