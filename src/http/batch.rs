//! `/containers/batch/…`: the calls on one container for many of them, side by side, with a row for each of what the single
//! call would have answered.

use std::time::{Duration, Instant};

use actix_web::{
    HttpMessage, HttpRequest,
    http::StatusCode,
    web::{Data, Json as Answer},
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    App,
    containers::{DeletedView, NoQuery, deleted},
    envelope::{request_id, to_the_end},
    error::{ApiError, ApiResult, ErrorBody},
    idempotency::Unkept,
    lifecycle::{OutcomeView, acted, grace},
    line::log_part,
    request::{Json, Query},
    terms::unconditional,
};
use crate::{
    containers::{GRACE, terms::Terms},
    domain::{id::Cuid, json, status::Action},
    error::Error,
};

/// How many containers one call may name.
const MOST: usize = 1000;

/// Which containers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Batch, example = json!({"cuids": ["c123e4567-e89b-42d3-a456-426614174000"]}))]
struct Named {
    #[schema(min_items = 1, max_items = 1000)]
    cuids: Vec<String>,
}

/// Which containers, and how they are stopped.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchWithGrace, example = json!({"cuids": ["c123e4567-e89b-42d3-a456-426614174000"], "timeout": 10}))]
struct NamedWithGrace {
    #[schema(min_items = 1, max_items = 1000)]
    cuids: Vec<String>,
    /// Seconds that each container may take to stop before it is killed.
    #[schema(minimum = 0, maximum = 3600)]
    timeout: Option<u64>,
}

/// Which containers, and how they are deleted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchToDelete, example = json!({"cuids": ["c123e4567-e89b-42d3-a456-426614174000"], "force": true}))]
struct NamedToDelete {
    #[schema(min_items = 1, max_items = 1000)]
    cuids: Vec<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    remove_volumes: bool,
}

/// What is done to each container.
#[derive(Clone, Copy)]
enum Change {
    Act(Action, Duration),
    Delete { force: bool, remove_volumes: bool },
}

/// The answer: a row a container, in the order in which they were named.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchRows, example = json!({"results": [{
    "cuid": "c123e4567-e89b-42d3-a456-426614174000", "status": "running", "changed": true, "message": "The container was started",
}]}))]
pub(crate) struct Rows {
    results: Vec<Row>,
}

/// What the single call would have answered.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchRow)]
#[serde(untagged)]
enum Row {
    Acted(OutcomeView),
    Deleted(DeletedView),
    Failed(FailedRow),
}

/// The error's body, and whose it is.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchFailure)]
struct FailedRow {
    /// As it was sent.
    cuid: String,
    #[serde(flatten)]
    #[schema(value_type = ErrorBody<'static>)]
    error: Value,
    #[serde(skip)]
    passing: bool,
}

/// Starts many containers side by side
#[utoipa::path(
    post,
    path = "/containers/batch/start",
    tag = "batch",
    request_body = Named,
    responses((status = 200, description = "A row for each, in the order in which they were named", body = Rows)),
)]
pub(crate) async fn start(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    plain(request, app, &body.0, Action::Start).await
}

/// Stops many containers side by side
#[utoipa::path(
    post,
    path = "/containers/batch/stop",
    tag = "batch",
    request_body = NamedWithGrace,
    responses((status = 200, description = "A row for each, in the order in which they were named", body = Rows)),
)]
pub(crate) async fn stop(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    with_grace(request, app, &body.0, Action::Stop).await
}

/// Restarts many containers side by side
#[utoipa::path(
    post,
    path = "/containers/batch/restart",
    tag = "batch",
    request_body = NamedWithGrace,
    responses((status = 200, description = "A row for each, in the order in which they were named", body = Rows)),
)]
pub(crate) async fn restart(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    with_grace(request, app, &body.0, Action::Restart).await
}

/// Pauses many containers side by side
#[utoipa::path(
    post,
    path = "/containers/batch/pause",
    tag = "batch",
    request_body = Named,
    responses((status = 200, description = "A row for each, in the order in which they were named", body = Rows)),
)]
pub(crate) async fn pause(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    plain(request, app, &body.0, Action::Pause).await
}

/// Unpauses many containers side by side
#[utoipa::path(
    post,
    path = "/containers/batch/unpause",
    tag = "batch",
    request_body = Named,
    responses((status = 200, description = "A row for each, in the order in which they were named", body = Rows)),
)]
pub(crate) async fn unpause(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    plain(request, app, &body.0, Action::Unpause).await
}

