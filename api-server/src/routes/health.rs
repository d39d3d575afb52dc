//! Health: alive as long as it answers, ready until it drains. A refused file is told but takes no replica out.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Json},
};
use serde::Serialize;

use crate::{problem, state::State};

#[derive(Serialize)]
pub struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Checks>,
}

#[derive(Serialize)]
struct Checks {
    policy: &'static str,
    certificate: &'static str,
    /// By backend. One that fails takes no replica out: its last good values are in force.
    secrets: BTreeMap<&'static str, &'static str>,
}

pub async fn health() -> Json<Health> {
    Json(Health { status: "ok", checks: None })
}

pub async fn ready(state: Data<State>, request: HttpRequest) -> HttpResponse {
    if state.draining() {
        return problem::respond(StatusCode::SERVICE_UNAVAILABLE, "The service is shutting down.");
    }
    let verbose = request.query_string().split('&').any(|p| p == "verbose" || p.starts_with("verbose="));
    let check = |stale: &AtomicBool| if stale.load(Ordering::Relaxed) { "last good in force" } else { "ok" };
    let checks = verbose.then(|| Checks {
        policy: check(&state.stale.policy),
        certificate: check(&state.stale.certificate),
        secrets: state.secrets.health().into_iter().map(|health| (health.backend, health.as_str())).collect(),
    });
    HttpResponse::Ok().json(Health { status: "ok", checks })
}
