//! `GET /metrics`: what Prometheus asks for.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};

use super::{App, containers::NoQuery, error::ApiResult, request::Query};
use crate::{error::Error, metrics::Levels};

/// What is of this type only for who asks for it: it is Prometheus' older text to all others, who read it as well.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// `GET /metrics`
#[utoipa::path(
    get, path = "/metrics", tag = "server",
    responses((status = 200, description = "counters, timers and levels for Prometheus", content(
        (String = "text/plain"),
        (String = "application/openmetrics-text"),
    )))
)]
pub(crate) async fn show(app: Data<App>, request: HttpRequest, _: Query<NoQuery>) -> ApiResult<HttpResponse> {
    let containers = app.containers.count_by_status();
    let levels = Levels {
        containers: &containers,
        sessions: app.sessions.count(),
        engine_up: app.containers.engine_state().is_watched(),
        uptime: app.started.elapsed(),
    };
    let text = app.metrics.written(&levels).map_err(|error| Error::io("write the metrics")(std::io::Error::other(error)))?;
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let kind = if accept.contains(OPEN_METRICS) {
        format!("{OPEN_METRICS}; version=1.0.0; charset=utf-8")
    } else {
        "text/plain; version=0.0.4; charset=utf-8".to_owned()
    };
    Ok(HttpResponse::Ok().content_type(kind).body(text))
}
