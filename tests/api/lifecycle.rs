//! Start, stop, restart, pause, unpause and delete.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{BUSYBOX, PYTHON, TestApp, archive, docker, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_goes_through_its_life() {
    let app = TestApp::start().await;
    let cuid =
        app.create(&json!({"image": BUSYBOX, "command": ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"]})).await;
    for (action, status, changed) in [
        ("stop", "created", false),
        ("start", "running", true),
        ("start", "running", false),
        ("pause", "paused", true),
        ("unpause", "running", true),
        ("restart", "running", true),
        ("stop", "exited", true),
        ("stop", "exited", false),
        ("restart", "running", true),
        ("pause", "paused", true),
        ("restart?timeout=0", "running", true),
        ("pause", "paused", true),
        ("stop?timeout=1", "exited", true),
        ("start", "running", true),
    ] {
        let answer = app.act(&cuid, action).await;
        assert_eq!((&answer["status"], &answer["changed"]), (&status.into(), &changed.into()), "{action}: {answer}");
        assert!(answer["cuid"] == *cuid && !answer["message"].as_str().unwrap().is_empty());
        assert_eq!(app.status(&cuid).await["status"], status, "a read right after {action}");
    }
    let stopped = app.act(&cuid, "stop").await;
    assert_eq!(stopped["status"], "exited");
    let status = app.status(&cuid).await;
    assert_eq!((&status["exit_code"], &status["ip_address"]), (&3.into(), &serde_json::Value::Null));
    assert!(status["started_at"].is_string() && status["finished_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let refused = async |action: &str, status: &str| {
        let answer = app.post(&format!("/containers/{cuid}/{action}")).await;
        answer.refused(422, "INVALID_STATE", "");
        assert_eq!(answer.json()["details"]["status"], status);
        assert!(answer.json()["details"]["allowed"].is_array());
        assert_eq!(app.status(&cuid).await["status"], status);
    };
    refused("pause", "created").await;
    refused("unpause", "created").await;
    app.act(&cuid, "start").await;
    refused("unpause", "running").await;
    app.act(&cuid, "pause").await;
    refused("pause", "paused").await;
    refused("start", "paused").await;
    app.patch(&cuid, &json!({"tags": ["x"]})).await.refused(422, "INVALID_STATE", "");
    app.post(&format!("/containers/{cuid}/stop?timeout=x")).await.refused(400, "INVALID_QUERY", "timeout");
    app.post(&format!("/containers/{cuid}/stop?timeout=-1")).await.refused(400, "INVALID_QUERY", "timeout");
    app.post(&format!("/containers/{cuid}/stop?timeout=3601")).await.refused(400, "INVALID_QUERY", "timeout");
    app.post(&format!("/containers/{cuid}/stop?tiemout=1")).await.refused(400, "INVALID_QUERY", "tiemout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_container_is_deleted_only_by_force_and_wholly() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    app.send(app.request(Method::DELETE, &format!("/containers/{cuid}"))).await.refused(422, "CONTAINER_RUNNING", "");
    assert_eq!(app.status(&cuid).await["status"], "running");
    let answer = app.delete(&cuid).await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::OK, &"deleted".into()));
    app.get(&format!("/containers/{cuid}")).await.refused(404, "CONTAINER_NOT_FOUND", "");
    app.delete(&cuid).await.refused(404, "CONTAINER_NOT_FOUND", "");
    assert!(app.data_entries().is_empty());
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &format!("name={cuid}")]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn boot_py_is_run_once_it_is_there_and_the_image_s_own_command_else() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": PYTHON})).await;
    // The image's own command is python3, which ends at once without input.
    app.act(&cuid, "start").await;
    app.until_status(&cuid, "exited").await;
    assert_eq!(app.status(&cuid).await["exit_code"], 0);
    app.upload(&cuid, archive(&[("boot.py", "import sys\nprint('up', flush=False)\nsys.exit(7)\n")])).await;
    app.act(&cuid, "start").await;
    until("boot.py ended", async || app.status(&cuid).await["exit_code"] == 7).await;
    assert!(docker(&["logs", &cuid]).contains("up"));
    // One that comes while something else runs is taken by a restart.
    let other = app.run(&json!({"image": PYTHON, "command": "sleep 1000"})).await;
    app.upload(&other, archive(&[("boot.py", "print('never')")])).await;
    app.act(&other, "restart?timeout=0").await;
    assert_eq!(app.status(&other).await["status"], "running", "a command wins over boot.py");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_the_engine_lost_is_missing_and_can_be_started_again() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    docker(&["rm", "--force", &cuid]);
    app.until_status(&cuid, "missing").await;
    app.post(&format!("/containers/{cuid}/pause")).await.refused(422, "INVALID_STATE", "");
    assert_eq!(app.act(&cuid, "stop").await["changed"], false);
    assert_eq!(app.act(&cuid, "start").await["status"], "running");
    docker(&["rm", "--force", &cuid]);
    app.until_status(&cuid, "missing").await;
    assert_eq!(app.delete(&cuid).await.status, StatusCode::OK);
    assert!(app.data_entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_by_hand_shows() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    docker(&["pause", &cuid]);
    app.until_status(&cuid, "paused").await;
    docker(&["unpause", &cuid]);
    app.until_status(&cuid, "running").await;
    docker(&["kill", &cuid]);
    app.until_status(&cuid, "exited").await;
    assert_eq!(app.status(&cuid).await["exit_code"], 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_a_conflict_that_names_its_holder() {
    let app = TestApp::start().await;
    let spec = |host: u16| json!({"image": BUSYBOX, "command": "sleep 1000", "ports": [{"container": 80, "host": host, "host_ip": "127.0.0.1"}]});
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port();
    let first = app.create(&spec(taken)).await;
    let answer = app.post(&format!("/containers/{first}/start")).await;
    answer.refused(409, "PORT_CONFLICT", "ports");
    let details = answer.json()["details"].clone();
    assert_eq!((&details["port"], &details["cuid"]), (&taken.into(), &serde_json::Value::Null));
    assert!(details["holder"].as_str().unwrap().ends_with(&format!("(pid {})", std::process::id())), "{details}");
    drop(listener);
    let stranger = docker(&["run", "--detach", "--rm", "--publish", &format!("127.0.0.1:{taken}:80"), BUSYBOX, "sleep", "1000"]);
    let name = docker(&["inspect", "--format", "{{slice .Name 1}}", stranger.trim()]);
    let answer = app.post(&format!("/containers/{first}/start")).await;
    docker(&["rm", "--force", stranger.trim()]);
    answer.refused(409, "PORT_CONFLICT", "ports");
    assert_eq!(answer.json()["details"]["holder"], format!("container {}", name.trim()));
    app.act(&first, "start").await;
    let second = app.create(&spec(taken)).await;
    let answer = app.post(&format!("/containers/{second}/start")).await;
    answer.refused(409, "PORT_CONFLICT", "ports");
    assert_eq!(answer.json()["details"]["cuid"], *first);
    assert_eq!(app.status(&first).await["status"], "running");
    app.act(&first, "stop?timeout=0").await;
    app.act(&second, "start").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_the_engine_picks_is_answered() {
    let app = TestApp::start().await;
    let serve = ["sh", "-c", "echo hello > /tmp/index.html; httpd -f -p 8000 -h /tmp"];
    let cuid =
        app.run(&json!({"image": BUSYBOX, "command": serve, "ports": [{"container": 8000, "host_ip": "127.0.0.1"}]})).await;
    let port = app.get(&format!("/containers/{cuid}")).await.json()["ports"][0]["host"].as_u64().unwrap();
    let page = async || app.client.get(format!("http://127.0.0.1:{port}/index.html")).send().await?.text().await;
    until("the container serves", async || page().await.is_ok_and(|text| text == "hello\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_on_the_shared_network_don_t_reach_each_other() {
    let app = TestApp::start().await;
    let serve = ["sh", "-c", "echo hello > /tmp/index.html; httpd -f -p 8000 -h /tmp"];
    let server = app.run(&json!({"image": BUSYBOX, "command": serve})).await;
    let client = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let address = app.status(&server).await["ip_address"].as_str().unwrap().to_owned();
    let fetch = |from: &str, host: &str| {
        docker(&["exec", from, "timeout", "2", "wget", "-q", "-O", "-", &format!("http://{host}:8000/index.html")])
    };
    until("it serves itself", async || fetch(&server, "127.0.0.1") == "hello\n").await;
    assert_eq!(fetch(&client, &address), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_on_the_shared_network_reach_out() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let gateway = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}";
    let gateway = docker(&["inspect", "--format", gateway, &cuid]).trim().to_owned();
    let listener = tokio::net::TcpListener::bind((gateway.as_str(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (inside, host) = (cuid.clone(), gateway.clone());
    let knock = tokio::task::spawn_blocking(move || {
        docker(&["exec", &inside, "sh", "-c", &format!("echo out | timeout 20 nc {host} {port}")])
    });
    let (mut stream, peer) = tokio::time::timeout(std::time::Duration::from_secs(20), listener.accept()).await.unwrap().unwrap();
    let mut heard = [0; 4];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut heard).await.unwrap();
    drop(stream);
    assert_eq!(
        (&heard[..], peer.ip().to_string()),
        (&b"out\n"[..], app.status(&cuid).await["ip_address"].as_str().unwrap().to_owned())
    );
    knock.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_has_its_share_of_containers_is_followed_by_another() {
    let mut app = TestApp::start_with([("NETWORK_CONTAINERS", "1".into())]).await;
    let serve = ["sh", "-c", "echo hello > /tmp/index.html; httpd -f -p 8000 -h /tmp"];
    let first = app.run(&json!({"image": BUSYBOX, "command": serve})).await;
    let second = app.run(&json!({"image": BUSYBOX, "command": serve})).await;
    let network =
        |cuid: &str| docker(&["inspect", "--format", "{{range $n, $_ := .NetworkSettings.Networks}}{{$n}}{{end}}", cuid]);
    assert_eq!((network(&first).trim(), network(&second).trim()), ("berth", "berth-2"));
    let address = app.status(&first).await["ip_address"].as_str().unwrap().to_owned();
    let fetch = |from: &str, host: &str| {
        docker(&["exec", from, "timeout", "2", "wget", "-q", "-O", "-", &format!("http://{host}:8000/index.html")])
    };
    until("it serves itself", async || fetch(&first, "127.0.0.1") == "hello\n").await;
    assert_eq!(fetch(&second, &address), "", "nor do they reach each other from network to network");

    app.restart().await;
    let id = docker(&["inspect", "--format", "{{.Id}}", &second]);
    app.act(&second, "restart?timeout=0").await;
    assert_eq!(docker(&["inspect", "--format", "{{.Id}}", &second]), id, "it keeps its place");
    app.delete(&first).await;
    let third = app.create(&json!({"image": BUSYBOX})).await;
    assert_eq!(network(&third).trim(), "berth", "a place that became free is taken");
    app.delete(&second).await;
    docker(&["network", "rm", "berth-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_container_come_one_after_the_other() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let path = |action: &str| format!("/containers/{cuid}/{action}");
    let (start, restart, stop) = (path("start"), path("restart?timeout=0"), path("stop?timeout=0"));
    for _ in 0..3 {
        let (a, b, c, d) = tokio::join!(app.post(&start), app.post(&restart), app.post(&stop), app.post(&start));
        for answer in [a, b, c, d] {
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
    }
    let status = app.status(&cuid).await["status"].clone();
    assert_eq!(docker(&["inspect", "--format", "{{.State.Status}}", &cuid]).trim(), status);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_does_not_cut_a_change_short() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let hasty = app
        .request(Method::POST, &format!("/containers/{cuid}/start"))
        .timeout(std::time::Duration::from_millis(15))
        .send()
        .await;
    assert!(hasty.is_err());
    app.until_status(&cuid, "running").await;
}
