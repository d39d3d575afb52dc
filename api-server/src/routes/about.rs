//! What is served here. It says nothing that helps an attacker: no host, no path, no dependency.

use actix_web::{
    HttpResponse,
    web::{Data, Json},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{config::Environment, state::State};

/// The service.
#[derive(Serialize, ToSchema)]
pub struct About {
    #[schema(max_length = 64, pattern = "^[a-z-]+$")]
    name: &'static str,
    #[schema(max_length = 64, pattern = "^[0-9]+[.][0-9]+[.][0-9]+")]
    version: &'static str,
    environment: Environment,
}

/// What is served here
///
/// Name, version and environment. It says nothing of the host.
#[utoipa::path(get, path = "/", tag = "service", responses((status = 200, description = "The service", body = About)))]
pub async fn about(state: Data<State>) -> Json<About> {
    Json(About {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        environment: state.config.environment,
    })
}

/// `GET /openapi.json`: the document, made once.
pub async fn openapi() -> HttpResponse {
    static DOCUMENT: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| crate::openapi::document().to_string());
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.as_str())
}
