//! An account's own key of the AI provider, encrypted.

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use uuid::Uuid;

use super::cannot_decrypt;
use crate::encryption::{Keys, Reading};

/// Keeps the key in place of an older one; nothing removes it.
pub async fn set(pool: &PgPool, keys: &Keys, account: Uuid, key: Option<&SecretString>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE api.accounts
         SET provider_key = public.pgp_sym_encrypt($2, $3, 'cipher-algo=aes256, s2k-mode=1'), provider_key_id = $4
         WHERE id = $1",
        account,
        key.map(SecretString::expose_secret),
        keys.column().expose_secret(),
        key.map(|_| keys.id()),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The key, where the account has one.
pub async fn get(pool: &PgPool, keys: &Keys, account: Uuid) -> sqlx::Result<Option<SecretString>> {
    let (first, second) = keys.readings();
    match (read(pool, first, account).await, second) {
        (Err(error), Some(second)) if cannot_decrypt(&error) => read(pool, second, account).await,
        (read, _) => read,
    }
}

async fn read(pool: &PgPool, reading: Reading<'_>, account: Uuid) -> sqlx::Result<Option<SecretString>> {
    let key = sqlx::query_scalar!(
        "SELECT public.pgp_sym_decrypt(provider_key, CASE WHEN provider_key_id = $2 THEN $3 ELSE $4 END)
         FROM api.accounts WHERE id = $1",
        account,
        reading.id,
        reading.its,
        reading.otherwise,
    )
    .fetch_optional(pool)
    .await?;
    Ok(key.flatten().map(SecretString::from))
}
