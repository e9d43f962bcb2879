//! `/healthz`: whether the engine answers, and what runs here. `/livez`: whether the server does.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Json as Answer},
};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{App, containers::NoQuery, error::ApiResult, request::Query};
use crate::error::Error;

/// How long the engine and Compose may take to say their versions.
const PATIENCE: Duration = Duration::from_secs(3);

/// `GET /healthz`: 200, or 503 with the same body and what is wrong.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, description = "all is well"), (status = 503, description = "the engine does not answer")))]
pub(crate) async fn show(app: Data<App>, _: Query<NoQuery>) -> ApiResult<HttpResponse> {
    let mut problems = Vec::new();
    let engine_version = ask("the Docker Engine", app.engine.version(), &mut problems).await;
    let compose_version = ask("docker compose", app.compose_version(), &mut problems).await;
    if let Some(why) = app.containers.engine_state().trouble() {
        problems.push(format!("the engine's events are not heard: {why}"));
    }
    let orphans = app.containers.orphaned();
    let body = json!({
        "status": if problems.is_empty() { "ok" } else { "unavailable" },
        "version": env!("CARGO_PKG_VERSION"),
        "compose_version": compose_version,
        "engine_version": engine_version,
        "containers": app.containers.count(),
        "uptime_s": app.started.elapsed().as_secs(),
        "problems": problems,
        "orphans": {"containers": orphans.containers, "folders": orphans.folders},
    });
    Ok(if problems.is_empty() {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().insert_header((header::RETRY_AFTER, "1")).json(body)
    })
}

/// What `/livez` answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct AliveView {
    #[schema(example = "alive")]
    status: &'static str,
}

/// `GET /livez`: that requests are answered, and nothing else. It needs no password.
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
