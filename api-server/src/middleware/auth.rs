//! Lets a request pass that the policy leaves open, or whose token has one of the roles that it names. Every other one
//! gets the same answer; why is only counted and logged, without the token.

use std::time::SystemTime;

use actix_web::{
    HttpMessage as _, HttpResponse,
    dev::ServiceRequest,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};

use crate::{auth::Subject, jwt::Refusal, policy::Compiled, problem, state::State};

/// RFC 6750 3.1: who has sent nothing is told no error.
const NO_TOKEN: HeaderValue = HeaderValue::from_static("Bearer realm=\"api\"");
const BAD_TOKEN: HeaderValue = HeaderValue::from_static("Bearer realm=\"api\", error=\"invalid_token\"");
const TOO_LITTLE: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"api\", error=\"insufficient_scope\"");

/// Why a request does not pass.
#[derive(Clone, Copy)]
enum Denied {
    NoToken,
    BadToken(Refusal),
    Role,
}

/// Handlers find who asks as a [`Subject`].
pub async fn refuse(state: &State, policy: &Compiled, req: &ServiceRequest) -> Option<HttpResponse> {
    match judge(state, policy, req).await? {
        Ok(subject) => {
            state.metrics.authenticated("ok");
            req.extensions_mut().insert(subject);
            None
        }
        Err(denied) => {
            state.metrics.authenticated(denied.as_str());
            tracing::debug!(reason = denied.as_str(), "request not authenticated");
            Some(denied.answer())
        }
    }
}

/// Nothing where the request needs no token.
async fn judge(state: &State, policy: &Compiled, req: &ServiceRequest) -> Option<Result<Subject, Denied>> {
    if is_preflight(req) {
        return None;
    }
    let roles = policy.auth.needed(req.method(), req.match_info().as_str())?;
    let token = match bearer(req.headers()) {
        Ok(Some(token)) => token,
        Ok(None) => return Some(Err(Denied::NoToken)),
        Err(refusal) => return Some(Err(Denied::BadToken(refusal))),
    };
    let subject = state.jwt.subject(token, &policy.auth, SystemTime::now()).await;
    let allowed = |subject: Subject| {
        if roles.contains(&subject.role) { Ok(subject) } else { Err(Denied::Role) }
    };
    Some(subject.map_err(Denied::BadToken).and_then(allowed))
}

/// Browsers send no token with a preflight, and its answer tells nothing.
fn is_preflight(req: &ServiceRequest) -> bool {
    let has = |name| req.headers().contains_key(name);
    req.method() == Method::OPTIONS && has(header::ORIGIN) && has(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The token of the one `Authorization` header. Of two, a proxy in front may have checked the other.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut lines = headers.get_all(header::AUTHORIZATION);
    let Some(line) = lines.next() else { return Ok(None) };
    let text = line.to_str().map_err(|_| Refusal::Request)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::Request)?;
    let good = !token.is_empty()
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if lines.next().is_some() || !scheme.eq_ignore_ascii_case("Bearer") || !good {
        return Err(Refusal::Request);
    }
    Ok(Some(token))
}

impl Denied {
    fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::BadToken(refusal) => refusal.as_str(),
            Self::Role => "role",
        }
    }

    fn answer(self) -> HttpResponse {
        let unauthorized = "This needs a valid access token: Authorization: Bearer TOKEN.";
        let (status, detail, challenge) = match self {
            Self::NoToken => (StatusCode::UNAUTHORIZED, unauthorized, NO_TOKEN),
            Self::BadToken(_) => (StatusCode::UNAUTHORIZED, unauthorized, BAD_TOKEN),
            Self::Role => (StatusCode::FORBIDDEN, "The token's role may not do this.", TOO_LITTLE),
        };
        let mut answer = problem::respond(status, detail);
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        answer
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{
        test::{self, TestRequest},
        web::{self, Data},
    };
    use clap::Parser;
    use uuid::Uuid;

    use super::*;
    use crate::{app, auth::Role, config::Config, secrets::Secrets};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    async fn who(subject: Subject) -> String {
        format!("{} {:?}", subject.id, subject.role)
    }

    #[actix_web::test]
    async fn a_handler_gets_the_subject_that_the_signer_was_given() {
        let Cli { config } = Cli::parse_from(["test", "--environment=development"]);
        let secrets = Secrets::from_environment();
        let state = Data::new(State::new(config, secrets, None).unwrap());
        let app = test::init_service(app(state.clone(), |config| {
            config.route("/videos", web::get().to(who));
        }))
        .await;
        let subject = Subject { id: Uuid::new_v4(), role: Role::Editor };
        let token = state.jwt.signer().unwrap().access_token(subject, SystemTime::now()).unwrap();
        let header = (header::AUTHORIZATION, format!("Bearer {token}"));
        let request = TestRequest::get().uri("/videos").insert_header(header).to_request();
        let body = test::call_and_read_body(&app, request).await;
        assert_eq!(body, format!("{} Editor", subject.id));
    }
}
