//! `/metrics` and `/livez`: what watches the server itself.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{BUSYBOX, TestApp, until};

impl TestApp {
    /// The value of a metric, by its name with labels.
    async fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.text();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_does_is_counted() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    app.get(&format!("/containers/{cuid}/nothing")).await.refused(404, "ROUTE_NOT_FOUND", "");
    for (name, least) in [
        (r#"berth_http_requests_total{method="POST",route="/containers",status="201"}"#, 1.0),
        (r#"berth_http_requests_total{method="POST",route="/containers/{cuid}/start",status="200"}"#, 1.0),
        (r#"berth_http_requests_total{method="GET",route="none",status="404"}"#, 1.0),
        (r#"berth_http_request_duration_seconds_count{method="POST",route="/containers"}"#, 1.0),
        (r#"berth_http_bytes_total{direction="in"}"#, 10.0),
        (r#"berth_compose_runs_total{command="create",outcome="success"}"#, 1.0),
        ("berth_compose_wait_seconds_count", 2.0),
        (r#"berth_containers{status="running"}"#, 1.0),
        ("berth_engine_up", 1.0),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 5.0),
    ] {
        until(name, async || app.metric(name).await >= Some(least)).await;
    }
    until("the engine's events are timed", async || app.metric("berth_engine_event_lag_seconds_count").await >= Some(1.0)).await;
    let asked =
        app.send(app.request(Method::GET, "/metrics").header("accept", "application/openmetrics-text;version=1.0.0")).await;
    assert!(asked.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_may_ask_whether_the_server_is_alive_and_learns_nothing_else() {
    let app = TestApp::start().await;
    let anonymous = async |method, path: &str| app.send(app.client.request(method, format!("{}{path}", app.base))).await;
    let alive = anonymous(Method::GET, "/livez").await;
    assert_eq!((alive.status, alive.json()), (StatusCode::OK, json!({"status": "alive"})));
    anonymous(Method::GET, "/livez/").await.refused(401, "MISSING_CREDENTIALS", "");
    anonymous(Method::GET, "/metrics").await.refused(401, "MISSING_CREDENTIALS", "");
    anonymous(Method::POST, "/livez").await.refused(401, "MISSING_CREDENTIALS", "");
    let keyed = app.client.post(format!("{}/livez", app.base)).header("idempotency-key", "k");
    app.send(keyed).await.refused(401, "MISSING_CREDENTIALS", "");
    assert!(app.kept_answers().is_empty());
}
