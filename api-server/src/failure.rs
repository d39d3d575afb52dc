//! Why a route does not do what it was asked for, and which problem the client gets. The cause goes into the access log only.

use std::{borrow::Cow, fmt};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
};

use crate::problem;

/// Seconds after which a client may try again what a part is missing for.
const COME_BACK: u32 = 2;

/// Why a route fails.
#[derive(Debug)]
pub enum Failure {
    /// The database did not do it.
    Database(sqlx::Error),
    /// A part that the route needs is not set up.
    Missing(Part),
    /// More is under way than the machine carries.
    Busy,
    /// There is no such thing, or not for this client.
    NotFound(&'static str),
    /// What the client sent is not valid; the text names the field and the fix.
    Invalid(String),
    /// Another request has made this one impossible.
    Conflict(&'static str),
    /// The client is not who it says.
    Unauthorized(&'static str),
    /// The body is of a type that is not read.
    MediaType,
    /// The body is longer than allowed.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    /// It should not happen.
    Internal(&'static str),
}

/// A part that somebody has to set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Postgres.
    Database,
    /// The key of encrypted columns.
    EncryptionKey,
    /// The key that signs tokens.
    SigningKey,
    /// The AI provider.
    Provider,
}

/// What the access log says of a failure; it is in the response's extensions.
pub struct Cause(pub String);

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The server's message, without its detail: that can hold values.
            Self::Database(error) => write!(f, "database: {error}"),
            Self::Internal(what) => f.write_str(what),
            other => f.write_str(&other.answer().1),
        }
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.answer().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, detail) = self.answer();
        let mut response = problem::respond(status, detail);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, COME_BACK.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = actix_web::http::header::HeaderValue::from_static("Bearer realm=\"api\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        if matches!(self, Self::Database(_) | Self::Internal(_)) {
            response.extensions_mut().insert(Cause(self.to_string()));
        }
        response
    }
}

impl Failure {
    fn answer(&self) -> (StatusCode, Cow<'static, str>) {
        match self {
            Self::Database(error) => {
                let (status, detail) = of_database(error);
                (status, detail.into())
            }
            Self::Missing(part) => (StatusCode::SERVICE_UNAVAILABLE, part.detail().into()),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "More of these requests are under way than this replica carries.".into(),
            ),
            Self::NotFound(detail) => (StatusCode::NOT_FOUND, (*detail).into()),
            Self::Invalid(detail) => (StatusCode::BAD_REQUEST, detail.clone().into()),
            Self::Conflict(detail) => (StatusCode::CONFLICT, (*detail).into()),
            Self::Unauthorized(detail) => (StatusCode::UNAUTHORIZED, (*detail).into()),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be application/json in UTF-8, without Content-Encoding.".into(),
            ),
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than this service accepts.".into())
            }
            Self::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, "The body did not come in time; send it at once.".into())
            }
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "The service failed.".into()),
        }
    }
}

impl Part {
    const fn detail(self) -> &'static str {
        match self {
            Self::Database => "This route needs Postgres, which is not set up: DATABASE_URL.",
            Self::EncryptionKey => {
                "This route needs the key of encrypted columns, which is not set up: ENCRYPTION_KEY."
            }
            Self::SigningKey => {
                "This route needs a key that signs tokens, which is not set up: JWT_SIGNING_KEY."
            }
            Self::Provider => {
                "This route needs an AI provider, which is not set up: AI_BASE_URL and AI_API_KEY."
            }
        }
    }
}

/// By SQLSTATE (PostgreSQL documentation, appendix A).
fn of_database(error: &sqlx::Error) -> (StatusCode, &'static str) {
    const AWAY: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "The database does not answer now.");
    let sqlx::Error::Database(refusal) = error else {
        return match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::TypeNotFound { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "The service failed.")
            }
            _ => AWAY,
        };
    };
    let code = refusal.code().unwrap_or_default();
    match &*code {
        // Undefined table, schema or column.
        "42P01" | "3F000" | "42703" => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The database has not been migrated: run api-server migrate up.",
        ),
        // pgcrypto cannot decrypt.
        "39000" => (
            StatusCode::SERVICE_UNAVAILABLE,
            "ENCRYPTION_KEY is not the key that the data was written with, and no ENCRYPTION_KEY_PREVIOUS is.",
        ),
        // A character that text cannot hold.
        "22021" | "22P05" => (StatusCode::BAD_REQUEST, "A text holds U+0000; remove it."),
        "23505" => (StatusCode::CONFLICT, "There is one already."),
        "23503" => (StatusCode::CONFLICT, "What this belongs to is gone."),
        // Lock timeout, serialization failure, deadlock, statement timeout, and a standby during a failover.
        "55P03" | "40001" | "40P01" | "57014" | "25006" => AWAY,
        // Connection, credentials, database name, resources, operator's intervention.
        other if ["08", "28", "3D", "53", "57"].iter().any(|class| other.starts_with(class)) => AWAY,
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "The service failed."),
    }
}
