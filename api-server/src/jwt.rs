//! Access tokens: made and checked with own keys, and checked with those of `JWKS_URI`. It knows no request and no route.

mod claims;
mod json;
mod jwks;
mod key;
mod keys;
mod pem;
mod refusal;
mod settings;
mod signer;
mod verify;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_web::web::Data;
use thiserror::Error;

use self::{claims::Expected, jwks::Jwks, keys::OwnKeys, verify::Token};
pub use self::{
    keys::KeysError,
    refusal::Refusal,
    settings::Settings,
    signer::{SignError, Signer},
};
use crate::{
    auth::Subject,
    config::{Config, Environment},
    outbound::OutboundError,
    policy::AuthSet,
    secrets::Secrets,
    state::State,
};

/// Why the service does not start.
#[derive(Debug, Error)]
pub enum JwtError {
    /// A key is refused.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The address of others' keys is refused.
    #[error("JWKS_URI: {0}")]
    Uri(&'static str),
    /// Others' keys cannot be fetched with these settings.
    #[error("JWKS_CA_FILE")]
    Client(#[from] OutboundError),
}

/// Keys that make and check tokens.
#[derive(Debug)]
pub struct Jwt {
    settings: Settings,
    audience: [String; 1],
    environment: Environment,
    own: OwnKeys,
    foreign: Option<Jwks>,
}

impl Jwt {
    /// Reads the keys. At the start there are no last good ones, so a bad key is an error.
    pub fn new(config: &Config, secrets: &Secrets) -> Result<Self, JwtError> {
        let settings = config.jwt.clone();
        let foreign = match &settings.jwks_uri {
            Some(uri) => Some(Jwks::new(uri, config.environment, settings.jwks_ca_file.as_ref())?),
            None => None,
        };
        Ok(Self {
            audience: [settings.jwt_audience.clone()],
            environment: config.environment,
            own: OwnKeys::new(config.environment, secrets)?,
            foreign,
            settings,
        })
    }

    /// Makes tokens, where there is a key to sign with.
    pub fn signer(&self) -> Option<Signer<'_>> {
        Some(Signer {
            key: self.own.current().signing()?,
            issuer: &self.settings.jwt_issuer,
            audience: &self.settings.jwt_audience,
            environment: self.environment,
            ttl: Duration::from_secs(self.settings.jwt_access_ttl),
        })
    }

    /// The own public keys as a JWK Set.
    pub(crate) fn published(&self) -> String {
        self.own.current().published().to_owned()
    }

    /// Whom the token speaks for. Own tokens and those of others have each their issuer: a key of one says nothing for
    /// the other. It waits for no network, but for a refetch that an unknown key may cause.
    pub async fn subject(&self, token: &str, policy: &AuthSet, now: SystemTime) -> Result<Subject, Refusal> {
        let token = Token::read(token)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let environment = self.environment;
        let own = Expected { issuer: &self.settings.jwt_issuer, audiences: &self.audience, environment, now };
        if let Some(key) = self.own.current().find(token.kid()) {
            return token.verify(Some(key), &own);
        }
        let Some(jwks) = &self.foreign else { return token.verify(None, &own) };
        let audiences = if policy.audiences.is_empty() { &self.audience[..] } else { &policy.audiences };
        let issuer = policy.issuer.as_deref().unwrap_or(&self.settings.jwt_issuer);
        let foreign = Expected { issuer, audiences, environment, now };
        let mut keys = jwks.current();
        if keys.find(token.kid()).is_none() && Box::pin(jwks.refetched()).await {
            keys = jwks.current();
        }
        token.verify(keys.find(token.kid()), &foreign)
    }
}

/// Follows the keys until the process ends: all fetches are made here, so there is never a second one under way.
pub async fn follow(state: Data<State>) {
    let state: Arc<State> = state.into_inner();
    let own = state.jwt.own.follow(&state.secrets);
    match &state.jwt.foreign {
        Some(jwks) => {
            tokio::join!(own, jwks.follow(&state.metrics));
        }
        None => own.await,
    }
}
