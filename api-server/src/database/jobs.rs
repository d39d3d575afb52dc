//! Jobs: a queue in a table. A worker takes a job for a time; when that has passed without an end, another one may take it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::{Role, Subject};

/// The channel that tells workers of a new job.
pub const CHANNEL: &str = "api_jobs";
/// A job that fails so often has failed.
pub const MAX_ATTEMPTS: i32 = 5;

/// What is to be done with a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Kind {
    /// Write down what is said in it.
    Transcribe,
    /// Answer a question about its description.
    Analyze,
    /// Set its status to `published` at a time.
    Publish,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum JobState {
    /// It waits.
    Queued,
    /// A worker has it.
    Running,
    /// `result` says what came out.
    Succeeded,
    /// `error` says why.
    Failed,
}

/// A job as its owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The job.
    pub id: Uuid,
    /// What is to be done.
    pub kind: Kind,
    /// How far it is.
    pub state: JobState,
    /// With which video.
    pub video: Uuid,
    /// What came out.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// Why it failed.
    #[schema(max_length = 300, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub error: Option<String>,
    /// How often it was tried.
    #[schema(minimum = 0, maximum = 6)]
    pub attempts: i32,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// RFC 3339.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// A job to be.
#[derive(Debug)]
pub struct New<'a> {
    /// Who asked for it.
    pub owner: Uuid,
    /// What is to be done.
    pub kind: Kind,
    /// With which video.
    pub video: Uuid,
    /// What else was said.
    pub input: Value,
    /// Not before; nothing means now.
    pub due_at: Option<OffsetDateTime>,
    /// The client's name for this request.
    pub idempotency_key: Option<&'a str>,
}

/// A job that a worker has taken.
#[derive(Debug)]
pub struct Taken {
    /// The job.
    pub id: Uuid,
    /// Who asked for it.
    pub owner: Uuid,
    /// What is to be done.
    pub kind: Kind,
    /// With which video.
    pub video: Uuid,
    /// What else was said.
    pub input: Value,
    /// This attempt's number, from 1.
    pub attempts: i32,
}

/// Queues a job and tells the workers. Nothing when the video is not there. With the key of an earlier request of the same
/// owner it is that request's job.
pub async fn create(pool: &PgPool, new: &New<'_>) -> sqlx::Result<Option<Job>> {
    // The update of a row that is there changes nothing; it makes RETURNING answer with it.
    sqlx::query_as!(
        Job,
        r#"WITH job AS (
               INSERT INTO api.jobs (id, owner, kind, video, input, due_at, idempotency_key)
               SELECT $1, $2, $3, id, $5, coalesce($6, now()), $7 FROM api.videos WHERE id = $4
               ON CONFLICT (owner, idempotency_key) DO UPDATE SET idempotency_key = excluded.idempotency_key
               RETURNING *
           ), told AS (SELECT pg_notify($8, '') FROM job)
           SELECT id AS "id!", kind AS "kind!: Kind", state AS "state!: JobState", video AS "video!", result, error,
                  attempts AS "attempts!", created_at AS "created_at!", finished_at
           FROM job LEFT JOIN told ON true"#,
        Uuid::now_v7(),
        new.owner,
        new.kind as Kind,
        new.video,
        new.input,
        new.due_at,
        new.idempotency_key,
        CHANNEL,
    )
    .fetch_optional(pool)
    .await
}

/// A job of the subject's own, for an admin any.
pub async fn get(pool: &PgPool, subject: Subject, id: Uuid) -> sqlx::Result<Option<Job>> {
    sqlx::query_as!(
        Job,
        r#"SELECT id, kind AS "kind: Kind", state AS "state: JobState", video, result, error, attempts, created_at,
                  finished_at
           FROM api.jobs WHERE id = $1 AND (owner = $2 OR $3)"#,
        id,
        subject.id,
        subject.role == Role::Admin,
    )
    .fetch_optional(pool)
    .await
}

/// Removes a job of the subject's own, for an admin any; a worker that has it finds it gone. False where there is none.
pub async fn delete(pool: &PgPool, subject: Subject, id: Uuid) -> sqlx::Result<bool> {
    let gone = sqlx::query!(
        "DELETE FROM api.jobs WHERE id = $1 AND (owner = $2 OR $3)",
        id,
        subject.id,
        subject.role == Role::Admin,
    );
    Ok(gone.execute(pool).await?.rows_affected() > 0)
}

/// Takes the job that is due longest, for `lease`. A running one is due again when its lease is over: its worker is gone.
pub async fn take(pool: &PgPool, lease: Duration) -> sqlx::Result<Option<Taken>> {
    sqlx::query_as!(
        Taken,
        r#"UPDATE api.jobs SET state = 'running', attempts = attempts + 1,
                  due_at = now() + make_interval(secs => $1)
           WHERE id = (SELECT id FROM api.jobs WHERE state IN ('queued', 'running') AND due_at <= now()
                       ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING id, owner, kind AS "kind: Kind", video, input, attempts"#,
        lease.as_secs_f64(),
    )
    .fetch_optional(pool)
    .await
}

/// The job succeeded; false when it is no longer this attempt's.
pub async fn succeed(pool: &PgPool, job: &Taken, result: &Value) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE api.jobs SET state = 'succeeded', result = $3, error = NULL, finished_at = now()
         WHERE id = $1 AND attempts = $2 AND state = 'running'",
        job.id,
        job.attempts,
        result,
    );
    Ok(done.execute(pool).await?.rows_affected() > 0)
}

/// The attempt failed: again after `retry_in`, or never.
pub async fn fail(pool: &PgPool, job: &Taken, error: &str, retry_in: Option<Duration>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE api.jobs
         SET state = CASE WHEN $4::float8 IS NULL THEN 'failed' ELSE 'queued' END, error = $3,
             due_at = coalesce(now() + make_interval(secs => $4), due_at),
             finished_at = CASE WHEN $4::float8 IS NULL THEN now() END
         WHERE id = $1 AND attempts = $2 AND state = 'running'",
        job.id,
        job.attempts,
        error,
        retry_in.map(|pause| pause.as_secs_f64()),
    );
    Ok(done.execute(pool).await?.rows_affected() > 0)
}

/// Sets the video's status; false when it is gone.
pub async fn publish(pool: &PgPool, video: Uuid) -> sqlx::Result<bool> {
    let done =
        sqlx::query!("UPDATE api.videos SET status = 'published', updated_at = now() WHERE id = $1", video);
    Ok(done.execute(pool).await?.rows_affected() > 0)
}
