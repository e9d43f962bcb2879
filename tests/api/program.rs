//! The `berth` program: its commands, what they say, and how they end.

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{BUSYBOX, PASSWORD, TestApp, USER, until};

/// Settings with which all is well, in a folder of their own.
fn settings(world: &Path) -> HashMap<&'static str, String> {
    let folder = |name: &str| world.join(name).display().to_string();
    let mut all = HashMap::from([
        ("APP_USER", USER.to_owned()),
        ("APP_PASS", PASSWORD.to_owned()),
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", "0".to_owned()),
        ("DATA_DIR", folder("data")),
        ("LOG_DIR", folder("logs")),
        ("TEMPLATE_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/templates").to_owned()),
    ]);
    #[expect(clippy::disallowed_methods, reason = "the CLI needs the real environment")]
    for name in ["PATH", "HOME", "DOCKER_HOST"] {
        all.extend(std::env::var(name).ok().map(|value| (name, value)));
    }
    all
}

/// Runs the program in `world` to its end.
fn berth(world: &Path, words: &[&str], settings: &HashMap<&'static str, String>) -> Output {
    berth_to(Stdio::piped(), world, words, settings)
}

/// The same, with its stdout somewhere else.
#[expect(clippy::disallowed_methods, reason = "the program under test")]
fn berth_to(stdout: Stdio, world: &Path, words: &[&str], settings: &HashMap<&'static str, String>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.args(words).env_clear().envs(settings).current_dir(world).stdin(Stdio::null());
    command.stdout(stdout).output().unwrap()
}

/// What it said on stdout and stderr, and its exit code.
fn said(output: &Output) -> (String, Option<i32>) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (String::from_utf8(text).unwrap(), output.status.code())
}

#[test]
fn help_and_version_are_shown_and_a_slip_is_an_error_of_its_own() {
    let world = TempDir::new().unwrap();
    let run = |words: &[&str]| said(&berth(world.path(), words, &HashMap::new()));
    let (help, code) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for word in ["serve", "doctor", "verify-log", "Exit codes:", "--version"] {
        assert!(help.contains(word), "{help}");
    }
    assert_eq!(run(&["--version"]), (format!("berth {}\n", env!("CARGO_PKG_VERSION")), Some(0)));
    for words in [&["srve"][..], &["--port", "80"], &["verify-log", "a", "b"]] {
        assert_eq!(run(words).1, Some(2), "{words:?}");
    }
    for words in [&[][..], &["serve"]] {
        let (line, code) = run(words);
        assert_eq!(code, Some(1));
        assert_eq!(line, "berth: APP_PASS is not set: it is the password that clients send\n");
    }
}

#[test]
fn the_doctor_finds_nothing_on_a_machine_that_is_well_and_leaves_nothing_behind() {
    let world = TempDir::new().unwrap();
    let (report, code) = said(&berth(world.path(), &["doctor"], &settings(world.path())));
    assert_eq!(code, Some(0), "{report}");
    for what in ["settings", "rights", "open files", "port", "DATA_DIR", "LOG_DIR", "TEMPLATE_DIR", "engine", "compose", "images"]
    {
        assert!(report.lines().any(|line| line.contains(what) && !line.starts_with("fail")), "{what}: {report}");
    }
    assert_eq!(fs::read_dir(world.path()).unwrap().count(), 0);
}

