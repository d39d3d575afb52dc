//! Answers preflights and lets pages of the policy's origins read answers. An origin is compared as a whole and never
//! echoed otherwise; a request of another origin is served as any other client's, but no page can read what it says.

use actix_web::{
    HttpResponse,
    dev::ServiceRequest,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};

use crate::{policy::CorsSet, problem};

pub fn origin(req: &ServiceRequest) -> Option<HeaderValue> {
    req.headers().get(header::ORIGIN).cloned()
}

/// Lets pages of an allowed origin read the answer.
pub fn allow(cors: &CorsSet, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    // Caches must not give one origin's answer to another.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|origin| cors.allows(origin)) {
        cors.apply(&origin, headers);
    }
}

/// Answers a preflight; nothing for every other request.
pub fn preflight(cors: &CorsSet, req: &ServiceRequest) -> Option<HttpResponse> {
    let origin = req.headers().get(header::ORIGIN)?;
    let method = req.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    if req.method() != Method::OPTIONS {
        return None;
    }
    let headers = req.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    if !cors.allows(origin) || !cors.allows_request(method, headers) {
        let detail = "Pages of that origin may not make this request.";
        return Some(problem::respond(StatusCode::FORBIDDEN, detail));
    }
    let mut response = HttpResponse::NoContent().finish();
    let vary = HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers");
    response.headers_mut().append(header::VARY, vary);
    cors.apply_preflight(response.headers_mut());
    Some(response)
}
