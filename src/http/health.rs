//! `/healthz`: whether the engine answers, and what runs here. `/livez`: whether the server does.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Json as Answer},
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{App, containers::NoQuery, error::ApiResult, request::Query};
use crate::{domain::id::Cuid, error::Error};

/// How long the engine and Compose may take to say their versions.
const PATIENCE: Duration = Duration::from_secs(3);

/// How the server is.
#[derive(Serialize, ToSchema)]
#[schema(as = Health, example = json!({
    "status": "ok", "version": "0.1.0", "compose_version": "2.26.1", "engine_version": "26.1.5", "containers": 3, "uptime_s": 86400,
    "problems": [], "orphans": {"containers": [], "folders": []},
}))]
pub(crate) struct HealthView {
    /// `ok`, or `unavailable` where there is a problem.
    status: &'static str,
    version: &'static str,
    compose_version: Option<String>,
    engine_version: Option<String>,
    containers: usize,
    uptime_s: u64,
    /// What is wrong, in a sentence each.
    problems: Vec<String>,
    orphans: OrphansView,
}

/// What carries the server's marks and is nobody's.
#[derive(Serialize, ToSchema)]
#[schema(as = Orphans)]
struct OrphansView {
    /// Containers at the engine whose label names no container of this server.
    containers: Vec<String>,
    /// Folders whose `container.json` can't be read.
    folders: Vec<Cuid>,
}

/// Tells how the server is
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "server",
    responses(
        (status = 200, description = "All is well", body = HealthView),
        (status = 503, description = "Something is not, such as an engine that does not answer", body = HealthView, headers(
            ("Retry-After" = u32, description = "Seconds"),
        )),
    ),
)]
pub(crate) async fn show(app: Data<App>, _: Query<NoQuery>) -> ApiResult<HttpResponse> {
    let mut problems = Vec::new();
    let engine_version = ask("the Docker Engine", app.engine.version(), &mut problems).await;
    let compose_version = ask("docker compose", app.compose_version(), &mut problems).await;
    if let Some(why) = app.containers.engine_state().trouble() {
        problems.push(format!("the engine's events are not heard: {why}"));
    }
    let orphans = app.containers.orphaned();
    let well = problems.is_empty();
    let body = HealthView {
        status: if well { "ok" } else { "unavailable" },
        version: env!("CARGO_PKG_VERSION"),
        compose_version: compose_version.map(str::to_owned),
        engine_version,
        containers: app.containers.count(),
        uptime_s: app.started.elapsed().as_secs(),
        problems,
        orphans: OrphansView { containers: orphans.containers, folders: orphans.folders },
    };
    Ok(if well {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().insert_header((header::RETRY_AFTER, "1")).json(body)
    })
}

/// What `/livez` answers.
#[derive(Serialize, ToSchema)]
#[schema(as = Alive, example = json!({"status": "alive"}))]
pub(crate) struct AliveView {
    #[schema(example = "alive")]
    status: &'static str,
}

/// Tells that requests are answered
///
/// And nothing else, so it needs no password.
#[utoipa::path(get, path = "/livez", tag = "server", security(()), responses((status = 200, description = "the server answers", body = AliveView)))]
pub(crate) async fn alive(_: Query<NoQuery>) -> Answer<AliveView> {
    Answer(AliveView { status: "alive" })
}

/// Somebody's version, or a problem.
async fn ask<T>(who: &str, answer: impl Future<Output = Result<T, Error>>, problems: &mut Vec<String>) -> Option<T> {
    let answer = timeout(PATIENCE, answer).await;
    let problem = match answer {
        Ok(Ok(version)) => return Some(version),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("{who} did not answer within {} s", PATIENCE.as_secs()),
    };
    problems.push(problem);
    None
}
