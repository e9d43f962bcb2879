//! Changing a container's configuration.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BUSYBOX, TestApp, docker};

fn id(cuid: &str) -> String {
    docker(&["inspect", "--format", "{{.Id}}", cuid])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_container_is_recreated_with_the_change_and_runs_again() {
    let app = TestApp::start().await;
    let cuid = app
        .run(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"OLD_VAR": "1", "KEEP": "2"}, "tags": ["a"],
        "resources": {"cpus": 0.5, "memory": "64m"}}))
        .await;
    let patch = json!({"env": {"NEW_VAR": "value", "OLD_VAR": null}, "tags": ["updated", "v2"], "resources": {"memory": "128m"}});
    let answer = app.patch(&cuid, &patch).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["env"], json!({"KEEP": "2", "NEW_VAR": "value"}));
    assert_eq!((&body["tags"], &body["resources"]), (&json!(["updated", "v2"]), &json!({"cpus": 0.5, "memory": "128m"})));
    assert_eq!((&body["status"], &app.status(&cuid).await["status"]), (&"running".into(), &"running".into()));
    let environ = docker(&["exec", &cuid, "env"]);
    assert!(
        environ.contains("NEW_VAR=value") && environ.contains("TAGS=updated,v2") && !environ.contains("OLD_VAR"),
        "{environ}"
    );
    assert_eq!(docker(&["inspect", "--format", "{{.HostConfig.Memory}}", &cuid]).trim(), (128 << 20).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_container_is_changed_and_stays_stopped() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let body = app.patch(&cuid, &json!({"env": {"A": "1"}})).await.json();
    assert_eq!((&body["status"], &body["env"]["A"]), (&"created".into(), &"1".into()));
    app.act(&cuid, "start").await;
    assert!(docker(&["exec", &cuid, "env"]).contains("A=1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_changes_nothing_touches_nothing() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "tags": ["a"], "env": {"A": "1"}})).await;
    let before = (id(&cuid), app.status(&cuid).await);
    for patch in [json!({}), json!({"tags": ["a"]}), json!({"env": {"A": 1, "B": null}}), json!({"command": ["sleep", "1000"]})] {
        assert_eq!(app.patch(&cuid, &patch).await.status, StatusCode::OK);
    }
    assert_eq!((id(&cuid), app.status(&cuid).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_replaced_and_nothing_else_is_taken_there() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000", "ports": [{"container": 80}]})).await;
    let ports = |body: Value| app.send(app.request(Method::PATCH, &format!("/containers/{cuid}/ports")).json(&body));
    let body =
        ports(json!({"ports": [{"container": 3000, "protocol": "tcp"}, {"container": 9000, "protocol": "udp"}]})).await.json();
    assert_eq!(
        (&body["ports"][0]["container"], &body["ports"][1]["protocol"], body["ports"].as_array().unwrap().len()),
        (&3000.into(), &"udp".into(), 2)
    );
    ports(json!({})).await.refused(400, "INVALID_PORT", "ports");
    ports(json!({"ports": null})).await.refused(400, "INVALID_PORT", "ports");
    ports(json!({"ports": [], "image": "x"})).await.refused(400, "UNKNOWN_FIELD", "image");
    ports(json!({"ports": [{"container": "80"}]})).await.refused(400, "INVALID_PORT", "ports[0].container");
    assert_eq!(ports(json!({"ports": []})).await.json()["ports"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_can_t_be_brought_up_puts_the_old_configuration_back() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "old"}})).await;
    let before = app.get(&format!("/containers/{cuid}")).await.json();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port();
    for (patch, status, code) in [
        (json!({"image": "127.0.0.1:1/no/such"}), 404, "IMAGE_NOT_FOUND"),
        (json!({"ports": [{"container": 80, "host": taken, "host_ip": "127.0.0.1"}]}), 409, "PORT_CONFLICT"),
        (json!({"command": ["/no/such/program"]}), 500, "COMPOSE_FAILED"),
        (json!({"resources": {"cpus": 4000}}), 400, "INVALID_RESOURCES"),
        (json!({"image": null}), 400, "MISSING_IMAGE"),
    ] {
        app.patch(&cuid, &patch).await.refused(status, code, "");
        let after = app.get(&format!("/containers/{cuid}")).await.json();
        for field in ["status", "env", "image", "ports", "command"] {
            assert_eq!(after[field], before[field], "{field} after {patch}");
        }
        assert!(docker(&["exec", &cuid, "env"]).contains("A=old"));
        assert!(!app.folder(&cuid).join("change.json").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_moves_with_a_patch() {
    let app = TestApp::start().await;
    let one = app.create(&json!({"image": BUSYBOX, "name": "one"})).await;
    let two = app.create(&json!({"image": BUSYBOX, "name": "two"})).await;
    app.patch(&two, &json!({"name": "one"})).await.refused(409, "CONTAINER_ALREADY_EXISTS", "name");
    assert_eq!(app.patch(&one, &json!({"name": "three"})).await.json()["name"], "three");
    assert_eq!(app.patch(&two, &json!({"name": "one"})).await.json()["name"], "one");
    assert_eq!(app.patch(&one, &json!({"name": null})).await.json()["name"], Value::Null);
    app.create(&json!({"image": BUSYBOX, "name": "three"})).await;
}
