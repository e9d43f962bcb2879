//! What containers use, and what the engine says of them.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    engine::Way,
    harness::{BUSYBOX, TestApp, docker, inspect, until},
};

/// Figures that are followed.
struct Followed {
    response: Response,
    text: String,
}

impl Followed {
    async fn open(app: &TestApp, path: &str) -> Self {
        let response = app.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Self { response, text: String::new() }
    }

    /// The next figures; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let (line, rest) = (serde_json::from_str(line).unwrap(), rest.to_owned());
                self.text = rest;
                return Some(line);
            }
            let chunk = timeout(Duration::from_secs(30), self.response.chunk()).await.expect("something more").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_right_for_one_container_and_for_all_that_run() {
    let app = TestApp::start().await;
    let busy =
        json!({"image": BUSYBOX, "command": ["sh", "-c", "while :; do :; done"], "resources": {"cpus": 0.3, "memory": "64m"}});
    let (busy, idle) = (app.run(&busy).await, app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await);
    let created = app.create(&json!({"image": BUSYBOX})).await;
    let path = format!("/containers/{busy}/stats");
    let figures = app.get(&path).await.json();
    let cpu = figures["cpu"]["usage_percent"].as_f64().unwrap();
    assert!((15.0..45.0).contains(&cpu), "{figures}");
    let online = docker(&["info", "--format", "{{.NCPU}}"]).trim().parse::<u64>().unwrap();
    assert_eq!((&figures["cuid"], &figures["cpu"]["online_cpus"]), (&busy.clone().into(), &online.into()));
    assert_eq!((&figures["memory"]["limit"], &figures["pids"]), (&(64 << 20).into(), &2.into()));
    assert!((1..10 << 20).contains(&figures["memory"]["usage"].as_u64().unwrap()), "{figures}");
    assert!(figures["network"]["rx_bytes"].is_u64() && figures["io"]["write_ops"].is_u64(), "{figures}");
    assert!((0.0..=100.0).contains(&figures["cpu"]["system_cpu_usage"].as_f64().unwrap()), "{figures}");

    app.get(&format!("/containers/{created}/stats")).await.refused(422, "INVALID_STATE", "");
    app.get(&format!("/containers/{created}/stats?follow=1")).await.refused(422, "INVALID_STATE", "");
    for interval in ["0s", "999ms", "61m", "5", "often"] {
        app.get(&format!("{path}?interval={interval}")).await.refused(400, "INVALID_QUERY", "interval");
    }
    let all = app.get("/stats").await.json();
    let mut cuids: Vec<&str> = all["stats"].as_array().unwrap().iter().map(|one| one["cuid"].as_str().unwrap()).collect();
    let mut expected = [busy.as_str(), idle.as_str()];
    cuids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(cuids, expected);
    let mut followed = Followed::open(&app, "/stats?follow=true").await;
    let seen = [followed.next().await.unwrap(), followed.next().await.unwrap()];
    assert_eq!(seen.each_ref().map(|one| one["cuid"].as_str().unwrap()), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_followed_over_stops_and_changes_with_one_subscription_for_all() {
    let world = tempfile::tempdir().unwrap();
    let way = Way::open(world.path());
    let app = TestApp::start_with([("DOCKER_HOST", format!("unix://{}", way.socket.display()))]).await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let path = format!("/containers/{cuid}/stats?follow=true");
    app.get("/healthz").await;
    let before = way.connections();
    let mut followers = Vec::new();
    for _ in 0..6 {
        followers.push(Followed::open(&app, &path).await);
    }
    for follower in &mut followers {
        assert_eq!(follower.next().await.unwrap()["cuid"], *cuid);
    }
    // Six of their own would be more, whatever else is asked meanwhile.
    assert!(way.connections() <= before + 3, "{before} {}", way.connections());
    let with_it = way.connections();
    let mut followed = followers.pop().unwrap();
    drop(followers);

    app.act(&cuid, "stop").await;
    app.act(&cuid, "start").await;
    let started = app.status(&cuid).await["started_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let later =
        |figures: &Value| figures["timestamp"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap() > started;
    while !later(&followed.next().await.unwrap()) {}
    assert_eq!(app.patch(&cuid, &json!({"env": {"A": "b"}})).await.status, StatusCode::OK);
    let started = app.status(&cuid).await["started_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let later =
        |figures: &Value| figures["timestamp"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap() > started;
    while !later(&followed.next().await.unwrap()) {}
    let mut last = Followed::open(&app, &path).await;
    drop(followed);
    last.next().await.unwrap();
    let stays = way.connections();
    assert!(stays <= with_it + 2, "{with_it} {stays}");
    app.delete(&cuid).await;
    while last.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_that_follows_figures_ends_the_subscription() {
    let world = tempfile::tempdir().unwrap();
    let way = Way::open(world.path());
    let app = TestApp::start_with([("DOCKER_HOST", format!("unix://{}", way.socket.display()))]).await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let mut followed = Followed::open(&app, &format!("/containers/{cuid}/stats?follow=true")).await;
    followed.next().await.unwrap();
    let with_it = way.connections();
    drop(followed);
    until("the engine is left alone", async || way.connections() < with_it).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_s_own_document_is_shown_word_for_word() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX})).await;
    let path = format!("/containers/{cuid}/inspect");
    assert_eq!(app.get(&path).await.json(), inspect(&cuid));
    docker(&["rm", &cuid]);
    app.until_status(&cuid, "missing").await;
    app.get(&path).await.refused(404, "CONTAINER_MISSING", "");
    app.get("/containers/c123e4567-e89b-42d3-a456-426614174000/inspect").await.refused(404, "CONTAINER_NOT_FOUND", "");
    app.get(&format!("/containers/{cuid}/stats")).await.refused(422, "INVALID_STATE", "");
}
