//! Errors as RFC 9457 problems. One shape for all: ours, the framework's and the parser's. Nothing internal is said.

use std::borrow::Cow;

use actix_web::{
    Error, HttpRequest, HttpResponse,
    error::{InternalError, JsonPayloadError},
    http::StatusCode,
};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What a route says beside the status; the middleware writes it into the body.
pub struct Detail(pub Cow<'static, str>);

/// An error (RFC 9457).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem<'a> {
    /// A URI of the kind of error.
    #[schema(format = "uri", max_length = 128)]
    r#type: String,
    /// The kind of error in words.
    #[schema(max_length = 64, pattern = "^[A-Za-z' -]+$")]
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request, and the fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 300, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    detail: Option<&'a str>,
    /// As in `X-Request-Id`; the log has it too.
    #[schema(max_length = 64, pattern = "^[A-Za-z0-9-]+$")]
    request_id: &'a str,
}

/// An error answer; its body is written by the middleware.
pub fn respond(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> HttpResponse {
    let mut response = HttpResponse::new(status);
    response.extensions_mut().insert(Detail(detail.into()));
    response
}
/// The answer where no route matches.
pub async fn not_found() -> HttpResponse {
    respond(StatusCode::NOT_FOUND, "There is nothing at this path.")
}

/// actix answers a body of another media type with 400.
pub fn json_error(error: JsonPayloadError, _: &HttpRequest) -> Error {
    match error {
        JsonPayloadError::ContentType => {
            let refusal = respond(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be application/json.");
            InternalError::from_response(error, refusal).into()
        }
        other => other.into(),
    }
}

/// The body. The type is stable: it depends on the status alone.
pub fn body(status: StatusCode, detail: Option<&str>, request_id: &str) -> String {
    let title = status.canonical_reason().unwrap_or("Error");
    let slug = title.to_ascii_lowercase().replace(' ', "-");
    let r#type = format!("https://hardened.dev/problems/{slug}");
    let problem = Problem { r#type, title, status: status.as_u16(), detail, request_id };
    serde_json::to_string(&problem).unwrap_or_default()
}
