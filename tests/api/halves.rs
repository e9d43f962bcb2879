//! The server dies in the middle of what Compose does, while an engine waits for a container to stop.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    faults::compose_of,
    harness::{BUSYBOX, TestApp, docker, until},
};

/// The names of all containers of a compose project.
fn of_project(cuid: &str) -> Vec<String> {
    let filter = format!("label=com.docker.compose.project={cuid}");
    docker(&["ps", "--all", "--format", "{{.Names}}", "--filter", &filter]).lines().map(str::to_owned).collect()
}

/// A container that takes its whole grace to stop.
fn deaf() -> Value {
    json!({"image": BUSYBOX, "command": ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], "env": {"A": "old"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreation_that_is_cut_short_leaves_one_container_that_stays_up() {
    let mut app = TestApp::start_process().await;
    let cuid = app.run(&deaf()).await;
    let patch = app.request(Method::PATCH, &format!("/containers/{cuid}")).json(&json!({"env": {"A": "new"}})).send();
    let patch = tokio::spawn(patch);
    until("Compose waits for the old one to stop", async || of_project(&cuid).len() == 2).await;
    let stopping = docker(&["inspect", "--format", "{{.State.StartedAt}}", &cuid]);
    app.kill();
    assert!(patch.await.unwrap().is_err());
    app.spawn().await;
    until("it is put back", async || !app.folder(&cuid).join("change.json").exists()).await;
    assert_eq!(of_project(&cuid), [cuid.as_str()]);
    assert_ne!(
        docker(&["inspect", "--format", "{{.State.StartedAt}}", &cuid]),
        stopping,
        "the engine was about to kill that run"
    );
    assert_eq!(app.status(&cuid).await["status"], "running");
    assert!(docker(&["exec", &cuid, "env"]).contains("A=old"));
    assert_eq!(app.patch(&cuid, &json!({"env": {"A": "new"}})).await.status, StatusCode::OK);
    assert_eq!(of_project(&cuid), [cuid.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_there_under_the_name_of_a_half_gets_its_own_back_with_what_it_holds() {
    let mut app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    docker(&["exec", "--user", "0", &cuid, "sh", "-c", "echo precious > /precious"]);
    // As between Compose's removal of the old one and its renaming of the new one.
    app.shut_down().await;
    docker(&["rename", &cuid, &format!("0123456789ab_{cuid}")]);
    app.serve().await;
    assert_eq!(app.status(&cuid).await["status"], "missing");
    assert_eq!(app.act(&cuid, "restart?timeout=0").await["status"], "running");
    assert_eq!(of_project(&cuid), [cuid.as_str()]);
    assert_eq!(docker(&["exec", &cuid, "cat", "/precious"]), "precious\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_network_that_is_gone_is_made_anew_and_taken_back_where_it_fails() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "network": "own"})).await;
    app.act(&cuid, "stop?timeout=0").await;
    docker(&["network", "rm", &format!("{cuid}_default")]);
    assert_eq!(app.act(&cuid, "start").await["status"], "running");
    assert_eq!(of_project(&cuid), [cuid.as_str()]);
    assert!(!app.folder(&cuid).join("change.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_is_cut_short_leaves_the_container_up() {
    let mut app = TestApp::start_process().await;
    let cuid = app.run(&deaf()).await;
    let before = docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &cuid]);
    let restart = tokio::spawn(app.request(Method::POST, &format!("/containers/{cuid}/restart?timeout=5")).send());
    until("Compose is at it", async || app.folder(&cuid).join("change.json").exists() && !compose_of(&cuid).is_empty()).await;
    app.kill();
    assert!(restart.await.unwrap().is_err());
    app.spawn().await;
    until("it is put back", async || !app.folder(&cuid).join("change.json").exists()).await;
    let after = docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &cuid]);
    assert_eq!(after.split(' ').next(), before.split(' ').next(), "the same container");
    assert_ne!(after, before, "started again");
    assert_eq!(app.status(&cuid).await["status"], "running");
}
