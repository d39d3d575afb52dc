//! The hardened workload as a library: `app` is the whole service. It knows files and environment, never Kubernetes.

mod ahead;
pub mod auth;
mod bare;
pub mod check;
pub mod commands;
pub mod config;
mod connections;
pub mod database;
pub mod encryption;
mod extract;
mod failure;
mod frames;
mod goaway;
pub mod headers;
pub mod healthcheck;
pub mod jwt;
pub mod limiter;
pub mod log;
pub mod metrics;
mod middleware;
mod openapi;
mod outbound;
mod passwords;
mod patience;
pub mod policy;
mod port;
mod problem;
mod reload;
pub mod routes;
pub mod secrets;
pub mod server;
mod stamp;
pub mod state;
mod streams;
pub mod tls;
mod traces;
mod turn;
mod wire;
mod worker;

use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::from_fn,
    web,
};

use crate::state::State;

/// What is served inside the stack.
pub type Routes = fn(&mut web::ServiceConfig);

/// The whole service: the stack around the routes, of which it knows nothing.
pub fn app(
    state: web::Data<State>,
    routes: Routes,
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
    let shared = state.clone();
    App::new()
        .app_data(state)
        .app_data(web::PayloadConfig::new(limit))
        .app_data(web::JsonConfig::default().limit(limit).error_handler(problem::json_error))
        .configure(routes)
        .default_service(web::to(problem::not_found))
        .wrap(from_fn(move |req, next| middleware::stack(shared.clone(), req, next)))
}
