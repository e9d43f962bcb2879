//! The action log and `/healthz`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{BUSYBOX, PASSWORD, TestApp, USER, until};

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_a_line_without_secrets() {
    let mut app = TestApp::start().await;
    let spec = json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"TOKEN": "hunter2"}});
    let cuid = app.post_keyed("/containers", "key", &spec).await.json()["cuid"].as_str().unwrap().to_owned();
    app.post_keyed("/containers", "key", &spec).await;
    let answer = app.post(&format!("/containers/{cuid}/pause")).await;
    app.get("/nowhere?token=hunter2").await;
    app.shut_down().await;
    let lines = app.actions();
    assert!(lines.iter().all(|line| !line.to_string().contains("hunter2")), "{lines:?}");
    let creations: Vec<_> = lines.iter().filter(|line| line["action"] == "create").collect();
    assert_eq!((creations.len(), &creations[1]["replayed"]), (2, &true.into()));
    assert!(creations.iter().all(|line| line["status"] == 201 && line["cuid"] == cuid), "{creations:?}");
    let created = creations[0];
    assert_eq!(
        (&created["status"], &created["user"], &created["remote"], &created["method"]),
        (&201.into(), &"admin".into(), &"127.0.0.1".into(), &"POST".into())
    );
    assert!(
        created.get("error").is_none() && created["bytes_in"].as_u64() > Some(10) && created["bytes_out"].as_u64() > Some(100)
    );
    let paused = lines.iter().find(|line| line["action"] == "pause").unwrap();
    assert_eq!(
        (&paused["cuid"], &paused["error"], &paused["code"]),
        (&cuid.as_str().into(), &"state_error".into(), &"INVALID_STATE".into())
    );
    assert_eq!(paused["request_id"], answer.headers["x-request-id"].to_str().unwrap());
    assert!(paused["duration_ms"].is_u64() && paused["timestamp"].is_string() && paused["message"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_the_versions_and_how_many_containers_there_are() {
    let app = TestApp::start().await;
    app.create(&json!({"image": BUSYBOX})).await;
    let answer = app.get("/healthz").await;
    let body = answer.json();
    assert_eq!((answer.status, &body["status"], &body["containers"]), (StatusCode::OK, &"ok".into(), &1.into()));
    for field in ["version", "compose_version", "engine_version"] {
        assert!(body[field].as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()), "{field}: {body}");
    }
    assert!(body["uptime_s"].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_client_vanished_is_logged_with_its_outcome() {
    use std::io::Write;
    let app = TestApp::start().await;
    let address = app.base.strip_prefix("http://").unwrap();
    let mut client = std::net::TcpStream::connect(address).unwrap();
    let body = json!({"image": BUSYBOX, "labels": {"left": "alone"}}).to_string();
    let credentials = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    write!(
        client,
        "POST /containers HTTP/1.1\r\nhost: x\r\nauthorization: Basic {credentials}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    until("the creation has begun", async || !app.data_entries().is_empty()).await;
    // A reset, not an orderly end.
    rustix::net::sockopt::set_socket_linger(&client, Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let line = async || app.actions().into_iter().find(|line| line["action"] == "create");
    until("it is logged", async || line().await.is_some()).await;
    let line = line().await.unwrap();
    assert_eq!((&line["status"], &line["user"], line["bytes_in"].as_u64()), (&201.into(), &USER.into(), Some(body.len() as u64)));
    let found = app.get("/containers?label=left=alone").await.json();
    assert_eq!((&found["total"], &found["containers"][0]["cuid"]), (&1.into(), &line["cuid"]));
}
