//! The hardened workload as a library: `app` is the whole service. It knows files and environment, never Kubernetes.

pub mod config;
pub mod headers;
pub mod healthcheck;
pub mod metrics;
mod middleware;
pub mod policy;
mod problem;
mod reload;
mod routes;
pub mod server;
pub mod state;
pub mod tls;
mod wire;

use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::from_fn,
    web,
};

use crate::state::State;

/// The API: the middleware stack around the routes.
pub fn app(
    state: web::Data<State>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    stack(state, routes::api)
}

/// The metrics port: the same stack, so that its answers carry the same headers.
pub fn metrics_app(
    state: web::Data<State>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    stack(state, routes::metrics)
}

/// The stack knows nothing of the routes. The last `wrap` runs first: an answer passes the list from top to bottom.
fn stack(
    state: web::Data<State>,
    routes: fn(&mut web::ServiceConfig),
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let limit = state.config.max_body_bytes;
    App::new()
        .app_data(state)
        .app_data(web::PayloadConfig::new(limit))
        .app_data(web::JsonConfig::default().limit(limit))
        .configure(routes)
        .default_service(web::to(problem::not_found))
        .wrap(from_fn(middleware::body_limit))
        .wrap(from_fn(middleware::trusted_hosts))
        .wrap(from_fn(middleware::problems))
        .wrap(from_fn(middleware::security_headers))
        .wrap(from_fn(middleware::request_log))
}
