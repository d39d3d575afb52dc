//! Refuses a body that announces itself as too large. Bodies without a length are cut by the extractors' own limit.

use actix_web::{
    HttpResponse,
    dev::ServiceRequest,
    http::{StatusCode, header},
};

use crate::problem;

pub fn refuse(limit: usize, req: &ServiceRequest) -> Option<HttpResponse> {
    let length = req.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let refusal =
        || problem::respond(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than this service accepts.");
    length.is_some_and(|n| n > limit as u64).then(refusal)
}
