//! Makes access tokens of the service's own.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Header, encode};
use thiserror::Error;
use uuid::Uuid;

use super::{
    claims::{Audience, Claims},
    key::SigningKey,
};
use crate::{auth::Subject, config::Environment};

/// Signs with the key in force when it was asked for.
#[derive(Debug)]
pub struct Signer<'a> {
    pub(super) key: Arc<SigningKey>,
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
    pub(super) environment: Environment,
    pub(super) ttl: Duration,
}

/// The token was not made. Nothing is said of the key.
#[derive(Debug, Error)]
#[error("sign an access token")]
pub struct SignError;

impl Signer<'_> {
    /// A token that says who the subject is, from now on for `JWT_ACCESS_TTL`.
    pub fn access_token(&self, subject: Subject, now: SystemTime) -> Result<String, SignError> {
        let now = now.duration_since(UNIX_EPOCH).map_err(|_| SignError)?.as_secs();
        let claims = Claims {
            iss: self.issuer.to_owned(),
            sub: subject.id,
            aud: Audience::One(self.audience.to_owned()),
            exp: now + self.ttl.as_secs(),
            iat: now,
            nbf: Some(now),
            jti: Some(Uuid::new_v4().to_string()),
            role: subject.role,
            env: self.environment,
        };
        let mut header = Header::new(self.key.algorithm());
        header.kid = Some(self.key.public().kid().to_owned());
        encode(&header, &claims, self.key.encoding()).map_err(|_| SignError)
    }
}
