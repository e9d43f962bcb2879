//! A program in a container that swaps a folder and a file for links to the outside, thousands of times a second, while
//! everything that the API does with files is done: nothing outside is read, written or deleted.

use std::{
    fs::{self, FileTimes},
    io::{Cursor, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, UNIX_EPOCH},
};

use reqwest::Method;
use serde_json::json;

use crate::{
    answer::Answer,
    harness::{PYTHON, TestApp, archive, docker, until},
    mount::Files,
};

/// How long the server works while it is swapped, at the least and at the most.
const TIME: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(90);

/// What is swapped a second, at the least.
const SWAPS: u64 = 1000;

/// What must not be in any answer, as a content and as a name.
const SECRET: &str = "the canary's own words";
const NAME: &str = "canary-only";

/// Swaps `hot`, a folder, for a link to a folder outside, and `file` for a link to a file in that, by one call each, and puts
/// back what the server takes away. It counts in `.swaps`.
const SWAPPER: &str = r#"
import ctypes, os, shutil, sys
folder, file = sys.argv[1:]
os.chdir("/app")
libc = ctypes.CDLL(None)
count = os.open(".swaps", os.O_WRONLY | os.O_CREAT)
def attempt(action):
    try: action()
    except OSError: pass
def fill():
    os.mkdir("hot")
    os.mkdir("hot/sub")
    open("hot/secret", "w").write("inside")
def prepare():
    attempt(fill)
    attempt(lambda: open("file", "x").write("inside"))
    for name, other, target in (("link", "hot", folder), ("filelink", "file", file)):
        if not os.path.islink(name) and not os.path.islink(other):
            shutil.rmtree(name, ignore_errors=True)
            attempt(lambda: os.unlink(name))
        if not os.path.islink(other):
            attempt(lambda: os.symlink(target, name))
swaps = rounds = 0
while True:
    rounds += 1
    for a, b in ((b"hot", b"link"), (b"file", b"filelink")):
        if libc.renameat2(-100, a, -100, b, 2) == 0: swaps += 1
        else: prepare()
    if rounds % 100 == 0: os.pwrite(count, b"%020d" % swaps, 0)
"#;

/// A folder outside of every mount, that nobody has anything to do with.
struct Canary(PathBuf);

impl Canary {
    fn new(world: &Path) -> Self {
        let folder = world.join("canary");
        fs::create_dir_all(folder.join("sub")).unwrap();
        for name in ["secret", NAME] {
            fs::write(folder.join(name), SECRET).unwrap();
        }
        // A time before the last change, which reading would move.
        for name in ["secret", NAME, "sub", ""] {
            fs::File::open(folder.join(name)).unwrap().set_times(FileTimes::new().set_accessed(UNIX_EPOCH)).unwrap();
        }
        Self(folder)
    }

