//! `/events`: what happens to containers, by whomever, in order and without a gap.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

use crate::{
    harness::{BUSYBOX, TestApp, archive, docker, until},
    stream::{Document, Stream},
    terminal::client::World,
};

impl TestApp {
    fn events(&self, query: &str) -> RequestBuilder {
        self.request(Method::GET, &format!("/events?{query}"))
    }
}

/// The documents up to the first of `kind`, without the one that opens the stream.
async fn up_to(stream: &mut Stream, kind: &str) -> Vec<Document> {
    let mut all = Vec::new();
    loop {
        let document = stream.next().await.unwrap();
        let last = document.name == kind;
        all.extend(Some(document).filter(|document| document.name != "ready"));
        if last {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_container_is_told_also_one_by_hand() {
    let app = TestApp::start().await;
    let mut events = Stream::open(app.events("")).await;
    let ready = events.next().await.unwrap();
    assert_eq!((ready.name.as_str(), ready.data["id"].as_str()), ("ready", Some(ready.id.as_str())));

    let cuid = app.run(&json!({"image": BUSYBOX, "name": "told", "command": "sleep 1000"})).await;
    docker(&["pause", &cuid]);
    app.until_status(&cuid, "paused").await;
    docker(&["unpause", &cuid]);
    app.until_status(&cuid, "running").await;
    docker(&["kill", &cuid]);
    app.until_status(&cuid, "exited").await;
    app.patch(&cuid, &json!({"tags": ["new"]})).await;
    assert_eq!(app.upload(&cuid, archive(&[("a", "1")])).await.status, StatusCode::OK);
    assert_eq!(app.upload(&cuid, archive(&[("a", "2")])).await.status, StatusCode::OK);
    app.post_json(&format!("/containers/{cuid}/rollback"), &json!({"deploy": 1})).await;
    app.delete(&cuid).await;

    let told = up_to(&mut events, "deleted").await;
    assert!(
        told.iter().all(|event| event.data["cuid"] == cuid && event.data["id"] == event.id && event.data["kind"] == event.name)
    );
    assert_eq!((&told[0].data["name"], &told[0].data["image"]), (&json!("told"), &json!(BUSYBOX)));
    let statuses: Vec<_> = told.iter().filter(|event| event.name == "status").map(|event| &event.data["status"]).collect();
    // A PATCH of a stopped container makes another, which has yet to be started.
    let [running, paused, unpaused, exited, ..] = statuses[..] else { panic!("{told:?}") };
    assert_eq!([running, paused, unpaused, exited], ["running", "paused", "running", "exited"]);
    let died = told.iter().find(|event| event.data["status"] == "exited").unwrap();
    assert_eq!((&died.data["before"], &died.data["exit_code"]), (&json!("running"), &json!(137)));
    let others: Vec<_> = told.iter().map(|event| event.name.as_str()).filter(|name| *name != "status").collect();
    assert_eq!(others, ["created", "changed", "deployed", "deployed", "rolled_back", "deleted"]);
    let deploys: Vec<_> = told.iter().filter_map(|event| event.data["deploy"].as_u64()).collect();
    assert_eq!(deploys, [1, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_s_verdicts_and_terminals_are_told_and_each_may_be_had_alone() {
    let world = World::start().await;
    let app = &world.app;
    let check = json!({"test": ["CMD", "test", "-e", "/app/well"], "interval": "100ms", "timeout": "2s", "retries": 1});
    let spec = json!({"image": BUSYBOX, "command": "sleep 1000", "health_check": check});
    let (mut health, mut sessions) =
        (Stream::open(app.events("kind=health")).await, Stream::open(app.events("kind=session_started,session_ended")).await);
    let (cuid, other) = (app.run(&spec).await, app.create(&json!({"image": BUSYBOX})).await);
    let mut others = Stream::open(app.events(&format!("cuid={other}"))).await;
    health.until("unhealthy", |event| event.data["health"] == "unhealthy").await;
    assert_eq!(app.upload(&cuid, archive(&[("well", "")])).await.status, StatusCode::OK);
    health.until("healthy", |event| event.data["health"] == "healthy" && event.data["cuid"] == cuid).await;

    let container = world.idle(BUSYBOX).await;
    world.open(&container, "mode=exec").await.type_in("exit 3\n").await;
    let told = up_to(&mut sessions, "session_ended").await;
    assert_eq!(told.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["session_started", "session_ended"]);
    assert_eq!((&told[1].data["exit_code"], &told[1].data["mode"]), (&json!(3), &json!("exec")));
    assert!(told[0].data["session"] == told[1].data["session"] && told[1].data["cuid"] == container.cuid.to_string());

    app.delete(&cuid).await;
    app.delete(&other).await;
    let told = up_to(&mut others, "deleted").await;
    assert!(told.iter().all(|event| event.data["cuid"] == other), "{told:?}");
    app.get("/events?kind=status,birthday").await.refused(400, "INVALID_QUERY", "kind");
    app.get("/events?cuid=c1").await.refused(400, "INVALID_CUID", "cuid");
    app.get("/events?since=1").await.refused(400, "INVALID_QUERY", "since");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_goes_on_where_the_connection_broke() {
    let mut app = TestApp::start().await;
    let mut first = Stream::open(app.events("")).await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let created = first.until("its creation", |event| event.name == "created").await;
    drop(first);
    until("the reader's going is noticed", async || {
        app.actions().iter().any(|line| line["path"] == "/events" && line["bytes_out"].as_u64() > Some(0))
    })
    .await;
    app.act(&cuid, "start").await;
    app.act(&cuid, "stop?timeout=0").await;
    let mut by_header = Stream::open(app.events("").header("last-event-id", &created.id)).await;
    let mut by_query = Stream::open(app.events(&format!("after={}", created.id)).header("accept", "application/x-ndjson")).await;
    let exited = by_header.until("its end", |event| event.data["status"] == "exited").await;
    let started = by_query.until("its start", |line| line.data["kind"] == "status").await;
    assert_eq!((&started.data["status"], &started.data["before"]), (&json!("running"), &json!("created")));
    by_query.until("its end", |line| line.data["id"] == exited.id).await;
    drop((by_header, by_query));

    let mut known = Stream::open(app.events(&format!("after={}&kind=status&follow=false", created.id))).await;
    let told = up_to(&mut known, "end").await;
    assert_eq!(told.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["status", "status", "end"]);
    assert_eq!((&told[2].data["reason"], known.next().await), (&json!("over"), None));

    let mut unknown = Stream::open(app.events("after=nonsense")).await;
    assert_eq!(unknown.next().await.unwrap().name, "ready");
    assert_eq!(unknown.next().await.unwrap().name, "missed");
    // The server's end is the stream's, told and in order; the next one knows nothing of the events of this.
    let shut_down = tokio::spawn(async move {
        app.shut_down().await;
        app.serve().await;
        app
    });
    let end = unknown.until("the end", |event| event.name == "end").await;
    assert_eq!(end.data["reason"], "stopping");
    assert_eq!(unknown.next().await, None);
    let app = shut_down.await.unwrap();
    let mut later = Stream::open(app.events("").header("last-event-id", &exited.id)).await;
    later.next().await.unwrap();
    let missed = later.next().await.unwrap();
    assert_eq!(missed.name, "missed");
    app.act(&cuid, "start").await;
    let news = later.next().await.unwrap();
    assert_eq!((&news.data["status"], &news.data["before"]), (&json!("running"), &json!("exited")));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_over_at_once_are_all_told_and_the_steps_of_a_change_are_not() {
    let app = TestApp::start().await;
    let mut events = Stream::open(app.events("kind=status,changed,deleted")).await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "true"})).await;
    for by_hand in [false, true, false, true] {
        if by_hand {
            docker(&["start", &cuid]);
        } else {
            app.post(&format!("/containers/{cuid}/start")).await;
        }
        docker(&["wait", &cuid]);
        app.until_status(&cuid, "exited").await;
    }
    app.patch(&cuid, &json!({"command": "sleep 1000"})).await;
    app.act(&cuid, "start").await;
    app.patch(&cuid, &json!({"tags": ["a"], "env": {"A": "1"}})).await;
    app.delete(&cuid).await;
    let told = up_to(&mut events, "deleted").await;
    let statuses: Vec<_> = told.iter().map(|event| event.data["status"].as_str().unwrap_or(&event.name)).collect();
    let runs = ["running", "exited"].repeat(4);
    let changes = ["changed", "created", "running", "exited", "running", "changed", "exited", "deleted"];
    assert_eq!(statuses, [runs, changes.to_vec()].concat());
}
