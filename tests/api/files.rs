//! Upload and download, through the API and as the container sees them.

use std::io::Read;

use reqwest::{Method, StatusCode, multipart};
use serde_json::json;

use crate::{
    harness::{BUSYBOX, PYTHON, TestApp, archive, docker, until},
    mount::Files,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_arrives_with_the_container_s_owner_and_comes_back() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    let answer =
        app.upload(&cuid, archive(&[("boot.py", "print(1)\n"), ("data/config.json", "{}"), ("a b/é 😀.txt", "x")])).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(
        (&answer.json()["cuid"], &answer.json()["files"], &answer.json()["bytes"]),
        (&cuid.as_str().into(), &3.into(), &12.into())
    );
    let seen = docker(&[
        "exec",
        &cuid,
        "sh",
        "-c",
        "stat -c '%u:%g %a %n' /app/boot.py /app/data /app/data/config.json; touch /app/data/new && cat '/app/a b/é 😀.txt'",
    ]);
    assert_eq!(seen, "1000:1000 644 /app/boot.py\n1000:1000 755 /app/data\n1000:1000 644 /app/data/config.json\nx");

    for path in ["boot.py", "/app/boot.py", "/boot.py", "app/../boot.py"] {
        let answer = app.get(&format!("/containers/{cuid}/download?path={path}")).await;
        if path.contains("..") {
            answer.refused(400, "INVALID_PATH", "path");
            continue;
        }
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "print(1)\n"), "{path}");
        assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"boot.py\"");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(answer.headers.contains_key("etag") && answer.headers.contains_key("content-type"));
    }
    let ranged = app.request(Method::GET, &format!("/containers/{cuid}/download?path=boot.py")).header("range", "bytes=0-4");
    let answer = app.send(ranged).await;
    assert_eq!((answer.status, answer.text().as_str()), (StatusCode::PARTIAL_CONTENT, "print"));
    for (header, value, status) in [("range", "bytes=100-", 416), ("if-match", "\"other\"", 412)] {
        let answer =
            app.send(app.request(Method::GET, &format!("/containers/{cuid}/download?path=boot.py")).header(header, value)).await;
        assert_eq!((answer.status.as_u16(), answer.json()["status"].as_u64()), (status, Some(u64::from(status))));
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.headers.contains_key("content-range"), status == 416);
        for header in ["content-disposition", "etag", "last-modified", "accept-ranges"] {
            assert!(!answer.headers.contains_key(header), "{header}");
        }
    }

    let answer = app.get(&format!("/containers/{cuid}/download-zip?path=data")).await;
    assert_eq!(
        (&answer.headers["content-type"], &answer.headers["content-disposition"]),
        (&"application/zip".parse().unwrap(), &"attachment; filename=\"data.zip\"".parse().unwrap())
    );
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(answer.bytes)).unwrap();
    let mut text = String::new();
    zip.by_name("config.json").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), zip.len()), ("{}", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_merges_and_goes_where_it_is_told() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX})).await;
    app.upload(&cuid, archive(&[("keep.txt", "1"), ("sub/x", "old")])).await;
    let request = app.request(Method::POST, &format!("/containers/{cuid}/upload-zip?path=/app/sub&mode=merge"));
    assert_eq!(app.send(request.body(archive(&[("x", "new")]))).await.status, StatusCode::OK);
    let text = async |path: &str| app.get(&format!("/containers/{cuid}/download?path={path}")).await.text();
    assert_eq!((text("keep.txt").await, text("sub/x").await), ("1".into(), "new".into()));
    let form =
        multipart::Form::new().part("file", multipart::Part::bytes(archive(&[("form.txt", "by form")])).file_name("a.zip"));
    assert_eq!(
        app.send(app.request(Method::POST, &format!("/containers/{cuid}/upload-zip")).multipart(form)).await.status,
        StatusCode::OK
    );
    assert_eq!(text("form.txt").await, "by form");
    let two = multipart::Form::new().text("a", "x").text("b", "y");
    app.send(app.request(Method::POST, &format!("/containers/{cuid}/upload-zip")).multipart(two)).await.refused(
        400,
        "INVALID_ZIP",
        "body",
    );
    let other = app.request(Method::POST, &format!("/containers/{cuid}/upload-zip?mode=mirror")).body(archive(&[]));
    app.send(other).await.refused(400, "INVALID_QUERY", "mode");
    for (content_type, taken) in [
        ("Application/Zip", true),
        ("application/octet-stream", true),
        ("application/x-zip-compressed", true),
        ("application/x-www-form-urlencoded", true),
        ("application/json", false),
        ("text/plain; charset=utf-8", false),
    ] {
        let request = app.request(Method::POST, &format!("/containers/{cuid}/upload-zip")).header("content-type", content_type);
        let answer = app.send(request.body(archive(&[("typed", content_type)]))).await;
        if taken {
            assert_eq!((answer.status, text("typed").await.as_str()), (StatusCode::OK, content_type));
        } else {
            answer.refused(400, "INVALID_ZIP", "Content-Type");
        }
    }
    let deep = "d/".repeat(128);
    for path in ["%FF", "a%C3", deep.as_str()] {
        let request = app.request(Method::POST, &format!("/containers/{cuid}/upload-zip?path={path}"));
        app.send(request.body(archive(&[("x", "1")]))).await.refused(400, "INVALID_PATH", "path");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_archive_changes_nothing() {
    let app = TestApp::start_with([
        ("MAX_UPLOAD_BYTES", "1048576".into()),
        ("MAX_EXTRACTED_BYTES", "4194304".into()),
        ("MAX_EXTRACTED_FILES", "100".into()),
    ])
    .await;
    let cuid = app.create(&json!({"image": BUSYBOX})).await;
    app.upload(&cuid, archive(&[("boot.py", "print('old')"), ("folder/x", "1")])).await;
    let many: Vec<(String, &str)> = (0..200).map(|number| (format!("f{number}"), "")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, content)| (name.as_str(), *content)).collect();
    let mut cut = archive(&[("boot.py", "print('new')")]);
    cut.truncate(cut.len() - 10);
    let noise = "x".repeat(2 << 20);
    for (archive, status, code, why) in [
        (b"not a zip".to_vec(), 400, "INVALID_ZIP", "no archive"),
        (Vec::new(), 400, "INVALID_ZIP", "empty body"),
        (cut, 400, "INVALID_ZIP", "cut short"),
        (archive(&[("boot.py", "print('new')"), ("../escape", "x")]), 400, "INVALID_ZIP", "traversal"),
        (archive(&[("boot.py", "print('new')"), ("/etc/passwd", "x")]), 400, "INVALID_ZIP", "absolute"),
        (archive(&[("boot.py", "print('new')"), ("folder", "a file now")]), 400, "INVALID_ZIP", "a file over a folder"),
        (archive(&[("boot.py", &noise), ("b", &noise), ("c", &noise)]), 413, "ZIP_BOMB", "bytes"),
        (archive(&many), 413, "ZIP_BOMB", "files"),
        (vec![0; 2 << 20], 413, "ZIP_TOO_LARGE", "archive"),
    ] {
        app.upload(&cuid, archive).await.refused(status, code, "body");
        assert_eq!(app.get(&format!("/containers/{cuid}/download?path=boot.py")).await.text(), "print('old')", "{why}");
        let mut left: Vec<_> = std::fs::read_dir(app.folder(&cuid)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["app", "compose.yaml", "container.json", "deploys"], "{why}");
        assert_eq!(std::fs::read_dir(app.folder(&cuid).join("deploys")).unwrap().count(), 2, "{why}");
    }
    assert!(!app.data().join("escape").exists() && !app.folder(&cuid).join("escape").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_files_and_nothing_outside_is_downloaded() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": BUSYBOX, "command": "sleep 1000"})).await;
    docker(&[
        "exec",
        &cuid,
        "sh",
        "-c",
        "mkfifo /app/fifo; mkdir /app/dir; ln -s /etc/passwd /app/abs; ln -s ../container.json /app/up; echo in > /app/in; ln -s in /app/link",
    ]);
    for (path, status, code) in [
        ("", 400, "INVALID_PATH"),
        ("dir", 400, "INVALID_PATH"),
        ("fifo", 400, "INVALID_PATH"),
        ("abs", 400, "INVALID_PATH"),
        ("up", 400, "INVALID_PATH"),
        ("../container.json", 400, "INVALID_PATH"),
        ("nothing", 404, "FILE_NOT_FOUND"),
        ("in/x", 404, "FILE_NOT_FOUND"),
        ("a%00b", 400, "INVALID_PATH"),
        ("a%FFb", 400, "INVALID_PATH"),
    ] {
        app.get(&format!("/containers/{cuid}/download?path={path}")).await.refused(status, code, "");
    }
    app.get(&format!("/containers/{cuid}/download")).await.refused(400, "INVALID_PATH", "path");
    app.get(&format!("/containers/{cuid}/download-zip?path=nothing")).await.refused(404, "FILE_NOT_FOUND", "");
    assert_eq!(app.get(&format!("/containers/{cuid}/download?path=link")).await.text(), "in\n");
    let zip =
        zip::ZipArchive::new(std::io::Cursor::new(app.get(&format!("/containers/{cuid}/download-zip")).await.bytes)).unwrap();
    let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert!(
        ["in", "dir/", "link"].iter().all(|name| names.iter().any(|held| held == name))
            && !names.iter().any(|name| name == "fifo"),
        "{names:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_or_folder_of_any_name_is_downloaded_under_it() {
    let app = TestApp::start().await;
    let cuid = app.create(&json!({"image": BUSYBOX})).await;
    let mount = app.folder(&cuid).join("app");
    for (name, encoded, disposition) in [
        ("a b;c.txt", "a b;c.txt", "filename=\"a b;c.txt\""),
        ("a\nb", "a%0Ab", "filename*=UTF-8''a%0Ab"),
        ("\x01\x7f", "%01%7F", "filename*=UTF-8''%01%7F"),
        ("\"q\"", "%22q%22", "filename*=UTF-8''%22q%22"),
        ("back\\slash", "back%5Cslash", "filename*=UTF-8''back%5Cslash"),
        ("100%41", "100%2541", "filename*=UTF-8''100%2541"),
        ("ü.txt", "%C3%BC.txt", "filename*=UTF-8''%C3%BC.txt"),
    ] {
        std::fs::write(mount.join(name), "content").unwrap();
        let answer = app.get(&format!("/containers/{cuid}/download?path={encoded}")).await;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "content"), "{name:?}");
        assert_eq!(answer.headers["content-disposition"], format!("attachment; {disposition}"));
        std::fs::remove_file(mount.join(name)).unwrap();
        std::fs::create_dir(mount.join(name)).unwrap();
        let answer = app.get(&format!("/containers/{cuid}/download-zip?path={encoded}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{name:?}");
        assert!(answer.headers["content-disposition"].to_str().unwrap().contains(".zip"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_nests_folders_without_end_is_packed_as_far_as_paths_go_and_deleted_whole() {
    let app = TestApp::start().await;
    let cuid = app.run(&json!({"image": PYTHON, "command": "sleep 1000"})).await;
    let nest = "import os\nfor top in 'de':\n os.chdir('/app')\n os.mkdir(top)\n os.chdir(top)\n for _ in range(20000):\n  os.mkdir('d')\n  os.chdir('d')\nprint('nested')";
    assert_eq!(docker(&["exec", &cuid, "python3", "-c", nest]), "nested\n");
    let archive = app.get(&format!("/containers/{cuid}/download-zip")).await.bytes;
    let names = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap().len();
    assert!(names > 2000, "{names}");
    let removal = app.request(Method::DELETE, &format!("/containers/{cuid}/files?path=e&recursive=true"));
    assert_eq!(app.send(removal).await.status, StatusCode::OK);
    assert_eq!(app.get(&format!("/containers/{cuid}/files")).await.json()["total"], 1);
    let beside = async || std::fs::read_dir(app.folder(&cuid)).unwrap().count() == 3;
    until("nothing of it is left beside the mount", beside).await;
    assert_eq!(app.delete(&cuid).await.status, StatusCode::OK);
    assert!(!app.folder(&cuid).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_while_a_program_keeps_filling_it() {
    let app = TestApp::start().await;
    let fill =
        "import os\nos.makedirs('/app/a/b')\nos.chdir('/app/a/b')\nn = 0\nwhile True:\n n += 1\n open(f'{n}', 'w').close()";
    let files = Files { app: &app, cuid: app.run(&json!({"image": PYTHON, "command": ["python3", "-c", fill]})).await };
    let mount = app.folder(&files.cuid).join("app");
    until("there is much in it", async || std::fs::read_dir(mount.join("a/b")).is_ok_and(|all| all.count() > 5000)).await;
    assert_eq!(files.delete("path=a&recursive=true").await.status, StatusCode::OK);
    assert!(!mount.join("a").exists());
    app.until_status(&files.cuid, "exited").await;
    until("nothing is left beside the mount", async || files.beside() == ["app", "compose.yaml", "container.json"]).await;
}
