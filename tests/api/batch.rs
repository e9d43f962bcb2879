//! The calls on many containers at once.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    faults::{compose_of, deaf},
    harness::{BUSYBOX, TestApp, docker, until},
};

const UNKNOWN: &str = "c123e4567-e89b-12d3-a456-426614174000";

fn sleeper() -> Value {
    json!({"image": BUSYBOX, "command": "sleep 1000"})
}

async fn batch(app: &TestApp, action: &str, body: &Value) -> Vec<Value> {
    let answer = app.post_json(&format!("/containers/batch/{action}"), body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["results"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_what_the_single_call_would_have_answered_in_the_order_asked() {
    let app = TestApp::start().await;
    let (one, two) = (app.create(&sleeper()).await, app.create(&sleeper()).await);
    for (action, status, changed) in [
        ("start", "running", true),
        ("start", "running", false),
        ("pause", "paused", true),
        ("unpause", "running", true),
        ("restart", "running", true),
        ("stop", "exited", true),
        ("stop", "exited", false),
    ] {
        let body = match action {
            "stop" | "restart" => json!({"cuids": [two, UNKNOWN, one, "nonsense"], "timeout": 0}),
            _ => json!({"cuids": [two, UNKNOWN, one, "nonsense"]}),
        };
        let rows = batch(&app, action, &body).await;
        assert_eq!(rows.len(), 4);
        for (row, cuid) in [(&rows[0], &two), (&rows[2], &one)] {
            assert_eq!((&row["cuid"], &row["status"], &row["changed"]), (&json!(cuid), &json!(status), &json!(changed)));
            assert!(row["message"].is_string() && row.as_object().unwrap().len() == 4, "{row}");
        }
        for (row, cuid, status, code) in
            [(&rows[1], UNKNOWN, 404, "CONTAINER_NOT_FOUND"), (&rows[3], "nonsense", 400, "INVALID_CUID")]
        {
            assert_eq!((&row["cuid"], &row["status"], &row["code"]), (&json!(cuid), &json!(status), &json!(code)));
            for field in ["error", "message", "request_id", "timestamp", "details"] {
                assert!(!row[field].is_null(), "{field}: {row}");
            }
        }
    }
    let single = app.post(&format!("/containers/{one}/pause")).await.json();
    let mut row = batch(&app, "pause", &json!({"cuids": [one]})).await.remove(0);
    assert_eq!(row.as_object_mut().unwrap().remove("cuid"), Some(json!(one)));
    for field in ["error", "code", "message", "status", "details"] {
        assert_eq!(row[field], single[field], "{field}");
    }
    assert_eq!(row.as_object().unwrap().len(), single.as_object().unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_deletes_what_it_may_and_says_what_it_may_not() {
    let app = TestApp::start().await;
    let (running, stopped) = (app.run(&sleeper()).await, app.create(&sleeper()).await);
    let rows = batch(&app, "delete", &json!({"cuids": [running, stopped]})).await;
    assert_eq!((&rows[0]["code"], &rows[1]["status"]), (&json!("CONTAINER_RUNNING"), &json!("deleted")));
    let rows = batch(&app, "delete", &json!({"cuids": [running], "force": true, "remove_volumes": true})).await;
    assert_eq!((&rows[0]["cuid"], &rows[0]["status"]), (&json!(running), &json!("deleted")));
    assert!(app.data_entries().is_empty());
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &format!("name={running}")]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_named_twice_has_its_turns_one_after_the_other() {
    let app = TestApp::start().await;
    let cuid = app.create(&sleeper()).await;
    let rows = batch(&app, "start", &json!({"cuids": [cuid, cuid]})).await;
    let mut changed: Vec<bool> = rows.iter().map(|row| row["changed"].as_bool().unwrap()).collect();
    changed.sort_unstable();
    assert_eq!(changed, [false, true], "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_can_t_be_read_names_its_field_and_does_nothing() {
    let app = TestApp::start().await;
    let cuid = app.run(&sleeper()).await;
    let many = vec![UNKNOWN; 1001];
    for (action, body, code, field) in [
        ("stop", json!({}), "INVALID_CUIDS", "cuids"),
        ("stop", json!({"cuids": []}), "INVALID_CUIDS", "cuids"),
        ("stop", json!({"cuids": null}), "INVALID_CUIDS", "cuids"),
        ("stop", json!({"cuids": cuid}), "INVALID_CUIDS", "cuids"),
        ("stop", json!({"cuids": many}), "INVALID_CUIDS", "cuids"),
        ("stop", json!({"cuids": [cuid, cuid, 3]}), "INVALID_CUIDS", "cuids[2]"),
        ("stop", json!({"cuids": [cuid], "timeout": "3"}), "INVALID_TIMEOUT", "timeout"),
        ("stop", json!({"cuids": [cuid], "timeout": 3601}), "INVALID_TIMEOUT", "timeout"),
        ("stop", json!({"cuids": [cuid], "timeout": -1}), "INVALID_TIMEOUT", "timeout"),
        ("stop", json!({"cuids": [cuid], "force": true}), "UNKNOWN_FIELD", "force"),
        ("pause", json!({"cuids": [cuid], "timeout": 1}), "UNKNOWN_FIELD", "timeout"),
        ("delete", json!({"cuids": [cuid], "force": "yes"}), "INVALID_FORCE", "force"),
        ("delete", json!({"cuids": [cuid], "force": true, "remove_volumes": 1}), "INVALID_REMOVE_VOLUMES", "remove_volumes"),
        ("delete", json!([[cuid], true, true]), "INVALID_JSON", "body"),
    ] {
        app.post_json(&format!("/containers/batch/{action}"), &body).await.refused(400, code, field);
    }
    app.post_json("/containers/batch/stop?timeout=1", &json!({"cuids": [cuid]})).await.refused(400, "INVALID_QUERY", "timeout");
    assert_eq!(app.status(&cuid).await["status"], "running");
    assert_eq!(batch(&app, "start", &json!({"cuids": vec![UNKNOWN; 1000]})).await.len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_batch_calls_have_routes_of_their_own() {
    let app = TestApp::start().await;
    for action in ["start", "stop", "restart", "pause", "unpause", "delete"] {
        let answer = app.get(&format!("/containers/batch/{action}")).await;
        answer.refused(405, "METHOD_NOT_ALLOWED", "");
        assert_eq!(answer.headers["allow"], "POST");
    }
    app.post_json("/containers/batch/explode", &json!({"cuids": [UNKNOWN]})).await.refused(404, "ROUTE_NOT_FOUND", "");
    app.send(app.request(Method::GET, "/containers/batch")).await.refused(400, "INVALID_CUID", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_container_of_a_batch_has_a_line_of_its_own_in_the_log() {
    let mut app = TestApp::start().await;
    let cuid = app.create(&sleeper()).await;
    let answer = app.post_json("/containers/batch/start", &json!({"cuids": [cuid, UNKNOWN]})).await;
    app.shut_down().await;
    let lines = app.actions();
    let id = answer.headers["x-request-id"].to_str().unwrap();
    let of = |action: &str| lines.iter().filter(|line| line["request_id"] == id && line["action"] == action).collect::<Vec<_>>();
    let (whole, rows) = (of("batch_start"), of("start"));
    assert_eq!((whole.len(), rows.len()), (1, 2), "{lines:?}");
    assert!(whole[0].get("cuid").is_none() && whole[0].get("error").is_none(), "{whole:?}");
    let of = |cuid: &str| *rows.iter().find(|line| line["cuid"] == cuid).unwrap();
    let (done, refused) = (of(&cuid), of(UNKNOWN));
    assert_eq!((&done["status"], &done["user"], done.get("error")), (&json!(200), &json!("admin"), None));
    assert_eq!((&refused["status"], &refused["code"]), (&json!(404), &json!("CONTAINER_NOT_FOUND")));
    assert!(refused["message"].is_string() && done["duration_ms"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_works_side_by_side_and_goes_on_without_its_client() {
    let app = TestApp::start().await;
    let (one, two) = (app.run(&deaf()).await, app.run(&deaf()).await);
    let request = app.request(Method::POST, "/containers/batch/stop").json(&json!({"cuids": [one, two], "timeout": 60}));
    let client = tokio::spawn(request.send());
    let both = async || !compose_of(&one).is_empty() && !compose_of(&two).is_empty();
    until("a stop of each is under way", both).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    docker(&["kill", &one, &two]);
    let logged =
        async |action: &str| app.actions().iter().filter(|line| line["action"] == action && line["status"] == 200).count();
    until("it is logged as it ended", async || logged("batch_stop").await == 1).await;
    assert_eq!(logged("stop").await, 2);
    for cuid in [&one, &two] {
        assert_eq!(app.status(cuid).await["status"], "exited");
    }
}
