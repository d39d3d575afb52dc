//! An account's own key of the AI provider: it can be set and removed, never read.

use actix_web::{HttpResponse, web::Data};
use garde::Validate;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{auth::Subject, database::provider_keys, extract::Body, failure::Failure, state::State};

/// The key.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderKey {
    /// As the provider gave it.
    #[garde(custom(visible))]
    #[schema(value_type = String, min_length = 8, max_length = 512, pattern = "^[!-~]*$", format = Password)]
    key: SecretString,
}

/// Use an own key of the AI provider
///
/// It is kept encrypted, and nobody can read it.
#[utoipa::path(put, path = "/provider-key", tag = "jobs", operation_id = "setProviderKey", request_body = ProviderKey, security(("bearer" = [])),
    responses((status = 204, description = "Jobs of this account use it from now on")))]
pub async fn set(
    state: Data<State>,
    subject: Subject,
    Body(body): Body<ProviderKey>,
) -> Result<HttpResponse, Failure> {
    provider_keys::set(&state.pool()?, &*state.keys()?, subject.id, Some(&body.key)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Use the service's key again
///
/// The own key is removed.
#[utoipa::path(delete, path = "/provider-key", tag = "jobs", operation_id = "removeProviderKey", security(("bearer" = [])),
    responses((status = 204, description = "Jobs of this account use the service's key")))]
pub async fn remove(state: Data<State>, subject: Subject) -> Result<HttpResponse, Failure> {
    provider_keys::set(&state.pool()?, &*state.keys()?, subject.id, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn visible<C>(key: &SecretString, _: &C) -> garde::Result {
    let key = key.expose_secret();
    if (8..=512).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(garde::Error::new("not 8 to 512 visible ASCII characters"))
}
