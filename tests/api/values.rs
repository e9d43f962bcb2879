//! Texts that shells, YAML and Compose would like to have an opinion about arrive in the container byte for byte.

use serde_json::{Value, json};

use crate::harness::{BUSYBOX, TestApp, docker};

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
async fn nothing_beside_the_project_is_obeyed() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"PASS": "${APP_PASS}"}})).await;
    std::fs::write(app.folder(&cuid).join(".env"), "COMPOSE_FILE=/etc/passwd\nAPP_PASS=leak\nCOMPOSE_PROJECT_NAME=other\n")
        .unwrap();
    std::fs::write(app.folder(&cuid).join("compose.override.yaml"), "services: {other: {image: nothing}}\n").unwrap();
    app.act(&cuid, "start").await;
    assert!(docker(&["exec", &cuid, "cat", "/proc/1/environ"]).contains("PASS=${APP_PASS}\0"));
}
