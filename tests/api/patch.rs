//! Changing a container's configuration.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BARE, BUSYBOX, TestApp, docker, until};

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

/// What the engine holds of a container's limits: processors, memory, processes.
fn limits(cuid: &str) -> String {
    docker(&["inspect", "--format", "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", cuid])
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_alone_are_changed_while_the_container_runs_on() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "resources": {"memory": "64m", "pids": 50}})).await;
    let before = (id(&cuid), docker(&["inspect", "--format", "{{.State.Pid}} {{.State.StartedAt}}", &cuid]));
    let same = || (id(&cuid), docker(&["inspect", "--format", "{{.State.Pid}} {{.State.StartedAt}}", &cuid])) == before;
    let body = app.patch(&cuid, &json!({"resources": {"memory": "128m", "cpus": 0.5, "pids": 60}})).await.json();
    assert_eq!((&body["resources"]["memory"], &body["revision"]), (&"128m".into(), &2.into()), "{body}");
    assert_eq!(limits(&cuid).trim(), "500000000 134217728 60");
    assert!(same());
    let project = std::fs::read_to_string(app.folder(&cuid).join("compose.yaml")).unwrap();
    assert!(project.contains("mem_limit: \"128m\"") && project.contains("cpus: 0.5"), "{project}");

    assert_eq!(
        app.patch(&cuid, &json!({"resources": {"memory": null, "cpus": null, "pids": null}})).await.status,
        StatusCode::OK
    );
    assert!(same(), "also when limits go");
    let kernel = docker(&["exec", &cuid, "sh", "-c", "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max"]);
    assert_eq!(kernel.trim(), "max");

    app.act(&cuid, "stop?timeout=0").await;
    app.patch(&cuid, &json!({"resources": {"memory": "32m"}})).await;
    app.act(&cuid, "start").await;
    assert_eq!((id(&cuid), limits(&cuid).split(' ').nth(1)), (before.0.clone(), Some("33554432")), "a stopped one is kept, too");
    docker(&["update", "--memory", "48m", "--memory-swap", "96m", &cuid]);
    app.act(&cuid, "restart?timeout=0").await;
    assert_eq!(limits(&cuid).split(' ').nth(1), Some("33554432"), "what was changed by hand is as asked after a start");
}

#[tokio::test(flavor = "multi_thread")]
async fn less_memory_than_a_running_container_uses_is_refused() {
    let app = TestApp::start().await;
    let fill = ["sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 && touch /tmp/full; sleep 1000"];
    let cuid = app.run(&json!({"image": BUSYBOX, "command": fill, "resources": {"memory": "128m"}})).await;
    until("it is full", async || docker(&["exec", &cuid, "ls", "/tmp"]).contains("full")).await;
    let refused = app.patch(&cuid, &json!({"resources": {"memory": "16m"}})).await;
    refused.refused(400, "INVALID_RESOURCES", "resources.memory");
    assert_eq!(app.status(&cuid).await["status"], "running");
    let project = std::fs::read_to_string(app.folder(&cuid).join("compose.yaml")).unwrap();
    assert!(project.contains("mem_limit: \"128m\"") && limits(&cuid).contains(" 134217728 "), "{project}");
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
        (json!({"command": ["sh", "-c", "sleep 0.2; exit 1"]}), 500, "COMPOSE_FAILED"),
        (json!({"resources": {"cpus": 4000}}), 400, "INVALID_RESOURCES"),
        (json!({"image": null}), 400, "MISSING_IMAGE"),
    ] {
        let made = id(&cuid);
        app.patch(&cuid, &patch).await.refused(status, code, "");
        assert!(code == "COMPOSE_FAILED" || id(&cuid) == made, "what can be told before is told before: {patch}");
        let after = app.get(&format!("/containers/{cuid}")).await.json();
        for field in ["status", "env", "image", "ports", "command"] {
            assert_eq!(after[field], before[field], "{field} after {patch}");
        }
        assert!(docker(&["exec", &cuid, "env"]).contains("A=old"));
        assert!(!app.folder(&cuid).join("change.json").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_image_is_put_back_though_its_tag_has_moved() {
    let app = TestApp::start().await;
    let tag = format!("berth-test/moves-{}", uuid::Uuid::new_v4());
    docker(&["tag", BUSYBOX, &tag]);
    let cuid = app.run(&json!({"image": tag, "command": "sleep 1000"})).await;
    let image = docker(&["inspect", "--format", "{{.Image}}", &cuid]);
    docker(&["tag", BARE, &tag]);
    let refused = app.patch(&cuid, &json!({"command": ["sh", "-c", "sleep 1000"]})).await;
    docker(&["rmi", &tag]);
    refused.refused(500, "COMPOSE_FAILED", "");
    assert_eq!(refused.json()["details"]["restored"], true, "{refused:?}");
    assert_eq!(
        (docker(&["inspect", "--format", "{{.Image}}", &cuid]), app.status(&cuid).await["status"].clone()),
        (image, "running".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_s_own_limits_stay() {
    let templates = tempfile::tempdir().unwrap();
    std::fs::write(templates.path().join("compose.yaml"), "services: {container: {mem_limit: 64m, pids_limit: 50}}").unwrap();
    let app = TestApp::start_with([("TEMPLATE_DIR", templates.path().display().to_string())]).await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    assert_eq!(limits(&cuid).trim(), "0 67108864 50");
    app.patch(&cuid, &json!({"resources": {"cpus": 0.5, "memory": "128m"}})).await;
    assert_eq!(limits(&cuid).trim(), "500000000 134217728 50");
    app.patch(&cuid, &json!({"resources": {"memory": null}})).await;
    assert_eq!(limits(&cuid).trim(), "500000000 67108864 50");
    assert_eq!(app.get(&format!("/containers/{cuid}/drift")).await.json()["drifted"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_renamed_by_hand_has_its_name_back_with_the_next_change() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let made = id(&cuid);
    docker(&["rename", &cuid, &format!("renamed-{cuid}")]);
    app.until_status(&cuid, "missing").await;
    app.send(app.request(Method::DELETE, &format!("/containers/{cuid}"))).await.refused(422, "CONTAINER_RUNNING", "");
    assert_eq!((id(&cuid), app.status(&cuid).await["status"].clone()), (made, "running".into()));
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
