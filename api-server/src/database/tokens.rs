//! Refresh tokens: each is used once, and one that is used again revokes all that came from the same login (RFC 9700
//! section 4.14.2).

use std::time::Duration;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    auth::{Role, Subject},
    database::cannot_decrypt,
    encryption::{Keys, Reading},
    headers::random,
};

/// A refresh token: the row's id and a secret of 256 bits.
struct Token {
    id: Uuid,
    secret: [u8; 32],
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, secret) = bytes.split_first_chunk::<16>()?;
        Some(Self { id: Uuid::from_bytes(*id), secret: secret.try_into().ok()? })
    }

    fn text(&self) -> SecretString {
        URL_SAFE_NO_PAD.encode([&self.id.as_bytes()[..], &self.secret].concat()).into()
    }

    /// What is kept: the secret itself would let whoever reads the table log in.
    fn digest(&self) -> Vec<u8> {
        digest(&SHA256, &self.secret).as_ref().to_vec()
    }
}

/// The first token after a login.
pub async fn begin(pool: &PgPool, keys: &Keys, account: Uuid, life: Duration) -> sqlx::Result<SecretString> {
    let mut transaction = pool.begin().await?;
    let family = Uuid::now_v7();
    sqlx::query!("INSERT INTO api.token_families (id, account) VALUES ($1, $2)", family, account)
        .execute(&mut *transaction)
        .await?;
    let token = insert(&mut transaction, keys, family, life).await?;
    transaction.commit().await?;
    Ok(token)
}

/// Takes a token and gives the next one. Nothing when it is not valid, whatever the reason.
pub async fn rotate(
    pool: &PgPool,
    keys: &Keys,
    text: &str,
    life: Duration,
) -> sqlx::Result<Option<(Subject, SecretString)>> {
    let Some(token) = Token::parse(text) else { return Ok(None) };
    let (first, second) = keys.readings();
    match (take(pool, keys, first, &token, life).await, second) {
        // What the first one did was taken back with its transaction.
        (Err(error), Some(second)) if cannot_decrypt(&error) => take(pool, keys, second, &token, life).await,
        (first, _) => first,
    }
}

async fn take(
    pool: &PgPool,
    keys: &Keys,
    reading: Reading<'_>,
    token: &Token,
    life: Duration,
) -> sqlx::Result<Option<(Subject, SecretString)>> {
    let mut transaction = pool.begin().await?;
    // The locks make one of two requests with the same token the second one.
    let row = sqlx::query!(
        r#"SELECT f.id AS family, a.id AS account, a.role AS "role: Role", t.used_at IS NOT NULL AS "used!",
                  t.expires_at > now() AND f.revoked_at IS NULL AND a.disabled_at IS NULL AS "valid!",
                  public.pgp_sym_decrypt_bytea(t.secret, CASE WHEN t.key_id = $2 THEN $3 ELSE $4 END) AS "secret!"
           FROM api.refresh_tokens t JOIN api.token_families f ON f.id = t.family JOIN api.accounts a ON a.id = f.account
           WHERE t.id = $1 FOR UPDATE OF f, t"#,
        token.id,
        reading.id,
        reading.its,
        reading.otherwise,
    )
    .fetch_optional(&mut *transaction)
    .await?;
    // Whoever knows an id without its secret must not be able to log somebody out.
    let Some(row) = row.filter(|row| verify_slices_are_equal(&row.secret, &token.digest()).is_ok()) else {
        return Ok(None);
    };
    if row.used {
        sqlx::query!(
            "UPDATE api.token_families SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1",
            row.family
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        tracing::warn!(account = %row.account, "a refresh token was used twice: its family is revoked");
        return Ok(None);
    }
    if !row.valid {
        return Ok(None);
    }
    sqlx::query!("UPDATE api.refresh_tokens SET used_at = now() WHERE id = $1", token.id)
        .execute(&mut *transaction)
        .await?;
    let next = insert(&mut transaction, keys, row.family, life).await?;
    transaction.commit().await?;
    Ok(Some((Subject { id: row.account, role: row.role }, next)))
}

/// Removes what can never be used again. Used tokens stay until they expire: they are what a replay is known by.
pub async fn sweep(pool: &PgPool) -> sqlx::Result<u64> {
    let gone = sqlx::query!(
        "WITH gone AS (DELETE FROM api.refresh_tokens WHERE expires_at < now() RETURNING family)
         DELETE FROM api.token_families f WHERE f.id IN (SELECT family FROM gone)
         AND NOT EXISTS (SELECT FROM api.refresh_tokens t WHERE t.family = f.id AND t.expires_at >= now())"
    );
    Ok(gone.execute(pool).await?.rows_affected())
}

async fn insert(
    connection: &mut PgConnection,
    keys: &Keys,
    family: Uuid,
    life: Duration,
) -> sqlx::Result<SecretString> {
    let secret = random().ok_or_else(|| sqlx::Error::Protocol("no random numbers".into()))?;
    let token = Token { id: Uuid::now_v7(), secret };
    sqlx::query!(
        "INSERT INTO api.refresh_tokens (id, family, secret, key_id, expires_at)
         VALUES ($1, $2, public.pgp_sym_encrypt_bytea($3, $4, 'cipher-algo=aes256, s2k-mode=1'), $5,
                 now() + make_interval(secs => $6))",
        token.id,
        family,
        token.digest(),
        keys.column().expose_secret(),
        keys.id(),
        life.as_secs_f64(),
    )
    .execute(connection)
    .await?;
    Ok(token.text())
}
