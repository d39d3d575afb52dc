//! Videos: everybody who is logged in reads all; editors make them and change their own; admins change and remove any.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::LOCATION},
    web::{Data, Json, Path},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    auth::Subject,
    database::videos::{self, Fields, Filter, Status, Video},
    extract::{Body, Query, lines, one_line},
    failure::Failure,
    state::State,
};

const NONE: Failure = Failure::NotFound("There is no such video.");
const PAGE: i64 = 20;

/// Which videos, newest first.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct List {
    /// Videos of a page.
    #[garde(range(min = 1, max = 100))]
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<i64>,
    /// `next` of the page before.
    #[garde(length(max = 64))]
    #[param(max_length = 22, pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")]
    cursor: Option<String>,
    /// Only with this status.
    #[garde(skip)]
    status: Option<Status>,
    /// Only with this text in the title; upper and lower case are the same.
    #[garde(length(chars, min = 1, max = 100), inner(custom(one_line)))]
    #[param(min_length = 1, max_length = 100, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    title: Option<String>,
}

/// A page of videos.
#[derive(Serialize, ToSchema)]
pub struct Page {
    /// Newest first.
    #[schema(max_items = 100)]
    items: Vec<Video>,
    /// The cursor of the next page; null on the last one.
    #[schema(max_length = 22, pattern = "^[A-Za-z0-9_-]{22}$")]
    next: Option<String>,
}

/// A video as a client writes it.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// One line.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    title: String,
    /// Several lines; empty where it is left out.
    #[garde(length(chars, max = 5000), custom(lines))]
    #[serde(default)]
    #[schema(
        max_length = 5000,
        pattern = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$"
    )]
    description: String,
    /// An https address without credentials.
    #[garde(length(chars, max = 2000), custom(https))]
    #[schema(
        max_length = 2000,
        pattern = "^https://[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[A-Za-z0-9._~:/?&=%+,;@!$'()*-]*)?$"
    )]
    url: String,
    /// `draft` where it is left out.
    #[garde(skip)]
    #[serde(default = "draft")]
    status: Status,
}

/// List videos
///
/// Everybody's, newest first, page by page.
#[utoipa::path(get, path = "/videos", tag = "videos", operation_id = "listVideos", params(List), security(("bearer" = [])),
    responses((status = 200, description = "A page", body = Page)))]
pub async fn list(state: Data<State>, Query(query): Query<List>) -> Result<Json<Page>, Failure> {
    let limit = query.limit.unwrap_or(PAGE);
    let before = query.cursor.as_deref().map(cursor).transpose()?;
    // One more than asked for tells whether there is another page.
    let filter = Filter { before, status: query.status, title: query.title, limit: limit + 1 };
    let mut items = videos::list(&state.pool()?, &filter).await?;
    let asked = usize::try_from(limit).unwrap_or_default();
    let more = items.len() > asked;
    items.truncate(asked);
    let last = items.last().filter(|_| more).map(|video| URL_SAFE_NO_PAD.encode(video.id.as_bytes()));
    Ok(Json(Page { items, next: last }))
}

/// Make a video
///
/// It belongs to the account that makes it.
#[utoipa::path(post, path = "/videos", tag = "videos", operation_id = "createVideo", request_body = Write, security(("bearer" = [])),
    responses((status = 201, description = "The video", body = Video)))]
pub async fn create(
    state: Data<State>,
    subject: Subject,
    Body(body): Body<Write>,
) -> Result<HttpResponse, Failure> {
    let video = videos::create(&state.pool()?, subject.id, &body.into()).await?;
    let path = format!("/videos/{}", video.id);
    Ok(HttpResponse::build(StatusCode::CREATED).insert_header((LOCATION, path)).json(video))
}

/// Read a video
///
/// Anybody's.
#[utoipa::path(get, path = "/videos/{id}", tag = "videos", operation_id = "readVideo", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The video")), responses((status = 200, description = "The video", body = Video)))]
pub async fn read(state: Data<State>, id: Path<Uuid>) -> Result<Json<Video>, Failure> {
    videos::get(&state.pool()?, *id).await?.map(Json).ok_or(NONE)
}

/// Replace a video
///
/// An editor one of their own, an admin any.
#[utoipa::path(put, path = "/videos/{id}", tag = "videos", operation_id = "replaceVideo", request_body = Write, security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The video; an editor's own")),
    responses((status = 200, description = "The video", body = Video)))]
pub async fn replace(
    state: Data<State>,
    subject: Subject,
    id: Path<Uuid>,
    Body(body): Body<Write>,
) -> Result<Json<Video>, Failure> {
    videos::replace(&state.pool()?, subject, *id, &body.into()).await?.map(Json).ok_or(NONE)
}

/// Remove a video
///
/// Its jobs go with it.
#[utoipa::path(delete, path = "/videos/{id}", tag = "videos", operation_id = "deleteVideo", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The video")), responses((status = 204, description = "It is gone")))]
pub async fn delete(state: Data<State>, id: Path<Uuid>) -> Result<HttpResponse, Failure> {
    let gone = videos::delete(&state.pool()?, *id).await?;
    gone.then(|| HttpResponse::NoContent().finish()).ok_or(NONE)
}

impl From<Write> for Fields {
    fn from(Write { title, description, url, status }: Write) -> Self {
        Self { title, description, url, status }
    }
}

fn cursor(text: &str) -> Result<Uuid, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    let invalid = || Failure::Invalid("cursor: not one that this service gave; leave it out".into());
    bytes.map(Uuid::from_bytes).ok_or_else(invalid)
}

const fn draft() -> Status {
    Status::Draft
}

/// As the pattern of the schema has it. `user:password@` would be shown to everybody who reads the video.
fn https<C>(text: &str, _: &C) -> garde::Result {
    let rest = text.strip_prefix("https://").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "0"));
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let valid = host.bytes().next().is_some_and(lower)
        && host.bytes().all(|b| lower(b) || matches!(b, b'.' | b'-'))
        && (1..=5).contains(&port.len())
        && port.bytes().all(|b| b.is_ascii_digit())
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~:/?&=%+,;@!$'()*-".contains(&b));
    valid.then_some(()).ok_or_else(|| garde::Error::new("not an https address without credentials"))
}
