//! Deploys: what an upload leaves in the mount, what is kept of it, and going back, by hand and by itself.

use std::{fs, os::unix::fs::MetadataExt};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    harness::{BUSYBOX, TestApp, archive, docker, inspect, until},
};

impl TestApp {
    async fn deploy(&self, cuid: &str, query: &str, files: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::POST, &format!("/containers/{cuid}/upload-zip?{query}"));
        self.send(request.body(archive(files))).await
    }

    async fn roll_back(&self, cuid: &str, query: &str, deploy: u64) -> Answer {
        self.post_json(&format!("/containers/{cuid}/rollback?{query}"), &json!({"deploy": deploy})).await
    }

    /// The text of a file in the mount.
    async fn text(&self, cuid: &str, path: &str) -> Option<String> {
        let answer = self.get(&format!("/containers/{cuid}/download?path={path}")).await;
        (answer.status == StatusCode::OK).then(|| answer.text())
    }

    /// The numbers of the deploys that are known, the newest first, and of the current one.
    async fn numbers(&self, cuid: &str) -> (Vec<u64>, Option<u64>) {
        let answer = self.get(&format!("/containers/{cuid}/deploys")).await.json();
        let deploys = answer["deploys"].as_array().unwrap().iter().map(|deploy| deploy["deploy"].as_u64().unwrap()).collect();
        (deploys, answer["current"].as_u64())
    }

    /// That nothing of a deploy is left beside the mount.
    fn assert_tidy(&self, cuid: &str) {
        let names: Vec<_> = fs::read_dir(self.folder(cuid)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        for name in ["incoming", "moving", "former", "change.json"] {
            assert!(!names.iter().any(|there| there == name), "{names:?}");
        }
    }
}

/// A program that is healthy while `app.sh` says so, and serves until it is told to stop.
fn checked() -> Value {
    json!({
        "image": BUSYBOX,
        "command": ["sh", "/app/app.sh"],
        "health_check": {"test": ["CMD", "sh", "/app/health.sh"], "interval": "100ms", "timeout": "2s", "retries": 2},
    })
}

