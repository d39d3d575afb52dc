//! Gives every error answer the problem body, also those that the framework makes. Successful answers pass unchanged.

use actix_web::{
    body::BoxBody,
    dev::ServiceResponse,
    http::header::{self, HeaderValue},
};

use super::request_log::RequestId;
use crate::problem::{self, Detail};

pub fn explain(mut response: ServiceResponse, id: &RequestId) -> ServiceResponse {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let detail = response.response().extensions().get::<Detail>().map(|d| d.0.clone());
    let body = problem::body(status, detail.as_deref(), id.as_str());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
    response.map_body(|_, _| BoxBody::new(body))
}
