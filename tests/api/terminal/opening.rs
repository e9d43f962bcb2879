//! Who may open a terminal of what, and what the action log says of it.

use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::Error;

use super::client::World;
use crate::harness::{BUSYBOX, TestApp};

/// An upgrade that is answered without one.
async fn refused(app: &TestApp, cuid: &str, query: &str, status: u16, code: &str, field: &str) {
    let request = app.request(Method::GET, &format!("/ws/{cuid}{query}"));
    let upgrade = request
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    app.send(upgrade).await.refused(status, code, field);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_can_t_be_had_is_refused_before_the_upgrade() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    for query in ["", "?mode=shell", "?cols=80&rows=24", "?mode=exec", "?mode=attach"] {
        refused(&app, &cuid, query, 422, "INVALID_STATE", "").await;
    }
    for (query, field) in [
        ("?mode=root", "mode"),
        ("?cols=0", "cols"),
        ("?rows=x", "rows"),
        ("?cwd=app", "cwd"),
        ("?user=", "user"),
        ("?col=80", "col"),
    ] {
        refused(&app, &cuid, query, 400, "INVALID_QUERY", field).await;
    }
    refused(&app, "c123e4567-e89b-12d3-a456-426614174000", "", 404, "CONTAINER_NOT_FOUND", "").await;
    app.act(&cuid, "start").await;
    app.get(&format!("/ws/{cuid}")).await.refused(400, "INVALID_REQUEST", "Upgrade");
    let upgrade = app.request(Method::GET, &format!("/ws/{cuid}")).header("connection", "upgrade").header("upgrade", "websocket");
    app.send(upgrade.header("sec-websocket-version", "8")).await.refused(400, "INVALID_REQUEST", "Sec-WebSocket-Version");
    app.act(&cuid, "pause").await;
    refused(&app, &cuid, "?mode=shell", 422, "INVALID_STATE", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_opens_nothing() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let url = format!("{}/ws/{}", world.app.base.replace("http", "ws"), container.cuid);
    match tokio_tungstenite::connect_async(url).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 401),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_action_log_has_a_session_s_mode_duration_and_exit_code() {
    let world = World::start().await;
    let container = world.idle(BUSYBOX).await;
    let mut client = world.open(&container, "mode=exec").await;
    let session = client.next().await["session"].clone();
    client.type_in("echo secret; exit 3\n").await;
    assert_eq!(client.rest().await.exit(), 3);
    let line = world.ends(1).await.remove(0);
    assert_eq!((&line["session"], &line["mode"], &line["exit_code"]), (&session, &"exec".into(), &3.into()));
    assert_eq!(
        (&line["cuid"], &line["user"], &line["bytes_in"]),
        (&container.cuid.to_string().into(), &"admin".into(), &20.into())
    );
    assert!(line["duration_ms"].is_u64() && !line.to_string().contains("secret"));
}
