//! `Idempotency-Key`: a request that is repeated is done once, and gets the first answer again.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    harness::{BUSYBOX, TestApp, docker, until},
};

const UNKNOWN: &str = "c123e4567-e89b-12d3-a456-426614174000";

pub(crate) fn sleeper() -> Value {
    json!({"image": BUSYBOX, "command": "sleep 1000"})
}

async fn patch_keyed(app: &TestApp, cuid: &str, key: &str, body: &Value) -> Answer {
    let request = app.request(Method::PATCH, &format!("/containers/{cuid}")).header("idempotency-key", key);
    app.send(request.json(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_the_first_answer_byte_for_byte_also_after_a_restart() {
    let mut app = TestApp::start().await;
    let created = app.post_keyed("/containers", "create", &sleeper()).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let cuid = created.json()["cuid"].as_str().unwrap().to_owned();
    let act = |action: &str| format!("/containers/{cuid}/{action}");
    let started = app.post_keyed(&act("start"), "start", &json!({})).await;
    let batch = json!({"cuids": [cuid, UNKNOWN]});
    let paused = app.post_keyed("/containers/batch/pause", "batch", &batch).await;
    app.act(&cuid, "unpause").await;
    let patched = patch_keyed(&app, &cuid, "patch", &json!({"env": {"A": "1"}})).await;
    let id = docker(&["inspect", "--format", "{{.Id}}{{.State.StartedAt}}", &cuid]);
    for round in ["before", "after"] {
        app.post_keyed("/containers", "create", &sleeper()).await.repeats(&created);
        app.post_keyed(&act("start"), "start", &json!({})).await.repeats(&started);
        app.post_keyed("/containers/batch/pause", "batch", &batch).await.repeats(&paused);
        patch_keyed(&app, &cuid, "patch", &json!({"env": {"A": "1"}})).await.repeats(&patched);
        if round == "before" {
            app.restart().await;
        }
    }
    assert_eq!(app.data_entries(), [cuid.as_str()]);
    assert_eq!(docker(&["inspect", "--format", "{{.Id}}{{.State.StartedAt}}", &cuid]), id, "nothing was done again");
    app.shut_down().await;
    let lines = app.actions();
    let replayed: Vec<_> = lines.iter().filter(|line| line["replayed"] == true).map(|line| &line["status"]).collect();
    assert_eq!(replayed, [201, 200, 200, 200, 201, 200, 200, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_given_again_and_logged_again() {
    let mut app = TestApp::start().await;
    let cuid = app.create(&sleeper()).await;
    for (path, key, body) in [
        ("/containers".to_owned(), "no image", json!({})),
        ("/containers".to_owned(), "no json", json!(["x"])),
        (format!("/containers/{UNKNOWN}/start"), "unknown", json!(null)),
        (format!("/containers/{cuid}/pause"), "state", json!(null)),
        ("/containers/batch/start".to_owned(), "empty", json!({"cuids": []})),
        ("/healthz".to_owned(), "method", json!(null)),
    ] {
        let key = key.replace(' ', "-");
        let first = app.post_keyed(&path, &key, &body).await;
        assert!(first.status.is_client_error(), "{first:?}");
        app.post_keyed(&path, &key, &body).await.repeats(&first);
    }
    app.act(&cuid, "start").await;
    let again = app.post_keyed(&format!("/containers/{cuid}/pause"), "state", &json!(null)).await;
    again.refused(422, "INVALID_STATE", "");
    assert_eq!(app.status(&cuid).await["status"], "running", "it could be paused now, and is not");
    app.shut_down().await;
    let lines = app.actions();
    let replayed: Vec<_> = lines.iter().filter(|line| line["replayed"] == true && line["action"] == "pause").collect();
    assert_eq!(replayed.len(), 2);
    assert!(replayed.iter().all(|line| line["code"] == "INVALID_STATE" && line["status"] == 422 && line["cuid"] == cuid));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_with_the_same_key_is_refused_and_not_done() {
    let app = TestApp::start().await;
    let created = app.post_keyed("/containers", "key", &sleeper()).await;
    let cuid = created.json()["cuid"].as_str().unwrap().to_owned();
    app.post_keyed(&format!("/containers/{cuid}/start"), "start", &json!({})).await;
    app.act(&cuid, "stop?timeout=0").await;
    let at = |path: &str| format!("/containers/{cuid}{path}");
    for (path, key, body) in [
        ("/containers".to_owned(), "key", json!({"image": BUSYBOX, "command": "sleep 1001"})),
        ("/containers".to_owned(), "start", json!({})),
        (at("/start"), "key", sleeper()),
        (at("/start"), "start", json!({"a": 1})),
        (at("/start?overwrite=true"), "start", json!({})),
        (at("/restart"), "start", json!({})),
    ] {
        app.post_keyed(&path, key, &body).await.refused(422, "IDEMPOTENCY_MISMATCH", "Idempotency-Key");
    }
    patch_keyed(&app, &cuid, "key", &sleeper()).await.refused(422, "IDEMPOTENCY_MISMATCH", "Idempotency-Key");
    let bare = app.request(Method::POST, &at("/start")).header("idempotency-key", "start");
    app.send(bare).await.refused(422, "IDEMPOTENCY_MISMATCH", "Idempotency-Key");
    assert_eq!(app.data_entries(), [cuid.as_str()]);
    assert_eq!(app.status(&cuid).await["status"], "exited");
    app.post_keyed("/containers", "key", &sleeper()).await.repeats(&created);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_of_an_absent_engine_is_not_kept() {
    let world = tempfile::tempdir().unwrap();
    let socket = world.path().join("engine.sock");
    let app = TestApp::start_with([("DOCKER_HOST", format!("unix://{}", socket.display()))]).await;
    app.post_keyed("/containers", "key", &sleeper()).await.refused(503, "ENGINE_UNAVAILABLE", "");
    std::os::unix::fs::symlink("/var/run/docker.sock", &socket).unwrap();
    until("the engine is there", async || app.get("/containers").await.status == StatusCode::OK).await;
    let answer = app.post_keyed("/containers", "key", &sleeper()).await;
    assert!(answer.status == StatusCode::CREATED && !answer.is_replayed(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused_where_keys_are_taken() {
    let app = TestApp::start().await;
    let long = "k".repeat(255);
    for key in ["", " ", "a b", "tab\there", "é", &format!("{long}k")] {
        let key = reqwest::header::HeaderValue::from_bytes(key.as_bytes()).unwrap();
        let at = |method: Method, path: &str| app.send(app.request(method, path).header("idempotency-key", key.clone()));
        at(Method::POST, "/containers").await.refused(400, "INVALID_IDEMPOTENCY_KEY", "Idempotency-Key");
        at(Method::PATCH, &format!("/containers/{UNKNOWN}")).await.refused(400, "INVALID_IDEMPOTENCY_KEY", "Idempotency-Key");
        assert_eq!(at(Method::GET, "/containers").await.status, StatusCode::OK);
        at(Method::DELETE, &format!("/containers/{UNKNOWN}")).await.refused(404, "CONTAINER_NOT_FOUND", "");
    }
    let two = app.request(Method::POST, "/containers").header("idempotency-key", "a").header("idempotency-key", "b");
    app.send(two).await.refused(400, "INVALID_IDEMPOTENCY_KEY", "Idempotency-Key");
    let body = vec![b' '; (1 << 20) + 1];
    for _ in 0..2 {
        let large = app.request(Method::POST, "/containers").header("idempotency-key", &long).body(body.clone());
        let answer = app.send(large).await;
        answer.refused(413, "BODY_TOO_LARGE", "body");
        assert!(!answer.is_replayed());
    }
    assert!(app.data_entries().is_empty() && app.kept_answers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_free_again_after_a_day_and_a_disk_that_keeps_no_answer_fails_no_request() {
    let mut app = TestApp::start().await;
    let first = app.post_keyed("/containers", "key", &sleeper()).await;
    let answers = app.kept_answers();
    assert_eq!(answers.len(), 1);
    let yesterday = SystemTime::now() - Duration::from_secs(25 * 3600);
    fs::File::options().write(true).open(&answers[0]).unwrap().set_modified(yesterday).unwrap();
    app.restart().await;
    until("old answers are gone", async || app.kept_answers().is_empty()).await;
    app.post_keyed("/containers", "key", &json!({})).await.refused(400, "MISSING_IMAGE", "image");

    app.kept_answers().into_iter().for_each(|answer| fs::remove_file(answer).unwrap());
    fs::remove_dir(app.data().join(".answers")).unwrap();
    // One that can't be made.
    std::os::unix::fs::symlink("nowhere", app.data().join(".answers")).unwrap();
    let second = app.post_keyed("/containers", "other", &sleeper()).await;
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_ne!(first.json()["cuid"], second.json()["cuid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_kept_answer_can_t_be_read_is_not_done_again() {
    let mut app = TestApp::start().await;
    let cuid = app.run(&sleeper()).await;
    let path = format!("/containers/{cuid}/stop?timeout=0");
    app.post_keyed(&path, "key", &json!({})).await;
    let answer = app.kept_answers().remove(0);
    app.act(&cuid, "start").await;
    fs::write(&answer, "spoilt").unwrap();
    app.post_keyed(&path, "key", &json!({})).await.refused(500, "IO_FAILED", "");
    fs::remove_file(&answer).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &answer, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    app.post_keyed(&path, "key", &json!({})).await.refused(500, "IO_FAILED", "");
    assert_eq!(app.status(&cuid).await["status"], "running");
    app.shut_down().await;
    let refused = |line: &&Value| line["action"] == "stop" && line["code"] == "IO_FAILED" && line["cuid"] == cuid;
    assert_eq!(app.actions().iter().filter(refused).count(), 2);
}
