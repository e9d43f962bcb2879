//! `/containers/{cuid}/start`, `stop`, `restart`, `pause` and `unpause`.

use std::time::Duration;

use actix_web::{
    HttpRequest,
    web::{Data, Json as Answer},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    containers::{NoQuery, OverwriteQuery},
    envelope::to_the_end,
    error::ApiResult,
    request::{CuidPath, Query},
    terms::{IfMatch, OnTerms},
};
use crate::{
    containers::{GRACE, Outcome, terms::Terms},
    domain::{
        id::Cuid,
        status::{Action, Status},
    },
    error::Error,
};

/// What a container's state is after an action.
#[derive(Serialize, ToSchema)]
#[schema(as = Outcome, example = json!({
    "cuid": "c123e4567-e89b-42d3-a456-426614174000", "status": "running", "changed": true, "message": "The container was started",
}))]
pub(crate) struct OutcomeView {
    cuid: Cuid,
    status: Status,
    /// False where it was so already.
    changed: bool,
    message: &'static str,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GraceQuery {
    /// Seconds that a container may take to stop before it is killed; 10 where nothing is said.
    #[param(minimum = 0, maximum = 3600, example = 10)]
    timeout: Option<u64>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RestartQuery {
    /// Seconds that a container may take to stop before it is killed; 10 where nothing is said.
    #[param(minimum = 0, maximum = 3600, example = 10)]
    timeout: Option<u64>,
    /// Write the project also where somebody edited it by hand.
    #[serde(default)]
    overwrite: bool,
}

/// Starts a container
///
/// The answer comes when it runs. One that runs already is left alone.
#[utoipa::path(
    post,
    path = "/containers/{cuid}/start",
    tag = "containers",
    params(OverwriteQuery, IfMatch),
    responses((status = 200, description = "The state is reached", body = OutcomeView)),
)]
pub(crate) async fn start(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<OverwriteQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Start, GRACE, terms.overwriting(query.0.overwrite)).await
}

/// Stops a container
///
/// The answer comes when it is down. One that is down already is left alone.
#[utoipa::path(
    post,
    path = "/containers/{cuid}/stop",
    tag = "containers",
    params(GraceQuery, IfMatch),
    responses((status = 200, description = "The state is reached", body = OutcomeView)),
)]
pub(crate) async fn stop(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<GraceQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Stop, grace(query.0.timeout, "INVALID_QUERY")?, terms.0).await
}

/// Restarts a container
///
/// One that is down is started.
#[utoipa::path(
    post,
    path = "/containers/{cuid}/restart",
    tag = "containers",
    params(RestartQuery, IfMatch),
    responses((status = 200, description = "The state is reached", body = OutcomeView)),
)]
pub(crate) async fn restart(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<RestartQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<OutcomeView>> {
    let RestartQuery { timeout, overwrite } = query.0;
    let grace = grace(timeout, "INVALID_QUERY")?;
    act(&request, app, path.0, Action::Restart, grace, terms.overwriting(overwrite)).await
}

/// Pauses a running container
///
/// Its processes are frozen where they are.
#[utoipa::path(
    post,
    path = "/containers/{cuid}/pause",
    tag = "containers",
    params(IfMatch),
    responses((status = 200, description = "The state is reached", body = OutcomeView)),
)]
pub(crate) async fn pause(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Pause, GRACE, terms.0).await
}

/// Lets a paused container go on
#[utoipa::path(
    post,
    path = "/containers/{cuid}/unpause",
    tag = "containers",
    params(IfMatch),
    responses((status = 200, description = "The state is reached", body = OutcomeView)),
)]
pub(crate) async fn unpause(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Unpause, GRACE, terms.0).await
}

async fn act(
    request: &HttpRequest,
    app: Data<App>,
    cuid: Cuid,
    action: Action,
    grace: Duration,
    terms: Terms,
) -> ApiResult<Answer<OutcomeView>> {
    to_the_end(request, async move { acted(&app, cuid, action, grace, terms).await }).await.map(Answer)
}

/// One action, and its answer.
pub(crate) async fn acted(app: &App, cuid: Cuid, action: Action, grace: Duration, terms: Terms) -> Result<OutcomeView, Error> {
    let Outcome { container, changed } = app.containers.act(cuid, action, grace, terms).await?;
    let message = match (action, changed) {
        (Action::Start, true) => "The container was started",
        (Action::Start, false) => "The container is running already",
        (Action::Stop, true) => "The container was stopped",
        (Action::Stop, false) => "The container is stopped already",
        (Action::Restart, _) => "The container was restarted",
        (Action::Pause, _) => "The container was paused",
        (Action::Unpause, _) => "The container was unpaused",
        (Action::Patch | Action::Delete { .. } | Action::Exec | Action::Attach | Action::Stats, _) => "",
    };
    Ok(OutcomeView { cuid, status: container.state.status, changed, message })
}

/// How long a stop may take, of a caller's `timeout` in seconds; `code` is for one that can't be taken.
pub(crate) fn grace(timeout: Option<u64>, code: &'static str) -> Result<Duration, Error> {
    match timeout {
        None => Ok(GRACE),
        Some(seconds @ 0..=3600) => Ok(Duration::from_secs(seconds)),
        Some(seconds) => Err(Error::invalid(code, "timeout", "timeout: seconds from 0 to 3600", seconds)),
    }
}
