//! POST /login and POST /token/refresh. Whoever cannot log in learns nothing of the reason: not from the answer and not
//! from its time.

use std::time::{Duration, SystemTime};

use actix_web::web::{Data, Json};
use garde::Validate;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    auth::Subject,
    database::{accounts, tokens},
    extract::{Body, one_line},
    failure::{Failure, Part},
    jwt::Signer,
    state::State,
};

/// Who logs in.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The address of the account; upper and lower case are the same.
    #[garde(length(chars, min = 3, max = 254), custom(one_line))]
    #[schema(min_length = 3, max_length = 254, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    email: String,
    /// 1 to 1,024 characters.
    #[garde(custom(up_to_1024))]
    #[schema(value_type = String, min_length = 1, max_length = 1024, format = Password)]
    password: SecretString,
}

/// A refresh token.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Refresh {
    /// As the last answer gave it. It is used up by this request, also when the answer is lost.
    #[garde(custom(up_to_128))]
    #[schema(value_type = String, min_length = 1, max_length = 128, format = Password)]
    refresh_token: SecretString,
}

/// What a client may do from now on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// A JWT for `Authorization: Bearer`.
    #[schema(max_length = 8192, pattern = "^[A-Za-z0-9_-]+[.][A-Za-z0-9_-]+[.][A-Za-z0-9_-]+$")]
    access_token: String,
    /// Always `Bearer`.
    #[schema(max_length = 6, pattern = "^Bearer$")]
    token_type: &'static str,
    /// Seconds until the access token ends.
    #[schema(minimum = 60, maximum = 86_400)]
    expires_in: u64,
    /// For the next access token; used once.
    #[schema(max_length = 64, pattern = "^[A-Za-z0-9_-]{64}$")]
    refresh_token: String,
}

/// Log in
///
/// An unknown address and a wrong password get the same answer after the same time.
#[utoipa::path(post, path = "/login", tag = "tokens", request_body = Credentials,
    responses((status = 200, description = "The tokens", body = Tokens)))]
pub async fn login(state: Data<State>, Body(body): Body<Credentials>) -> Result<Json<Tokens>, Failure> {
    let (signer, pool, keys) = (signer(&state)?, state.pool()?, state.keys()?);
    let account = Box::pin(accounts::find(&pool, &keys, body.email.trim())).await?;
    let account = account.filter(|account| account.enabled);
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    let right = Box::pin(state.passwords.is_right(body.password, hash)).await.map_err(|_| Failure::Busy)?;
    let Some(account) = account.filter(|_| right) else {
        return Err(Failure::Unauthorized("There is no account with this address and password."));
    };
    let refresh = Box::pin(tokens::begin(&pool, &keys, account.id, life(&state))).await?;
    answer(&state, &signer, Subject { id: account.id, role: account.role }, &refresh)
}

/// Get the next tokens
///
/// A refresh token is used once. One that comes a second time revokes all that came from its login.
#[utoipa::path(post, path = "/token/refresh", tag = "tokens", request_body = Refresh,
    responses((status = 200, description = "The next tokens", body = Tokens)))]
pub async fn refresh(state: Data<State>, Body(body): Body<Refresh>) -> Result<Json<Tokens>, Failure> {
    let (signer, pool, keys) = (signer(&state)?, state.pool()?, state.keys()?);
    let next = Box::pin(tokens::rotate(&pool, &keys, body.refresh_token.expose_secret(), life(&state)));
    let next = next.await?;
    let (subject, refresh) = next.ok_or(Failure::Unauthorized("The refresh token is not valid; log in."))?;
    answer(&state, &signer, subject, &refresh)
}

fn life(state: &State) -> Duration {
    Duration::from_secs(state.config.refresh_ttl)
}

/// Asked for first: a refresh token must not be used up for nothing.
fn signer(state: &State) -> Result<Signer<'_>, Failure> {
    state.jwt.signer().ok_or(Failure::Missing(Part::SigningKey))
}

fn answer(
    state: &State,
    signer: &Signer<'_>,
    subject: Subject,
    refresh: &SecretString,
) -> Result<Json<Tokens>, Failure> {
    let token = signer.access_token(subject, SystemTime::now());
    Ok(Json(Tokens {
        access_token: token.map_err(|_| Failure::Internal("a token cannot be signed"))?,
        token_type: "Bearer",
        expires_in: state.config.jwt.jwt_access_ttl,
        refresh_token: refresh.expose_secret().to_owned(),
    }))
}

fn up_to_1024<C>(password: &SecretString, _: &C) -> garde::Result {
    bounded(password, 1024)
}

fn up_to_128<C>(token: &SecretString, _: &C) -> garde::Result {
    bounded(token, 128)
}

fn bounded(secret: &SecretString, longest: usize) -> garde::Result {
    if (1..=longest).contains(&secret.expose_secret().chars().count()) {
        return Ok(());
    }
    Err(garde::Error::new(format!("must have 1 to {longest} characters")))
}
