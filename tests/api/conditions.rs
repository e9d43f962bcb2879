//! `ETag` and `If-Match`: a change that is made only if the container is still as its caller knows it.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BUSYBOX, TestApp, archive, docker};

/// Every change of a container, by its method and its path after the container's own.
const CHANGES: [(&str, &str); 9] = [
    ("PATCH", ""),
    ("PATCH", "/ports"),
    ("POST", "/start"),
    ("POST", "/stop"),
    ("POST", "/restart"),
    ("POST", "/pause"),
    ("POST", "/unpause"),
    ("POST", "/upload-zip"),
    ("DELETE", "?force=true"),
];

/// A change that would succeed on a running container, but for `unpause`.
fn change(app: &TestApp, cuid: &str, method: &str, path: &str) -> RequestBuilder {
    let request = app.request(method.parse().unwrap(), &format!("/containers/{cuid}{path}"));
    match path {
        "" => request.json(&json!({"env": {"A": "changed"}})),
        "/ports" => request.json(&json!({"ports": [{"container": 81}]})),
        "/upload-zip" => request.header("content-type", "application/zip").body(archive(&[("new.txt", "new")])),
        _ => request,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_that_shows_a_container_has_the_tag_of_its_revision() {
    let app = TestApp::start().await;
    let created = app.post_json("/containers", &json!({"image": BUSYBOX, "env": {"A": "1"}})).await;
    let cuid = created.json()["cuid"].as_str().unwrap().to_owned();
    let at = format!("/containers/{cuid}");
    let patched = app.patch(&cuid, &json!({"env": {"A": "2"}})).await;
    let ports = app.send(app.request(Method::PATCH, &format!("{at}/ports")).json(&json!({"ports": []}))).await;
    let moved = app.send(app.request(Method::PATCH, &format!("{at}/ports")).json(&json!({"ports": [{"container": 80}]}))).await;
    for (answer, revision) in [(created, 1), (patched, 2), (ports, 2), (moved, 3), (app.get(&at).await, 3)] {
        assert_eq!(answer.headers["etag"], format!("\"{revision}\""));
        assert_eq!(answer.json()["revision"], revision);
    }
    assert_eq!(app.send(app.request(Method::HEAD, &at)).await.headers["etag"], "\"3\"");
    let again = app.send(app.request(Method::GET, &at).header("if-none-match", "\"3\"")).await;
    assert_eq!(again.status, StatusCode::OK, "the state that is shown moves without the revision");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_another_revision_is_refused_and_touches_nothing() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "1"}})).await;
    app.patch(&cuid, &json!({"tags": ["second"]})).await;
    let look = async || {
        let files = std::fs::read_to_string(app.folder(&cuid).join("container.json")).unwrap();
        (app.get(&format!("/containers/{cuid}")).await.json(), files, docker(&["inspect", &cuid]))
    };
    let before = look().await;
    for (method, path) in CHANGES {
        for stale in ["\"1\"", "W/\"2\"", "\"02\", \"x\""] {
            let answer = app.send(change(&app, &cuid, method, path).header("if-match", stale)).await;
            answer.refused(412, "REVISION_MISMATCH", "If-Match");
            assert_eq!(answer.json()["details"]["revision"], 2, "{method} {path}");
        }
        for unreadable in ["2", "", "*, \"2\"", "\"2"] {
            let answer = app.send(change(&app, &cuid, method, path).header("if-match", unreadable)).await;
            answer.refused(400, "INVALID_IF_MATCH", "If-Match");
        }
    }
    assert_eq!(look().await, before);
    assert!(!app.folder(&cuid).join("app/new.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_revision_that_is_is_made() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "1"}})).await;
    for (method, path) in CHANGES {
        let tag = app.get(&format!("/containers/{cuid}")).await.headers["etag"].to_str().unwrap().to_owned();
        let tags = if path == "/pause" { "*".to_owned() } else { format!("\"999\", {tag}") };
        let answer = app.send(change(&app, &cuid, method, path).header("if-match", tags)).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {path}: {answer:?}");
    }
    let gone = app.send(app.request(Method::DELETE, &format!("/containers/{cuid}")).header("if-match", "*")).await;
    gone.refused(404, "CONTAINER_NOT_FOUND", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_of_the_same_revision_exactly_one_is_made() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX})).await;
    let patch = |value: &str| {
        let request = app.request(Method::PATCH, &format!("/containers/{cuid}")).json(&json!({"env": {"A": value}}));
        app.send(request.header("if-match", "\"1\""))
    };
    let (one, two) = tokio::join!(patch("one"), patch("two"));
    let (won, lost) = if one.status == StatusCode::OK { (one, two) } else { (two, one) };
    assert_eq!(won.status, StatusCode::OK, "{won:?}");
    lost.refused(412, "REVISION_MISMATCH", "If-Match");
    let now = app.get(&format!("/containers/{cuid}")).await.json();
    assert_eq!((&now["env"], &now["revision"]), (&won.json()["env"], &2.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_expected_only_of_what_has_one() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    for tag in ["\"1\"", "*"] {
        let create = app.request(Method::POST, "/containers").json(&json!({"image": BUSYBOX}));
        app.send(create.header("if-match", tag)).await.refused(400, "INVALID_IF_MATCH", "If-Match");
        for action in ["start", "stop", "restart", "pause", "unpause", "delete"] {
            let batch = app.request(Method::POST, &format!("/containers/batch/{action}")).json(&json!({"cuids": [cuid]}));
            app.send(batch.header("if-match", tag)).await.refused(400, "INVALID_IF_MATCH", "If-Match");
        }
    }
    assert_eq!(app.status(&cuid).await["status"], "running");
    assert_eq!(app.data_entries(), [cuid.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn overwrite_is_taken_only_where_it_has_a_meaning() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    for (method, path, known) in [
        ("POST", "/start", true),
        ("POST", "/restart", true),
        ("PATCH", "", true),
        ("PATCH", "/ports", true),
        ("POST", "/stop", false),
        ("POST", "/pause", false),
        ("POST", "/unpause", false),
        ("POST", "/upload-zip", false),
        ("DELETE", "", false),
    ] {
        let ask = async |value: &str| {
            let body: Value = if path == "/ports" { json!({"ports": []}) } else { json!({}) };
            let url = format!("/containers/{cuid}{path}?overwrite={value}");
            app.send(app.request(method.parse().unwrap(), &url).json(&body)).await
        };
        if known {
            assert_eq!(ask("true").await.status, StatusCode::OK, "{method} {path}");
            ask("maybe").await.refused(400, "INVALID_QUERY", "overwrite");
        } else {
            ask("true").await.refused(400, "INVALID_QUERY", "overwrite");
        }
    }
}
