//! Containers without folders, and folders without what they should hold.

use std::fs;

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{BUSYBOX, TestApp, docker, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_without_a_folder_is_reported_and_left_alone() {
    let mut app = TestApp::start().await;
    let cuid = format!("c{}", uuid::Uuid::new_v4());
    docker(&["create", "--name", &cuid, "--label", &format!("berth.cuid={cuid}"), BUSYBOX]);
    app.restart().await;
    let reported = app.get("/healthz").await.json()["orphans"]["containers"].to_string();
    let left = docker(&["ps", "--all", "--quiet", "--filter", &format!("name={cuid}")]);
    docker(&["rm", "--force", &cuid]);
    assert!(reported.contains(&cuid), "{reported}");
    assert!(!left.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_json_that_can_t_be_read_is_reported_and_left_alone() {
    let mut app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX})).await;
    app.shut_down().await;
    let path = app.folder(&cuid).join("container.json");
    fs::write(&path, "{\"cuid\":").unwrap();
    app.restart().await;
    assert_eq!(app.get("/healthz").await.json()["orphans"]["folders"], json!([cuid]));
    app.get(&format!("/containers/{cuid}")).await.refused(404, "CONTAINER_NOT_FOUND", "");
    assert_eq!(fs::read_to_string(path).unwrap(), "{\"cuid\":");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_record_is_not_where_it_was_is_left_alone() {
    let mut app = TestApp::start().await;
    let cuid =
        app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "volumes": [{"volume": "v", "container_path": "/v"}]})).await;
    let before = docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &cuid]);
    app.shut_down().await;
    let (record, aside) = (app.folder(&cuid).join("container.json"), app.folder(&cuid).join("container.json.bak"));
    fs::rename(&record, &aside).unwrap();
    app.restart().await;
    assert_eq!(app.get("/healthz").await.json()["orphans"]["folders"], json!([cuid]));
    fs::rename(&aside, &record).unwrap();
    app.restart().await;
    assert_eq!(app.status(&cuid).await["status"], "running");
    assert_eq!(docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &cuid]), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_reported_as_they_come_and_go() {
    let app = TestApp::start().await;
    let cuid = format!("c{}", uuid::Uuid::new_v4());
    let reported = async || app.get("/healthz").await.json()["orphans"]["containers"].to_string().contains(&cuid);
    docker(&["create", "--name", &cuid, "--label", &format!("berth.cuid={cuid}"), BUSYBOX]);
    until("it is reported", reported).await;
    docker(&["rm", "--force", &cuid]);
    until("it is not any more", async || !reported().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_folder_was_taken_away_can_be_deleted() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    berth::files::remove::remove_tree(&app.folder(&cuid)).unwrap();
    assert_eq!(app.delete(&cuid).await.status, StatusCode::OK);
    app.get(&format!("/containers/{cuid}")).await.refused(404, "CONTAINER_NOT_FOUND", "");
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &format!("name={cuid}")]), "");
}
