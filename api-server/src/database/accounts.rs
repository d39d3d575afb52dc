//! Accounts.

use secrecy::ExposeSecret as _;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{auth::Role, encryption::Keys};

/// What a login needs to know of an account.
pub struct Account {
    /// The account.
    pub id: Uuid,
    /// Argon2id in PHC form.
    pub password_hash: String,
    /// What it may do.
    pub role: Role,
    /// Whether it may log in.
    pub enabled: bool,
}

/// The account of an address.
pub async fn find(pool: &PgPool, keys: &Keys, email: &str) -> sqlx::Result<Option<Account>> {
    sqlx::query_as!(
        Account,
        r#"SELECT id, password_hash, role AS "role: Role", disabled_at IS NULL AS "enabled!"
           FROM api.accounts WHERE email_digest = $1"#,
        &keys.email_digest(email),
    )
    .fetch_optional(pool)
    .await
}

/// Makes an account; nothing when the address has one.
pub async fn create(
    pool: &PgPool,
    keys: &Keys,
    email: &str,
    password_hash: &str,
    role: Role,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        r#"INSERT INTO api.accounts (id, email_digest, email, password_hash, role)
           VALUES ($1, $2, public.pgp_sym_encrypt($3, $4, 'cipher-algo=aes256, s2k-mode=1'), $5, $6)
           ON CONFLICT (email_digest) DO NOTHING RETURNING id"#,
        Uuid::now_v7(),
        &keys.email_digest(email),
        email,
        keys.column().expose_secret(),
        password_hash,
        role as Role,
    )
    .fetch_optional(pool)
    .await
}

/// Lets an account log in no more; false when there is none.
pub async fn disable(pool: &PgPool, keys: &Keys, email: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE api.accounts SET disabled_at = coalesce(disabled_at, now()) WHERE email_digest = $1",
        &keys.email_digest(email),
    );
    Ok(done.execute(pool).await?.rows_affected() > 0)
}
