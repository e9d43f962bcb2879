//! `Idempotency-Key` where it is needed: a request that still runs, whose client vanished, whose server crashed, or that was
//! cut short; and uploads, which are hashed on their way.

use std::{fs, io::Write, net::TcpStream, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    answer::Answer,
    faults::{compose_of, deaf},
    harness::{PASSWORD, TestApp, USER, archive, until},
    idempotency::sleeper,
};

const UNKNOWN: &str = "c123e4567-e89b-12d3-a456-426614174000";

async fn upload_keyed(app: &TestApp, cuid: &str, key: &str, archive: Vec<u8>) -> Answer {
    let request = app.request(Method::POST, &format!("/containers/{cuid}/upload-zip")).header("idempotency-key", key);
    app.send(request.header("content-type", "application/zip").body(archive)).await
}

/// A client that can vanish: it has sent `body` of a request whose length is said to be `length`.
fn raw(app: &TestApp, path: &str, key: &str, body: &[u8], length: usize) -> TcpStream {
    raw_typed(app, path, key, "application/zip", body, length)
}

fn raw_typed(app: &TestApp, path: &str, key: &str, content_type: &str, body: &[u8], length: usize) -> TcpStream {
    let mut client = TcpStream::connect(app.base.strip_prefix("http://").unwrap()).unwrap();
    let credentials = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    write!(
        client,
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Basic {credentials}\r\nidempotency-key: {key}\r\n\
         content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    )
    .unwrap();
    client.write_all(body).unwrap();
    client
}

