//! Downloads as streams: ranges and conditions, archives that begin at once, and containers and clients that make them long.

use std::{
    fs,
    io::{Cursor, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::{
    harness::{PYTHON, TestApp, docker, until},
    mount::{Files, created},
};

const TERABYTE: u64 = 1 << 40;

/// How many archives are made of files that change.
const ARCHIVES: usize = 20;

/// How long another container's requests may take beside the worst that one can do.
const SOON: Duration = Duration::from_secs(5);

impl Files<'_> {
    fn mount(&self) -> PathBuf {
        self.app.folder(&self.cuid).join("app")
    }

    /// Asks, and reads no more than the first bytes of the body.
    async fn begin(&self, rest: &str) -> (Response, Vec<u8>) {
        let mut response = self.app.request(Method::GET, &self.url(rest)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let first = response.chunk().await.unwrap().unwrap();
        (response, first.to_vec())
    }

    async fn zip(&self, rest: &str) -> zip::ZipArchive<Cursor<Vec<u8>>> {
        zip::ZipArchive::new(Cursor::new(self.app.get(&self.url(rest)).await.bytes)).unwrap()
    }

    /// That the container answers as if nothing was the matter elsewhere.
    async fn answers_soon(&self) {
        let begun = Instant::now();
        assert_eq!(self.app.status(&self.cuid).await["status"], "created");
        assert_eq!(self.text("file").await, "content");
        assert_eq!(self.zip("download-zip").await.len(), 1);
        assert_eq!(self.put("file", "content").await.status, StatusCode::OK);
        assert_eq!(self.list("").await["total"], 1);
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
}

async fn bystander(app: &TestApp) -> Files<'_> {
    let files = created(app).await;
    files.put("file", "content").await;
    files
}

/// How many archives the server is making.
fn streams(app: &TestApp) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", app.pid())).unwrap();
    let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
    tasks.filter(|task| name(&task.as_ref().unwrap().path()) == "stream\n").count()
}

/// What the server holds of memory, in KiB.
fn memory(app: &TestApp) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", app.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn noise(length: usize) -> Vec<u8> {
    let mut noise = vec![0; length];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    noise
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_sent_in_part_or_not_at_all_where_its_client_has_it() {
    let app = TestApp::start().await;
    let files = created(&app).await;
    let tag = files.put("f.txt", "0123456789").await.headers["etag"].to_str().unwrap().to_owned();
    let get = async |headers: &[(&'static str, &str)]| files.call(Method::GET, "download?path=f.txt", headers, "").await;
    let whole = get(&[]).await;
    assert_eq!(
        (whole.headers["etag"].to_str().unwrap(), &whole.headers["accept-ranges"]),
        (tag.as_str(), &"bytes".parse().unwrap())
    );
    let modified = whole.headers["last-modified"].to_str().unwrap().to_owned();
    for (range, text, sent) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
    ] {
        let answer = get(&[("range", range)]).await;
        assert_eq!(
            (answer.status, answer.text().as_str(), &answer.headers["content-range"]),
            (StatusCode::PARTIAL_CONTENT, text, &sent.parse().unwrap())
        );
    }
    for range in ["bytes=10-", "bytes=4-2"] {
        let answer = get(&[("range", range)]).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["content-range"]), (416, &"bytes */10".parse().unwrap()), "{range}");
    }
    let epoch = "Thu, 01 Jan 1970 00:00:00 GMT";
    for (headers, status, text) in [
        (&[("if-none-match", tag.as_str())][..], 304, ""),
        (&[("if-none-match", "*")], 304, ""),
        (&[("if-none-match", "\"other\"")], 200, "0123456789"),
        (&[("if-modified-since", &modified)], 304, ""),
        (&[("if-modified-since", epoch)], 200, "0123456789"),
        (&[("if-none-match", "\"other\""), ("if-modified-since", &modified)], 200, "0123456789"),
        (&[("if-range", &tag), ("range", "bytes=2-4")], 206, "234"),
        (&[("if-range", "\"other\""), ("range", "bytes=2-4")], 200, "0123456789"),
        (&[("if-range", &modified), ("range", "bytes=2-4")], 206, "234"),
        (&[("if-range", epoch), ("range", "bytes=2-4")], 200, "0123456789"),
        (&[("range", "lines=1-2")], 200, "0123456789"),
    ] {
        let answer = get(headers).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (status, text), "{headers:?}");
    }
    get(&[("if-match", "\"other\"")]).await.refused(412, "PRECONDITION_FAILED", "");
    let head = files.call(Method::HEAD, "download?path=f.txt", &[], "").await;
    assert_eq!((head.status, &head.headers["content-length"], head.bytes.len()), (StatusCode::OK, &"10".parse().unwrap(), 0));
    assert_eq!(head.headers["etag"], tag.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_asked_after_without_being_made() {
    let app = TestApp::start_process().await;
    let files = created(&app).await;
    fs::File::create(files.mount().join("endless")).unwrap().set_len(TERABYTE).unwrap();
    let head = files.call(Method::HEAD, "download-zip", &[], "").await;
    assert_eq!((head.status, &head.headers["content-type"]), (StatusCode::OK, &"application/zip".parse().unwrap()));
    assert!(
        head.headers["content-disposition"].to_str().unwrap().ends_with(".zip\"") && !head.headers.contains_key("content-length")
    );
    assert_eq!(streams(&app), 0);
    let head = app.request(Method::HEAD, &files.url("download-zip?path=nothing")).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_begins_before_its_folder_was_looked_through_and_waits_for_its_reader() {
    let app = TestApp::start().await;
    let files = created(&app).await;
    let mount = files.mount();
    // More than a connection's buffers take.
    for number in 0..24 {
        fs::write(mount.join(format!("{number}")), noise(1 << 20)).unwrap();
    }
    fs::create_dir(mount.join("later")).unwrap();
    let (mut response, mut archive) = files.begin("download-zip").await;
    // What comes into a folder that was not looked at yet is in the archive, too.
    fs::write(mount.join("later/late"), "late").unwrap();
    while let Some(chunk) = response.chunk().await.unwrap() {
        archive.extend_from_slice(&chunk);
    }
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    assert_eq!(zip.len(), 26);
    let mut late = String::new();
    zip.by_name("later/late").unwrap().read_to_string(&mut late).unwrap();
    assert_eq!(late, "late");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_shrink_grow_and_vanish_while_they_are_read_leave_a_whole_archive() {
    let app = TestApp::start().await;
    let files = created(&app).await;
    let judge = Files { app: &app, cuid: app.run(&json!({"image": PYTHON, "command": ["sleep", "1000"]})).await };
    let (mount, stop) = (files.mount(), AtomicBool::new(false));
    let content = noise(1 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let path = |number: usize| mount.join(format!("f{}", number % 4));
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let mut file = fs::File::create(path(number)).unwrap();
                file.write_all(&content).unwrap();
                file.set_len(1000).unwrap();
                file.seek(SeekFrom::End(1000)).unwrap();
                file.write_all(&content[1000..]).unwrap();
                let _ = fs::remove_file(path(number + 2));
            }
        });
        let archives = async {
            for number in 0..ARCHIVES {
                let archive = app.get(&files.url("download-zip")).await.bytes;
                fs::write(judge.mount().join(format!("{number}.zip")), archive).unwrap();
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(archives));
        stop.store(true, Ordering::Relaxed);
    });
    let said = docker(&["exec", &judge.cuid, "sh", "-c", "for f in /app/*.zip; do python3 -m zipfile -t $f; done"]);
    assert_eq!(said.lines().filter(|line| *line == "Done testing").count(), ARCHIVES, "{said}");
    assert_eq!(said.lines().count(), ARCHIVES, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_while_it_is_downloaded_ends_the_download_as_broken() {
    let app = TestApp::start().await;
    let files = created(&app).await;
    let file = fs::File::create(files.mount().join("f")).unwrap();
    file.set_len(1 << 30).unwrap();
    let (mut response, _) = files.begin("download?path=f").await;
    file.set_len(0).unwrap();
    let end = async {
        while response.chunk().await?.is_some() {}
        Ok::<_, reqwest::Error>(())
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), end).await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terabyte_of_nothing_and_twenty_slow_readers_of_it_hold_nobody_else_up() {
    let app = TestApp::start_process().await;
    let (files, other) = (created(&app).await, bystander(&app).await);
    fs::File::create(files.mount().join("sparse")).unwrap().set_len(TERABYTE).unwrap();
    fs::write(files.mount().join("small"), "small").unwrap();
    other.answers_soon().await;
    let end = files.call(Method::GET, "download?path=sparse", &[("range", "bytes=-4")], "").await;
    assert_eq!((end.status, end.bytes), (StatusCode::PARTIAL_CONTENT, vec![0; 4]));
    let idle = memory(&app);
    let (mut archives, mut downloads) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        archives.push(files.begin("download-zip").await);
    }
    // Further ones of the same container wait for these.
    let waiting = (0..16).map(|_| files.app.request(Method::GET, &files.url("download-zip")).send());
    let waiting = tokio::spawn(futures_util::future::join_all(waiting.collect::<Vec<_>>()));
    for _ in 0..16 {
        downloads.push(files.begin("download?path=sparse").await);
    }
    other.answers_soon().await;
    assert_eq!(files.text("small").await, "small");
    assert_eq!(streams(&app), 4);
    let held = memory(&app).saturating_sub(idle);
    assert!(held < 32 << 10, "{held} KiB for 20 slow readers");
    waiting.abort();
    drop((archives, downloads));
    until("the work ends with its clients", async || streams(&app) == 0).await;
    other.answers_soon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_of_links_and_a_hundred_thousand_files_hold_nobody_else_up() {
    let app = TestApp::start_process().await;
    let (files, other) = (created(&app).await, bystander(&app).await);
    let mount = files.mount();
    fs::create_dir_all(mount.join("a/b")).unwrap();
    for (link, target) in [("loop", "loop"), ("one", "two"), ("two", "one"), ("a/b/up", "../../a"), ("a/here", ".")] {
        symlink(target, mount.join(link)).unwrap();
    }
    for path in ["loop", "one", "one/x"] {
        files.app.get(&files.url(&format!("download?path={path}"))).await.refused(400, "INVALID_PATH", "path");
        files.app.get(&files.url(&format!("download-zip?path={path}"))).await.refused(400, "INVALID_PATH", "path");
        files.app.get(&files.url(&format!("files?path={path}"))).await.refused(400, "INVALID_PATH", "path");
    }
    assert_eq!(files.put("one/x", "x").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(files.zip("download-zip").await.len(), 7, "links are kept as links");
    fs::create_dir(mount.join("many")).unwrap();
    for number in 0..100_000 {
        fs::File::create(mount.join(format!("many/{number}"))).unwrap();
    }
    let work = async { assert_eq!(files.zip("download-zip?path=many").await.len(), 100_000) };
    let beside = async {
        for _ in 0..10 {
            other.answers_soon().await;
        }
    };
    tokio::join!(work, beside);
}
