//! What is served here. It says nothing that helps an attacker: no host, no path, no dependency.

use actix_web::web::{Data, Json};
use serde::Serialize;

use crate::{config::Environment, state::State};

#[derive(Serialize)]
pub struct About {
    name: &'static str,
    version: &'static str,
    environment: Environment,
}

pub async fn about(state: Data<State>) -> Json<About> {
    Json(About {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        environment: state.config.environment,
    })
}
