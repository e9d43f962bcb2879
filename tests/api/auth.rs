//! Who may come in.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Method, StatusCode};

use crate::harness::{PASSWORD, TestApp, USER, until};

#[tokio::test(flavor = "multi_thread")]
async fn every_path_wants_the_right_user_and_password() {
    let app = TestApp::start().await;
    let plain = |path: &str| app.client.get(format!("{}{path}", app.base));
    for path in ["/healthz", "/containers", "/nowhere", "/ws/c123e4567-e89b-12d3-a456-426614174000"] {
        let answer = app.send(plain(path)).await;
        answer.refused(401, "MISSING_CREDENTIALS", "");
        assert_eq!(answer.headers["www-authenticate"], "Basic realm=\"berth\"");
        assert_eq!(answer.json()["error"], "auth_error");
    }
    app.send(plain("/healthz").basic_auth(USER, Some("wrong"))).await.refused(401, "INVALID_CREDENTIALS", "");
    app.send(plain("/healthz").basic_auth("root", Some(PASSWORD))).await.refused(401, "INVALID_CREDENTIALS", "");
    app.send(plain("/healthz").bearer_auth(PASSWORD)).await.refused(401, "INVALID_CREDENTIALS", "");
    app.send(plain("/healthz").header("authorization", "Basic !!!")).await.refused(401, "INVALID_CREDENTIALS", "");
    let encoded = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for scheme in ["Basic", "basic", "BASIC"] {
        let answer = app.send(plain("/healthz").header("authorization", format!("{scheme} {encoded}"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_the_right_password_is_still_let_in() {
    let app = TestApp::start().await;
    let guess = || app.client.get(format!("{}/healthz", app.base)).basic_auth(USER, Some("guess"));
    for _ in 0..10 {
        assert_eq!(app.send(guess()).await.status, StatusCode::UNAUTHORIZED);
    }
    let answer = app.send(guess()).await;
    answer.refused(429, "TOO_MANY_FAILURES", "");
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(app.get("/healthz").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_changes_nothing_and_opens_no_terminal() {
    let app = TestApp::start_with([("ALLOWED_ORIGINS", "https://panel.example.org".into())]).await;
    let from = |origin: &str, method: Method, path: &str| app.request(method, path).header("origin", origin.to_owned());
    let own = app.base.clone();
    for origin in ["https://evil.example.org", "null", "http://127.0.0.1:1", "https://panel.example.org.evil.example.org"] {
        app.send(from(origin, Method::POST, "/containers")).await.refused(403, "ORIGIN_NOT_ALLOWED", "Origin");
        let upgrade = from(origin, Method::GET, "/ws/nonsense").header("upgrade", "websocket");
        app.send(upgrade).await.refused(403, "ORIGIN_NOT_ALLOWED", "Origin");
        assert_eq!(app.send(from(origin, Method::GET, "/healthz")).await.status, StatusCode::OK);
    }
    for origin in [own.as_str(), "https://panel.example.org"] {
        app.send(from(origin, Method::POST, "/containers")).await.refused(400, "INVALID_JSON", "body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_in_the_action_log() {
    let app = TestApp::start().await;
    let answer = app.send(app.client.get(format!("{}/containers", app.base)).basic_auth(USER, Some("guess"))).await;
    let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
    until("the refusal is logged", async || app.actions().iter().any(|entry| entry["request_id"] == *id)).await;
    let entry = app.actions().into_iter().find(|entry| entry["request_id"] == *id).unwrap();
    assert_eq!((&entry["error"], &entry["status"]), (&"auth_error".into(), &401.into()));
    assert!(!entry.to_string().contains("guess"));
}
