//! `/containers`: create, show, change, start and stop, delete.

use std::time::Duration;

use actix_web::{HttpResponse, http::header, web::Data, web::Json as Answer};
use chrono::{DateTime, FixedOffset, Local};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    App,
    error::ApiResult,
    request::{CuidPath, Json, Query},
};
use crate::{
    containers::{GRACE, Outcome, index::Container},
    domain::{
        id::Cuid,
        port::{PortMapping, Protocol},
        spec::Spec,
        status::{Action, Status},
    },
    engine::state::State,
    error::Error,
};

/// A container as every answer shows it: its specification as it was asked for, and its state.
#[derive(Serialize)]
pub(crate) struct ContainerView {
    cuid: Cuid,
    #[serde(flatten)]
    spec: SpecView,
    created_at: DateTime<Local>,
    #[serde(flatten)]
    state: StateView,
}

#[derive(Serialize)]
struct SpecView {
    #[serde(flatten)]
    spec: Value,
    ports: Vec<PortView>,
}

/// What `status` answers, and part of every container.
#[derive(Serialize)]
pub(crate) struct StateView {
    status: Status,
    started_at: Option<DateTime<FixedOffset>>,
    finished_at: Option<DateTime<FixedOffset>>,
    exit_code: Option<i64>,
    health: Option<String>,
    restart_count: i64,
    ip_address: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct StatusView {
    cuid: Cuid,
    #[serde(flatten)]
    state: StateView,
}

/// A published port; where the engine picks the host's, it is known while the container runs.
#[derive(Serialize)]
struct PortView {
    container: u16,
    host: Option<u16>,
    protocol: Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_ip: Option<std::net::IpAddr>,
}

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
pub(crate) async fn create(app: Data<App>, _: Query<NoQuery>, body: Json) -> ApiResult<HttpResponse> {
    let container = app.containers.create(Spec::from_json(&body.0)?).await?;
    let location = format!("/containers/{}", container.record.cuid);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(ContainerView::from(&container)))
}

/// `GET /containers/{cuid}`
pub(crate) async fn show(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<ContainerView>> {
    Ok(Answer(ContainerView::from(&app.containers.get(path.0).await?)))
}

/// `GET /containers/{cuid}/status`
pub(crate) async fn status(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<StatusView>> {
    let container = app.containers.get(path.0).await?;
    Ok(Answer(StatusView { cuid: path.0, state: StateView::from(&*container.state) }))
}

/// `PATCH /containers/{cuid}`
pub(crate) async fn patch(app: Data<App>, path: CuidPath, _: Query<NoQuery>, body: Json) -> ApiResult<Answer<ContainerView>> {
    Ok(Answer(ContainerView::from(&app.containers.patch(path.0, body.0).await?)))
}

/// `PATCH /containers/{cuid}/ports`
pub(crate) async fn patch_ports(
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    body: Json,
) -> ApiResult<Answer<ContainerView>> {
    let ports = ports_only(&body.0)?;
    Ok(Answer(ContainerView::from(&app.containers.patch(path.0, ports).await?)))
}

/// `POST /containers/{cuid}/start`
pub(crate) async fn start(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<OutcomeView>> {
    act(&app, path.0, Action::Start, None, ["The container was started", "The container is running already"]).await
}

/// `POST /containers/{cuid}/stop`
pub(crate) async fn stop(app: Data<App>, path: CuidPath, query: Query<GraceQuery>) -> ApiResult<Answer<OutcomeView>> {
    act(&app, path.0, Action::Stop, Some(query.0), ["The container was stopped", "The container is stopped already"]).await
}

/// `POST /containers/{cuid}/restart`
pub(crate) async fn restart(app: Data<App>, path: CuidPath, query: Query<GraceQuery>) -> ApiResult<Answer<OutcomeView>> {
    act(&app, path.0, Action::Restart, Some(query.0), ["The container was restarted", ""]).await
}

/// `POST /containers/{cuid}/pause`
pub(crate) async fn pause(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<OutcomeView>> {
    act(&app, path.0, Action::Pause, None, ["The container was paused", ""]).await
}

/// `POST /containers/{cuid}/unpause`
pub(crate) async fn unpause(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<OutcomeView>> {
    act(&app, path.0, Action::Unpause, None, ["The container was unpaused", ""]).await
}

/// `DELETE /containers/{cuid}`
pub(crate) async fn delete(app: Data<App>, path: CuidPath, query: Query<DeleteQuery>) -> ApiResult<Answer<Value>> {
    app.containers.delete(path.0, query.0.force, query.0.remove_volumes).await?;
    Ok(Answer(json!({"cuid": path.0, "status": "deleted", "message": "The container was deleted"})))
}

/// One action and its answer; `messages` are for a container that it changed, and for one that was so already.
async fn act(
    app: &App,
    cuid: Cuid,
    action: Action,
    query: Option<GraceQuery>,
    messages: [&'static str; 2],
) -> ApiResult<Answer<OutcomeView>> {
    let grace = query.map_or(Ok(GRACE), GraceQuery::grace)?;
    let Outcome { container, changed } = app.containers.act(cuid, action, grace).await?;
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

impl From<&Container> for ContainerView {
    fn from(container: &Container) -> Self {
        let record = &container.record;
        let mut spec = serde_json::to_value(&record.spec).unwrap_or_default();
        spec.as_object_mut().and_then(|fields| fields.remove("ports"));
        Self {
            cuid: record.cuid,
            spec: SpecView { spec, ports: ports(&record.spec.ports, &container.state) },
            created_at: record.created_at,
            state: StateView::from(&*container.state),
        }
    }
}

impl From<&State> for StateView {
    fn from(state: &State) -> Self {
        Self {
            status: state.status,
            started_at: state.started_at,
            finished_at: state.finished_at,
            exit_code: state.exit_code,
            health: state.health.clone(),
            restart_count: state.restart_count,
            ip_address: state.ip_address.clone(),
        }
    }
}

fn ports(asked: &[PortMapping], state: &State) -> Vec<PortView> {
    let picked = |mapping: &PortMapping| {
        let serves = |published: &&crate::engine::state::Published| {
            published.container == mapping.container.get() && published.protocol == mapping.protocol.as_str()
        };
        state.published.iter().find(serves).map(|published| published.host)
    };
    let view = |mapping: &PortMapping| PortView {
        container: mapping.container.get(),
        host: if mapping.host == 0 { picked(mapping) } else { Some(mapping.host) },
        protocol: mapping.protocol,
        host_ip: mapping.host_ip,
    };
    asked.iter().map(view).collect()
}