/// Ends the connection by a reset.
fn vanish(client: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_repeats_a_request_that_still_runs_waits_for_its_answer() {
    let app = TestApp::start().await;
    let spec = sleeper();
    let answers = join_all((0..6).map(|_| app.post_keyed("/containers", "key", &spec))).await;
    let (again, first): (Vec<_>, Vec<_>) = answers.into_iter().partition(Answer::is_replayed);
    assert_eq!((first.len(), again.len()), (1, 5));
    assert_eq!(first[0].status, StatusCode::CREATED);
    again.iter().for_each(|answer| answer.repeats(&first[0]));
    assert_eq!(app.data_entries().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_without_its_client_and_its_answer_is_there_for_the_next() {
    let app = TestApp::start().await;
    let spec = sleeper();
    let hasty = app.request(Method::POST, "/containers").header("idempotency-key", "hasty").json(&spec);
    let hasty = tokio::spawn(hasty.send());
    until("it has begun", async || app.data_entries().len() == 1).await;
    hasty.abort();
    assert!(hasty.await.unwrap_err().is_cancelled(), "it was answered before its client hung up");
    let answer = app.post_keyed("/containers", "hasty", &spec).await;
    assert!(answer.is_replayed() && answer.status == StatusCode::CREATED, "{answer:?}");
    assert_eq!(app.data_entries().len(), 1);

    let body = spec.to_string();
    let client = raw(&app, "/containers", "reset", body.as_bytes(), body.len());
    until("it has begun", async || app.data_entries().len() == 2).await;
    vanish(client);
    let answer = app.post_keyed("/containers", "reset", &spec).await;
    assert!(answer.is_replayed() && answer.status == StatusCode::CREATED, "{answer:?}");
    assert_eq!(app.data_entries().len(), 2);
    let logged = async || app.actions().iter().filter(|line| line["status"] == 201).count() >= 3;
    until("the one whose client vanished is logged with its outcome", logged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_end_waits_for_a_change_whose_client_vanished() {
    let mut app = TestApp::start_process().await;
    let cuid = app.run(&deaf()).await;
    let batch = json!({"cuids": [cuid], "timeout": 3});
    let body = batch.to_string();
    let client = raw(&app, "/containers/batch/stop", "stop", body.as_bytes(), body.len());
    until("compose runs", async || !compose_of(&cuid).is_empty()).await;
    vanish(client);
    app.end(Signal::TERM);
    let lines = app.actions();
    let line = |action: &str| lines.iter().find(|line| line["action"] == action).unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!((&line("batch_stop")["status"], &line("batch_stop")["user"]), (&json!(200), &json!(USER)));
    assert_eq!((&line("stop")["status"], &line("stop")["cuid"]), (&json!(200), &json!(cuid)));
    app.spawn().await;
    let answer = app.post_keyed("/containers/batch/stop", "stop", &batch).await;
    assert!(answer.is_replayed(), "{answer:?}");
    let row = &answer.json()["results"][0];
    assert_eq!((&row["status"], &row["changed"]), (&json!("exited"), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_an_answer_was_kept_makes_nothing_twice() {
    let mut app = TestApp::start_process().await;
    let created = app.post_keyed("/containers", "create", &sleeper()).await;
    let cuid = created.json()["cuid"].as_str().unwrap().to_owned();
    app.kill();
    let answers = app.kept_answers();
    assert_eq!(answers.len(), 1);
    fs::remove_file(&answers[0]).unwrap();
    app.spawn().await;
    let again = app.post_keyed("/containers", "create", &sleeper()).await;
    assert_eq!((again.status, &again.json()["cuid"]), (StatusCode::CREATED, &json!(cuid)), "{again:?}");
    assert_eq!(app.data_entries(), [cuid.as_str()]);
    app.post_keyed("/containers", "create", &sleeper()).await.repeats(&again);

    let patch = async |app: &TestApp| {
        let request = app.request(Method::PATCH, &format!("/containers/{cuid}")).json(&json!({"env": {"A": "1"}}));
        app.send(request.header("idempotency-key", "patch").header("if-match", "\"1\"")).await
    };
    let patched = patch(&app).await;
    app.kill();
    for answer in app.kept_answers() {
        fs::remove_file(answer).unwrap();
    }
    app.spawn().await;
    let again = patch(&app).await;
    assert_eq!((again.status, again.json()["revision"].as_u64()), (StatusCode::OK, Some(2)), "{again:?}");
    assert_eq!(again.json()["env"], patched.json()["env"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_unpacked_once_and_another_archive_is_not_taken_for_it() {
    let app = TestApp::start().await;
    let cuid = app.create(&sleeper()).await;
    // More than what is read of a body that its handler leaves.
    let large = noise(3 << 20);
    let files = [("a.txt", "first"), ("large.txt", &large)];
    let first = upload_keyed(&app, &cuid, "upload", archive(&files)).await;
    assert_eq!((first.status, first.json()["files"].as_u64()), (StatusCode::OK, Some(2)), "{first:?}");
    let path = app.folder(&cuid).join("app/a.txt");
    fs::write(&path, "changed since").unwrap();
    upload_keyed(&app, &cuid, "upload", archive(&files)).await.repeats(&first);
    let other = archive(&[("a.txt", "other"), ("large.txt", &large)]);
    upload_keyed(&app, &cuid, "upload", other).await.refused(422, "IDEMPOTENCY_MISMATCH", "Idempotency-Key");
    assert_eq!(fs::read_to_string(&path).unwrap(), "changed since");

    // Refused before it was read: a small one is known again, of a large one nothing is.
    let small = archive(&[("a", "b")]);
    let unknown = upload_keyed(&app, UNKNOWN, "unknown", small.clone()).await;
    upload_keyed(&app, UNKNOWN, "unknown", small).await.repeats(&unknown);
    let both = tokio::join!(
        upload_keyed(&app, &cuid, "at-once", archive(&[("b.txt", &large)])),
        upload_keyed(&app, &cuid, "at-once", archive(&[("b.txt", &large)])),
    );
    let (first, again) = if both.1.is_replayed() { both } else { (both.1, both.0) };
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    again.repeats(&first);
}

/// Text that does not pack well.
fn noise(length: usize) -> String {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + u8::try_from(state % 64).unwrap())
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_cut_short_is_no_answer_for_the_whole_one() {
    let app = TestApp::start().await;
    let cuid = app.create(&sleeper()).await;
    let archive = archive(&[("a.txt", "whole")]);
    let path = format!("/containers/{cuid}/upload-zip");
    let client = raw(&app, &path, "cut", &archive[..archive.len() / 2], archive.len());
    vanish(client);
    let answer = upload_keyed(&app, &cuid, "cut", archive).await;
    assert!(answer.status == StatusCode::OK && !answer.is_replayed(), "{answer:?}");
    assert_eq!(fs::read_to_string(app.folder(&cuid).join("app/a.txt")).unwrap(), "whole");
}

/// A form with this archive, its boundary `b`, and what follows it.
fn form(archive: &[u8], epilogue: &[u8]) -> Vec<u8> {
    let head = b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.zip\"\r\n\r\n";
    [head, archive, b"\r\n--b--\r\n", epilogue].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_breaks_off_after_its_file_or_goes_on_for_long_changes_nothing() {
    let app = TestApp::start().await;
    let cuid = app.create(&sleeper()).await;
    let (path, file) = (format!("/containers/{cuid}/upload-zip"), app.folder(&cuid).join("app/a.txt"));
    let archive = archive(&[("a.txt", "whole")]);
    let uploads = async || app.actions().into_iter().filter(|line| line["action"] == "upload-zip").collect::<Vec<_>>();

    let body = form(&archive, b"");
    let client = raw_typed(&app, &path, "form", "multipart/form-data; boundary=b", &body, body.len() + 1);
    // The spool has no name, and has bytes once the file's end was seen.
    let received = async || {
        let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        let mut spools = open.filter(|path| path.read_link().is_ok_and(|link| link.starts_with(app.folder(&cuid))));
        spools.any(|path| path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0))
    };
    until("the file is on the disk", received).await;
    vanish(client);
    until("it was given up", async || uploads().await.len() == 1).await;
    assert!(uploads().await[0]["status"] != 200 && !file.exists(), "{:?}", uploads().await);

    let send = async |epilogue: usize| {
        let request = app.request(Method::POST, &path).header("idempotency-key", "form");
        let request = request.header("content-type", "multipart/form-data; boundary=b");
        app.send(request.body(form(&archive, &vec![b' '; epilogue]))).await
    };
    let long = app.request(Method::POST, &path).header("content-type", "multipart/form-data; boundary=b");
    app.send(long.body(form(&archive, &vec![b' '; 1 << 20]))).await.refused(400, "INVALID_ZIP", "body");
    assert!(!file.exists());
    let first = send(1000).await;
    assert_eq!((first.status, fs::read_to_string(&file).unwrap().as_str()), (StatusCode::OK, "whole"), "{first:?}");
    send(1000).await.repeats(&first);
}
