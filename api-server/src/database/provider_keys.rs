//! An account's own key of the AI provider, encrypted.

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use uuid::Uuid;

use crate::encryption::Keys;

/// Keeps the key in place of an older one; nothing removes it.
pub async fn set(pool: &PgPool, keys: &Keys, account: Uuid, key: Option<&SecretString>) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE api.accounts
         SET provider_key = public.pgp_sym_encrypt($2, $3, 'cipher-algo=aes256, s2k-mode=1') WHERE id = $1",
        account,
        key.map(SecretString::expose_secret),
        keys.column().expose_secret(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The key, where the account has one.
pub async fn get(pool: &PgPool, keys: &Keys, account: Uuid) -> sqlx::Result<Option<SecretString>> {
    let key = sqlx::query_scalar!(
        "SELECT public.pgp_sym_decrypt(provider_key, $2) FROM api.accounts WHERE id = $1",
        account,
        keys.column().expose_secret(),
    )
    .fetch_optional(pool)
    .await?;
    Ok(key.flatten().map(SecretString::from))
}