    /// All that there is of it, but for its contents, so that looking does not read it.
    fn look(&self) -> Vec<String> {
        let one = |name: &&str| {
            let meta = fs::symlink_metadata(self.0.join(name)).unwrap();
            let times = (meta.atime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
            format!("{name} {} {} {:o} {} {times:?}", meta.ino(), meta.size(), meta.mode(), meta.nlink())
        };
        ["", "secret", "sub", NAME].iter().map(one).collect()
    }
}

/// How often a call was made, and how often it came to something.
#[derive(Debug, Default)]
struct Calls {
    name: &'static str,
    made: u32,
    done: u32,
}

impl Calls {
    fn count(&mut self, answer: &Answer) {
        // An upload that was half moved in when something got in its way is nobody's mistake but the container's.
        let failed = answer.status.is_server_error() && self.name != "upload";
        assert!(!failed, "{} {}", self.name, answer.text());
        self.made += 1;
        self.done += u32::from(answer.status.is_success());
    }
}

fn swaps(files: &Files<'_>) -> u64 {
    let text = fs::read_to_string(files.app.folder(&files.cuid).join("app/.swaps")).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

fn assert_inside(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert!(!text.contains(SECRET) && !text.contains(NAME), "{text}");
}

/// Makes changes one after the other until it is told to stop.
async fn change(files: &Files<'_>, stop: &AtomicBool) -> Vec<Calls> {
    let zip = archive(&[("hot/secret", "evil"), ("hot/more/evil", "evil"), ("file", "evil")]);
    let to = |from: &str, to: &str| json!({"from": from, "to": to, "overwrite": true}).to_string().into_bytes();
    let calls: [(&str, Method, &str, Vec<u8>); 11] = [
        ("upload", Method::POST, "upload-zip", zip),
        ("write", Method::PUT, "files?path=hot/secret", b"evil".into()),
        ("write deep", Method::PUT, "files?path=hot/sub/a/b/evil&parents=true", b"evil".into()),
        ("write over the link", Method::PUT, "files?path=file", b"evil".into()),
        ("mkdir", Method::POST, "files/mkdir?path=hot/made/deep&parents=true", Vec::new()),
        ("move within", Method::POST, "files/move", to("hot/secret", "hot/other")),
        ("move out of it", Method::POST, "files/move", to("hot/other", "taken")),
        ("move into it", Method::POST, "files/move", to("taken", "hot/secret")),
        ("delete in it", Method::DELETE, "files?path=hot/sub&recursive=true", Vec::new()),
        ("delete the file", Method::DELETE, "files?path=hot/secret", Vec::new()),
        ("delete it", Method::DELETE, "files?path=hot&recursive=true", Vec::new()),
    ];
    let mut counts: Vec<_> = calls.iter().map(|(name, ..)| Calls { name, ..Calls::default() }).collect();
    loop {
        for ((_, method, rest, body), count) in calls.iter().zip(&mut counts) {
            let answer = files.call(method.clone(), rest, &[], body.clone()).await;
            count.count(&answer);
            assert_inside(&answer.bytes);
        }
        if stop.load(Ordering::Relaxed) {
            return counts;
        }
    }
}

/// Reads all there is to read until it is told to stop.
async fn read(files: &Files<'_>, stop: &AtomicBool) -> Vec<Calls> {
    let paths = [
        "download?path=hot/secret",
        "download?path=link/secret",
        "download?path=file",
        "download?path=filelink",
        "files?path=hot",
        "files?path=link",
        "files?path=hot/secret",
        "files?path=file",
        "download-zip",
        "download-zip?path=hot",
        "download-zip?path=file",
    ];
    let mut counts = paths.map(|name| Calls { name, ..Calls::default() });
    loop {
        for count in &mut counts {
            let answer = files.app.get(&files.url(count.name)).await;
            count.count(&answer);
            assert_inside(&answer.bytes);
            if count.name.starts_with("download-zip") && answer.status.is_success() {
                let mut zip = zip::ZipArchive::new(Cursor::new(answer.bytes)).unwrap();
                for i in 0..zip.len() {
                    let mut content = Vec::new();
                    let mut entry = zip.by_index(i).unwrap();
                    assert_inside(entry.name().unwrap().as_bytes());
                    entry.read_to_end(&mut content).unwrap();
                    assert_inside(&content);
                }
            }
        }
        if stop.load(Ordering::Relaxed) {
            return counts.into();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_outside_is_touched_whatever_is_swapped_while_files_are_read_and_changed() {
    let app = TestApp::start().await;
    let canary = Canary::new(app.world.path());
    let (relative, absolute) = ("../../../canary", canary.0.join("secret"));
    let command = json!(["python3", "-c", SWAPPER, relative, absolute]);
    let files = Files { app: &app, cuid: app.run(&json!({"image": PYTHON, "command": command})).await };
    until("it swaps", async || swaps(&files) > 0).await;
    let (before, stop) = (canary.look(), AtomicBool::new(false));
    let (begun, first) = (Instant::now(), swaps(&files));
    let met = |calls: &[Calls]| calls.iter().all(|call| call.done > 0) && calls.iter().any(|call| call.done < call.made);
    let end = async {
        tokio::time::sleep(TIME).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (mut changes, mut reads, ()) = tokio::join!(change(&files, &stop), read(&files, &stop), end);
    let rate = (swaps(&files) - first) / begun.elapsed().as_secs();
    assert!(rate >= SWAPS, "{rate} swaps a second");
    // What met only one side of the swap goes on until it met the other.
    while !(met(&changes) && met(&reads)) {
        assert!(begun.elapsed() < PATIENCE, "{changes:#?} {reads:#?}");
        let once = AtomicBool::new(true);
        for (all, more) in [(&mut changes, change(&files, &once).await), (&mut reads, read(&files, &once).await)] {
            all.iter_mut().zip(more).for_each(|(all, more)| (all.made, all.done) = (all.made + more.made, all.done + more.done));
        }
    }
    assert_eq!(docker(&["inspect", "--format", "{{.State.Status}}", &files.cuid]), "running\n");
    assert_eq!(canary.look(), before);
    for name in ["secret", NAME] {
        assert_eq!(fs::read_to_string(canary.0.join(name)).unwrap(), SECRET);
    }
    assert_eq!(fs::read_dir(&canary.0).unwrap().count(), 3);
    assert_eq!(fs::read_dir(canary.0.join("sub")).unwrap().count(), 0);
    until("nothing is left beside the mount", async || files.beside() == ["app", "compose.yaml", "container.json", "deploys"])
        .await;
}
