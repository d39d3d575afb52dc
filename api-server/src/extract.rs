//! What a client sent, checked: a JSON body or a query, as a type that names its rules. Every message names the field.

use std::time::Duration;

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, dev::Payload, http::header::CONTENT_ENCODING, web::Data,
};
use futures::{
    StreamExt as _,
    future::{LocalBoxFuture, Ready, ready},
};
use garde::Validate;
use serde::de::DeserializeOwned;

use crate::{failure::Failure, state::State};

/// No message gets longer: a part of it can be a client's text.
const LONGEST: usize = 300;

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// The parameters of the query.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T> FromRequest for Body<T>
where
    T: DeserializeOwned + Validate<Context = ()> + 'static,
{
    type Error = Failure;
    type Future = LocalBoxFuture<'static, Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = request.content_type().eq_ignore_ascii_case("application/json")
            && !request.headers().contains_key(CONTENT_ENCODING);
        let limits = request.app_data::<Data<State>>().map(|state| &state.config);
        let seconds = limits.map_or(30, |config| config.body_timeout);
        let length = limits.map_or(0, |config| config.max_body_bytes);
        let payload = payload.take();
        Box::pin(async move {
            if !is_json {
                return Err(Failure::MediaType);
            }
            let bytes = tokio::time::timeout(Duration::from_secs(seconds), collect(payload, length));
            let bytes = bytes.await.map_err(|_| Failure::TooSlow)??;
            checked(from_json(&bytes)?).map(Self)
        })
    }
}

/// All of a body. actix-web's own extractor takes 8 KiB before the first byte has come, from everybody who sends none.
async fn collect(mut payload: Payload, length: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(part) = payload.next().await {
        let part =
            part.map_err(|_| Failure::Invalid("The body ended early or is not framed as announced.".into()))?;
        if bytes.len() + part.len() > length {
            return Err(Failure::TooLarge);
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

impl<T> FromRequest for Query<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Error = Failure;
    type Future = Ready<Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let pairs = form_urlencoded::parse(request.query_string().as_bytes());
        let parsed = serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs));
        ready(parsed.map_err(|error| invalid(&error)).and_then(checked).map(Self))
    }
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let inner = error.inner();
        if inner.is_data() { invalid(&error) } else { not_json(inner) }
    })?;
    parser.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn not_json(error: &serde_json::Error) -> Failure {
    Failure::Invalid(format!("The body is not JSON at line {} column {}.", error.line(), error.column()))
}

fn invalid<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> Failure {
    let (path, text) = (error.path().to_string(), error.inner().to_string());
    let text = text.split(" at line ").next().unwrap_or_default();
    // "invalid type: string \"...\", expected u32": the value is the client's own and may be a password.
    let text = match text.split_once("expected ") {
        Some((before, expected)) if before.starts_with("invalid ") => format!("expected {expected}"),
        _ => text.to_owned(),
    };
    let field = if path == "." { String::new() } else { format!("{path}: ") };
    // The name of an unknown field is the client's own text too.
    Failure::Invalid(format!("{field}{text}").chars().filter(|c| !c.is_control()).take(LONGEST).collect())
}

fn checked<T: Validate<Context = ()>>(value: T) -> Result<T, Failure> {
    value.validate().map_err(|report| {
        let all: Vec<_> = report.iter().map(|(path, error)| format!("{path}: {error}")).collect();
        Failure::Invalid(all.join("; ").chars().take(LONGEST).collect())
    })?;
    Ok(value)
}

/// A rule for one line of text: no control character, so that it can stand in a log, a mail or a terminal.
pub fn one_line<C>(text: &str, _: &C) -> garde::Result {
    if text.chars().any(char::is_control) {
        return Err(garde::Error::new("holds a control character; remove it"));
    }
    Ok(())
}

/// A rule for text of several lines.
pub fn lines<C>(text: &str, _: &C) -> garde::Result {
    one_line(&text.replace(['\n', '\t', '\r'], ""), &())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, Validate)]
    #[serde(deny_unknown_fields)]
    struct Login {
        #[garde(length(chars, min = 3, max = 8))]
        name: String,
        #[garde(range(max = 9))]
        age: u8,
    }

    fn message(body: &str) -> String {
        match from_json(body.as_bytes()).and_then(checked::<Login>) {
            Err(Failure::Invalid(message)) => message,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_message_names_the_field_and_never_the_value() {
        for (body, expected) in [
            (r#"{"name": "anna"}"#, "missing field `age`"),
            (r#"{"name": "anna", "age": "secret"}"#, "age: expected u8"),
            (r#"{"name": "anna", "age": 300}"#, "age: expected u8"),
            (r#"{"name": "anna", "age": 1, "age": 2}"#, "duplicate field `age`"),
            (r#"{"name": "an", "age": 1}"#, "name: length is lower than 3"),
            (r#"{"name": "anna", "age": 10}"#, "age: greater than 9"),
            (r#"{"name": "anna", "age": NaN}"#, "The body is not JSON at line 1 column 25."),
            ("", "The body is not JSON at line 1 column 0."),
            (r#"{"name": "anna", "age": 1} x"#, "The body is not JSON at line 1 column 28."),
        ] {
            assert!(message(body).contains(expected), "{body}: {}", message(body));
        }
        assert!(message(r#"{"name": "anna", "age": 1, "other": 2}"#).contains("unknown field `other`"));
        assert!(message(r#"{"o\u001bt\nher": 2}"#).contains("unknown field `other`"));
    }

    #[test]
    fn what_is_no_text_or_too_deep_is_no_json() {
        for body in [&b"\xef\xbb\xbf{}"[..], b"{\"name\": \"\xff\"}", "[".repeat(10_000).as_bytes()] {
            assert!(matches!(from_json::<serde_json::Value>(body), Err(Failure::Invalid(_))));
        }
    }
}
