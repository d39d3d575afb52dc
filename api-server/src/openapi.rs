//! The OpenAPI 3.1 document: what utoipa reads off the routes, and the errors, which are the same everywhere.

use serde_json::{Map, Value, json};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::{
    problem::{MEDIA_TYPE, Problem},
    routes::{about, health, jobs, jwks, login, provider_key, videos},
};

/// Status and what it means.
const ERRORS: [(&str, &str); 11] = [
    ("400", "The request is not valid; `detail` names the field"),
    ("401", "No valid token"),
    ("403", "The token's role may not do this"),
    ("404", "There is no such thing"),
    ("408", "The request did not come in time"),
    ("409", "Another request has made this one impossible"),
    ("413", "The body is too large"),
    ("415", "The body is not application/json"),
    ("429", "Too many requests of this client"),
    ("500", "The service failed"),
    ("503", "A part is missing or does not answer; `detail` names it"),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "api-server",
        description = "Videos, and what is done with them later. Every error is a problem (RFC 9457).",
        contact(name = "HardenedService", url = "https://hardened.dev"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        about::about, health::health, health::live, health::ready, jwks::published, login::login, login::refresh,
        videos::list, videos::create, videos::read, videos::replace, videos::delete, jobs::transcribe, jobs::analyze,
        jobs::schedule, jobs::read, jobs::delete, provider_key::set, provider_key::remove,
    ),
    components(schemas(Problem<'static>)),
    tags(
        (name = "tokens", description = "Logging in"),
        (name = "videos", description = "Videos"),
        (name = "jobs", description = "What is done later"),
        (name = "service", description = "The service itself"),
    ),
    modifiers(&Bearer),
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document.
pub fn document() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    document["components"]["responses"] = ERRORS.iter().map(|(status, text)| error(status, text)).collect();
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
                add_errors(path, operation);
            }
        }
    }
    document
}

fn error(status: &str, text: &str) -> (String, Value) {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    let mut response = json!({ "description": text, "content": { MEDIA_TYPE: { "schema": schema } } });
    let seconds = json!({ "description": "Seconds until a request may pass", "schema": { "type": "integer", "minimum": 1 } });
    if status == "429" {
        let number =
            |text: &str| json!({ "description": text, "schema": { "type": "integer", "minimum": 0 } });
        let words = |text: &str| json!({ "description": text, "schema": { "type": "string" } });
        response["headers"] = json!({
            "Retry-After": seconds,
            "RateLimit": words("draft-ietf-httpapi-ratelimit-headers"),
            "RateLimit-Policy": words("draft-ietf-httpapi-ratelimit-headers"),
            "X-RateLimit-Limit": number("Requests of a period"),
            "X-RateLimit-Remaining": number("Requests that would pass now"),
            "X-RateLimit-Reset": number("Seconds until all would pass"),
        });
    }
    if status == "503" {
        response["headers"] = json!({ "Retry-After": seconds });
    }
    if status == "401" {
        let challenge = json!({ "description": "RFC 6750", "schema": { "type": "string" } });
        response["headers"] = json!({ "WWW-Authenticate": challenge });
    }
    (status.to_owned(), response)
}

/// The errors that an operation can have.
fn add_errors(path: &str, operation: &mut Value) {
    let has = |name: &str| operation.get(name).is_some();
    let (body, secured, named) = (has("requestBody"), has("security"), path.contains('{'));
    let token = secured || ["/login", "/token/refresh"].contains(&path);
    let probe = ["/health", "/livez"].contains(&path);
    let applies = |status: &str| match status {
        "401" => token,
        "403" => secured,
        "404" => named || body && secured,
        "408" | "413" | "415" => body,
        "409" => body && secured,
        "429" => !probe && path != "/readyz",
        "503" => token || path == "/readyz",
        _ => true,
    };
    for (status, _) in ERRORS.iter().filter(|(status, _)| applies(status)) {
        operation["responses"][*status] = json!({ "$ref": format!("#/components/responses/{status}") });
    }
    if !secured {
        // Said, so that nobody takes it for forgotten.
        operation["security"] = json!([]);
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    #[test]
    fn the_committed_document_is_what_the_routes_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let now = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &now).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(now == committed, "openapi.json is old: UPDATE=1 cargo test -p api-server --lib openapi");
    }
}
