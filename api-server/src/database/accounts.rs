//! Accounts.

use secrecy::ExposeSecret as _;
use sqlx::{PgExecutor, PgPool};
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

/// An account to be.
pub struct New<'a> {
    /// Its address.
    pub email: &'a str,
    /// Argon2id in PHC form.
    pub password_hash: &'a str,
    /// What it may do.
    pub role: Role,
}

/// The account of an address.
pub async fn find(pool: &PgPool, keys: &Keys, email: &str) -> sqlx::Result<Option<Account>> {
    sqlx::query_as!(
        Account,
        r#"SELECT id, password_hash, role AS "role: Role", disabled_at IS NULL AS "enabled!"
           FROM api.accounts WHERE email_digest = ANY($1)"#,
        &keys.email_digests(email),
    )
    .fetch_optional(pool)
    .await
}

/// Makes an account; nothing when the address has one.
pub async fn create(pool: &PgPool, keys: &Keys, new: &New<'_>) -> sqlx::Result<Option<Uuid>> {
    let digests = keys.email_digests(new.email);
    if digests.len() == 1 {
        return insert(pool, keys, new).await;
    }
    // The index holds one digest apart from itself, but not from the other key's. So that of two that make the account at
    // once, one with either key as its current one, the second sees the first, both take a lock that they can compute.
    let lock = digests.iter().min().and_then(|digest| digest.first_chunk()).copied().unwrap_or_default();
    let mut transaction = pool.begin().await?;
    sqlx::query_scalar!("SELECT pg_advisory_xact_lock($1)", i64::from_be_bytes(lock))
        .fetch_one(&mut *transaction)
        .await?;
    // A statement of its own, because it must see what was committed while the lock was waited for.
    let there = sqlx::query_scalar!("SELECT id FROM api.accounts WHERE email_digest = ANY($1)", &digests)
        .fetch_optional(&mut *transaction)
        .await?;
    if there.is_some() {
        return Ok(None);
    }
    let id = insert(&mut *transaction, keys, new).await?;
    transaction.commit().await?;
    Ok(id)
}

async fn insert(database: impl PgExecutor<'_>, keys: &Keys, new: &New<'_>) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        r#"INSERT INTO api.accounts (id, email_digest, email, key_id, password_hash, role)
           VALUES ($1, $2, public.pgp_sym_encrypt($3, $4, 'cipher-algo=aes256, s2k-mode=1'), $5, $6, $7)
           ON CONFLICT (email_digest) DO NOTHING RETURNING id"#,
        Uuid::now_v7(),
        &keys.email_digest(new.email),
        new.email,
        keys.column().expose_secret(),
        keys.id(),
        new.password_hash,
        new.role as Role,
    )
    .fetch_optional(database)
    .await
}

/// Lets an account log in no more; false when there is none.
pub async fn disable(pool: &PgPool, keys: &Keys, email: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE api.accounts SET disabled_at = coalesce(disabled_at, now()) WHERE email_digest = ANY($1)",
        &keys.email_digests(email),
    );
    Ok(done.execute(pool).await?.rows_affected() > 0)
}
