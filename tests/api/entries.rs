//! Single files and folders of a mount: listed, written, made, deleted and moved, also by several at once and by a server that
//! dies on the way.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, symlink},
    },
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    crashes::{Crashing, STEPS},
    harness::{BUSYBOX, TestApp, docker, until},
    mount::{Files, created},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_written_read_changed_and_deleted_by_who_knows_its_tag() {
    let app = TestApp::start().await;
    let files = Files { app: &app, cuid: app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await };
    let first = files.call(Method::PUT, "files?path=conf/a.txt&parents=true&mode=640", &[("if-none-match", "*")], "one").await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    let body = first.json();
    assert_eq!((&body["path"], &body["size"], &body["mode"]), (&"conf/a.txt".into(), &3.into(), &"0640".into()));
    assert_eq!(body["etag"], tag.as_str());
    chrono::DateTime::parse_from_rfc3339(body["modified"].as_str().unwrap()).unwrap();
    let seen = docker(&["exec", &files.cuid, "sh", "-c", "stat -c '%u:%g %a' /app/conf /app/conf/a.txt; cat /app/conf/a.txt"]);
    assert_eq!(seen, "1000:1000 755\n1000:1000 640\none");
    assert_eq!(app.get(&files.url("download?path=conf/a.txt")).await.headers["etag"], tag.as_str());
    assert_eq!(files.list("path=conf").await["entries"][0]["etag"], tag.as_str());

    let put = async |headers: &[(&'static str, &str)], content: &str| {
        files.call(Method::PUT, "files?path=conf/a.txt", headers, content.to_owned()).await
    };
    put(&[("if-none-match", "*")], "two").await.refused(412, "PRECONDITION_FAILED", "If-None-Match");
    let second = put(&[("if-match", &tag)], "two").await;
    assert_eq!((second.status, &second.json()["mode"]), (StatusCode::OK, &"0640".into()));
    let refused = put(&[("if-match", &tag)], "three").await;
    refused.refused(412, "PRECONDITION_FAILED", "If-Match");
    assert_eq!(
        (&refused.json()["error"], &refused.json()["details"]["etag"]),
        (&"precondition_failed".into(), &second.json()["etag"])
    );
    put(&[("if-match", "a.txt")], "three").await.refused(400, "INVALID_IF_MATCH", "If-Match");
    put(&[("if-none-match", "3")], "three").await.refused(400, "INVALID_IF_NONE_MATCH", "If-None-Match");
    put(&[("content-range", "bytes 0-4/9")], "three").await.refused(400, "INVALID_REQUEST", "Content-Range");
    assert_eq!(put(&[("if-match", "*")], "three").await.status, StatusCode::OK);
    assert_eq!(files.text("conf/a.txt").await, "three");
    // What the container writes has another tag as well.
    let tag = files.list("path=conf/a.txt").await["entries"][0]["etag"].as_str().unwrap().to_owned();
    docker(&["exec", "--user", "1000:1000", &files.cuid, "sh", "-c", "echo more >> /app/conf/a.txt"]);
    files.call(Method::DELETE, "files?path=conf/a.txt", &[("if-match", &tag)], "").await.refused(
        412,
        "PRECONDITION_FAILED",
        "If-Match",
    );
    let to = json!({"from": "conf/a.txt", "to": "b.txt"}).to_string();
    files.call(Method::POST, "files/move", &[("if-match", &tag)], to).await.refused(412, "PRECONDITION_FAILED", "If-Match");
    let tag = files.list("path=conf/a.txt").await["entries"][0]["etag"].as_str().unwrap().to_owned();
    assert_eq!(files.call(Method::DELETE, "files?path=conf/a.txt", &[("if-match", &tag)], "").await.json()["type"], "file");
    files.delete("path=conf/a.txt").await.refused(404, "FILE_NOT_FOUND", "");
    files.put("no/such/folder/x", "x").await.refused(404, "FILE_NOT_FOUND", "");
    assert_eq!(files.put("no/such/x", "x").await.json()["details"]["path"], "no/such");
    for mode in ["4755", "1644", "64", "8", "0o644", "-64", "644%20"] {
        let answer = files.call(Method::PUT, &format!("files?path=x&mode={mode}"), &[], "x").await;
        answer.refused(400, "INVALID_QUERY", "mode");
    }
    files.put("", "x").await.refused(400, "INVALID_PATH", "path");
    assert_eq!(files.beside(), ["app", "compose.yaml", "container.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_or_breaks_off_changes_nothing() {
    let app = TestApp::start_with([("MAX_UPLOAD_BYTES", (3 << 20).to_string())]).await;
    let files = created(&app).await;
    let large = "x".repeat(3 << 20);
    assert_eq!(files.put("f", &large).await.status, StatusCode::CREATED, "over the limit of JSON");
    files.put("f", &format!("{large}x")).await.refused(413, "BODY_TOO_LARGE", "body");
    // Without saying how long it is, and breaking off half-way.
    let address = app.base.strip_prefix("http://").unwrap().to_owned();
    let authorization = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", crate::harness::USER, crate::harness::PASSWORD))
    };
    for (length, sent) in [("content-length: 1000", &b"half"[..]), ("transfer-encoding: chunked", b"4\r\nhalf\r\n")] {
        let mut connection = std::net::TcpStream::connect(&address).unwrap();
        let path = files.url("files?path=f");
        let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\nauthorization: Basic {authorization}\r\n{length}\r\n\r\n");
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(sent).unwrap();
        until("it is being received", async || files.beside().len() == 4).await;
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        let _ = connection.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        until("nothing is left of it", async || files.beside().len() == 3).await;
    }
    assert_eq!(files.text("f").await.len(), 3 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_listed_with_all_that_a_container_can_put_there() {
    let app = TestApp::start().await;
    let files = created(&app).await;
    let mount = app.folder(&files.cuid).join("app");
    fs::write(mount.join("b.txt"), "12345").unwrap();
    fs::create_dir(mount.join("a folder")).unwrap();
    symlink("../../container.json", mount.join("link")).unwrap();
    symlink("a folder", mount.join("to folder")).unwrap();
    fs::write(mount.join(std::ffi::OsStr::from_bytes(b"n\xFFn")), "").unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, mount.join("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(mount.join("socket")).unwrap();
    fs::File::open(mount.join("b.txt")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let listed = files.list("").await;
    let entries = listed["entries"].as_array().unwrap();
    let kinds: Vec<_> = entries.iter().map(|entry| (entry["name"].as_str().unwrap(), entry["type"].as_str().unwrap())).collect();
    let expected = [
        ("a folder", "folder"),
        ("b.txt", "file"),
        ("fifo", "fifo"),
        ("link", "link"),
        ("n\u{FFFD}n", "file"),
        ("socket", "socket"),
        ("to folder", "link"),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(
        (&listed["path"], &listed["type"], &listed["total"], &listed["next_cursor"]),
        (&"".into(), &"folder".into(), &7.into(), &Value::Null)
    );
    assert_eq!((&entries[1]["size"], &entries[1]["mode"]), (&5.into(), &"0644".into()));
    let modified = chrono::DateTime::parse_from_rfc3339(entries[1]["modified"].as_str().unwrap()).unwrap();
    assert_eq!(modified.timestamp(), 0);
    assert_eq!(entries[3]["target"], "../../container.json");
    assert_eq!(entries[4]["name_base64"], "bv9u");
    assert!(entries.iter().all(|entry| entry["etag"].is_string() == (entry["type"] == "file")), "{entries:?}");

    assert_eq!(files.list("path=to%20folder").await["type"], "folder");
    let one = files.list("path=/app/b.txt").await;
    assert_eq!((&one["type"], &one["path"], &one["entries"][0]), (&"file".into(), &"b.txt".into(), &entries[1]));
    assert_eq!(files.list("path=fifo").await["entries"][0]["type"], "fifo");
    app.get(&files.url("files?path=link")).await.refused(400, "INVALID_PATH", "path");
    app.get(&files.url("files?path=nothing")).await.refused(404, "FILE_NOT_FOUND", "");
    app.get(&files.url("files?limit=0")).await.refused(400, "INVALID_QUERY", "limit");
    app.get(&files.url("files?limit=1001")).await.refused(400, "INVALID_QUERY", "limit");
    app.get(&files.url("files?cursor=!")).await.refused(400, "INVALID_QUERY", "cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_hundred_thousand_files_is_listed_by_pages_beside_other_requests() {
    let app = TestApp::start().await;
    let files = created(&app).await;
    let folder = app.folder(&files.cuid).join("app/many");
    fs::create_dir(&folder).unwrap();
    for number in 0..100_000 {
        fs::File::create(folder.join(format!("{number:06}"))).unwrap();
    }
    let (mut cursor, mut seen, mut pages) = (String::new(), 0, 0);
    loop {
        let query = if cursor.is_empty() { "path=many".to_owned() } else { format!("path=many&cursor={cursor}") };
        let (page, status) = tokio::join!(files.list(&query), app.status(&files.cuid));
        assert_eq!(status["status"], "created");
        for entry in page["entries"].as_array().unwrap() {
            assert_eq!(entry["name"], format!("{seen:06}"));
            seen += 1;
        }
        assert_eq!((&page["total"], &page["limit"]), (&100_000.into(), &1000.into()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!((seen, pages), (100_000, 100));
    assert_eq!(files.delete("path=many&recursive=true").await.status, StatusCode::OK);
    assert_eq!(files.list("").await["total"], 0);
    until("nothing is left beside the mount", async || files.beside() == ["app", "compose.yaml", "container.json"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_made_moved_and_deleted() {
    let app = TestApp::start().await;
    let files = created(&app).await;
    let mkdir = async |query: &str| app.post(&files.url(&format!("files/mkdir?{query}"))).await;
    mkdir("path=a/b").await.refused(404, "FILE_NOT_FOUND", "");
    let made = mkdir("path=a/b&parents=true").await;
    assert_eq!((made.status, &made.json()["changed"]), (StatusCode::CREATED, &true.into()));
    let again = mkdir("path=a/b").await;
    assert_eq!((again.status, &again.json()["changed"]), (StatusCode::OK, &false.into()));
    files.put("a/b/file", "x").await;
    mkdir("path=a/b/file").await.refused(409, "FILE_EXISTS", "");
    files.put("a/b", "x").await.refused(409, "FILE_EXISTS", "");
    let owner = fs::metadata(app.folder(&files.cuid).join("app/a/b")).unwrap();
    assert_eq!((owner.uid(), owner.gid(), owner.mode() & 0o7777), (1000, 1000, 0o755));

    files.delete("path=a").await.refused(409, "FOLDER_NOT_EMPTY", "");
    files.rename(&json!({"from": "a", "to": "a/b/c"})).await.refused(400, "INVALID_PATH", "to");
    files.rename(&json!({"from": "../a", "to": "b"})).await.refused(400, "INVALID_PATH", "from");
    files.rename(&json!({"from": "a", "to": "b", "force": true})).await.refused(400, "UNKNOWN_FIELD", "force");
    files.rename(&json!({"from": "a"})).await.refused(400, "INVALID_PATH", "to");
    files.rename(&json!({"from": "nothing", "to": "b"})).await.refused(404, "FILE_NOT_FOUND", "");
    assert_eq!(files.rename(&json!({"from": "a/b", "to": "/app/c"})).await.json()["type"], "folder");
    files.put("other", "y").await;
    files.rename(&json!({"from": "c/file", "to": "other"})).await.refused(409, "FILE_EXISTS", "");
    assert_eq!(files.text("other").await, "y");
    let moved = files.rename(&json!({"from": "c/file", "to": "other", "overwrite": true})).await;
    assert_eq!((moved.status, files.text("other").await), (StatusCode::OK, "x".into()));
    assert_eq!(files.rename(&json!({"from": "other", "to": "other"})).await.json()["changed"], false);
    assert_eq!(files.delete("path=a&recursive=true").await.json()["type"], "folder");
    assert_eq!(files.delete("path=c").await.status, StatusCode::OK, "it is empty");
    for query in ["path=", "path=/app&recursive=true"] {
        files.delete(query).await.refused(400, "INVALID_PATH", "path");
    }
    files.delete("recursive=true").await.refused(400, "INVALID_PATH", "path");
    // Once, however often it is sent.
    let keyed = async |body: &Value| app.post_keyed(&files.url("files/move"), "key", body).await;
    let first = keyed(&json!({"from": "other", "to": "moved"})).await;
    assert_eq!(first.status, StatusCode::OK);
    keyed(&json!({"from": "other", "to": "moved"})).await.repeats(&first);
    for (method, rest) in [(Method::PATCH, "files"), (Method::GET, "files/mkdir"), (Method::PUT, "files/move")] {
        files.call(method, rest, &[], "").await.refused(405, "METHOD_NOT_ALLOWED", "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_stays_with_its_running_container() {
    let app = TestApp::start().await;
    let spec =
        json!({"image": BUSYBOX, "command": "sleep 1000", "volumes": [{"volume": "v", "container_path": "/app/data/kept"}]});
    let files = Files { app: &app, cuid: app.run(&spec).await };
    docker(&["exec", "--user", "0", &files.cuid, "sh", "-c", "echo kept > /app/data/kept/file"]);
    files.delete("path=data&recursive=true").await.refused(409, "VOLUME_MOUNTED", "");
    files.delete("path=data/kept").await.refused(409, "VOLUME_MOUNTED", "");
    files.rename(&json!({"from": "data", "to": "else"})).await.refused(409, "VOLUME_MOUNTED", "");
    files.put("data/kept/new", "x").await.refused(409, "VOLUME_MOUNTED", "");
    app.post(&files.url("files/mkdir?path=data/kept/a/b&parents=true")).await.refused(409, "VOLUME_MOUNTED", "");
    assert_eq!(files.put("data/new", "x").await.status, StatusCode::CREATED);
    assert_eq!(docker(&["exec", &files.cuid, "cat", "/app/data/kept/file", "/app/data/new"]), "kept\nx");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_of_one_tag_one_wins() {
    let app = TestApp::start().await;
    let files = created(&app).await;
    files.put("f", "start").await;
    let tag = files.list("path=f").await["entries"][0]["etag"].as_str().unwrap().to_owned();
    let writers = (0..20).map(|number| {
        let (files, tag) = (&files, &tag);
        async move { files.call(Method::PUT, "files?path=f", &[("if-match", tag)], format!("writer {number}")).await.status }
    });
    let won = futures_util::future::join_all(writers).await;
    assert_eq!(won.iter().filter(|status| **status == StatusCode::OK).count(), 1, "{won:?}");
    let creators = (0..20).map(|_| files.call(Method::PUT, "files?path=g", &[("if-none-match", "*")], "new"));
    let won: Vec<_> = futures_util::future::join_all(creators).await.into_iter().map(|answer| answer.status).collect();
    assert_eq!(won.iter().filter(|status| **status == StatusCode::CREATED).count(), 1, "{won:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_file_is_whole_or_did_not_begin_whenever_the_server_dies() {
    let mut world = Crashing::start().await;
    let cuid = world.app.create(&json!({"image": BUSYBOX})).await;
    let app = world.app.folder(&cuid).join("app");
    for (method, rest, body) in [
        (Method::PUT, "/files?path=file", "new"),
        (Method::DELETE, "/files?path=tree&recursive=true", ""),
        (Method::POST, "/files/mkdir?path=made", ""),
        (Method::POST, "/files/move", r#"{"from":"file","to":"moved"}"#),
    ] {
        let before = world.steps.len();
        for step in 0..STEPS {
            let _ = (fs::remove_dir(app.join("made")), fs::remove_file(app.join("moved")));
            fs::write(app.join("file"), "old").unwrap();
            fs::create_dir_all(app.join("tree/a/b")).unwrap();
            let point = world.crash(step, world.act(method.clone(), &cuid, rest).body(body)).await;
            let file = fs::read_to_string(app.join("file")).or_else(|_| fs::read_to_string(app.join("moved"))).unwrap();
            assert!(["old", "new"].contains(&file.as_str()), "{point:?}: {file}");
            assert!(app.join("tree/a/b").exists() || !app.join("tree").exists(), "{point:?}");
            if world.was_the_last(point) {
                break;
            }
        }
        assert!(world.steps.len() > before, "{rest}");
    }
    world.died_at_least(5);
}
