//! Videos, in pages along their ids.

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::{Role, Subject};

/// Where a video stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    /// Only known here.
    Draft,
    /// Out.
    Published,
    /// No longer out.
    Archived,
}

/// A video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Video {
    /// UUIDv7: later videos have higher ids.
    pub id: Uuid,
    /// The account that made it.
    pub owner: Uuid,
    /// 1 to 200 characters.
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub title: String,
    /// Up to 5,000 characters.
    #[schema(
        max_length = 5000,
        pattern = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$"
    )]
    pub description: String,
    /// Where the file is; this service does not fetch it.
    #[schema(max_length = 2000, pattern = "^https://")]
    pub url: String,
    /// Where it stands.
    pub status: Status,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// What a client says of a video.
#[derive(Clone, Debug)]
pub struct Fields {
    /// The title.
    pub title: String,
    /// The description.
    pub description: String,
    /// Where the file is.
    pub url: String,
    /// Where it stands.
    pub status: Status,
}

/// Which videos are wanted, newest first.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Older than this one.
    pub before: Option<Uuid>,
    /// With this status.
    pub status: Option<Status>,
    /// With this text in the title.
    pub title: Option<String>,
    /// Up to so many.
    pub limit: i64,
}

/// A page of videos.
pub async fn list(pool: &PgPool, filter: &Filter) -> sqlx::Result<Vec<Video>> {
    sqlx::query_as!(
        Video,
        r#"SELECT id, owner, title, description, url, status AS "status: Status", created_at, updated_at
           FROM api.videos
           WHERE ($1::uuid IS NULL OR id < $1) AND ($2::text IS NULL OR status = $2)
             AND ($3::text IS NULL OR position(lower($3) IN lower(title)) > 0)
           ORDER BY id DESC LIMIT $4"#,
        filter.before,
        filter.status as Option<Status>,
        filter.title.as_deref(),
        filter.limit,
    )
    .fetch_all(pool)
    .await
}

/// One video.
pub async fn get(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<Video>> {
    sqlx::query_as!(
        Video,
        r#"SELECT id, owner, title, description, url, status AS "status: Status", created_at, updated_at
           FROM api.videos WHERE id = $1"#,
        id,
    )
    .fetch_optional(pool)
    .await
}

/// Makes one.
pub async fn create(pool: &PgPool, owner: Uuid, fields: &Fields) -> sqlx::Result<Video> {
    sqlx::query_as!(
        Video,
        r#"INSERT INTO api.videos (id, owner, title, description, url, status) VALUES ($1, $2, $3, $4, $5, $6)
           RETURNING id, owner, title, description, url, status AS "status: Status", created_at, updated_at"#,
        Uuid::now_v7(),
        owner,
        fields.title,
        fields.description,
        fields.url,
        fields.status as Status,
    )
    .fetch_one(pool)
    .await
}

/// Replaces what a client says of it. Nothing where it is not there, or is somebody else's and the subject no admin.
pub async fn replace(
    pool: &PgPool,
    subject: Subject,
    id: Uuid,
    fields: &Fields,
) -> sqlx::Result<Option<Video>> {
    sqlx::query_as!(
        Video,
        r#"UPDATE api.videos SET title = $4, description = $5, url = $6, status = $7, updated_at = now()
           WHERE id = $1 AND (owner = $2 OR $3)
           RETURNING id, owner, title, description, url, status AS "status: Status", created_at, updated_at"#,
        id,
        subject.id,
        subject.role == Role::Admin,
        fields.title,
        fields.description,
        fields.url,
        fields.status as Status,
    )
    .fetch_optional(pool)
    .await
}

/// Removes one with its jobs; false where there is none.
pub async fn delete(pool: &PgPool, id: Uuid) -> sqlx::Result<bool> {
    let gone = sqlx::query!("DELETE FROM api.videos WHERE id = $1", id).execute(pool).await?;
    Ok(gone.rows_affected() > 0)
}
