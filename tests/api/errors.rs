//! The error body, wherever the failure comes from.

use reqwest::Method;
use serde_json::json;

use crate::harness::TestApp;

const UNKNOWN: &str = "c123e4567-e89b-12d3-a456-426614174000";

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_the_framework_has_the_contract_s_body() {
    let app = TestApp::start().await;
    for (method, path, body, status, code) in [
        (Method::GET, "/", "", 404, "ROUTE_NOT_FOUND"),
        (Method::GET, "/containers/x/y/z", "", 404, "ROUTE_NOT_FOUND"),
        (Method::PUT, "/containers", "", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/healthz", "", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/containers", "", 400, "INVALID_JSON"),
        (Method::POST, "/containers", "{", 400, "INVALID_JSON"),
        (Method::POST, "/containers", "{\"image\":\"\u{fffd}", 400, "INVALID_JSON"),
        (Method::POST, "/containers", "[]", 400, "INVALID_JSON"),
        (Method::GET, "/containers?limit=ten", "", 400, "INVALID_QUERY"),
        (Method::GET, "/containers?limit=0", "", 400, "INVALID_QUERY"),
        (Method::GET, "/containers?limit=101", "", 400, "INVALID_QUERY"),
        (Method::GET, "/containers?status=up", "", 400, "INVALID_QUERY"),
        (Method::GET, "/containers?label=x", "", 400, "INVALID_QUERY"),
        (Method::GET, "/containers?cursor=x", "", 400, "INVALID_QUERY"),
        (Method::GET, "/containers?limti=1", "", 400, "INVALID_QUERY"),
        (Method::GET, "/containers/nonsense", "", 400, "INVALID_CUID"),
        (Method::GET, "/containers/..%2f..%2fetc", "", 400, "INVALID_CUID"),
        (Method::POST, "/containers/nonsense/start", "", 400, "INVALID_CUID"),
        (Method::GET, "/ws/nonsense", "", 400, "INVALID_CUID"),
    ] {
        app.send(app.request(method, path).body(body)).await.refused(status, code, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_on_an_unknown_container_is_not_found() {
    let app = TestApp::start().await;
    for (method, path) in [
        (Method::GET, ""),
        (Method::GET, "/status"),
        (Method::DELETE, ""),
        (Method::POST, "/start"),
        (Method::POST, "/stop"),
        (Method::POST, "/restart"),
        (Method::POST, "/pause"),
        (Method::POST, "/unpause"),
        (Method::POST, "/upload-zip"),
        (Method::GET, "/download?path=x"),
        (Method::GET, "/download-zip"),
        (Method::GET, "/files"),
        (Method::PUT, "/files?path=x"),
        (Method::DELETE, "/files?path=x"),
        (Method::POST, "/files/mkdir?path=x"),
        (Method::GET, "/sessions"),
        (Method::GET, "/recordings"),
    ] {
        app.send(app.request(method, &format!("/containers/{UNKNOWN}{path}"))).await.refused(404, "CONTAINER_NOT_FOUND", "");
    }
    app.patch(UNKNOWN, &json!({"tags": []})).await.refused(404, "CONTAINER_NOT_FOUND", "");
    app.get(&format!("/ws/{UNKNOWN}")).await.refused(404, "CONTAINER_NOT_FOUND", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_body_over_a_mebibyte_is_too_large() {
    let app = TestApp::start().await;
    let body = json!({"image": "a", "env": {"A": "x".repeat(1 << 20)}});
    app.post_json("/containers", &body).await.refused(413, "BODY_TOO_LARGE", "body");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_development_adds_a_stack_trace() {
    for (env, shown) in [("development", true), ("production", false)] {
        let app = TestApp::start_with([("APP_ENV", env.into())]).await;
        assert_eq!(app.get("/nowhere").await.json()["stacktrace"].is_string(), shown, "{env}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_told_which_are_right_and_head_asks_after_what_get_reads() {
    let app = TestApp::start().await;
    let answer = app.send(app.request(Method::PUT, "/containers")).await;
    assert_eq!(answer.headers["allow"], "GET, HEAD, POST");
    for path in ["/containers", "/healthz"] {
        let answer = app.send(app.request(Method::HEAD, path)).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, 0), "{path}");
    }
}
