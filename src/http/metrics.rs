//! `GET /metrics`: what Prometheus asks for.

use std::collections::HashSet;

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};

use super::{App, containers::NoQuery, error::ApiResult, request::Query};
use crate::{error::Error, metrics::Levels};

/// What is of this type only for who asks for it: all others get Prometheus' older text.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Gives what was counted and timed to Prometheus
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
    let (kind, text) = if accept.contains(OPEN_METRICS) {
        (format!("{OPEN_METRICS}; version=1.0.0; charset=utf-8"), text)
    } else {
        ("text/plain; version=0.0.4; charset=utf-8".to_owned(), classic(&text))
    };
    Ok(HttpResponse::Ok().content_type(kind).body(text))
}

/// The same in Prometheus' older text, in which a counter is called as its sample is, and a unit is no more than a part of a name.
fn classic(text: &str) -> String {
    let counters: HashSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut classic = String::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", what, name, ref rest @ ..] if counters.contains(name) => {
                classic.extend(["# ", what, " ", name, "_total ", &rest.join(" ")]);
            }
            _ => classic.push_str(line),
        }
        classic.push('\n');
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_called_as_its_sample_in_the_older_text() {
        let text = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1\n# TYPE b gauge\nb 2\n# EOF\n";
        let older = "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\na_seconds_total 1\n# TYPE b gauge\nb 2\n";
        assert_eq!(classic(text), older);
    }
}
