//! The network that a container is on.

use serde_json::{Value, json};

use crate::harness::{BUSYBOX, TestApp, docker, inspect};

/// A network of the test's own, removed with it.
struct Network(String);

impl Network {
    fn make() -> Self {
        let name = format!("berth-test-{}", uuid::Uuid::new_v4());
        docker(&["network", "create", &name]);
        Self(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker(&["network", "rm", &self.0]);
    }
}

fn networks(cuid: &str) -> Vec<String> {
    inspect(cuid)["NetworkSettings"]["Networks"].as_object().unwrap().keys().cloned().collect()
}

fn own_networks(cuid: &str) -> String {
    docker(&["network", "ls", "--quiet", "--filter", &format!("label=com.docker.compose.project={cuid}")])
}

fn spec(network: &Value) -> Value {
    json!({"image": BUSYBOX, "command": "sleep 1000", "network": network})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_joins_the_network_that_it_names() {
    let network = Network::make();
    let app = TestApp::start().await;
    for (asked, joined) in [(json!(network.0), network.0.as_str()), (json!("bridge"), "bridge"), (json!("none"), "none")] {
        let cuid = app.run(&spec(&asked)).await;
        assert_eq!(networks(&cuid), [joined]);
        assert_eq!(app.status(&cuid).await["ip_address"].is_string(), joined != "none");
        assert_eq!(app.get(&format!("/containers/{cuid}")).await.json()["network"], asked);
        app.delete(&cuid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_network_is_one_and_goes_with_its_container() {
    let app = TestApp::start().await;
    let cuid = app.run(&spec(&json!("own"))).await;
    assert_eq!(networks(&cuid), [format!("{cuid}_default")]);
    app.delete(&cuid).await;
    assert_eq!(own_networks(&cuid), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_moves_a_container_and_leaves_no_network_behind() {
    let network = Network::make();
    let app = TestApp::start().await;
    let cuid = app.run(&spec(&json!(null))).await;
    assert_eq!(networks(&cuid), ["berth"]);
    let own = format!("{cuid}_default");
    for (asked, joined) in [("own", own.as_str()), (&network.0, &network.0), ("own", &own), ("none", "none"), ("own", &own)] {
        let answer = app.patch(&cuid, &json!({"network": asked})).await;
        assert_eq!((&answer.json()["network"], &answer.json()["status"]), (&asked.into(), &"running".into()));
        assert_eq!(networks(&cuid), [joined]);
        assert_eq!(own_networks(&cuid).is_empty(), asked != "own", "{asked}");
    }
    app.act(&cuid, "stop?timeout=0").await;
    app.patch(&cuid, &json!({"network": null})).await;
    assert_eq!((networks(&cuid), own_networks(&cuid)), (vec!["berth".to_owned()], String::new()));
    // One that fails leaves none, either.
    app.act(&cuid, "start").await;
    app.patch(&cuid, &json!({"network": "own", "command": ["/no/such"]})).await.refused(500, "COMPOSE_FAILED", "");
    assert_eq!((networks(&cuid), own_networks(&cuid)), (vec!["berth".to_owned()], String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_can_t_be_joined_is_told() {
    let app = TestApp::start().await;
    let host_id = docker(&["network", "ls", "--quiet", "--filter", "name=^host$"]).trim().to_owned();
    for name in ["nosuch", "default", &host_id, &host_id[..4]] {
        app.post_json("/containers", &spec(&json!(name))).await.refused(404, "NETWORK_NOT_FOUND", "network");
    }
    let other = app.create(&spec(&json!("own"))).await;
    for name in ["host", "container:x", "", &format!("{other}_default")] {
        app.post_json("/containers", &spec(&json!(name))).await.refused(400, "INVALID_NETWORK", "network");
    }
    let ports = json!({"image": BUSYBOX, "network": "none", "ports": [{"container": 80}]});
    app.post_json("/containers", &ports).await.refused(400, "INVALID_NETWORK", "network");
    app.patch(&other, &json!({"network": "nosuch"})).await.refused(404, "NETWORK_NOT_FOUND", "network");
    assert_eq!((app.data_entries(), networks(&other)), (vec![other.clone()], vec![format!("{other}_default")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_gone_is_told_at_the_start() {
    let app = TestApp::start().await;
    let network = Network::make();
    let cuid = app.create(&spec(&json!(network.0))).await;
    let name = network.0.clone();
    drop(network);
    app.post(&format!("/containers/{cuid}/start")).await.refused(404, "NETWORK_NOT_FOUND", "network");
    assert_eq!(app.get(&format!("/containers/{cuid}")).await.json()["network"], *name);
    app.patch(&cuid, &json!({"network": null})).await;
    assert_eq!(app.act(&cuid, "start").await["status"], "running");
}
