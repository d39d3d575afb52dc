//! What is done later: POST /transcribe, /analyze and /schedule answer 202 with a job; GET and DELETE /jobs/{id}.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::LOCATION},
    web::{Data, Json, Path},
};
use garde::Validate;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    auth::Subject,
    database::jobs::{self, Job, Kind, New},
    extract::{Body, lines},
    failure::{Failure, Part},
    state::State,
};

const NONE: Failure = Failure::NotFound("There is no such job.");
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What is to be written down.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Transcribe {
    /// The video.
    #[garde(skip)]
    video_id: Uuid,
    /// The language that is spoken, two letters of ISO 639-1; the provider finds out where it is left out.
    #[garde(inner(custom(iso_639)))]
    #[schema(max_length = 2, pattern = "^[a-z]{2}$")]
    language: Option<String>,
}

/// What is to be answered.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Analyze {
    /// The video.
    #[garde(skip)]
    video_id: Uuid,
    /// The question; the provider gets it with title and description.
    #[garde(length(chars, min = 1, max = 2000), custom(lines))]
    #[schema(
        min_length = 1,
        max_length = 2000,
        pattern = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$"
    )]
    question: String,
}

/// What is to be published, and when.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Schedule {
    /// The video.
    #[garde(skip)]
    video_id: Uuid,
    /// RFC 3339; a time that has passed means now.
    #[garde(skip)]
    #[serde(with = "time::serde::rfc3339")]
    publish_at: OffsetDateTime,
}

/// Transcribe a video
///
/// The provider fetches it; what comes out stands in the job.
#[utoipa::path(post, path = "/transcribe", tag = "jobs", request_body = Transcribe, security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 128, pattern = "^[!-~]*$", description = "Two requests with one key make one job")),
    responses((status = 202, description = "The job", body = Job)))]
pub async fn transcribe(
    state: Data<State>,
    subject: Subject,
    request: HttpRequest,
    Body(body): Body<Transcribe>,
) -> Result<HttpResponse, Failure> {
    needs_provider(&state)?;
    let input = json!({ "language": body.language });
    let idempotency_key = idempotency_key(&request)?;
    let (kind, video, due_at) = (Kind::Transcribe, body.video_id, None);
    queue(&state, &New { owner: subject.id, kind, video, input, due_at, idempotency_key }).await
}

/// Analyze a video
///
/// The provider answers a question about it; the answer stands in the job.
#[utoipa::path(post, path = "/analyze", tag = "jobs", request_body = Analyze, security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 128, pattern = "^[!-~]*$", description = "Two requests with one key make one job")),
    responses((status = 202, description = "The job", body = Job)))]
pub async fn analyze(
    state: Data<State>,
    subject: Subject,
    request: HttpRequest,
    Body(body): Body<Analyze>,
) -> Result<HttpResponse, Failure> {
    needs_provider(&state)?;
    let input = json!({ "question": body.question });
    let idempotency_key = idempotency_key(&request)?;
    let (kind, video, due_at) = (Kind::Analyze, body.video_id, None);
    queue(&state, &New { owner: subject.id, kind, video, input, due_at, idempotency_key }).await
}

/// Publish a video later
///
/// The job sets its status to `published`.
#[utoipa::path(post, path = "/schedule", tag = "jobs", request_body = Schedule, security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 128, pattern = "^[!-~]*$", description = "Two requests with one key make one job")),
    responses((status = 202, description = "The job", body = Job)))]
pub async fn schedule(
    state: Data<State>,
    subject: Subject,
    request: HttpRequest,
    Body(body): Body<Schedule>,
) -> Result<HttpResponse, Failure> {
    let idempotency_key = idempotency_key(&request)?;
    let (kind, video, due_at) = (Kind::Publish, body.video_id, Some(body.publish_at));
    queue(&state, &New { owner: subject.id, kind, video, input: json!({}), due_at, idempotency_key }).await
}

/// Read a job of one's own
///
/// An admin reads any.
#[utoipa::path(get, path = "/jobs/{id}", tag = "jobs", operation_id = "readJob", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The job")), responses((status = 200, description = "The job", body = Job)))]
pub async fn read(state: Data<State>, subject: Subject, id: Path<Uuid>) -> Result<Json<Job>, Failure> {
    jobs::get(&state.pool()?, subject, *id).await?.map(Json).ok_or(NONE)
}

/// Remove a job of one's own
///
/// One that runs is given up. An admin removes any.
#[utoipa::path(delete, path = "/jobs/{id}", tag = "jobs", operation_id = "deleteJob", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The job")), responses((status = 204, description = "It is gone")))]
pub async fn delete(state: Data<State>, subject: Subject, id: Path<Uuid>) -> Result<HttpResponse, Failure> {
    let gone = jobs::delete(&state.pool()?, subject, *id).await?;
    gone.then(|| HttpResponse::NoContent().finish()).ok_or(NONE)
}

async fn queue(state: &State, new: &New<'_>) -> Result<HttpResponse, Failure> {
    let job = jobs::create(&state.pool()?, new).await?;
    let job = job.ok_or(Failure::NotFound("videoId: there is no such video."))?;
    if (job.kind, job.video) != (new.kind, new.video) {
        return Err(Failure::Conflict("This Idempotency-Key was used for another request."));
    }
    let path = format!("/jobs/{}", job.id);
    Ok(HttpResponse::build(StatusCode::ACCEPTED).insert_header((LOCATION, path)).json(job))
}

fn needs_provider(state: &State) -> Result<(), Failure> {
    if state.config.ai.base_url.is_none() {
        return Err(Failure::Missing(Part::Provider));
    }
    Ok(())
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<&str>, Failure> {
    let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let valid = |key: &&str| (1..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let key = value.to_str().ok().filter(valid);
    let wrong = || Failure::Invalid("Idempotency-Key: not 1 to 128 visible ASCII characters".into());
    key.map(Some).ok_or_else(wrong)
}

fn iso_639<C>(text: &str, _: &C) -> garde::Result {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_lowercase()) {
        return Ok(());
    }
    Err(garde::Error::new("not two lower-case letters such as en"))
}
