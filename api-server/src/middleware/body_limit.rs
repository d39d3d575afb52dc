//! Refuses a body that announces itself as too large. Bodies without a length are cut by the extractors' own limit.

use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::Next,
    web::Data,
};

use crate::{problem, state::State};

pub async fn body_limit(
    state: Data<State>,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let length = req.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|n| n > state.config.max_body_bytes as u64) {
        let refusal =
            problem::respond(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than this service accepts.");
        return Ok(req.into_response(refusal));
    }
    next.call(req).await.map(ServiceResponse::map_into_boxed_body)
}
