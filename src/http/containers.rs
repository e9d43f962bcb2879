//! `/containers`: create, show, change, start and stop, delete.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data, web::Json as Answer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    App,
    envelope::to_the_end,
    error::ApiResult,
    request::{CuidPath, Json, Query},
    view::{ContainerView, Read, StateView, StatusView},
};
use crate::{
    containers::{GRACE, Outcome, terms::Terms},
    domain::{
        id::Cuid,
        spec::Spec,
        status::{Action, Status},
    },
    error::Error,
};

#[derive(Serialize)]
pub(crate) struct OutcomeView {
    cuid: Cuid,
    status: Status,
    changed: bool,
    message: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GraceQuery {
    /// Seconds that a container may take to stop before it is killed.
    timeout: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    #[serde(default)]
    force: bool,
    #[serde(default)]
    remove_volumes: bool,
}

/// No parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

/// `POST /containers`
pub(crate) async fn create(request: HttpRequest, app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<HttpResponse> {
    let spec = Spec::from_json(&body.0)?;
    let container = to_the_end(&request, async move { app.containers.create(spec, Terms::default()).await }).await?;
    let location = format!("/containers/{}", container.record.cuid);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(ContainerView::from(&container)))
}

/// `GET /containers/{cuid}`
pub(crate) async fn show(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<Read<ContainerView>>> {
    let shown = ContainerView::from(&app.containers.get(path.0).await?);
    Ok(Answer(Read { shown, engine: app.containers.engine_state().into() }))
}

/// `GET /containers/{cuid}/status`
pub(crate) async fn status(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<Read<StatusView>>> {
    let container = app.containers.get(path.0).await?;
    let shown = StatusView { cuid: path.0, state: StateView::from(&*container.state) };
    Ok(Answer(Read { shown, engine: app.containers.engine_state().into() }))
}

/// `PATCH /containers/{cuid}`
pub(crate) async fn patch(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    body: Json,
) -> ApiResult<Answer<ContainerView>> {
    let container = to_the_end(&request, async move { app.containers.patch(path.0, body.0, Terms::default()).await }).await?;
    Ok(Answer(ContainerView::from(&container)))
}

/// `PATCH /containers/{cuid}/ports`
pub(crate) async fn patch_ports(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    body: Json,
) -> ApiResult<Answer<ContainerView>> {
    let ports = ports_only(&body.0)?;
    let container = to_the_end(&request, async move { app.containers.patch(path.0, ports, Terms::default()).await }).await?;
    Ok(Answer(ContainerView::from(&container)))
}

/// `POST /containers/{cuid}/start`
pub(crate) async fn start(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Start, None, ["The container was started", "The container is running already"]).await
}

/// `POST /containers/{cuid}/stop`
pub(crate) async fn stop(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<GraceQuery>,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Stop, Some(query.0), ["The container was stopped", "The container is stopped already"])
        .await
}

/// `POST /containers/{cuid}/restart`
pub(crate) async fn restart(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<GraceQuery>,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Restart, Some(query.0), ["The container was restarted", ""]).await
}

/// `POST /containers/{cuid}/pause`
pub(crate) async fn pause(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Pause, None, ["The container was paused", ""]).await
}

/// `POST /containers/{cuid}/unpause`
pub(crate) async fn unpause(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Unpause, None, ["The container was unpaused", ""]).await
}

/// `DELETE /containers/{cuid}`
pub(crate) async fn delete(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<DeleteQuery>,
) -> ApiResult<Answer<Value>> {
    let DeleteQuery { force, remove_volumes } = query.0;
    to_the_end(&request, async move { app.containers.delete(path.0, force, remove_volumes, Terms::default()).await }).await?;
    Ok(Answer(json!({"cuid": path.0, "status": "deleted", "message": "The container was deleted"})))
}

/// One action and its answer; `messages` are for a container that it changed, and for one that was so already.
async fn act(
    request: &HttpRequest,
    app: Data<App>,
    cuid: Cuid,
    action: Action,
    query: Option<GraceQuery>,
    messages: [&'static str; 2],
) -> ApiResult<Answer<OutcomeView>> {
    let grace = query.map_or(Ok(GRACE), GraceQuery::grace)?;
    let change = async move { app.containers.act(cuid, action, grace, Terms::default()).await };
    let Outcome { container, changed } = to_the_end(request, change).await?;
    let message = if changed { messages[0] } else { messages[1] };
    Ok(Answer(OutcomeView { cuid, status: container.state.status, changed, message }))
}

impl GraceQuery {
    fn grace(self) -> Result<Duration, Error> {
        match self.timeout {
            None => Ok(GRACE),
            Some(seconds @ 0..=3600) => Ok(Duration::from_secs(seconds)),
            Some(seconds) => Err(Error::invalid("INVALID_QUERY", "timeout", "timeout: seconds from 0 to 3600", seconds)),
        }
    }
}

/// The patch that `{"ports": […]}` stands for; other fields are not taken here.
fn ports_only(body: &Value) -> Result<Value, Error> {
    let Some(fields) = body.as_object() else {
        return Err(Error::invalid("INVALID_JSON", "body", "the body is a JSON object", Value::Null));
    };
    if let Some(other) = fields.keys().find(|field| *field != "ports") {
        return Err(Error::invalid("UNKNOWN_FIELD", other, format!("there is no field {other}"), Value::Null));
    }
    match fields.get("ports") {
        Some(Value::Array(_)) => Ok(body.clone()),
        other => Err(Error::invalid("INVALID_PORT", "ports", "ports is a list", other.cloned().unwrap_or_default())),
    }
}
