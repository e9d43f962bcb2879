//! Texts that shells, YAML and Compose would like to have an opinion about arrive in the container byte for byte.

use serde_json::{Value, json};

use crate::harness::{BUSYBOX, TestApp, docker, inspect};

/// Standing hostile texts. None has a comma, which tags can't have.
const TEXTS: [&str; 22] = [
    "$HOME",
    "$$",
    "${X:-y}",
    "${APP_PASS}",
    "$APP_PASS",
    "single ' and double \"",
    "line\nbreak\r\n\ttab",
    "-leading",
    "# no comment",
    "a: b",
    "😀 é e\u{301}",
    "\u{85}\u{2028}\u{feff}",
    "\u{7f}\u{1}\u{1b}[0m\u{9f}",
    "yes",
    "0o17",
    "1:30",
    "null",
    "~",
    " spaces ",
    "\\n \\u0041",
    "%{}[]&*!|>@`",
    "a=b=c",
];

#[tokio::test(flavor = "multi_thread")]
async fn env_values_tags_and_labels_arrive_unchanged() {
    let app = TestApp::start().await;
    let env: serde_json::Map<String, Value> =
        TEXTS.iter().enumerate().map(|(at, text)| (format!("V{at}"), json!(text))).collect();
    let labels: serde_json::Map<String, Value> =
        TEXTS.iter().enumerate().map(|(at, text)| (format!("l{at}"), json!(text))).collect();
    let spec =
        json!({"image": BUSYBOX, "env": env, "labels": labels, "tags": TEXTS, "command": ["sleep", "1000"], "name": "n.a_m-e"});
    let cuid = app.run(&spec).await;

    let environ = docker(&["exec", &cuid, "cat", "/proc/1/environ"]);
    let held: Vec<&str> = environ.split('\0').collect();
    for (at, text) in TEXTS.iter().enumerate() {
        let expected = format!("V{at}={text}");
        assert!(held.contains(&expected.as_str()), "{text:?} is not in {held:?}");
    }
    let tags = format!("TAGS={}", TEXTS.join(","));
    assert!(held.contains(&tags.as_str()), "{held:?}");
    assert!(held.contains(&format!("CONTAINER_UID={cuid}").as_str()));

    let inspected: Value = serde_json::from_str(&docker(&["inspect", &cuid])).unwrap();
    let shown = &inspected[0]["Config"]["Labels"];
    for (at, text) in TEXTS.iter().enumerate() {
        assert_eq!(shown[format!("l{at}")], **text);
    }
    assert_eq!(shown["berth.name"], "n.a_m-e");
    let body = app.get(&format!("/containers/{cuid}")).await.json();
    assert_eq!((&body["env"], &body["labels"], &body["tags"]), (&spec["env"], &spec["labels"], &spec["tags"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn env_names_and_words_of_a_command_arrive_unchanged() {
    let app = TestApp::start().await;
    let names = ["a.b", "with space", "-x", "$HOME", "é", "y", "NULL", "# c", "a: b", "${X}"];
    let env: serde_json::Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), json!("v"))).collect();
    let command: Vec<&str> = ["sh", "-c", "sleep 1000", "zero"].into_iter().chain(TEXTS).chain(["", "a,b"]).collect();
    let cuid = app.run(&json!({"image": BUSYBOX, "env": env, "command": command})).await;
    let environ = docker(&["exec", &cuid, "cat", "/proc/1/environ"]);
    for name in names {
        assert!(environ.split('\0').any(|held| held == format!("{name}=v")), "{name:?} is not in {environ:?}");
    }
    let inspected: Value = serde_json::from_str(&docker(&["inspect", &cuid])).unwrap();
    assert_eq!(inspected[0]["Config"]["Cmd"], json!(command));
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_checks_and_log_options_arrive_unchanged() {
    let world = tempfile::tempdir().unwrap();
    let host = world.path().canonicalize().unwrap();
    let app = TestApp::start_with([("ALLOWED_HOST_PATHS", host.display().to_string())]).await;
    let names: Vec<&str> = TEXTS.into_iter().filter(|text| !text.contains([':', '/'])).collect();
    let mut volumes = Vec::new();
    for (at, name) in names.iter().enumerate() {
        std::fs::create_dir(host.join(name)).unwrap();
        std::fs::write(host.join(name).join("file"), name).unwrap();
        volumes.push(json!({"host_path": host.join(name), "container_path": format!("/host/{name}")}));
        volumes.push(json!({"volume": format!("v{at}"), "container_path": format!("/own/{name}")}));
    }
    let (working_dir, joined) = (format!("/w/{}", TEXTS.join("/")), TEXTS.join("|"));
    let test: Vec<&str> = ["CMD", "echo"].into_iter().chain(TEXTS).collect();
    let cuid = app
        .run(&json!({"image": BUSYBOX, "command": "sleep 1000", "volumes": volumes, "working_dir": working_dir,
            "health_check": {"test": test}, "log": {"driver": "json-file", "options": {"labels": joined}}}))
        .await;
    let shown = inspect(&cuid);
    assert_eq!((&shown["Config"]["Healthcheck"]["Test"], &shown["Config"]["WorkingDir"]), (&json!(test), &json!(working_dir)));
    assert_eq!(shown["HostConfig"]["LogConfig"]["Config"]["labels"], joined);
    for name in names {
        let script = "cat \"/host/$1/file\" && touch \"/own/$1/file\"";
        assert_eq!(
            docker(&["exec", "--workdir", "/", &cuid, "sh", "-c", &format!("{script} && echo -n .")[..], "sh", name]),
            format!("{name}.")
        );
    }
    let line = json!({"image": BUSYBOX, "health_check": {"test": joined}, "user": "a$HOME:$$"});
    app.post_json("/containers", &line).await.refused(400, "INVALID_USER", "user");
    let line = json!({"image": BUSYBOX, "health_check": {"test": joined}, "user": "a$HOME:b$"});
    let shown = inspect(&app.create(&line).await);
    assert_eq!(shown["Config"]["Healthcheck"]["Test"], json!(["CMD-SHELL", joined]));
    assert_eq!(shown["Config"]["User"], "a$HOME:b$");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_beside_the_project_is_obeyed() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"PASS": "${APP_PASS}"}})).await;
    std::fs::write(app.folder(&cuid).join(".env"), "COMPOSE_FILE=/etc/passwd\nAPP_PASS=leak\nCOMPOSE_PROJECT_NAME=other\n")
        .unwrap();
    std::fs::write(app.folder(&cuid).join("compose.override.yaml"), "services: {other: {image: nothing}}\n").unwrap();
    app.act(&cuid, "start").await;
    assert!(docker(&["exec", &cuid, "cat", "/proc/1/environ"]).contains("PASS=${APP_PASS}\0"));
}
