//! `/containers`: create, show, change, start and stop, delete.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header,
    web::{Data, Json as Answer},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    App,
    envelope::to_the_end,
    error::ApiResult,
    line::note_created,
    request::{CuidPath, Json, Query},
    terms::{OnTerms, etag, unconditional},
    view::{ContainerView, Read, StateView, StatusView},
};
use crate::{
    containers::{Drift, GRACE, Outcome, container::Container, terms::Terms},
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

/// What writes a project may overwrite one that someone edited.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OverwriteQuery {
    #[serde(default)]
    overwrite: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestartQuery {
    timeout: Option<u64>,
    #[serde(default)]
    overwrite: bool,
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
pub(crate) async fn create(
    request: HttpRequest,
    app: Data<App>,
    _: Query<NoQuery>,
    terms: OnTerms,
    body: Json,
) -> ApiResult<HttpResponse> {
    unconditional(request.headers(), "a container that is yet to be made")?;
    let (spec, terms, made_by) = (Spec::from_json(&body.0)?, terms.0, request.clone());
    let creation = async move {
        let container = app.containers.create(spec, terms).await?;
        note_created(&made_by, container.record.cuid);
        Ok(container)
    };
    let container = to_the_end(&request, creation).await?;
    let location = format!("/containers/{}", container.record.cuid);
    Ok(shown(HttpResponse::Created().insert_header((header::LOCATION, location)), &container))
}

/// `GET /containers/{cuid}`
pub(crate) async fn show(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<HttpResponse> {
    let container = app.containers.get(path.0).await?;
    let shown = ContainerView::from(&container);
    Ok(tagged(&mut HttpResponse::Ok(), &container, &Read { shown, engine: app.containers.engine_state().into() }))
}

/// A container as a change left it.
fn shown(response: &mut HttpResponseBuilder, container: &Container) -> HttpResponse {
    tagged(response, container, &ContainerView::from(container))
}

/// An answer with the tag of the container's revision. The tag is for `If-Match` alone: the state that is shown moves without
/// it, so a GET is never answered by 304.
fn tagged(response: &mut HttpResponseBuilder, container: &Container, view: &impl Serialize) -> HttpResponse {
    response.insert_header((header::ETAG, etag(container.record.revision))).json(view)
}

/// `GET /containers/{cuid}/status`
pub(crate) async fn status(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<Read<StatusView>>> {
    let container = app.containers.get(path.0).await?;
    let shown = StatusView { cuid: path.0, state: StateView::from(&*container.state) };
    Ok(Answer(Read { shown, engine: app.containers.engine_state().into() }))
}

/// `GET /containers/{cuid}/drift`
pub(crate) async fn drift(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<Drift>> {
    Ok(Answer(app.containers.drift(path.0).await?))
}

/// `PATCH /containers/{cuid}`
pub(crate) async fn patch(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<OverwriteQuery>,
    terms: OnTerms,
    body: Json,
) -> ApiResult<HttpResponse> {
    let terms = terms.overwriting(query.0.overwrite);
    let container = to_the_end(&request, async move { app.containers.patch(path.0, body.0, terms).await }).await?;
    Ok(shown(&mut HttpResponse::Ok(), &container))
}

/// `PATCH /containers/{cuid}/ports`
pub(crate) async fn patch_ports(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<OverwriteQuery>,
    terms: OnTerms,
    body: Json,
) -> ApiResult<HttpResponse> {
    patch(request, app, path, query, terms, Json(ports_only(&body.0)?)).await
}

/// `POST /containers/{cuid}/start`
pub(crate) async fn start(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<OverwriteQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Start, GRACE, terms.overwriting(query.0.overwrite)).await
}

/// `POST /containers/{cuid}/stop`
pub(crate) async fn stop(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<GraceQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Stop, grace(query.0.timeout, "INVALID_QUERY")?, terms.0).await
}

/// `POST /containers/{cuid}/restart`
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

/// `POST /containers/{cuid}/pause`
pub(crate) async fn pause(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Pause, GRACE, terms.0).await
}

/// `POST /containers/{cuid}/unpause`
pub(crate) async fn unpause(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<OutcomeView>> {
    act(&request, app, path.0, Action::Unpause, GRACE, terms.0).await
}

/// `DELETE /containers/{cuid}`
pub(crate) async fn delete(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    query: Query<DeleteQuery>,
    terms: OnTerms,
) -> ApiResult<Answer<Value>> {
    let DeleteQuery { force, remove_volumes } = query.0;
    let deletion = async move { deleted(&app, path.0, force, remove_volumes, terms.0).await };
    to_the_end(&request, deletion).await.map(Answer)
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

/// A deletion, and its answer.
pub(crate) async fn deleted(app: &App, cuid: Cuid, force: bool, remove_volumes: bool, terms: Terms) -> Result<Value, Error> {
    app.containers.delete(cuid, force, remove_volumes, terms).await?;
    Ok(json!({"cuid": cuid, "status": "deleted", "message": "The container was deleted"}))
}

/// How long a stop may take, of a caller's `timeout` in seconds; `code` is for one that can't be taken.
pub(crate) fn grace(timeout: Option<u64>, code: &'static str) -> Result<Duration, Error> {
    match timeout {
        None => Ok(GRACE),
        Some(seconds @ 0..=3600) => Ok(Duration::from_secs(seconds)),
        Some(seconds) => Err(Error::invalid(code, "timeout", "timeout: seconds from 0 to 3600", seconds)),
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
