//! What containers print: as documents, and followed.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    engine::Way,
    harness::{BUSYBOX, TestApp, docker, until},
};

/// A log that is followed.
struct Followed {
    response: Response,
    text: String,
}

impl Followed {
    async fn open(app: &TestApp, cuid: &str, query: &str, headers: &[(&'static str, &str)]) -> Self {
        let request = app.request(Method::GET, &format!("/containers/{cuid}/logs?follow=true&{query}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Self { response, text: String::new() }
    }

    /// The next line; `None` at the end.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(line);
            }
            let chunk = timeout(Duration::from_secs(30), self.response.chunk()).await.expect("something more").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn message(&mut self) -> Option<String> {
        let line: Value = serde_json::from_str(&self.line().await?).unwrap();
        Some(line["message"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned())
    }

    /// The next event's name, id and data.
    async fn event(&mut self) -> (String, String, Value) {
        let mut event = (String::new(), String::new(), Value::Null);
        loop {
            let line = self.line().await.unwrap();
            match line.split_once(": ") {
                Some(("event", name)) => event.0 = name.to_owned(),
                Some(("id", id)) => event.1 = id.to_owned(),
                Some(("data", data)) => event.2 = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() => return event,
                _ => {}
            }
        }
    }
}

async fn logs(app: &TestApp, cuid: &str, query: &str) -> Vec<Value> {
    let answer = app.get(&format!("/containers/{cuid}/logs?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["cuid"], cuid);
    body["logs"].as_array().unwrap().clone()
}

fn messages(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["message"].as_str().unwrap()).collect()
}

/// Prints a line every 20 ms, numbered, with a name for each run.
const TICKING: &str = r#"run=$(cat /proc/sys/kernel/random/uuid); i=0; while :; do i=$((i+1)); echo "$run $i"; sleep 0.02; done"#;

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_whole_in_order_and_as_exact_as_the_engine_has_them() {
    let app = TestApp::start().await;
    // Only the second keeps bytes that are no text.
    tokio::join!(shows_what_was_printed(&app, "json-file"), shows_what_was_printed(&app, "local"));
}

async fn shows_what_was_printed(app: &TestApp, driver: &str) {
    let script = r"
        echo first; head -c 40000 /dev/zero | tr '\0' a; echo; sleep 0.1; echo oh >&2; sleep 0.1
        printf 'caf\303\251 \377\n'; head -c 40000 /dev/zero | tr '\0' b; echo; head -c 2000000 /dev/zero | tr '\0' c; echo; printf end";
    let cuid = app.run(&json!({"image": BUSYBOX, "command": ["sh", "-c", script], "log": {"driver": driver}})).await;
    app.until_status(&cuid, "exited").await;
    let all = logs(app, &cuid, "").await;
    let streams: Vec<&str> = all.iter().map(|line| line["stream"].as_str().unwrap()).collect();
    assert_eq!(streams, ["stdout", "stdout", "stderr", "stdout", "stdout", "stdout", "stdout"]);
    let (a, b) = ("a".repeat(40_000), "b".repeat(40_000));
    assert_eq!(messages(&all)[..3], ["first", &a, "oh"]);
    let bytes = if driver == "local" { ["Y2Fmw6kg/w==", "base64"] } else { ["café \u{fffd}", ""] };
    assert_eq!([messages(&all)[3], all[3]["encoding"].as_str().unwrap_or_default()], bytes);
    assert_eq!((messages(&all)[4], messages(&all)[6]), (b.as_str(), "end"));
    assert_eq!((messages(&all)[5].len(), &all[5]["truncated"]), (1 << 20, &true.into()), "a line has a bound, which is told");
    assert!(all[0].get("truncated").is_none() && all[0].get("encoding").is_none());
    let told = docker(&["logs", "--timestamps", &cuid]);
    assert!(told.starts_with(&format!("{} first\n", all[0]["timestamp"].as_str().unwrap())), "to the nanosecond");

    // However many entries the engine has for a line.
    for tail in 0..=8 {
        assert_eq!(logs(app, &cuid, &format!("tail={tail}")).await, all[all.len().saturating_sub(tail)..], "{tail}");
    }
    assert_eq!(logs(app, &cuid, "tail=all").await, all);
    assert_eq!(messages(&logs(app, &cuid, "stream=stderr&tail=1").await), ["oh"], "the last of this stream");
    let oh = all[2]["timestamp"].as_str().unwrap();
    assert_eq!(logs(app, &cuid, &format!("since={oh}")).await, all[2..]);
    assert_eq!(logs(app, &cuid, &format!("until={oh}&tail=2")).await, all[1..3], "the last two of these");
    assert_eq!(logs(app, &cuid, "since=10m").await.len(), 7);
    assert_eq!(logs(app, &cuid, "until=10m").await.len(), 0);
    let head = app.send(app.request(Method::HEAD, &format!("/containers/{cuid}/logs"))).await;
    assert_eq!((head.status, head.bytes.len()), (StatusCode::OK, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_can_t_mean_is_named_and_what_was_never_printed_is_empty() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "true"})).await;
    for (query, field) in [
        ("tail=-1", "tail"),
        ("tail=%2B1", "tail"),
        ("tail=100001", "tail"),
        ("since=yesterday", "since"),
        ("until=1d", "until"),
        ("stream=both", "stream"),
        ("follow=maybe", "follow"),
        ("lines=3", "lines"),
    ] {
        app.get(&format!("/containers/{cuid}/logs?{query}")).await.refused(400, "INVALID_QUERY", field);
    }
    let unknown = "/containers/c123e4567-e89b-42d3-a456-426614174000/logs";
    app.get(unknown).await.refused(404, "CONTAINER_NOT_FOUND", "");
    assert!(logs(&app, &cuid, "tail=all").await.is_empty());
    let mut followed = Followed::open(&app, &cuid, "", &[]).await;
    let silent = app.run(&json!({"image": BUSYBOX, "command": "echo hi", "log": {"driver": "none"}})).await;
    app.get(&format!("/containers/{silent}/logs")).await.refused(422, "LOG_UNREADABLE", "log");
    app.delete(&cuid).await;
    assert_eq!(followed.line().await, None, "it ends with its container");
}

#[tokio::test(flavor = "multi_thread")]
async fn following_goes_on_over_stops_restarts_and_changes_and_ends_with_the_container() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": ["sh", "-c", TICKING]})).await;
    let mut followed = Followed::open(&app, &cuid, "tail=0", &[]).await;
    let reader = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(message) = followed.message().await {
            all.push(message);
        }
        all
    });
    let mut expected = String::new();
    app.act(&cuid, "start").await;
    app.act(&cuid, "restart").await;
    app.act(&cuid, "stop").await;
    app.act(&cuid, "start").await;
    until("it prints", async || docker(&["logs", "--tail", "1", &cuid]).contains(" 1")).await;
    app.act(&cuid, "stop").await;
    expected += &docker(&["logs", &cuid]);
    app.act(&cuid, "start").await;
    docker(&["kill", &cuid]);
    app.until_status(&cuid, "exited").await;
    let first = docker(&["logs", &cuid]);
    assert!(first.starts_with(&expected));
    let patched = app.patch(&cuid, &json!({"env": {"A": "b"}})).await;
    assert_eq!(patched.status, StatusCode::OK, "{patched:?}");
    app.act(&cuid, "start").await;
    until("it prints", async || docker(&["logs", "--tail", "1", &cuid]).contains(" 1")).await;
    app.act(&cuid, "stop").await;
    let second = docker(&["logs", &cuid]);
    assert!(!second.contains(first.lines().next().unwrap()), "it was made anew");
    app.delete(&cuid).await;
    let all = reader.await.unwrap();
    let expected: Vec<&str> = first.lines().chain(second.lines()).collect();
    assert_eq!(all, expected, "no line is lost, and none comes twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_have_ids_to_come_back_with() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": ["sh", "-c", TICKING]})).await;
    let accept = ("accept", "text/event-stream");
    let mut followed = Followed::open(&app, &cuid, "tail=all", &[accept]).await;
    assert_eq!(followed.response.headers()["content-type"], "text/event-stream");
    let mut seen = Vec::new();
    let mut last = String::new();
    for round in 0..3 {
        for _ in 0..5 {
            let (name, id, line) = followed.event().await;
            assert_eq!(name, "log");
            seen.push(line["message"].as_str().unwrap().to_owned());
            last = id;
        }
        if round < 2 {
            followed = Followed::open(&app, &cuid, "tail=1", &[accept, ("last-event-id", &last)]).await;
        }
    }
    let told = docker(&["logs", &cuid]);
    assert_eq!(seen, told.lines().take(15).collect::<Vec<_>>());
    let path = format!("/containers/{cuid}/logs?follow=1");
    for no_id in ["seven", "10m", "1767323045"] {
        let answer = app.send(app.request(Method::GET, &path).header("last-event-id", no_id)).await;
        answer.refused(400, "INVALID_QUERY", "Last-Event-ID");
    }
    let mut anew = Followed::open(&app, &cuid, "tail=all", &[accept, ("last-event-id", "")]).await;
    assert_eq!(anew.event().await.2["message"], *seen[0], "an empty one is none");
    let until = format!("until={}", chrono::Utc::now().timestamp() + 2);
    let mut until_soon = Followed::open(&app, &cuid, &format!("tail=all&{until}"), &[accept]).await;
    let mut followed = Vec::new();
    loop {
        match until_soon.event().await {
            (name, _, line) if name == "log" => followed.push(line),
            (name, ..) => break assert_eq!(name, "end"),
        }
    }
    assert_eq!(followed, logs(&app, &cuid, &format!("tail=all&{until}")).await, "all up to then, and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn following_up_to_a_moment_gives_every_line_that_there_is() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": ["sh", "-c", "seq 1 100000; sleep 1000"]})).await;
    until("all is printed", async || docker(&["logs", "--tail", "1", &cuid]).trim() == "100000").await;
    for later in [0, 1] {
        let until = chrono::Utc::now() + chrono::TimeDelta::seconds(later);
        let until = format!("{}.{:09}", until.timestamp(), until.timestamp_subsec_nanos());
        let mut followed = Followed::open(&app, &cuid, &format!("tail=all&until={until}"), &[]).await;
        let mut count = 0;
        while followed.line().await.is_some() {
            count += 1;
        }
        assert_eq!(count, 100_000, "{later}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_the_stream_at_the_engine_and_one_without_an_engine_is_told() {
    let world = tempfile::tempdir().unwrap();
    let mut way = Way::open(world.path());
    let app = TestApp::start_with([("DOCKER_HOST", format!("unix://{}", way.socket.display()))]).await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let mut followed = Vec::new();
    for _ in 0..8 {
        followed.push(Followed::open(&app, &cuid, "", &[]).await);
    }
    until("the engine streams", async || way.connections() >= 8).await;
    followed.truncate(1);
    until("only what is read is streamed", async || way.connections() < 8).await;
    way.cut();
    app.get(&format!("/containers/{cuid}/logs")).await.refused(503, "ENGINE_UNAVAILABLE", "");
    let error: Value = serde_json::from_str(&followed[0].line().await.unwrap()).unwrap();
    assert_eq!(error["code"], "ENGINE_UNAVAILABLE");
    assert_eq!(followed[0].line().await, None);
    way.mend();
}
