//! Gives every error answer the problem body, also those that the framework makes. Successful answers pass unchanged.

use actix_web::{
    Error, HttpMessage as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderValue},
    middleware::Next,
};

use super::request_log::RequestId;
use crate::problem::{self, Detail};

pub async fn problems(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = next.call(req).await?.map_into_boxed_body();
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response);
    }
    let detail = response.response().extensions().get::<Detail>().map(|d| d.0.clone());
    let id = response.request().extensions().get::<RequestId>().cloned();
    let body = problem::body(status, detail.as_deref(), id.as_ref().map_or("", RequestId::as_str));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
    Ok(response.map_body(|_, _| BoxBody::new(body)))
}
