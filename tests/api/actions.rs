//! `GET /actions`: what the action log has, by pages and filters.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{BUSYBOX, TestApp, until};

/// The entries that a query gives.
async fn actions(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.get(&format!("/actions?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["actions"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_given_newest_first_and_by_filters() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX})).await;
    app.post(&format!("/containers/{cuid}/pause")).await.refused(422, "INVALID_STATE", "");
    app.get("/nowhere").await.refused(404, "ROUTE_NOT_FOUND", "");
    app.client.get(format!("{}/healthz", app.base)).send().await.unwrap();
    until("all is logged", async || actions(&app, "error=auth_error").await.len() == 1).await;

    let of = actions(&app, &format!("cuid={cuid}")).await;
    let names: Vec<_> = of.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(names, ["pause", "create"]);
    assert_eq!((&of[0]["code"], &of[0]["status"], &of[1]["user"]), (&"INVALID_STATE".into(), &422.into(), &"admin".into()));
    assert!(of[1].get("error").is_none() && of[1]["seq"].as_u64() < of[0]["seq"].as_u64());
    assert_eq!(of[0]["prev"].as_str().unwrap().len(), 64);
    let failed = actions(&app, "error=true&since=1h").await;
    assert_eq!(failed.iter().map(|entry| &entry["status"]).collect::<Vec<_>>(), [401, 404, 422]);
    assert_eq!(actions(&app, "error=True&since=1h").await.len(), 3, "as Python writes it");
    assert_eq!(actions(&app, "error=false&action=create").await.len(), 1);
    assert!(actions(&app, "since=2100-01-01T00:00:00Z").await.is_empty());
    assert_eq!(app.get("/actions?limit=1").await.json()["actions"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_stays_good_while_the_log_grows_and_is_put_aside() {
    let app = TestApp::start_with([("ACTION_LOG_BYTES", "65536".to_owned()), ("ACTION_LOG_FILES", "20".to_owned())]).await;
    for number in 0..200 {
        app.get(&format!("/{}{number}", "x".repeat(500))).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/actions?error=not_found&limit=30{cursor}")).await.json();
        seen.extend(page["actions"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()));
        app.get(&format!("/{}", "y".repeat(900))).await;
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 200);
    assert!(seen.is_sorted_by(|newer, older| newer > older), "{seen:?}");
    assert!(app.world.path().join("logs/actions.jsonl.1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_makes_no_sense_is_refused() {
    let app = TestApp::start().await;
    for (query, code, field) in [
        ("cuid=c1", "INVALID_CUID", "cuid"),
        ("since=yesterday", "INVALID_QUERY", "since"),
        ("error=", "INVALID_QUERY", "error"),
        ("error=1", "INVALID_QUERY", "error"),
        ("error=no_such_error", "INVALID_QUERY", "error"),
        ("limit=0", "INVALID_QUERY", "limit"),
        ("limit=1001", "INVALID_QUERY", "limit"),
        ("cursor=x", "INVALID_QUERY", "cursor"),
        ("cursor=MSAyIA", "INVALID_QUERY", "cursor"),
        ("user=admin", "INVALID_QUERY", "user"),
    ] {
        app.get(&format!("/actions?{query}")).await.refused(400, code, field);
    }
    // A place in a file that nobody has any more: what was before it is gone.
    let gone = app.get("/actions?cursor=MTg0NDY3NDQwNzM3MDk1NTE2MTUgMTAgNQ").await.json();
    assert_eq!(gone, json!({"actions": [], "next_cursor": null}));
}