const SERVES: &str = "trap 'exit 0' TERM; echo serving; while :; do sleep 0.05; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_leaves_exactly_the_archive_under_a_running_container_and_in_a_stopped_one() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    for up in [true, false] {
        if !up {
            app.act(&cuid, "stop").await;
        }
        app.deploy(&cuid, "", &[("old/a", "1"), ("kept", "1"), ("old/b", "1")]).await;
        fs::write(app.folder(&cuid).join("app/old/own"), "the app's").unwrap();
        let inode = || fs::metadata(app.folder(&cuid).join("app")).unwrap().ino();
        let before = inode();
        let answer = app.deploy(&cuid, "mode=replace", &[("kept", "2"), ("new/x", "2")]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!((&answer.json()["mode"], &answer.json()["files"]), (&"replace".into(), &2.into()));
        assert_eq!(inode() == before, up, "a running container goes on with the folder that it has");
        if !up {
            app.act(&cuid, "start").await;
        }
        assert_eq!(docker(&["exec", &cuid, "find", "/app", "-type", "f"]).lines().count(), 2);
        assert_eq!(docker(&["exec", &cuid, "cat", "/app/kept", "/app/new/x"]), "22");
        assert_eq!(docker(&["exec", &cuid, "stat", "-c", "%u:%g %a", "/app"]), "1000:1000 755\n");
        app.assert_tidy(&cuid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_below_the_mount_stays_mounted_whatever_is_replaced_around_it() {
    let app = TestApp::start().await;
    let volumes = json!([{"volume": "data", "container_path": "/app/data/db"}]);
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "volumes": volumes})).await;
    docker(&["exec", &cuid, "sh", "-c", "echo rows > /app/data/db/table"]);
    assert_eq!(app.deploy(&cuid, "mode=replace", &[("a", "1")]).await.status, StatusCode::OK);
    assert_eq!(docker(&["exec", &cuid, "cat", "/app/data/db/table", "/app/a"]), "rows\n1");
    app.deploy(&cuid, "mode=replace", &[("data", "a file")]).await.refused(400, "INVALID_ZIP", "body");
    assert_eq!(app.deploy(&cuid, "mode=replace&restart=true&timeout=0", &[("a", "2")]).await.status, StatusCode::OK);
    assert_eq!(docker(&["exec", &cuid, "cat", "/app/data/db/table", "/app/a"]), "rows\n2");
    assert_eq!(
        app.send(app.request(Method::DELETE, &format!("/containers/{cuid}?force=true&remove_volumes=true"))).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_only_the_image_asks_for_stays_mounted_too() {
    let app = TestApp::start().await;
    let image = format!("berth-test/volume-{}", uuid::Uuid::new_v4());
    let plain = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    docker(&["commit", "--change", "VOLUME /app/cache", &plain, &image]);
    let cuid = app.run(&json!({"image": image, "command": "sleep 1000", "user": "0:0"})).await;
    docker(&["exec", &cuid, "sh", "-c", "echo warm > /app/cache/x"]);
    let answer = app.deploy(&cuid, "mode=replace", &[("a", "1")]).await;
    let seen = docker(&["exec", &cuid, "cat", "/app/cache/x", "/app/a"]);
    let request = app.request(Method::DELETE, &format!("/containers/{cuid}/files?path=cache&recursive=true"));
    let deleted = app.send(request).await;
    app.send(app.request(Method::DELETE, &format!("/containers/{cuid}?force=true&remove_volumes=true"))).await;
    docker(&["rmi", &image]);
    assert_eq!((answer.status, seen.as_str(), deleted.status), (StatusCode::OK, "warm\n1", StatusCode::CONFLICT));
}

#[tokio::test(flavor = "multi_thread")]
async fn deploys_are_numbered_kept_and_gone_back_to() {
    let app = TestApp::start_with([("KEEP_DEPLOYS", "3".into())]).await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    assert_eq!(app.numbers(&cuid).await, (vec![], None));
    for number in 1..=4 {
        let text = number.to_string();
        let answer = app.deploy(&cuid, "", &[("version", &text), (&format!("only-{number}"), "")]).await;
        assert_eq!(answer.json()["deploy"], number, "{answer:?}");
    }
    assert_eq!(app.numbers(&cuid).await, (vec![4, 3, 2], Some(4)));
    let first = &app.get(&format!("/containers/{cuid}/deploys")).await.json()["deploys"][0];
    for (field, value) in
        [("mode", json!("merge")), ("path", json!("")), ("files", json!(2)), ("current", json!(true)), ("kept", json!(true))]
    {
        assert_eq!(first[field], value, "{first}");
    }
    // The app may change what it has, and not what is kept.
    docker(&["exec", &cuid, "sh", "-c", "cd /app; echo own > own; for file in version only-2; do echo changed > $file; done"]);
    let answer = app.roll_back(&cuid, "", 2).await;
    assert_eq!((answer.status, &answer.json()["deploy"]), (StatusCode::OK, &json!(2)), "{answer:?}");
    assert_eq!(app.numbers(&cuid).await, (vec![4, 3, 2], Some(2)));
    let listed = docker(&["exec", &cuid, "sh", "-c", "cd /app; cat version only-2; ls"]);
    assert_eq!(listed, "2only-1\nonly-2\nown\nversion\n");
    assert_eq!(app.deploy(&cuid, "", &[("version", "5")]).await.json()["deploy"], 5);
    assert_eq!(app.text(&cuid, "only-2").await.as_deref(), Some(""), "5 lies on 2");

    for (body, code, field) in [
        (json!({"deploy": 0}), "INVALID_DEPLOY", "deploy"),
        (json!({"deploy": "2"}), "INVALID_DEPLOY", "deploy"),
        (json!({}), "INVALID_DEPLOY", "deploy"),
        (json!({"deploy": 2, "mod": 1}), "UNKNOWN_FIELD", "mod"),
        (json!([2]), "INVALID_JSON", "body"),
    ] {
        app.post_json(&format!("/containers/{cuid}/rollback"), &body).await.refused(400, code, field);
    }
    for gone in [1, 99] {
        app.roll_back(&cuid, "", gone).await.refused(404, "DEPLOY_NOT_FOUND", "deploy");
    }
    app.assert_tidy(&cuid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_on_the_new_files_and_starts_what_was_stopped() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": ["sh", "/app/app.sh"]})).await;
    for (query, text) in [("restart=true", "1"), ("restart=true&mode=replace&timeout=5&wait=healthy", "2")] {
        let answer = app.deploy(&cuid, query, &[("app.sh", SERVES), ("version", text)]).await;
        assert_eq!((answer.status, &answer.json()["restarted"]), (StatusCode::OK, &json!(true)), "{answer:?}");
        assert_eq!(app.status(&cuid).await["status"], "running");
        assert_eq!(docker(&["exec", &cuid, "cat", "/app/version"]), text);
        app.assert_tidy(&cuid);
    }
    let answer = app.roll_back(&cuid, "restart=true&timeout=5", 1).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(docker(&["exec", &cuid, "cat", "/app/version"]), "1");
    let short_lived = app.deploy(&cuid, "restart=true&wait=healthy", &[("app.sh", "echo done")]).await;
    assert_eq!(short_lived.status, StatusCode::OK, "a program that does what it is for has not failed: {short_lived:?}");
    for (query, field) in [
        ("wait=healthy", "wait"),
        ("restart=true&wait=happy", "wait"),
        ("timeout=3", "timeout"),
        ("overwrite=true", "overwrite"),
        ("restart=true&timeout=9999", "timeout"),
    ] {
        app.deploy(&cuid, query, &[("x", "")]).await.refused(400, "INVALID_QUERY", field);
        app.roll_back(&cuid, query, 1).await.refused(400, "INVALID_QUERY", field);
    }
    assert_eq!(app.text(&cuid, "x").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_does_not_come_up_is_taken_back_and_says_why() {
    let app = TestApp::start().await;
    let cuid = app.create(&checked()).await;
    let healthy = ("health.sh", "true");
    let answer = app.deploy(&cuid, "restart=true&wait=healthy", &[("app.sh", SERVES), healthy, ("version", "1")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    docker(&["exec", &cuid, "sh", "-c", "echo precious > /app/own; echo changed >> /app/version"]);
    for mode in ["merge", "replace"] {
        let query = format!("restart=true&wait=healthy&mode={mode}");
        let sick = [("app.sh", SERVES), ("health.sh", "echo out of order; false"), ("version", "2"), ("new/file", "2")];
        let dead = [("app.sh", "echo about to fail; echo for a reason >&2; exit 3"), healthy, ("version", "2")];
        for (files, reason, exit_code, printed) in
            [(&sick[..], "out of order", Value::Null, "serving"), (&dead[..], "exit code 3", json!(3), "for a reason")]
        {
            let started = inspect(&cuid)["State"]["StartedAt"].clone();
            let answer = app.deploy(&cuid, &query, files).await;
            assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (422, &json!("DEPLOY_FAILED")), "{answer:?}");
            let details = answer.json()["details"].clone();
            assert!(details["reason"].as_str().unwrap().contains(reason), "{details}");
            assert_eq!((&details["exit_code"], &details["restored"]), (&exit_code, &json!(true)), "{details}");
            assert!(details["log"].as_array().unwrap().contains(&json!(printed)), "{details}");
            assert_eq!(app.status(&cuid).await["status"], "running");
            assert_ne!(inspect(&cuid)["State"]["StartedAt"], started);
            assert_eq!(docker(&["exec", &cuid, "cat", "/app/version", "/app/own"]), "1changed\nprecious\n");
            assert_eq!(app.text(&cuid, "new/file").await, None);
            assert_eq!(app.numbers(&cuid).await, (vec![1], Some(1)));
            until("it is healthy again", async || app.status(&cuid).await["health"] == "healthy").await;
            app.assert_tidy(&cuid);
        }
    }
    let answer = app.deploy(&cuid, "", &[("x", "")]).await;
    assert_eq!(answer.json()["deploy"], 6, "a failed deploy keeps its number");

    app.act(&cuid, "stop").await;
    let answer = app.deploy(&cuid, "restart=true&wait=healthy", &[("app.sh", "exit 4")]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["details"]["exit_code"]), (422, &json!(4)), "{answer:?}");
    assert_eq!(app.status(&cuid).await["status"], "exited", "it was not running before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_archive_does_not_even_stop_the_container() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let started = inspect(&cuid)["State"]["StartedAt"].clone();
    app.deploy(&cuid, "restart=true&mode=replace", &[("good", ""), ("../bad", "")]).await.refused(400, "INVALID_ZIP", "body");
    app.roll_back(&cuid, "restart=true", 1).await.refused(404, "DEPLOY_NOT_FOUND", "deploy");
    assert_eq!(inspect(&cuid)["State"]["StartedAt"], started);
    assert_eq!(app.numbers(&cuid).await, (vec![], None));
    app.assert_tidy(&cuid);
}
