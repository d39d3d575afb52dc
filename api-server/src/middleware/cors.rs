//! Answers preflights and lets pages of the policy's origins read answers. An origin is compared as a whole and never
//! echoed otherwise; a request of another origin is served as any other client's, but no page can read what it says.

use actix_web::{
    Error, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header, header::HeaderValue},
    middleware::Next,
    web::Data,
};

use crate::{policy::CorsSet, problem, state::State};

pub async fn cors(
    state: Data<State>,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let policy = state.policy();
    let Some(cors) = &policy.cors else {
        return next.call(req).await.map(ServiceResponse::map_into_boxed_body);
    };
    let origin = req.headers().get(header::ORIGIN).cloned();
    let method = req.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (&origin, method) {
        (Some(origin), Some(method)) if req.method() == Method::OPTIONS => {
            let answer = preflight(cors, &req, origin, method);
            req.into_response(answer)
        }
        _ => next.call(req).await?.map_into_boxed_body(),
    };
    let headers = response.headers_mut();
    // Caches must not give one origin's answer to another.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|origin| cors.allows(origin)) {
        cors.apply(&origin, headers);
    }
    Ok(response)
}

fn preflight(
    cors: &CorsSet,
    req: &ServiceRequest,
    origin: &HeaderValue,
    method: &HeaderValue,
) -> HttpResponse {
    let headers = req.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    if !cors.allows(origin) || !cors.allows_request(method, headers) {
        return problem::respond(StatusCode::FORBIDDEN, "Pages of that origin may not make this request.");
    }
    let mut response = HttpResponse::NoContent().finish();
    let vary = HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers");
    response.headers_mut().append(header::VARY, vary);
    cors.apply_preflight(response.headers_mut());
    response
}
