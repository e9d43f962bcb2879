//! Recordings of terminals: what was seen is what is kept, and what was typed is not.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Container, World};
use crate::{
    answer::Answer,
    harness::{BUSYBOX, PYTHON, until},
};

/// A cast, taken apart.
pub(super) struct Cast {
    header: Value,
    pub(super) events: Vec<(f64, String, String)>,
}

impl Cast {
    pub(super) fn parse(text: &str) -> Self {
        assert!(text.is_empty() || text.ends_with('\n'), "half a line: {text:?}");
        let mut lines = text.lines();
        let header = serde_json::from_str(lines.next().unwrap()).unwrap();
        let events: Vec<(f64, String, String)> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(events.windows(2).all(|two| two[0].0 <= two[1].0), "time goes on");
        Self { header, events }
    }

    /// What its events of one kind say, joined.
    pub(super) fn all(&self, code: &str) -> String {
        self.events.iter().filter(|event| event.1 == code).map(|event| event.2.as_str()).collect()
    }
}

pub(super) fn path(container: &Container) -> String {
    format!("/containers/{}/recordings", container.cuid)
}

pub(super) fn folder(world: &World, container: &Container) -> PathBuf {
    world.app.folder(&container.cuid.to_string()).join("recordings")
}

pub(super) async fn list(world: &World, container: &Container) -> Vec<Value> {
    let answer = world.app.get(&path(container)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["recordings"].as_array().unwrap().clone()
}

pub(super) async fn download(world: &World, container: &Container, session: &Value) -> Answer {
    world.app.get(&format!("{}/{}", path(container), session.as_str().unwrap())).await
}

pub(super) async fn cast(world: &World, container: &Container, session: &Value) -> Cast {
    let answer = download(world, container, session).await;
    assert_eq!((answer.status, &answer.headers["content-type"]), (StatusCode::OK, &"application/x-asciicast".parse().unwrap()));
    Cast::parse(&answer.text())
}

pub(super) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_recorded_as_it_was_seen_and_its_input_is_not() {
    let world = World::recording("full").await;
    let container = world.idle(PYTHON).await;
    let (mut client, ready) = world.ready(&container, "cols=100&rows=30").await;
    client.type_in("printf 'h\\303\\251llo\\n'; stty size\n").await;
    let mut seen = client.until("30 100").await.stdout;
    client.send(json!({"type": "resize", "cols": 90, "rows": 25})).await;
    client.type_in("stty size; stty -echo; echo qui''et\n").await;
    let resized = client.until("quiet").await;
    assert!(resized.stdout().contains("25 90"));
    seen.extend(resized.stdout);
    let listed = &list(&world, &container).await[0];
    assert_eq!((&listed["state"], &listed["ended_at"]), (&json!("recording"), &Value::Null));
    client.type_in("secret=swordfish; exit 5\n").await;
    let rest = client.rest().await;
    seen.extend(&rest.stdout);
    assert_eq!(rest.exit(), 5);
    let log = &world.ends(1).await[0];

    let cast = cast(&world, &container, &ready["session"]).await;
    assert_eq!(cast.all("o").as_bytes(), seen);
    assert!(cast.all("o").contains("héllo") && !cast.all("o").contains("swordfish"));
    assert_eq!((cast.all("r"), cast.all("m")), ("90x25".to_owned(), String::new()));
    let resized = cast.events.iter().position(|event| event.1 == "r").unwrap();
    assert!(cast.events[..resized].iter().any(|event| event.2.contains("30 100")));
    assert_eq!((&cast.header["version"], &cast.header["width"], &cast.header["height"]), (&json!(2), &json!(100), &json!(30)));
    assert_eq!(cast.header["env"], json!({"TERM": "xterm-256color"}));

    let listed = &list(&world, &container).await[0];
    for (name, expected) in [
        ("session", ready["session"].clone()),
        ("state", json!("complete")),
        ("mode", json!("shell")),
        ("tty", json!(true)),
        ("user", json!("admin")),
        ("remote", json!("127.0.0.1")),
        ("exit_code", json!(5)),
        ("bytes", json!(seen.len())),
        ("cols", json!(100)),
        ("rows", json!(30)),
        ("truncated", json!(false)),
        ("missed_bytes", json!(0)),
    ] {
        assert_eq!(listed[name], expected, "{name} of {listed}");
    }
    let times = [&cast.header["timestamp"], &listed["duration_ms"], &listed["cast_bytes"]];
    assert!(times.iter().all(|number| number.as_u64().is_some_and(|number| number > 0)) && listed["ended_at"].is_string());
    let folder = folder(&world, &container);
    let names = names(&folder);
    assert_eq!((&log["recording"], &log["recording_file"]), (&json!("full"), &json!(names[0])));
    assert!(names.len() == 2 && names[0].ends_with(&format!("{}.cast", ready["session"].as_str().unwrap())), "{names:?}");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder.clone()), mode(folder.join(&names[0])), mode(folder.join(&names[1]))), (0o700, 0o600, 0o600));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sources_are_recorded_and_what_is_no_text_is_replaced() {
    let world = World::recording("full").await;
    let container = world.idle(BUSYBOX).await;
    let (mut client, ready) = world.ready(&container, "mode=exec").await;
    client.type_in("printf 'a\\360\\237'; read -r line; printf '\\230\\200 \\377 \\303'; printf 'oh\\n' >&2; exit 0\n").await;
    // Else the shell might take the answer for a part of its script.
    client.until("a").await;
    client.type_in("on\n").await;
    let heard = client.rest().await;
    assert_eq!((heard.stderr.as_slice(), heard.exit()), (&b"oh\n"[..], 0));
    world.ends(1).await;
    let cast = cast(&world, &container, &ready["session"]).await;
    // The engine may give one source before the other, and never in the middle of a character.
    assert_eq!(cast.all("o").replacen("oh\n", "", 1), "a😀 \u{fffd} \u{fffd}");
    assert_eq!((&cast.header["width"], &cast.header["height"]), (&json!(80), &json!(24)));
    let listed = &list(&world, &container).await[0];
    assert_eq!((&listed["mode"], &listed["tty"], &listed["cols"]), (&json!("exec"), &json!(false), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_unless_it_is_asked_for_and_metadata_is_no_output() {
    for (how, files) in [("off", 0), ("metadata", 1)] {
        let world = World::recording(how).await;
        let container = world.idle(BUSYBOX).await;
        let (mut client, ready) = world.ready(&container, "cols=70&rows=20").await;
        client.type_in("echo swordfish; exit 3\n").await;
        client.rest().await.exit();
        let log = &world.ends(1).await[0];
        let (folder, list) = (folder(&world, &container), list(&world, &container).await);
        assert_eq!((list.len(), folder.exists()), (files, files > 0));
        download(&world, &container, &ready["session"]).await.refused(404, "RECORDING_NOT_FOUND", "");
        if how == "off" {
            assert!(log.get("recording").is_none());
            continue;
        }
        assert_eq!((&list[0]["exit_code"], &list[0]["cols"], &list[0]["cast_bytes"]), (&json!(3), &json!(70), &Value::Null));
        assert_eq!((&log["recording"], &log["recording_file"]), (&json!("metadata"), &json!(names(&folder)[0])));
        assert!(!fs::read_to_string(folder.join(&names(&folder)[0])).unwrap().contains("swordfish"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_is_no_viewer_and_keeps_no_session_alive() {
    let world = World::start_with([("RECORD_TERMINALS", "full".to_owned()), ("SESSION_GRACE_S", "1".to_owned())]).await;
    let container = world.idle(BUSYBOX).await;
    let (client, ready) = world.ready(&container, "mode=exec").await;
    let listed = &world.sessions(&container).await[0];
    assert_eq!((&listed["clients"], &listed["watchers"]), (&json!(1), &json!(0)));
    let watch = format!("session={}&watch=1", ready["session"].as_str().unwrap());
    let mut watchers = Vec::new();
    for _ in 0..31 {
        watchers.push(world.open(&container, &watch).await);
    }
    drop(client);
    container.is_left_alone().await;
    assert_eq!(world.ends(1).await[0]["exit_code"], 137);
    assert_eq!(list(&world, &container).await[0]["exit_code"], 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_downloaded_in_parts_and_removed() {
    let world = World::recording("full").await;
    let (container, other) = (world.idle(BUSYBOX).await, world.idle(BUSYBOX).await);
    let (mut client, ready) = world.ready(&container, "mode=exec").await;
    let at = format!("{}/{}", path(&container), ready["session"].as_str().unwrap());
    let send = async |method: Method, at: &str| world.app.send(world.app.request(method, at)).await;
    until("it has begun", async || list(&world, &container).await.len() == 1).await;
    send(Method::DELETE, &at).await.refused(422, "SESSION_RUNNING", "");
    client.type_in("echo one; exit\n").await;
    client.rest().await.exit();
    world.ends(1).await;

    let whole = send(Method::GET, &at).await;
    let name = names(&folder(&world, &container))[0].clone();
    assert_eq!(whole.headers["content-disposition"], format!("attachment; filename=\"{name}\""));
    assert_eq!(whole.headers["x-content-type-options"], "nosniff");
    let part = world.app.send(world.app.request(Method::GET, &at).header("range", "bytes=5-14")).await;
    assert_eq!((part.status, part.bytes.as_slice()), (StatusCode::PARTIAL_CONTENT, &whole.bytes[5..15]));
    let same = world.app.request(Method::GET, &at).header("if-none-match", whole.headers["etag"].clone());
    assert_eq!(world.app.send(same).await.status, StatusCode::NOT_MODIFIED);
    let head = send(Method::HEAD, &at).await;
    assert_eq!((head.status, &head.headers["content-length"]), (StatusCode::OK, &whole.bytes.len().to_string().parse().unwrap()));
    let far = world.app.send(world.app.request(Method::GET, &at).header("range", "bytes=9999999-")).await;
    assert_eq!((far.status, far.json()["code"].as_str()), (StatusCode::RANGE_NOT_SATISFIABLE, Some("INVALID_RANGE")));

    let elsewhere = format!("{}/{}", path(&other), ready["session"].as_str().unwrap());
    let none = format!("{}/{}", path(&container), uuid::Uuid::new_v4());
    for method in [Method::GET, Method::DELETE] {
        for at in [&elsewhere, &none] {
            send(method.clone(), at).await.refused(404, "RECORDING_NOT_FOUND", "");
        }
        for bad in ["7", "..%2F..%2Fcontainer.json", &name] {
            send(method.clone(), &format!("{}/{bad}", path(&container))).await.refused(400, "INVALID_SESSION", "session");
        }
        send(method.clone(), &format!("{at}?x=1")).await.refused(400, "INVALID_QUERY", "x");
    }
    assert_eq!(send(Method::DELETE, &at).await.json(), json!({"session": ready["session"], "status": "deleted"}));
    send(Method::DELETE, &at).await.refused(404, "RECORDING_NOT_FOUND", "");
    assert!(list(&world, &container).await.is_empty() && names(&folder(&world, &container)).is_empty());
}
