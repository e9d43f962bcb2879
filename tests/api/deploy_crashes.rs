//! The server dies at each step of each way to deploy: the mount and the history are as before or as asked, the container is up
//! or down as it was, and what it wrote is still there.

use std::fs;

use reqwest::{Method, header};
use serde_json::json;

use crate::{
    crashes::{Crashing, STEPS},
    harness::{BUSYBOX, archive, docker},
};

const SERVES: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
const OLD: [(&str, &str); 3] = [("app.sh", SERVES), ("a", "old"), ("d/b", "old")];
const NEW: [(&str, &str); 4] = [("app.sh", SERVES), ("a", "new"), ("d/b", "new"), ("e/f", "new")];

/// Crashes at each step of a deploy of [`NEW`] over [`OLD`] and what the app wrote meanwhile, which is `kept` or not; with
/// `back`, of going back from it to the one before.
async fn deploy(query: &str, up: bool, kept: bool, back: bool) {
    let mut world = Crashing::start().await;
    for step in 0..STEPS {
        let cuid = world.app.create(&json!({"image": BUSYBOX, "command": ["sh", "/app/app.sh"]})).await;
        world.app.upload(&cuid, archive(&OLD)).await;
        if back {
            world.app.upload(&cuid, archive(&NEW)).await;
        }
        if up {
            world.app.act(&cuid, "start").await;
        }
        let mount = world.app.folder(&cuid).join("app");
        fs::write(mount.join("d/own"), "precious").unwrap();
        let request = if back {
            world.act(Method::POST, &cuid, &format!("/rollback?{query}")).json(&json!({"deploy": 1}))
        } else {
            let request = world.act(Method::POST, &cuid, &format!("/upload-zip?{query}")).body(archive(&NEW));
            request.header(header::CONTENT_TYPE, "application/zip")
        };
        let point = world.crash(step, request).await;

        let read = |name: &str| fs::read_to_string(mount.join(name)).unwrap_or_default();
        let files = ["a", "d/b", "e/f"].map(read);
        let is_new = files == ["new", "new", "new"];
        assert!(is_new || files == ["old", "old", ""], "{point:?}: {files:?}");
        let expected = if kept || is_new == back { "precious" } else { "" };
        assert_eq!(read("d/own"), expected, "{point:?}");
        let history = world.app.get(&format!("/containers/{cuid}/deploys")).await.json();
        assert_eq!(history["current"], if is_new { 2 } else { 1 }, "{point:?}: {history}");
        let started = up || (query.contains("restart") && is_new != back);
        let status = world.app.status(&cuid).await["status"].clone();
        assert_eq!(status == "running", started, "{point:?}: {status}");
        if started {
            assert_eq!(docker(&["exec", &cuid, "cat", "/app/a"]), files[0], "{point:?}");
        }
        world.app.delete(&cuid).await;
        if world.was_the_last(point) {
            break;
        }
    }
    world.died_at_least(7);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_whole_or_has_not_begun() {
    deploy("", false, true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_in_a_stopped_container_is_whole_or_has_not_begun() {
    deploy("mode=replace", false, false, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_under_a_running_container_is_whole_or_has_not_begun() {
    deploy("mode=replace", true, false, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_with_a_restart_is_whole_or_has_not_begun() {
    deploy("mode=replace&restart=true&timeout=5", true, false, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_with_a_start_is_whole_or_has_not_begun() {
    deploy("restart=true&wait=healthy&timeout=5", false, true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_is_whole_or_has_not_begun() {
    deploy("", true, true, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_with_a_restart_is_whole_or_has_not_begun() {
    deploy("restart=true&timeout=5", true, true, true).await;
}
