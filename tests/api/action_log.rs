//! The action log and `/healthz`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Method, StatusCode};
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
async fn calls_have_names_of_their_own_and_credentials_in_urls_are_hidden() {
    let mut app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX})).await;
    let file = format!("/containers/{cuid}/files?path=a.txt");
    app.send(app.request(Method::PUT, &file).body("x")).await;
    app.get(&file.replace("a.txt", "")).await;
    app.send(app.request(Method::DELETE, &file)).await;
    app.get("/proxy/https://user:hunter2@host/a;token=hunter2").await.refused(404, "ROUTE_NOT_FOUND", "");
    let probe = json!({"image": BUSYBOX, "health_check": {"endpoint": "ftp://user:hunter2@host/?key=hunter2"}});
    app.post_json("/containers", &probe).await;
    app.post_json("/containers", &json!({"image": "https://user:hunter2@host/image?token=hunter2"})).await;
    app.shut_down().await;
    let lines = app.actions();
    let names: Vec<_> =
        lines.iter().filter(|line| line["cuid"] == cuid.as_str()).map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(names, ["create", "write_file", "list_files", "delete_file"]);
    assert!(lines.iter().all(|line| !line.to_string().contains("hunter2")), "{lines:?}");
    assert!(lines.iter().any(|line| line["path"] == "/proxy/https://***@host/a;token=***"), "{lines:?}");
}

/// What the kernel shows of a `write` that is under way is whole lines, also to a reader that looks as often as it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_file_sees_whole_lines_while_many_are_written() {
    let app = TestApp::start().await;
    let path = app.world.path().join("logs/actions.jsonl");
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        let mut sights = 0;
        while is_done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) || sights == 0 {
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            }
            sights += 1;
        }
    });
    let requests = (0..300).map(|number| app.get(if number % 2 == 0 { "/containers" } else { "/nowhere/at/all" }));
    futures_util::future::join_all(requests).await;
    done.send(()).unwrap();
    reader.join().unwrap();
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
