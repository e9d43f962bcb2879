//! Creating, showing and listing containers.

use std::collections::HashSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{BUSYBOX, PYTHON, TestApp, docker};

#[tokio::test(flavor = "multi_thread")]
async fn a_created_container_is_answered_whole_and_not_started() {
    let app = TestApp::start().await;
    let spec = json!({"image": BUSYBOX, "name": "web", "env": {"A": "b", "N": 1, "T": true}, "tags": ["web", "production"],
        "labels": {"team": "x"}, "resources": {"cpus": 0.5, "memory": "64m", "pids": 50}, "command": "sleep 1000",
        "ports": [{"container": 80, "protocol": "tcp"}]});
    let answer = app.post_json("/containers", &spec).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let body = answer.json();
    let cuid = body["cuid"].as_str().unwrap();
    assert_eq!(answer.headers["location"], format!("/containers/{cuid}"));
    for field in ["image", "name", "tags", "labels", "resources"] {
        assert_eq!(body[field], spec[field], "{field}");
    }
    assert_eq!(body["env"], json!({"A": "b", "N": "1", "T": "true"}));
    assert_eq!(body["command"], json!(["sleep", "1000"]));
    assert_eq!(body["ports"], json!([{"container": 80, "host": null, "protocol": "tcp"}]));
    assert_eq!((&body["status"], &body["started_at"], &body["exit_code"]), (&"created".into(), &Value::Null, &Value::Null));
    chrono::DateTime::parse_from_rfc3339(body["created_at"].as_str().unwrap()).unwrap();
    assert_eq!(app.get(&format!("/containers/{cuid}")).await.json(), body);
    let names: HashSet<_> = std::fs::read_dir(app.folder(cuid)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, HashSet::from(["app", "compose.yaml", "container.json"].map(Into::into)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_shows_what_was_asked_for() {
    let app = TestApp::start().await;
    let spec =
        json!({"image": BUSYBOX, "resources": {"cpus": 0.5, "memory": "64m", "pids": 50}, "labels": {"team": "x"}, "name": "n"});
    let cuid = app.create(&spec).await;
    let inspected: Value = serde_json::from_str(&docker(&["inspect", &cuid])).unwrap();
    let (host, config) = (&inspected[0]["HostConfig"], &inspected[0]["Config"]);
    assert_eq!((&host["NanoCpus"], &host["Memory"], &host["PidsLimit"]), (&500_000_000.into(), &(64 << 20).into(), &50.into()));
    assert_eq!((&host["Init"], &host["SecurityOpt"]), (&true.into(), &json!(["no-new-privileges:true"])));
    assert_eq!((&config["User"], &config["WorkingDir"]), (&"1000:1000".into(), &"/app".into()));
    assert_eq!((&config["Labels"]["team"], &config["Labels"]["berth.cuid"]), (&"x".into(), &cuid.as_str().into()));
    assert_eq!(inspected[0]["Mounts"][0]["Source"], app.folder(&cuid).join("app").display().to_string());
    assert!(inspected[0]["NetworkSettings"]["Networks"]["berth"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_names_its_field_and_leaves_nothing_behind() {
    let app = TestApp::start().await;
    for (spec, code, field) in [
        (json!({}), "MISSING_IMAGE", "image"),
        (json!({"image": "A b"}), "INVALID_IMAGE", "image"),
        (json!({"image": BUSYBOX, "resource": {}}), "UNKNOWN_FIELD", "resource"),
        (json!({"image": BUSYBOX, "resources": {"cpus": 0}}), "INVALID_RESOURCES", "resources.cpus"),
        (json!({"image": BUSYBOX, "resources": {"cpus": 4000}}), "INVALID_RESOURCES", "resources.cpus"),
        (json!({"image": BUSYBOX, "resources": {"memory": "1m"}}), "INVALID_RESOURCES", "resources.memory"),
        (json!({"image": BUSYBOX, "resources": {"pids": -5}}), "INVALID_RESOURCES", "resources.pids"),
        (json!({"image": BUSYBOX, "ports": [{"container": 0}]}), "INVALID_PORT", "ports[0].container"),
        (json!({"image": BUSYBOX, "env": {"A": null}}), "INVALID_ENV", "env.A"),
        (json!({"image": BUSYBOX, "tags": "web"}), "INVALID_TAGS", "tags"),
        (json!({"image": BUSYBOX, "name": "../x"}), "INVALID_NAME", "name"),
    ] {
        app.post_json("/containers", &spec).await.refused(400, code, field);
    }
    assert!(app.data_entries().is_empty(), "{:?}", app.data_entries());
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_images_that_can_t_be_had_leave_nothing_behind() {
    let app = TestApp::start().await;
    for round in 0..20 {
        // Nothing listens on port 1 of this machine.
        let answer = app.post_json("/containers", &json!({"image": format!("127.0.0.1:1/no/such:{round}"), "name": "n"})).await;
        answer.refused(404, "IMAGE_NOT_FOUND", "image");
    }
    assert!(app.data_entries().is_empty(), "{:?}", app.data_entries());
    assert_eq!(app.get("/containers").await.json()["total"], 0);
    // The name is free again.
    app.create(&json!({"image": BUSYBOX, "name": "n"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_given_once_and_free_again_after_a_deletion() {
    let app = TestApp::start().await;
    let spec = json!({"image": BUSYBOX, "name": "web"});
    let both = tokio::join!(app.post_json("/containers", &spec), app.post_json("/containers", &spec));
    let (made, refused) = if both.0.status == StatusCode::CREATED { both } else { (both.1, both.0) };
    assert_eq!(made.status, StatusCode::CREATED);
    refused.refused(409, "CONTAINER_ALREADY_EXISTS", "name");
    let cuid = made.json()["cuid"].as_str().unwrap().to_owned();
    assert_eq!(refused.json()["details"]["cuid"], *cuid);
    assert_eq!(app.data_entries(), [cuid.as_str()]);
    app.delete(&cuid).await;
    app.create(&spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_paged_newest_first_and_filtered() {
    let app = TestApp::start().await;
    let mut cuids = Vec::new();
    for number in 0..5 {
        let tags = if number % 2 == 0 { json!(["even", "n"]) } else { json!(["n"]) };
        cuids.push(
            app.create(&json!({"image": BUSYBOX, "command": "sleep 1000", "tags": tags, "labels": {"n": number.to_string()}}))
                .await,
        );
    }
    cuids.reverse();
    let listed = async |query: &str| {
        let page = app.get(&format!("/containers?{query}")).await.json();
        let found: Vec<String> =
            page["containers"].as_array().unwrap().iter().map(|one| one["cuid"].as_str().unwrap().into()).collect();
        (found, page["total"].as_u64().unwrap(), page["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(listed("").await, (cuids.clone(), 5, None));
    let (first, total, cursor) = listed("limit=2").await;
    assert_eq!((first.as_slice(), total), (&cuids[..2], 5));
    // What is created or deleted meanwhile moves nobody else.
    app.create(&json!({"image": BUSYBOX})).await;
    app.delete(&cuids[0]).await;
    let (second, _, cursor) = listed(&format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!(second, cuids[2..4]);
    let (third, _, cursor) = listed(&format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!((third.as_slice(), cursor), (&cuids[4..], None));

    app.act(&cuids[2], "start").await;
    assert_eq!(listed("status=running").await.0, cuids[2..3]);
    assert_eq!(listed("status=running,paused&tag=even").await.0, cuids[2..3]);
    assert_eq!(listed("tag=even&status=created").await.0, cuids[4..]);
    assert_eq!(listed("label=n=3").await.0, cuids[1..2]);
    assert_eq!(listed("status=stopped").await.1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_still_there_after_a_restart_of_the_server() {
    let mut app = TestApp::start().await;
    let running = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "name": "keeps", "env": {"A": "$x"}})).await;
    let created = app.create(&json!({"image": PYTHON})).await;
    let before = app.get("/containers").await.json();
    app.restart().await;
    assert_eq!(app.get("/containers").await.json(), before);
    assert_eq!(app.status(&running).await["status"], "running");
    assert_eq!(app.status(&created).await["status"], "created");
    app.post_json("/containers", &json!({"image": BUSYBOX, "name": "keeps"})).await.refused(
        409,
        "CONTAINER_ALREADY_EXISTS",
        "name",
    );
}
