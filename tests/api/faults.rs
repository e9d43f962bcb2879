//! What the real engine won't do on demand: a stand-in for `docker compose` that fails, hangs or dies, a crash between two
//! steps, and an engine that is not there.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{BUSYBOX, PYTHON, TestApp, archive, docker, until};

/// A compose program that is the real one until the file `fault` says otherwise, for the command that it names; with `once`
/// in front, only the first time.
fn stand_in(world: &Path) -> String {
    let path = world.join("compose");
    let script = format!(
        r#"#!/bin/sh
fault=$(cat '{0}/fault' 2>/dev/null)
for word in "$@"; do
  case "$fault" in
    "once "*" $word") rm '{0}/fault'; fault=${{fault#once }} ;;
  esac
  case "$fault" in
    "fail $word") echo "simulated failure" >&2; exit 17 ;;
    "late $word") docker compose "$@"; echo "simulated late failure" >&2; exit 18 ;;
    "hang $word") sleep 1000 & echo $! > '{0}/child'; wait ;;
    "die $word") kill -9 $$ ;;
    "halve $word") docker kill "$(basename "$PWD")"; echo "simulated failure half-way" >&2; exit 19 ;;
  esac
done
exec docker compose "$@"
"#,
        world.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

struct Faulty {
    app: TestApp,
    world: tempfile::TempDir,
}

impl Faulty {
    async fn start() -> Self {
        Self::patient("30").await
    }

    /// One that gives up what hangs, in seconds in which a busy machine gets done what does not.
    async fn impatient() -> Self {
        Self::patient("6").await
    }

    async fn patient(seconds: &str) -> Self {
        let world = tempfile::tempdir().unwrap();
        let settings = [("COMPOSE_BIN", stand_in(world.path())), ("COMPOSE_TIMEOUT_S", seconds.into())];
        Self { app: TestApp::start_with(settings).await, world }
    }

