//! The service's public keys (RFC 7517), so that others can check its tokens. Nothing in them is secret.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web::Data,
};

use crate::state::State;

/// The keys that sign access tokens
///
/// Public keys only, those of before a rotation too; they may be cached for 5 minutes.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "tokens", operation_id = "publishedKeys",
    responses((status = 200, description = "A JWK Set (RFC 7517)", body = Object, content_type = "application/jwk-set+json")))]
pub async fn published(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/jwk-set+json"))
        // A key of before stays published for longer than this, so no cache lacks one that signs.
        .insert_header((CACHE_CONTROL, "public, max-age=300"))
        .body(state.jwt.published())
}
