//! Ends HTTP/1 connections while the process drains: each is closed behind an answer that says so. A connection closed
//! while nothing is under way can meet a request that has just been sent, and that request is lost.

use actix_http::ConnectionType;
use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};

use crate::state::State;

pub async fn last_answer(
    state: Data<State>,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(req).await?;
    if state.draining() {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