#[test]
fn the_doctor_says_of_each_thing_that_is_wrong_what_to_do() {
    let world = TempDir::new().unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = world.path().join("file");
    fs::write(&file, "").unwrap();
    let templates = world.path().join("templates");
    fs::create_dir(&templates).unwrap();
    fs::write(templates.join("compose.yaml"), "services: []").unwrap();
    symlink("nowhere", world.path().join("link")).unwrap();
    // What a server of another port would hold.
    let served = world.path().join("served");
    fs::create_dir(&served).unwrap();
    let lock = fs::File::open(&served).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let piped = world.path().join("piped");
    fs::create_dir(&piped).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, piped.join("actions.jsonl"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let cases: [(&str, String, &str, &str); 14] = [
        ("PORT", held.local_addr().unwrap().port().to_string(), "port", "set PORT to another"),
        ("HOST", "192.0.2.1".into(), "port", "set HOST"),
        ("KEEP_DEPLOYS", "all".into(), "settings", "KEEP_DEPLOYS=\"all\" can't be used"),
        ("APP_PASS", "change-me".into(), "settings", "set a password of your own"),
        ("DATA_DIR", file.display().to_string(), "DATA_DIR", "is no folder: move it away"),
        ("DATA_DIR", world.path().join("link/data").display().to_string(), "DATA_DIR", "is a link to what is not there"),
        ("DATA_DIR", served.display().to_string(), "DATA_DIR", "is served by another berth"),
        ("LOG_DIR", served.display().to_string(), "LOG_DIR", "is served by another berth"),
        ("LOG_DIR", piped.display().to_string(), "LOG_DIR", "actions.jsonl can't be written on"),
        ("LOG_DIR", "/proc/nowhere".into(), "LOG_DIR", "/proc can't be written to"),
        ("TEMPLATE_DIR", templates.display().to_string(), "TEMPLATE_DIR", "it has no services"),
        ("DOCKER_HOST", "unix:///nowhere/docker.sock".into(), "engine", "start it"),
        ("COMPOSE_BIN", "/bin/false".into(), "compose", "install Compose v2"),
        ("COMPOSE_BIN", "/bin/true".into(), "compose", "it says that its version is \"\""),
    ];
    for (name, value, what, why) in cases {
        let mut settings = settings(world.path());
        // Sooner over than the real one.
        settings.insert("COMPOSE_BIN", "/bin/true".into());
        settings.insert(name, value);
        let (report, code) = said(&berth(world.path(), &["doctor"], &settings));
        let found = report.lines().find(|line| line.starts_with("fail") && line.contains(what));
        assert!(found.is_some_and(|line| line.contains(why)), "{name}: {report}");
        assert!(code == Some(1) && !report.contains(PASSWORD), "{name}: {report}");
    }
}

#[test]
fn the_doctor_tells_all_bad_settings_and_slips_of_a_file_that_others_can_read() {
    let world = TempDir::new().unwrap();
    let env = world.path().join(".env");
    fs::write(&env, "APP_USER=admin\nAPP_PASS=hunter2\nPROT=80\nPORT=http\nHOST=x\n").unwrap();
    fs::set_permissions(&env, fs::Permissions::from_mode(0o644)).unwrap();
    let mut only = settings(world.path());
    only.retain(|name, _| !matches!(*name, "APP_USER" | "APP_PASS" | "PORT" | "HOST"));
    let (report, code) = said(&berth(world.path(), &["doctor"], &only));
    assert_eq!(code, Some(1));
    for part in ["PORT=\"http\" can't be used", "HOST=\"x\" can't be used", "PROT stands in .env", "chmod 600 .env"] {
        assert!(report.contains(part) && !report.contains("hunter2"), "{part}: {report}");
    }
    fs::write(&env, "APP_PASS=it's hunter2\n").unwrap();
    let (report, code) = said(&berth(world.path(), &["doctor"], &only));
    assert!(code == Some(1) && report.contains("APP_PASS in 'single quotes'") && !report.contains("hunter2"), "{report}");
    fs::write(&env, b"APP_PASS=\xff\xfe hunter2\n").unwrap();
    let (report, code) = said(&berth(world.path(), &["doctor"], &only));
    assert!(code == Some(1) && report.contains(".env can't be read") && !report.contains("hunter2"), "{report}");
    fs::remove_file(&env).unwrap();
    fs::create_dir(&env).unwrap();
    let (report, code) = said(&berth(world.path(), &["doctor"], &only));
    assert!(code == Some(1) && report.contains(".env can't be read"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_may_be_asked_beside_a_server_and_the_log_verified() {
    let app = TestApp::start_process().await;
    let cuid = app.create(&json!({"image": BUSYBOX})).await;
    let record = app.folder(&cuid).join("container.json");
    let text = fs::read_to_string(&record).unwrap().replace(BUSYBOX, "berth-test/nowhere");
    fs::write(&record, text).unwrap();
    let port = app.base.rsplit(':').next().unwrap().to_owned();
    let mut settings = settings(app.world.path());
    settings.insert("PORT", port);
    let (report, code) = said(&berth(app.world.path(), &["doctor"], &settings));
    assert!(code == Some(0) && report.contains("is held by the berth that runs"), "{report}");
    assert!(report.lines().any(|line| line.starts_with("warn") && line.contains("docker pull berth-test/nowhere")), "{report}");

    let verify = || said(&berth(app.world.path(), &["verify-log"], &settings));
    until("the log is as it was written", async || verify().1 == Some(0)).await;
    let path = app.world.path().join("logs/actions.jsonl");
    let lines = fs::read_to_string(&path).unwrap();
    assert!(lines.contains("\"action\":\"create\""));
    fs::write(&path, lines.replacen("\"action\":\"create\"", "\"action\":\"list\"", 1)).unwrap();
    app.get("/healthz").await;
    until("the next line is written", async || verify().0.contains("was changed")).await;
    let (findings, code) = verify();
    assert!(code == Some(1) && findings.lines().last().unwrap().starts_with("1 finding: "), "{findings}");
    let elsewhere = said(&berth(app.world.path(), &["verify-log", "/nowhere"], &settings));
    assert!(elsewhere.1 == Some(1) && elsewhere.0.starts_with("berth: "), "{elsewhere:?}");
}

/// A server whose log is `stderr` in `world`.
#[expect(clippy::disallowed_methods, reason = "the program under test")]
fn serve(world: &Path, settings: &HashMap<&'static str, String>) -> Child {
    let log = fs::File::create(world.join("stderr")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.env_clear().envs(settings).current_dir(world).stderr(log).spawn().unwrap()
}

fn ask_to_stop(child: &Child) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::TERM).unwrap();
}

#[test]
fn a_log_that_is_well_but_can_t_be_said_to_be_is_a_failure() {
    let world = TempDir::new().unwrap();
    fs::write(world.path().join("actions.jsonl"), "{}\n").unwrap();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for words in [&["verify-log", "."][..], &["doctor"]] {
        let output = berth_to(full().into(), world.path(), words, &settings(world.path()));
        assert_eq!(output.status.code(), Some(1), "{words:?}");
    }
    assert_eq!(berth(world.path(), &["verify-log", "."], &HashMap::new()).status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_server_that_still_waits_for_what_is_under_way() {
    let world = TempDir::new().unwrap();
    let mut settings = settings(world.path());
    settings.insert("LOG_FORMAT", "json".to_owned());
    let mut child = serve(world.path(), &settings);
    let log = || fs::read_to_string(world.path().join("stderr")).unwrap();
    let address = || Some(log().split_once("\"address\":\"")?.1.split('"').next()?.to_owned());
    until("it serves", async || address().is_some()).await;
    let mut client = TcpStream::connect(address().unwrap()).unwrap();
    let credentials = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let head = format!("POST /containers HTTP/1.1\r\nhost: x\r\nauthorization: Basic {credentials}\r\n");
    write!(client, "{head}expect: 100-continue\r\ncontent-length: 100\r\n\r\n").unwrap();
    let mut line = [0; 12];
    client.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100");
    ask_to_stop(&child);
    until("it is stopping", async || log().contains("\"stopping\"")).await;
    assert_eq!(child.try_wait().unwrap(), None);
    ask_to_stop(&child);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(log().contains("berth: a second signal ended it"), "{}", log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_on_stderr_is_json_with_the_request_s_id_where_that_is_asked_for() {
    let mut app = TestApp::start().await;
    app.shut_down().await;
    let mut settings = settings(app.world.path());
    settings.extend([("LOG_FORMAT", "json".to_owned()), ("RUST_LOG", "berth=debug".to_owned())]);
    let mut child = serve(app.world.path(), &settings);
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(app.world.path().join("stderr")).unwrap();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
    };
    let address = || lines().iter().find_map(|line| Some(line["address"].as_str()?.to_owned()));
    until("it serves", async || address().is_some()).await;
    app.base = format!("http://{}", address().unwrap());
    let answer = app.send(app.request(Method::POST, "/containers").json(&json!({"image": BUSYBOX}))).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
    let of = || lines().into_iter().filter(|line| line["request_id"] == id).collect::<Vec<_>>();
    until("what compose did is logged", async || of().iter().any(|line| line["message"] == "docker compose ran")).await;
    let line = of().remove(0);
    assert!(
        line["timestamp"].as_str().unwrap().ends_with('Z') && line["level"].is_string() && line["target"].is_string(),
        "{line}"
    );
    ask_to_stop(&child);
    assert!(child.wait().unwrap().success());
}
