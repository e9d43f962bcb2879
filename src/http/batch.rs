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

use super::{
    App,
    containers::{NoQuery, acted, deleted, grace},
    envelope::{request_id, to_the_end},
    error::{ApiError, ApiResult},
    idempotency::Unkept,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    cuids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedWithGrace {
    cuids: Vec<String>,
    /// Seconds that each container may take to stop before it is killed.
    timeout: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedToDelete {
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
#[derive(Serialize)]
pub(crate) struct Rows {
    results: Vec<Value>,
}

/// `POST /containers/batch/start`
pub(crate) async fn start(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    plain(request, app, &body.0, Action::Start).await
}

/// `POST /containers/batch/stop`
pub(crate) async fn stop(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    with_grace(request, app, &body.0, Action::Stop).await
}

/// `POST /containers/batch/restart`
pub(crate) async fn restart(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    with_grace(request, app, &body.0, Action::Restart).await
}

/// `POST /containers/batch/pause`
pub(crate) async fn pause(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    plain(request, app, &body.0, Action::Pause).await
}

/// `POST /containers/batch/unpause`
pub(crate) async fn unpause(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<Rows>> {
    plain(request, app, &body.0, Action::Unpause).await
}

/// `POST /containers/batch/delete`
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
    if results.iter().any(|row| row["status"] == StatusCode::SERVICE_UNAVAILABLE.as_u16()) {
        request.extensions_mut().insert(Unkept);
    }
    Ok(Answer(Rows { results }))
}

/// Does it to one, and gives what the single call would have answered.
async fn row(request: &HttpRequest, app: &App, sent: &str, change: Change) -> Value {
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
        let mut body = serde_json::to_value(error.body(request_id(request), app.development)).unwrap_or_default();
        body["cuid"] = sent.into();
        body
    })
}

impl Change {
    async fn make(self, app: &App, cuid: Cuid) -> Result<Value, Error> {
        match self {
            Self::Act(action, grace) => {
                let outcome = acted(app, cuid, action, grace, Terms::default()).await?;
                serde_json::to_value(outcome).map_err(|error| Error::io("write the answer")(error.into()))
            }
            Self::Delete { force, remove_volumes } => deleted(app, cuid, force, remove_volumes, Terms::default()).await,
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
