//! Who asks, once a token was believed.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::Failure;

/// What somebody may do; each role may do what those before it may.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Serialize,
    sqlx::Type,
    clap::ValueEnum,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and writes.
    Editor,
    /// Also removes what others own.
    Admin,
}

/// The subject of a token that was believed; the stack puts it into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The account.
    pub id: Uuid,
    /// What it may do.
    pub role: Role,
}

/// A route that needs a subject has none where the policy lets everybody in.
impl FromRequest for Subject {
    type Error = Failure;
    type Future = Ready<Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let subject = request.extensions().get::<Self>().copied();
        ready(subject.ok_or(Failure::Unauthorized("This route needs a token.")))
    }
}
