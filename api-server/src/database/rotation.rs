//! Encrypted columns under another key: which rows are of which, and a few of them at a time encrypted anew. It decides
//! nothing of the order, and no value leaves it.

use secrecy::ExposeSecret as _;
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::encryption::{Keys, Reading};

/// What is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Addresses, with what they are found by.
    Email,
    /// Keys of the AI provider.
    ProviderKey,
    /// Secret halves of refresh tokens.
    RefreshToken,
}

/// How many rows are of which key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of the current one.
    pub current: i64,
    /// Of the previous one.
    pub previous: i64,
    /// They do not say.
    pub unknown: i64,
    /// Of neither.
    pub other: i64,
}

impl Column {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Email, Self::ProviderKey, Self::RefreshToken];

    /// As SQL has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "accounts.email",
            Self::ProviderKey => "accounts.provider_key",
            Self::RefreshToken => "refresh_tokens.secret",
        }
    }

    /// Counts by what rows say; nothing is decrypted.
    pub async fn count(self, pool: &PgPool, keys: &Keys) -> sqlx::Result<Counts> {
        let mut transaction = patient(pool).await?;
        let counts = sqlx::query_as!(
            Counts,
            r#"SELECT count(*) FILTER (WHERE key_id = $2) AS "current!",
                      count(*) FILTER (WHERE key_id = $3) AS "previous!",
                      count(*) FILTER (WHERE key_id IS NULL) AS "unknown!",
                      count(*) FILTER (WHERE key_id <> $2 AND key_id IS DISTINCT FROM $3) AS "other!"
               FROM (SELECT 'accounts.email' AS kind, key_id FROM api.accounts
                     UNION ALL SELECT 'accounts.provider_key', provider_key_id FROM api.accounts
                               WHERE provider_key IS NOT NULL
                     UNION ALL SELECT 'refresh_tokens.secret', key_id FROM api.refresh_tokens) AS rows
               WHERE kind = $1"#,
            self.as_str(),
            keys.id(),
            keys.previous_id(),
        );
        counts.fetch_one(&mut *transaction).await
    }

    /// The next rows behind `after`, in the order of their ids, that do not say that they are of the current key.
    pub async fn next(self, pool: &PgPool, keys: &Keys, after: Uuid, limit: i64) -> sqlx::Result<Vec<Uuid>> {
        let (mut transaction, id) = (patient(pool).await?, keys.id());
        let database = &mut *transaction;
        match self {
            Self::Email => {
                sqlx::query_scalar!(
                    "SELECT id FROM api.accounts WHERE id > $1 AND key_id IS DISTINCT FROM $2 ORDER BY id LIMIT $3",
                    after,
                    id,
                    limit,
                )
                .fetch_all(database)
                .await
            }
            Self::ProviderKey => {
                sqlx::query_scalar!(
                    "SELECT id FROM api.accounts
                     WHERE id > $1 AND provider_key IS NOT NULL AND provider_key_id IS DISTINCT FROM $2
                     ORDER BY id LIMIT $3",
                    after,
                    id,
                    limit,
                )
                .fetch_all(database)
                .await
            }
            Self::RefreshToken => {
                sqlx::query_scalar!(
                    "SELECT id FROM api.refresh_tokens WHERE id > $1 AND key_id IS DISTINCT FROM $2
                     ORDER BY id LIMIT $3",
                    after,
                    id,
                    limit,
                )
                .fetch_all(database)
                .await
            }
        }
    }

    /// Encrypts these rows anew, all or none, and says how many those were that needed it and that nobody else held.
    pub async fn rewrite(
        self,
        pool: &PgPool,
        keys: &Keys,
        reading: Reading<'_>,
        ids: &[Uuid],
    ) -> sqlx::Result<u64> {
        match self {
            Self::Email => emails(pool, keys, reading, ids).await,
            Self::ProviderKey => provider_keys(pool, keys, reading, ids).await,
            Self::RefreshToken => refresh_tokens(pool, keys, reading, ids).await,
        }
    }
}

/// A walk over a large table takes longer than a request may.
async fn patient(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let mut transaction = pool.begin().await?;
    sqlx::query!("SET LOCAL statement_timeout = '10min'").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// The digest is an HMAC of the address by Rust's lower case, which Postgres' need not be: so the address comes here.
async fn emails(pool: &PgPool, keys: &Keys, reading: Reading<'_>, ids: &[Uuid]) -> sqlx::Result<u64> {
    let mut transaction = pool.begin().await?;
    let rows = sqlx::query!(
        r#"SELECT id, public.pgp_sym_decrypt(email, CASE WHEN key_id = $3 THEN $4 ELSE $5 END) AS "email!"
           FROM api.accounts WHERE id = ANY($1) AND key_id IS DISTINCT FROM $2
           ORDER BY id FOR UPDATE SKIP LOCKED"#,
        ids,
        keys.id(),
        reading.id,
        reading.its,
        reading.otherwise,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let digests: Vec<_> = rows.iter().map(|row| keys.email_digest(&row.email)).collect();
    let emails: Vec<_> = rows.into_iter().map(|row| row.email).collect();
    let done = sqlx::query!(
        "UPDATE api.accounts a
         SET email_digest = new.digest, key_id = $5,
             email = public.pgp_sym_encrypt(new.email, $4, 'cipher-algo=aes256, s2k-mode=1')
         FROM unnest($1::uuid[], $2::bytea[], $3::text[]) AS new (id, digest, email) WHERE a.id = new.id",
        &ids,
        &digests,
        &emails,
        keys.column().expose_secret(),
        keys.id(),
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(done.rows_affected())
}

/// The condition stands in it twice: what was changed between the statement's begin and the lock is looked at again.
async fn provider_keys(pool: &PgPool, keys: &Keys, reading: Reading<'_>, ids: &[Uuid]) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "WITH mine AS (SELECT id FROM api.accounts
                       WHERE id = ANY($1) AND provider_key IS NOT NULL AND provider_key_id IS DISTINCT FROM $2
                       ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE api.accounts a
         SET provider_key_id = $2,
             provider_key = public.pgp_sym_encrypt(
                 public.pgp_sym_decrypt(provider_key, CASE WHEN provider_key_id = $3 THEN $4 ELSE $5 END),
                 $6, 'cipher-algo=aes256, s2k-mode=1')
         FROM mine WHERE a.id = mine.id AND provider_key IS NOT NULL AND provider_key_id IS DISTINCT FROM $2",
        ids,
        keys.id(),
        reading.id,
        reading.its,
        reading.otherwise,
        keys.column().expose_secret(),
    );
    Ok(done.execute(pool).await?.rows_affected())
}

async fn refresh_tokens(pool: &PgPool, keys: &Keys, reading: Reading<'_>, ids: &[Uuid]) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "WITH mine AS (SELECT id FROM api.refresh_tokens WHERE id = ANY($1) AND key_id IS DISTINCT FROM $2
                       ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE api.refresh_tokens t
         SET key_id = $2,
             secret = public.pgp_sym_encrypt_bytea(
                 public.pgp_sym_decrypt_bytea(secret, CASE WHEN key_id = $3 THEN $4 ELSE $5 END),
                 $6, 'cipher-algo=aes256, s2k-mode=1')
         FROM mine WHERE t.id = mine.id AND key_id IS DISTINCT FROM $2",
        ids,
        keys.id(),
        reading.id,
        reading.its,
        reading.otherwise,
        keys.column().expose_secret(),
    );
    Ok(done.execute(pool).await?.rows_affected())
}