    fn fault(&self, what: &str) {
        fs::write(self.world.path().join("fault"), what).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_fails_leaves_nothing_behind() {
    let faulty = Faulty::impatient().await;
    for (fault, status, code) in [
        ("fail create", 500, "COMPOSE_FAILED"),
        ("late create", 500, "COMPOSE_FAILED"),
        ("die create", 500, "COMPOSE_FAILED"),
        ("hang create", 408, "COMPOSE_TIMEOUT"),
    ] {
        faulty.fault(fault);
        let answer =
            faulty.app.post_json("/containers", &json!({"image": BUSYBOX, "name": "n", "labels": {"fault": fault}})).await;
        answer.refused(status, code, "");
        assert!(faulty.app.data_entries().is_empty(), "{fault}");
        assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &format!("label=fault={fault}")]), "", "{fault}");
        if status == 500 {
            let details = &answer.json()["details"];
            assert!(details["command"].as_str().unwrap().starts_with("create") && details["stderr"].is_string(), "{details}");
        }
    }
    let child = fs::read_to_string(faulty.world.path().join("child")).unwrap();
    until("what hung was ended with all that it started", async || !Path::new("/proc").join(child.trim()).join("exe").exists())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_fails_leaves_the_container_as_it_was() {
    let faulty = Faulty::impatient().await;
    let cuid = faulty.app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "old"}})).await;
    for (fault, method, path, body) in [
        ("fail stop", Method::POST, "/stop?timeout=0", json!(null)),
        ("fail pause", Method::POST, "/pause", json!(null)),
        ("fail down", Method::DELETE, "?force=true", json!(null)),
        ("hang restart", Method::POST, "/restart?timeout=0", json!(null)),
    ] {
        faulty.fault(fault);
        let answer = faulty.app.send(faulty.app.request(method, &format!("/containers/{cuid}{path}")).json(&body)).await;
        assert!(matches!(answer.status, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::REQUEST_TIMEOUT), "{fault}: {answer:?}");
        assert_eq!(faulty.app.status(&cuid).await["status"], "running", "{fault}");
    }
    faulty.fault("");
    assert_eq!(faulty.app.act(&cuid, "stop?timeout=0").await["status"], "exited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_fails_by_whatever_way_leaves_the_old_configuration_running() {
    let faulty = Faulty::impatient().await;
    let cuid = faulty.app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "old"}})).await;
    let before = faulty.app.get(&format!("/containers/{cuid}")).await.json();
    for (fault, status, code) in [
        ("once fail up", 500, "COMPOSE_FAILED"),
        ("once late up", 500, "COMPOSE_FAILED"),
        ("once die up", 500, "COMPOSE_FAILED"),
        ("once hang up", 408, "COMPOSE_TIMEOUT"),
    ] {
        faulty.fault(fault);
        let refused = faulty.app.patch(&cuid, &json!({"env": {"A": "new"}})).await;
        refused.refused(status, code, "");
        assert_eq!(refused.json()["details"]["restored"], true, "{fault}");
        let after = faulty.app.get(&format!("/containers/{cuid}")).await.json();
        for field in ["status", "env", "revision"] {
            assert_eq!(after[field], before[field], "{fault}");
        }
        assert!(docker(&["exec", &cuid, "env"]).contains("A=old"), "{fault}");
        assert!(!faulty.app.folder(&cuid).join("change.json").exists(), "{fault}");
    }
    assert_eq!(faulty.app.patch(&cuid, &json!({"env": {"A": "new"}})).await.status, StatusCode::OK);
    assert!(docker(&["exec", &cuid, "env"]).contains("A=new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_stops_the_container_and_fails_leaves_it_running() {
    let faulty = Faulty::start().await;
    let cuid = faulty.app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    faulty.fault("once halve restart");
    faulty.app.post(&format!("/containers/{cuid}/restart?timeout=0")).await.refused(500, "COMPOSE_FAILED", "");
    assert_eq!(faulty.app.status(&cuid).await["status"], "running");
    // One that failed before anything was done to the container lets it be.
    let before = docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &cuid]);
    faulty.fault("once fail restart");
    let refused = faulty.app.post(&format!("/containers/{cuid}/restart?timeout=0")).await;
    refused.refused(500, "COMPOSE_FAILED", "");
    assert_eq!(refused.json()["details"]["restored"], true);
    assert_eq!(docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &cuid]), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_fails_late_is_taken_back() {
    let faulty = Faulty::start().await;
    let cuid = faulty.app.create(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "old"}})).await;
    // It fails after the container was recreated; the way back goes by the same command, so it fails, too, and the next
    // start of the server tries again.
    faulty.fault("late create");
    let refused = faulty.app.patch(&cuid, &json!({"env": {"A": "new"}})).await;
    refused.refused(500, "COMPOSE_FAILED", "");
    assert_eq!(refused.json()["details"]["restored"], false);
    assert!(faulty.app.folder(&cuid).join("change.json").exists());
    faulty.fault("");
    let Faulty { mut app, world } = faulty;
    app.restart().await;
    until("the old configuration is back", async || !app.folder(&cuid).join("change.json").exists()).await;
    assert_eq!(app.get(&format!("/containers/{cuid}")).await.json()["env"]["A"], "old");
    app.act(&cuid, "start").await;
    assert!(docker(&["exec", &cuid, "env"]).contains("A=old"));
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_of_a_creation_or_deletion_is_removed_at_the_next_start() {
    let mut app = TestApp::start().await;
    let half_made = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let half_deleted = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let whole = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    app.shut_down().await;
    fs::rename(app.folder(&half_made).join("container.json"), app.folder(&half_made).join("creating")).unwrap();
    fs::rename(app.folder(&half_deleted).join("container.json"), app.folder(&half_deleted).join("deleted.json")).unwrap();
    fs::create_dir(app.data().join("not-ours")).unwrap();
    app.restart().await;
    until("only the whole one is left", async || app.data_entries().len() == 2).await;
    for gone in [half_made, half_deleted] {
        assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &format!("name={gone}")]), "");
    }
    assert_eq!(app.status(&whole).await["status"], "running");
    fs::remove_dir(app.data().join("not-ours")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_failed_once_still_takes_boot_py_the_next_time() {
    let faulty = Faulty::start().await;
    let cuid = faulty.app.create(&json!({"image": PYTHON})).await;
    faulty.app.upload(&cuid, archive(&[("boot.py", "import time\ntime.sleep(1000)\n")])).await;
    faulty.fault("fail up");
    faulty.app.post(&format!("/containers/{cuid}/start")).await.refused(500, "COMPOSE_FAILED", "");
    faulty.fault("");
    assert_eq!(faulty.app.act(&cuid, "start").await["status"], "running");
    assert!(docker(&["exec", &cuid, "cat", "/proc/1/cmdline"]).contains("boot.py"));
    // And one that is as it should be is started as it is.
    let id = docker(&["inspect", "--format", "{{.Id}}", &cuid]);
    faulty.app.act(&cuid, "restart?timeout=0").await;
    assert_eq!(docker(&["inspect", "--format", "{{.Id}}", &cuid]), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_put_back_is_not_forgotten_by_an_action_that_changes_nothing_of_it() {
    let faulty = Faulty::start().await;
    let cuid = faulty.app.run(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "old"}})).await;
    let noted = || faulty.app.folder(&cuid).join("change.json").exists();
    faulty.fault("fail up");
    faulty.app.patch(&cuid, &json!({"env": {"A": "new"}, "ports": [{"container": 80}]})).await.refused(500, "COMPOSE_FAILED", "");
    assert!(!noted(), "nothing was done to it");
    faulty.fault("late up");
    faulty.app.patch(&cuid, &json!({"env": {"A": "new"}})).await.refused(500, "COMPOSE_FAILED", "");
    assert!(noted());
    docker(&["rm", "--force", &cuid]);
    faulty.app.until_status(&cuid, "missing").await;
    assert_eq!(faulty.app.post(&format!("/containers/{cuid}/pause")).await.status, StatusCode::OK);
    assert!(noted(), "the way back failed late, and may not be whole");
    faulty.fault("");
    faulty.app.act(&cuid, "unpause").await;
    assert!(!noted() && docker(&["exec", &cuid, "env"]).contains("A=old"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_put_back_is_before_the_next_action() {
    let faulty = Faulty::start().await;
    let cuid = faulty.app.create(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "old"}})).await;
    faulty.fault("late create");
    faulty.app.patch(&cuid, &json!({"env": {"A": "new"}})).await.refused(500, "COMPOSE_FAILED", "");
    faulty.fault("");
    faulty.app.act(&cuid, "start").await;
    assert!(docker(&["exec", &cuid, "env"]).contains("A=old"));
    assert!(!faulty.app.folder(&cuid).join("change.json").exists());
    let Faulty { mut app, world } = faulty;
    app.restart().await;
    assert_eq!(app.act(&cuid, "start").await["changed"], false, "the next start of the server leaves it alone");
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_project_was_spoilt_can_still_be_stopped_and_deleted() {
    let app = TestApp::start().await;
    for spoilt in [Some("services: [nonsense"), None] {
        let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
        let path = app.folder(&cuid).join("compose.yaml");
        match spoilt {
            Some(text) => fs::write(path, text).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        app.act(&cuid, "pause").await;
        app.act(&cuid, "unpause").await;
        assert_eq!(app.act(&cuid, "stop?timeout=0").await["status"], "exited");
        assert_eq!(app.delete(&cuid).await.status, StatusCode::OK);
        assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &format!("name={cuid}")]), "");
    }
    assert!(app.data_entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_compose_refuses_leaves_nothing_behind() {
    let templates = tempfile::tempdir().unwrap();
    fs::write(templates.path().join("compose.yaml"), "services: {container: {bogus: 1}}").unwrap();
    let app = TestApp::start_with([("TEMPLATE_DIR", templates.path().display().to_string())]).await;
    app.post_json("/containers", &json!({"image": BUSYBOX})).await.refused(500, "COMPOSE_FAILED", "");
    assert!(app.data_entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_never_serve_one_folder() {
    let app = TestApp::start().await;
    let why = app.second().await;
    assert!(why.contains("another berth serves it"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_takes_its_compose_with_it() {
    let mut app = TestApp::start_process().await;
    let cuid = app.run(&deaf()).await;
    let stopping = tokio::spawn(app.request(Method::POST, &format!("/containers/{cuid}/stop?timeout=60")).send());
    until("compose runs", async || !compose_of(&cuid).is_empty()).await;
    app.kill();
    assert!(stopping.await.unwrap().is_err());
    until("compose is gone", async || compose_of(&cuid).is_empty()).await;
    app.spawn().await;
    assert_eq!(app.delete(&cuid).await.status, StatusCode::OK);
}

/// A container that takes no notice of being told to stop.
pub(crate) fn deaf() -> serde_json::Value {
    json!({"image": BUSYBOX, "command": ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]})
}

/// The compose processes of a container, by their command lines.
pub(crate) fn compose_of(cuid: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("cmdline")).ok());
    lines.filter(|line| line.contains("compose") && line.contains(cuid)).collect()
}
