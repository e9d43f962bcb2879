//! What differs between a container's specification, its project and what runs; and a project that somebody edited.

use std::fs;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    harness::{BUSYBOX, PYTHON, TestApp, archive, docker},
};

async fn drift(app: &TestApp, cuid: &str) -> Value {
    let answer = app.get(&format!("/containers/{cuid}/drift")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

/// The fields in which the container differs.
fn fields(drift: &Value) -> Vec<&str> {
    drift["container"]["differences"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect()
}

async fn start(app: &TestApp, cuid: &str, query: &str) -> Answer {
    app.post(&format!("/containers/{cuid}/start{query}")).await
}

/// A container with something in every field of the specification.
fn everything() -> Value {
    json!({"image": BUSYBOX, "name": "all", "command": ["sh", "-c", "sleep 1000", "$HOME", ""], "env": {"A": "$x", "B": "a=b"},
        "tags": ["x", "y"], "labels": {"k": "$v"}, "user": "1234:5", "working_dir": "/srv/$w", "network": "own",
        "resources": {"cpus": 0.5, "memory": "64m", "pids": 50, "cpu_shares": 512},
        "ports": [{"container": 80}, {"container": 81, "host_ip": "127.0.0.1", "protocol": "udp"}],
        "volumes": [{"volume": "data", "container_path": "/data"}, {"volume": "data", "container_path": "/ro", "mode": "ro"}],
        "health_check": {"test": ["CMD", "true"], "interval": "30s"}, "restart_policy": {"type": "on-failure", "max_retries": 3},
        "log": {"driver": "json-file", "options": {"max-size": "1m"}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_as_it_was_asked_for_has_not_drifted() {
    let app = TestApp::start().await;
    let all = app.run(&everything()).await;
    let least = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let booted =
        app.create(&json!({"image": PYTHON, "network": "none", "user": "image", "restart_policy": {"type": "always"}})).await;
    app.upload(&booted, archive(&[("boot.py", "import time; time.sleep(1000)")])).await;
    app.act(&booted, "start").await;
    let unstarted = app.create(&json!({"image": BUSYBOX, "network": "bridge"})).await;
    for cuid in [&all, &least, &booted, &unstarted] {
        let drift = drift(&app, cuid).await;
        assert_eq!(drift["drifted"], false, "{drift}");
        assert_eq!((&drift["compose_yaml"]["state"], &drift["container"]["state"]), (&"current".into(), &"as_asked".into()));
    }
    app.patch(&all, &json!({"resources": {"memory": "128m", "cpus": null}})).await;
    let drift = drift(&app, &all).await;
    assert_eq!(drift["drifted"], false, "{drift}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_at_the_engine_is_told_by_its_field() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "resources": {"memory": "64m"}})).await;
    docker(&["update", "--memory", "128m", "--memory-swap", "256m", "--restart", "always", &cuid]);
    let told = drift(&app, &cuid).await;
    assert_eq!(fields(&told), ["restart_policy", "resources"], "{told}");
    assert_eq!(told["container"]["differences"][1]["runs"]["memory"], 128 << 20);
    assert_eq!((&told["drifted"], &told["container"]["state"]), (&true.into(), &"different".into()));
    docker(&["network", "disconnect", "berth", &cuid]);
    assert_eq!(fields(&drift(&app, &cuid).await), ["network", "restart_policy", "resources"]);
    docker(&["rm", "--force", &cuid]);
    app.until_status(&cuid, "missing").await;
    assert_eq!(drift(&app, &cuid).await["container"]["state"], "missing");
    app.act(&cuid, "start").await;
    assert_eq!(drift(&app, &cuid).await["drifted"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_was_edited_is_overwritten_only_where_that_is_asked_for() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "ours"}})).await;
    let path = app.folder(&cuid).join("compose.yaml");
    let edited = fs::read_to_string(&path).unwrap().replace("A=ours", "A=edited");
    fs::write(&path, &edited).unwrap();
    let told = drift(&app, &cuid).await;
    assert_eq!((&told["compose_yaml"]["state"], &told["container"]["state"]), (&"edited".into(), &"as_asked".into()));
    let diff = told["compose_yaml"]["diff"].as_str().unwrap();
    assert!(diff.contains("-      - \"A=edited\"") && diff.contains("+      - \"A=ours\""), "{diff}");
    // Somebody brings it up by hand: the container carries all of our labels, and is another.
    docker(&[
        "compose",
        "--project-directory",
        &app.folder(&cuid).display().to_string(),
        "--file",
        &path.display().to_string(),
        "up",
        "--detach",
    ]);
    let told = drift(&app, &cuid).await;
    assert_eq!(fields(&told), ["env.A"], "{told}");
    assert_eq!(
        (&told["container"]["differences"][0]["asked"], &told["container"]["differences"][0]["runs"]),
        (&"ours".into(), &"edited".into())
    );

    assert_eq!(start(&app, &cuid, "").await.json()["changed"], false, "nothing needs to be written");
    let restart = app.post(&format!("/containers/{cuid}/restart?timeout=0")).await;
    restart.refused(409, "DRIFTED", "overwrite");
    app.patch(&cuid, &json!({"env": {"B": "1"}})).await.refused(409, "DRIFTED", "overwrite");
    app.patch(&cuid, &json!({"resources": {"pids": 50}})).await.refused(409, "DRIFTED", "overwrite");
    assert_eq!(app.patch(&cuid, &json!({"env": {"A": "ours"}})).await.status, StatusCode::OK, "a patch that changes nothing");
    app.act(&cuid, "stop?timeout=0").await;
    start(&app, &cuid, "").await.refused(409, "DRIFTED", "overwrite");
    assert_eq!(
        (fs::read_to_string(&path).unwrap(), app.status(&cuid).await["status"].clone()),
        (edited.clone(), "exited".into())
    );

    assert_eq!(start(&app, &cuid, "?overwrite=true").await.status, StatusCode::OK);
    assert!(docker(&["exec", &cuid, "env"]).contains("A=ours"));
    assert_eq!(drift(&app, &cuid).await["drifted"], false);

    fs::write(&path, &edited).unwrap();
    let patch = app.request(Method::PATCH, &format!("/containers/{cuid}?overwrite=true")).json(&json!({"env": {"B": "1"}}));
    assert_eq!(app.send(patch).await.status, StatusCode::OK);
    let environ = docker(&["exec", &cuid, "env"]);
    assert!(environ.contains("A=ours") && environ.contains("B=1"), "{environ}");
    fs::write(&path, &edited).unwrap();
    app.delete(&cuid).await;
    assert!(!app.folder(&cuid).exists(), "nobody keeps it from being deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_next_start_would_write_anew_is_outdated_and_hinders_nobody() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": PYTHON})).await;
    app.upload(&cuid, archive(&[("boot.py", "import time; time.sleep(1000)")])).await;
    let told = drift(&app, &cuid).await;
    assert_eq!(told["compose_yaml"]["state"], "outdated");
    assert!(told["compose_yaml"]["diff"].as_str().unwrap().contains("boot.py"), "{told}");
    assert_eq!(fields(&told), ["command", "entrypoint"]);
    fs::remove_file(app.folder(&cuid).join("compose.yaml")).unwrap();
    assert_eq!(drift(&app, &cuid).await["compose_yaml"]["state"], "missing");
    app.act(&cuid, "start").await;
    assert_eq!(drift(&app, &cuid).await["drifted"], false);
    app.get(&format!("/containers/c{}/drift", uuid::Uuid::new_v4())).await.refused(404, "CONTAINER_NOT_FOUND", "");
}