/// Deletes many containers side by side
#[utoipa::path(
    post,
    path = "/containers/batch/delete",
    tag = "batch",
    request_body = NamedToDelete,
    responses((status = 200, description = "A row for each, in the order in which they were named", body = Rows)),
)]
pub(crate) async fn delete(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    let NamedToDelete { cuids, force, remove_volumes } = read(&body.0)?;
    all(request, app, cuids, Change::Delete { force, remove_volumes }).await
}

async fn plain(request: HttpRequest, app: Data<App>, body: &Value, action: Action) -> ApiResult<Answer<Rows>> {
    let Named { cuids } = read(body)?;
    all(request, app, cuids, Change::Act(action, GRACE)).await
}

async fn with_grace(request: HttpRequest, app: Data<App>, body: &Value, action: Action) -> ApiResult<Answer<Rows>> {
    let NamedWithGrace { cuids, timeout } = read(body)?;
    all(request, app, cuids, Change::Act(action, grace(timeout, "INVALID_TIMEOUT")?)).await
}

fn read<T: DeserializeOwned>(body: &Value) -> Result<T, Error> {
    if !body.is_object() {
        return Err(Error::invalid("INVALID_JSON", "body", "the body is a JSON object", Value::Null));
    }
    json::read(body, |field| match field {
        "cuids" => "INVALID_CUIDS",
        "timeout" => "INVALID_TIMEOUT",
        "force" => "INVALID_FORCE",
        "remove_volumes" => "INVALID_REMOVE_VOLUMES",
        _ => "INVALID_JSON",
    })
}

/// Does it to all, to the end of the last of them.
async fn all(request: HttpRequest, app: Data<App>, cuids: Vec<String>, change: Change) -> ApiResult<Answer<Rows>> {
    unconditional(request.headers(), "a batch")?;
    if !(1..=MOST).contains(&cuids.len()) {
        let message = format!("cuids: a list of 1 to {MOST} cuids");
        return Err(Error::invalid("INVALID_CUIDS", "cuids", message, json!({"length": cuids.len()})).into());
    }
    let parts = request.clone();
    let rows = async move { Ok(join_all(cuids.iter().map(|cuid| row(&parts, &app, cuid, change))).await) };
    let results = to_the_end(&request, rows).await?;
    if results.iter().any(|row| matches!(row, Row::Failed(FailedRow { passing: true, .. }))) {
        request.extensions_mut().insert(Unkept);
    }
    Ok(Answer(Rows { results }))
}

/// Does it to one, and gives what the single call would have answered.
async fn row(request: &HttpRequest, app: &App, sent: &str, change: Change) -> Row {
    let began = Instant::now();
    let cuid = sent.parse::<Cuid>();
    let known = cuid.as_ref().ok().copied();
    let done = match cuid {
        Ok(cuid) => change.make(app, cuid).await,
        Err(error) => Err(error),
    };
    let done = done.map_err(ApiError::from);
    log_part(request, change.name(), known, began, done.as_ref().err());
    done.unwrap_or_else(|error| {
        let passing = error.status == StatusCode::SERVICE_UNAVAILABLE;
        let error = serde_json::to_value(error.body(request_id(request), app.development)).unwrap_or_default();
        Row::Failed(FailedRow { cuid: sent.to_owned(), error, passing })
    })
}

impl Change {
    async fn make(self, app: &App, cuid: Cuid) -> Result<Row, Error> {
        let terms = Terms::default();
        match self {
            Self::Act(action, grace) => acted(app, cuid, action, grace, terms).await.map(Row::Acted),
            Self::Delete { force, remove_volumes } => deleted(app, cuid, force, remove_volumes, terms).await.map(Row::Deleted),
        }
    }

    /// The single call's name in the action log.
    fn name(self) -> &'static str {
        match self {
            Self::Act(Action::Start, _) => "start",
            Self::Act(Action::Stop, _) => "stop",
            Self::Act(Action::Restart, _) => "restart",
            Self::Act(Action::Pause, _) => "pause",
            Self::Act(Action::Unpause, _) => "unpause",
            Self::Act(..) => "none",
            Self::Delete { .. } => "delete",
        }
    }
}
