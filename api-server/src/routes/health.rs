//! Health: alive as long as it answers; ready until it drains and while its database answers. A refused file is told but takes no replica out.

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
use utoipa::ToSchema;

use crate::{problem, state::State};

/// Whether it is well.
#[derive(Serialize, ToSchema)]
pub struct Health {
    #[schema(max_length = 2, pattern = "^ok$")]
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Checks>,
}

#[derive(Serialize, ToSchema)]
struct Checks {
    #[schema(max_length = 18, pattern = "^(ok|last good in force)$")]
    policy: &'static str,
    #[schema(max_length = 18, pattern = "^(ok|last good in force)$")]
    certificate: &'static str,
    /// By backend. One that fails takes no replica out: its last good values are in force.
    secrets: BTreeMap<&'static str, &'static str>,
}

/// Whether the process answers
///
/// It asks nothing else, needs no token and is never limited.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, description = "It does", body = Health)))]
pub async fn health() -> Json<Health> {
    Json(Health { status: "ok", checks: None })
}

/// Whether the process answers, by the name that kubelet uses
///
/// The same as `/health`.
#[utoipa::path(get, path = "/livez", tag = "service", responses((status = 200, description = "It does", body = Health)))]
pub async fn live() -> Json<Health> {
    health().await
}

/// Whether requests may come
///
/// From SIGTERM on, and while the database does not answer, they may not. A refused file or a lost backend of secrets
/// is told with `verbose`, and takes no replica out.
#[utoipa::path(get, path = "/readyz", tag = "service",
    params(("verbose" = Option<serde_json::Value>, Query, description = "Tell of each check; any value")),
    responses((status = 200, description = "They may", body = Health)))]
pub async fn ready(state: Data<State>, request: HttpRequest) -> HttpResponse {
    if state.draining() {
        return problem::respond(StatusCode::SERVICE_UNAVAILABLE, "The service is shutting down.");
    }
    if state.database.is_lost() {
        return problem::respond(StatusCode::SERVICE_UNAVAILABLE, "The database does not answer.");
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
