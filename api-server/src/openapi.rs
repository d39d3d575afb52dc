//! The OpenAPI 3.1 document: what utoipa reads off the routes, and the errors, which are the same everywhere.

use serde_json::{Map, Value, json};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::{
    middleware::is_probe,
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
        description = "Videos, and what is done with them later. Every error is a problem (RFC 9457). Beside `RateLimit` and \
                       `RateLimit-Policy` an answer has the same numbers as `X-RateLimit-Limit`, `X-RateLimit-Remaining` and \
                       `X-RateLimit-Reset`.",
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
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "An access token; checked as RFC8725 asks: algorithm and issuer belong to the key",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document.
pub fn document() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    document["servers"] = json!([{
        "url": "/",
        "description": "The service itself, in development, staging and production",
        "x-internal": false,
    }]);
    document["components"]["headers"] = headers();
    document["components"]["responses"] = ERRORS.iter().map(|(status, text)| error(status, text)).collect();
    // utoipa knows no bounds of the keys of a map.
    let backends = &mut document["components"]["schemas"]["Checks"]["properties"]["secrets"];
    backends["propertyNames"] = json!({ "enum": ["environment", "files", "vault", "aws", "azure"] });
    backends["additionalProperties"] = json!({ "type": "string", "enum": ["ok", "failing"] });
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
                add_headers(path, operation);
                add_errors(path, operation);
            }
        }
    }
    bound(&mut document);
    document
}

/// Headers that answers share. None is required: no limit may count the request, and the caller may be of no other origin.
fn headers() -> Value {
    let header = |text: &str, schema: Value| json!({ "description": text, "schema": schema });
    let text =
        |longest: u32, pattern: &str| json!({ "type": "string", "maxLength": longest, "pattern": pattern });
    let seconds = json!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 86_400 });
    let origin = "The caller's origin, where the policy names it";
    let now =
        "Requests that would pass now, and seconds until all would (draft-ietf-httpapi-ratelimit-headers)";
    let policy = "Requests of a period, and its seconds (draft-ietf-httpapi-ratelimit-headers)";
    json!({
        "Access-Control-Allow-Origin": header(origin, text(300, "^https?://")),
        "Location": header("The path of what was made", text(64, "^/[a-z]+/[0-9a-f-]{36}$")),
        "RateLimit": header(now, text(80, r#"^"[A-Za-z0-9-]+";r=[0-9]+;t=[0-9]+$"#)),
        "RateLimit-Policy": header(policy, text(80, r#"^"[A-Za-z0-9-]+";q=[0-9]+;w=[0-9]+$"#)),
        "Retry-After": header("Seconds until a request may pass", seconds),
        "WWW-Authenticate": header("RFC 6750", text(64, r#"^Bearer realm="api"(, error="invalid_token")?$"#)),
    })
}

fn add_header(response: &mut Value, name: &str) {
    response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
}

fn error(status: &str, text: &str) -> (String, Value) {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    let mut response = json!({ "description": text, "content": { MEDIA_TYPE: { "schema": schema } } });
    let more = match status {
        "401" => "WWW-Authenticate",
        "429" | "503" => "Retry-After",
        _ => "RateLimit",
    };
    for name in ["Access-Control-Allow-Origin", "RateLimit", "RateLimit-Policy", more] {
        add_header(&mut response, name);
    }
    (status.to_owned(), response)
}

/// The headers of an operation's own answers.
fn add_headers(path: &str, operation: &mut Value) {
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        add_header(response, "Access-Control-Allow-Origin");
        if !is_probe(path) {
            add_header(response, "RateLimit");
            add_header(response, "RateLimit-Policy");
        }
        if ["201", "202"].contains(&status.as_str()) {
            add_header(response, "Location");
        }
    }
}

/// The errors that an operation can have.
fn add_errors(path: &str, operation: &mut Value) {
    let has = |name: &str| operation.get(name).is_some();
    let (body, secured, named) = (has("requestBody"), has("security"), path.contains('{'));
    let token = secured || ["/login", "/token/refresh"].contains(&path);
    let applies = |status: &str| match status {
        "401" => token,
        "403" => secured,
        "404" => named || body && secured,
        "408" | "413" | "415" => body,
        "409" => body && secured,
        "429" => !is_probe(path),
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

/// The longest text of each format.
fn bound(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let longest = match map.get("format").and_then(Value::as_str) {
                Some("uuid") => Some(36),
                Some("date-time") => Some(35),
                _ => None,
            };
            if let Some(longest) = longest {
                map.insert("maxLength".to_owned(), longest.into());
            }
            map.values_mut().for_each(bound);
        }
        Value::Array(list) => list.iter_mut().for_each(bound),
        _ => {}
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
