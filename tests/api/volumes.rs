//! Volumes of a container's own, and parts of the host's disk.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BUSYBOX, TestApp, docker, inspect, until};

/// What the docker CLI is to remove in the end, also when the test fails.
struct Removed(&'static str, Vec<String>);

impl Drop for Removed {
    fn drop(&mut self) {
        let names: Vec<&str> = self.1.iter().map(String::as_str).collect();
        docker(&[&[self.0, "rm"], &names[..]].concat());
    }
}

/// The engine's names of all volumes of a container.
pub(crate) fn volumes(cuid: &str) -> Vec<String> {
    let listed = docker(&["volume", "ls", "--quiet", "--filter", &format!("label=com.docker.compose.project={cuid}")]);
    let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn sleeper(volumes: &Value) -> Value {
    json!({"image": BUSYBOX, "command": "sleep 1000", "volumes": volumes})
}

fn sh(cuid: &str, line: &str) -> String {
    docker(&["exec", cuid, "sh", "-c", line]).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_the_container_s_own_and_its_user_can_write_to_it() {
    let app = TestApp::start().await;
    let asked = json!([{"volume": "data", "container_path": "/data/a b", "mode": "rw"},
        {"volume": "x-1.5", "container_path": "/app/sub", "mode": "rw"}, {"volume": "data", "container_path": "/again", "mode": "ro"},
        {"volume": "null", "container_path": "/var/lib/deep/er", "mode": "rw"}, {"volume": "ro", "container_path": "/ro", "mode": "ro"}]);
    let one = app.run(&sleeper(&asked)).await;
    let two = app.run(&sleeper(&asked)).await;
    assert_eq!(app.get(&format!("/containers/{one}")).await.json()["volumes"], asked);
    for path in ["/data/a b", "/app/sub", "/var/lib/deep/er"] {
        let line = format!("cd '{path}' && echo {path} > file && cat file && stat -c %u:%g .");
        assert_eq!(sh(&one, &line), format!("{path}\n1000:1000"));
        assert_eq!(sh(&two, &format!("ls '{path}'")), "", "another container sees nothing of it");
    }
    assert_eq!(sh(&one, "cat /again/file; touch /again/x /ro/x 2>/dev/null || echo read-only"), "/data/a b\nread-only");
    let mounted = inspect(&one)["HostConfig"]["Mounts"].to_string();
    assert!(mounted.contains(&format!("{one}_data")) && mounted.contains("/var/lib/deep/er"), "{mounted}");
    assert_eq!(volumes(&one), ["data", "null", "ro", "x-1.5"].map(|name| format!("{one}_{name}")));
    // They outlive the container at the engine, and stay whose they are.
    sh(&one, "chmod 700 /app/sub");
    app.patch(&one, &json!({"env": {"A": "1"}})).await;
    assert_eq!(sh(&one, "cat /data/a*/file; stat -c %a /app/sub"), "/data/a b\n700");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_volume_belongs_to_the_user_that_is_asked_for() {
    let app = TestApp::start().await;
    for (user, owner) in [(json!("7:8"), "7:8"), (json!("image"), "0:0"), (json!("root"), "0:0")] {
        let mut spec = sleeper(&json!([{"volume": "v", "container_path": "/v"}]));
        spec["user"] = user;
        let cuid = app.run(&spec).await;
        assert_eq!(sh(&cuid, "stat -c %u:%g /v"), owner);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_adds_a_volume_that_can_be_written_to_at_once() {
    let app = TestApp::start().await;
    let write = ["sh", "-c", "touch /new/at-start; exec sleep 1000"];
    let cuid = app.run(&json!({"image": BUSYBOX, "command": write})).await;
    let body = app.patch(&cuid, &json!({"volumes": [{"volume": "new", "container_path": "/new"}]})).await.json();
    assert_eq!(body["status"], "running");
    assert_eq!(sh(&cuid, "ls /new; stat -c %u /new"), "at-start\n1000");
    // One that is dropped keeps what is in it, and is not given away again.
    docker(&["exec", "--user", "0", &cuid, "chown", "5:5", "/new"]);
    app.patch(&cuid, &json!({"volumes": null})).await;
    assert_eq!(volumes(&cuid), [format!("{cuid}_new")]);
    app.patch(&cuid, &json!({"volumes": [{"volume": "new", "container_path": "/old"}]})).await;
    assert_eq!(sh(&cuid, "ls /old; stat -c %u /old"), "at-start\n5");
    // One of a change that fails goes again.
    let patch = json!({"command": ["/no/such"], "volumes": [{"volume": "other", "container_path": "/x"}]});
    app.patch(&cuid, &patch).await.refused(500, "COMPOSE_FAILED", "");
    assert_eq!(volumes(&cuid), [format!("{cuid}_new")]);
    assert_eq!(sh(&cuid, "ls /old"), "at-start");
    // And so it is on a stopped one.
    app.act(&cuid, "stop?timeout=0").await;
    app.patch(&cuid, &json!({"volumes": [{"volume": "late", "container_path": "/new"}]})).await;
    app.act(&cuid, "start").await;
    assert_eq!(sh(&cuid, "ls /new"), "at-start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_through_a_link_of_the_image_or_at_a_file_of_it() {
    let app = TestApp::start().await;
    // In the mount, where the test can put them.
    let cuid = app.create(&sleeper(&json!(null))).await;
    fs::create_dir(app.folder(&cuid).join("app/real")).unwrap();
    symlink("real", app.folder(&cuid).join("app/link")).unwrap();
    fs::write(app.folder(&cuid).join("app/file"), "").unwrap();
    app.patch(&cuid, &json!({"volumes": [{"volume": "v", "container_path": "/app/link"}]})).await;
    app.act(&cuid, "start").await;
    assert_eq!(sh(&cuid, "stat -c %u /app/real; readlink /app/link"), "1000\nreal");
    app.patch(&cuid, &json!({"volumes": [{"volume": "w", "container_path": "/app/file"}]})).await.refused(
        400,
        "INVALID_VOLUME",
        "volumes[0].container_path",
    );
    assert_eq!(app.status(&cuid).await["status"], "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_go_with_their_container_only_where_that_is_asked_for() {
    let app = TestApp::start().await;
    let both = sleeper(&json!([{"volume": "a", "container_path": "/a"}, {"volume": "b", "container_path": "/b"}]));
    let make = || app.run(&both);
    let delete = async |cuid: &str, query: &str| {
        let request = app.request(Method::DELETE, &format!("/containers/{cuid}?force=true{query}"));
        assert_eq!(app.send(request).await.status, StatusCode::OK);
    };
    let kept = make().await;
    let expected = [format!("{kept}_a"), format!("{kept}_b")];
    let _removed = Removed("volume", expected.to_vec());
    delete(&kept, "").await;
    assert_eq!(volumes(&kept), expected);

    let gone = make().await;
    // Also one that the specification does not name any more, and whatever stands in its project.
    app.patch(&gone, &json!({"volumes": [{"volume": "b", "container_path": "/b"}]})).await;
    fs::write(app.folder(&gone).join("compose.yaml"), "services: [nonsense").unwrap();
    delete(&gone, "&remove_volumes=true").await;
    assert!(volumes(&gone).is_empty(), "{:?}", volumes(&gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_deletion_or_a_creation_leaves_no_volume() {
    let mut app = TestApp::start().await;
    let spec = sleeper(&json!([{"volume": "a", "container_path": "/a"}]));
    let [made, deleted, kept] = [app.create(&spec).await, app.create(&spec).await, app.create(&spec).await];
    app.shut_down().await;
    fs::rename(app.folder(&made).join("container.json"), app.folder(&made).join("creating")).unwrap();
    fs::rename(app.folder(&deleted).join("container.json"), app.folder(&deleted).join("deleted-with-volumes.json")).unwrap();
    fs::rename(app.folder(&kept).join("container.json"), app.folder(&kept).join("deleted.json")).unwrap();
    app.restart().await;
    until("all are gone", async || app.data_entries().is_empty()).await;
    assert!(volumes(&made).is_empty() && volumes(&deleted).is_empty());
    let left = volumes(&kept);
    docker(&["volume", "rm", &format!("{kept}_a")]);
    assert!(!left.is_empty(), "without being asked to, a deletion takes no volumes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_change_leaves_none_of_its_volumes() {
    let mut app = TestApp::start().await;
    let cuid = app.create(&sleeper(&json!([{"volume": "a", "container_path": "/a"}]))).await;
    app.shut_down().await;
    // As it is once the change's project was created, and before its record was written.
    docker(&["volume", "create", "--label", &format!("com.docker.compose.project={cuid}"), &format!("{cuid}_b")]);
    fs::write(app.folder(&cuid).join("change.json"), json!({"was_up": false, "volumes": [format!("{cuid}_a")]}).to_string())
        .unwrap();
    app.restart().await;
    until("the change is taken back", async || !app.folder(&cuid).join("change.json").exists()).await;
    assert_eq!(volumes(&cuid), [format!("{cuid}_a")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_s_anonymous_volumes_go_with_the_others() {
    let image = format!("berth-test/volume-{}", uuid::Uuid::new_v4());
    let _removed = Removed("image", vec![image.clone()]);
    let app = TestApp::start().await;
    let base = docker(&["create", BUSYBOX]).trim().to_owned();
    docker(&["commit", "--change", "VOLUME /anonymous", &base, &image]);
    docker(&["rm", &base]);
    let answer = app.post_json("/containers", &json!({"image": image, "command": "sleep 1000"})).await;
    let cuid = answer.json()["cuid"].as_str().unwrap().to_owned();
    let volume =
        inspect(&cuid)["Mounts"].as_array().unwrap().iter().find_map(|mount| mount["Name"].as_str().map(str::to_owned)).unwrap();
    app.send(app.request(Method::DELETE, &format!("/containers/{cuid}?remove_volumes=true"))).await;
    assert!(!docker(&["volume", "ls", "--quiet"]).contains(&volume));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_fails_leaves_no_volume_and_no_network() {
    let templates = tempfile::tempdir().unwrap();
    // Compose makes networks and volumes first, and then the engine refuses the container.
    fs::write(templates.path().join("compose.yaml"), "services: {container: {runtime: nosuch, labels: [x=y]}}").unwrap();
    let app = TestApp::start_with([("TEMPLATE_DIR", templates.path().display().to_string())]).await;
    let before = (docker(&["volume", "ls", "--quiet", "--filter", "name=_made-in-vain"]), app.data_entries());
    let mut spec = sleeper(&json!([{"volume": "made-in-vain", "container_path": "/v"}]));
    spec["network"] = json!("own");
    app.post_json("/containers", &spec).await.refused(500, "COMPOSE_FAILED", "");
    assert_eq!((docker(&["volume", "ls", "--quiet", "--filter", "name=_made-in-vain"]), app.data_entries()), before);
}

/// A server that allows `srv` below a folder that it gives, with `srv/in` in it and `out` beside it.
async fn with_host_paths() -> (TestApp, tempfile::TempDir, PathBuf) {
    let world = tempfile::tempdir().unwrap();
    let at = world.path().canonicalize().unwrap();
    for folder in ["srv/in", "out"] {
        fs::create_dir_all(at.join(folder)).unwrap();
        fs::write(at.join(folder).join("file"), folder).unwrap();
    }
    symlink(at.join("srv/in"), at.join("srv/link")).unwrap();
    symlink(at.join("out"), at.join("srv/leads-out")).unwrap();
    let app = TestApp::start_with([("ALLOWED_HOST_PATHS", format!("/no/such, {}", at.join("srv").display()))]).await;
    (app, world, at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_host_is_mounted_where_that_is_allowed() {
    let (app, _world, at) = with_host_paths().await;
    let odd = at.join("srv/a:b $HOME ü");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("file"), "odd").unwrap();
    let cuid = app
        .run(&sleeper(&json!([{"host_path": at.join("srv/link"), "container_path": "/in", "mode": "ro"},
            {"host_path": odd, "container_path": "/odd"}, {"host_path": at.join("srv/in/file"), "container_path": "/file"}])))
        .await;
    assert_eq!(sh(&cuid, "cat /in/file /odd/file /file; touch /in/x 2>/dev/null || echo read-only"), "srv/inoddsrv/inread-only");
    let mounts = inspect(&cuid)["Mounts"].clone();
    assert!(mounts.to_string().contains(at.join("srv/in").to_str().unwrap()), "{mounts}");
    let shown = app.get(&format!("/containers/{cuid}")).await.json()["volumes"][0]["host_path"].clone();
    assert_eq!(shown, at.join("srv/link").to_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_host_that_is_not_allowed_is_refused() {
    let (app, _world, at) = with_host_paths().await;
    let cuid = app.create(&sleeper(&json!(null))).await;
    let data = app.data().canonicalize().unwrap();
    for path in [
        at.join("out"),
        at.clone(),
        at.join("srv/leads-out"),
        at.join("srv/in/../.."),
        data,
        "/".into(),
        "/etc/passwd".into(),
        "/no/such/x".into(),
    ] {
        let volumes = json!([{"volume": "v", "container_path": "/v"}, {"host_path": path, "container_path": "/x"}]);
        let answer = app.post_json("/containers", &sleeper(&volumes)).await;
        answer.refused(403, "HOST_PATH_NOT_ALLOWED", "volumes[1].host_path");
        assert_eq!(
            (&answer.json()["error"], &answer.json()["details"]["provided"]),
            (&"permission_denied".into(), &path.to_str().unwrap().into())
        );
        app.patch(&cuid, &json!({"volumes": volumes})).await.refused(403, "HOST_PATH_NOT_ALLOWED", "volumes[1].host_path");
    }
    let missing = json!([{"host_path": at.join("srv/missing"), "container_path": "/x"}]);
    app.post_json("/containers", &sleeper(&missing)).await.refused(400, "INVALID_VOLUME", "volumes[0].host_path");
    assert_eq!(app.data_entries(), [cuid.as_str()]);
    assert!(volumes(&cuid).is_empty() && !at.join("srv/missing").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_became_a_link_is_refused_before_anything_is_done() {
    let (app, _world, at) = with_host_paths().await;
    let cuid = app.run(&sleeper(&json!([{"host_path": at.join("srv/in"), "container_path": "/x"}]))).await;
    let started = app.status(&cuid).await["started_at"].clone();
    fs::rename(at.join("srv/in"), at.join("srv/was")).unwrap();
    symlink(at.join("out"), at.join("srv/in")).unwrap();
    app.post(&format!("/containers/{cuid}/restart")).await.refused(403, "HOST_PATH_NOT_ALLOWED", "volumes[0].host_path");
    app.patch(&cuid, &json!({"env": {"A": "1"}})).await.refused(403, "HOST_PATH_NOT_ALLOWED", "volumes[0].host_path");
    let status = app.status(&cuid).await;
    assert_eq!((&status["status"], &status["started_at"]), (&"running".into(), &started), "it is unchanged");
    app.act(&cuid, "stop?timeout=0").await;
    app.post(&format!("/containers/{cuid}/start")).await.refused(403, "HOST_PATH_NOT_ALLOWED", "volumes[0].host_path");
    assert_eq!(app.patch(&cuid, &json!({"volumes": null})).await.status, StatusCode::OK);
    assert_eq!(app.act(&cuid, "start").await["status"], "running");
}
