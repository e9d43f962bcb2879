//! A disk that is full, and one that can't be written: every change is refused with what is wrong, and changes nothing.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{BUSYBOX, TestApp, archive, docker};

/// A small file system of its own at a path, until it is dropped.
pub(crate) struct Disk(pub(crate) PathBuf);

impl Disk {
    pub(crate) fn mount(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        as_root(&["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", &path.display().to_string()]);
        Self(path)
    }

    fn remount(&self, how: &str) {
        as_root(&["mount", "-o", &format!("remount,{how}"), &self.0.display().to_string()]);
    }

    /// Leaves no room on it.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: something may still be looking.
        as_root(&["umount", "--lazy", &self.0.display().to_string()]);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test mounts a disk of its own")]
fn as_root(command: &[&str]) {
    let sudo: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["sudo", "-n"] };
    let all = [sudo, command].concat();
    let output = std::process::Command::new(all[0]).args(&all[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

struct World {
    app: TestApp,
    disk: Disk,
    cuid: String,
    before: Value,
    id: String,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::mount(folder.path().join("disk"));
        let app = TestApp::start_with([("DATA_DIR", disk.0.join("data").display().to_string())]).await;
        let spec = json!({"image": BUSYBOX, "command": "sleep 1000", "env": {"A": "old"}, "resources": {"memory": "64m"}});
        let cuid = app.run(&spec).await;
        app.upload(&cuid, archive(&[("a.txt", "old")])).await;
        let before = app.get(&format!("/containers/{cuid}")).await.json();
        let id = docker(&["inspect", "--format", "{{.Id}}", &cuid]);
        Self { app, disk, cuid, before, id, _folder: folder }
    }

    /// Tries every change that needs the disk; each is refused, and all is as before.
    async fn refuses(&self, status: u16, code: &str) {
        let (app, path) = (&self.app, format!("/containers/{}", self.cuid));
        app.post_json("/containers", &json!({"image": BUSYBOX, "name": "new"})).await.refused(status, code, "");
        app.patch(&self.cuid, &json!({"env": {"A": "new"}})).await.refused(status, code, "");
        app.patch(&self.cuid, &json!({"resources": {"memory": "128m"}})).await.refused(status, code, "");
        let large = "x".repeat(1 << 19);
        app.upload(&self.cuid, archive(&[("a.txt", &large), ("b.txt", &large)])).await.refused(status, code, "");
        let after = app.get(&path).await.json();
        assert_eq!(after, self.before);
        assert_eq!(docker(&["inspect", "--format", "{{.Id}}", &self.cuid]), self.id);
        assert_eq!(fs::read_to_string(self.app.folder(&self.cuid).join("app/a.txt")).unwrap(), "old");
        let mut left = entries(&self.app.folder(&self.cuid));
        left.sort();
        assert_eq!(left, ["app", "compose.yaml", "container.json", "deploys"]);
        let mut kept = entries(&self.app.folder(&self.cuid).join("deploys"));
        kept.sort();
        assert_eq!(kept, ["1.zip", "history.json"]);
        assert_eq!(entries(&self.app.folder(&self.cuid).join("app")), ["a.txt"]);
        assert_eq!(app.get("/containers").await.json()["total"], 1);
    }

    /// Everything works again.
    async fn works(&self) {
        let patched = self.app.patch(&self.cuid, &json!({"env": {"A": "new"}})).await;
        assert_eq!(patched.status, StatusCode::OK, "{patched:?}");
        let created = self.app.create(&json!({"image": BUSYBOX, "name": "new"})).await;
        for cuid in [&created, &self.cuid] {
            assert_eq!(self.app.delete(cuid).await.status, StatusCode::OK);
        }
        assert!(self.app.data_entries().iter().all(|name| name.starts_with('.')));
    }
}

fn entries(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_changes_and_loses_nothing() {
    let world = World::start().await;
    world.disk.fill();
    world.refuses(507, "STORAGE_FULL").await;
    // What writes nothing goes on.
    world.app.act(&world.cuid, "pause").await;
    world.app.act(&world.cuid, "unpause").await;
    world.app.act(&world.cuid, "stop?timeout=0").await;
    assert_eq!(world.app.act(&world.cuid, "start").await["status"], "running");
    fs::remove_file(world.disk.0.join("filler")).unwrap();
    world.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_can_t_be_written_refuses_changes_and_loses_nothing() {
    let world = World::start().await;
    world.disk.remount("ro");
    world.refuses(500, "IO_FAILED").await;
    let delete = world.app.request(Method::DELETE, &format!("/containers/{}?force=true", world.cuid));
    world.app.send(delete).await.refused(500, "IO_FAILED", "");
    assert_eq!(world.app.status(&world.cuid).await["status"], "running");
    world.app.act(&world.cuid, "stop?timeout=0").await;
    assert_eq!(world.app.act(&world.cuid, "start").await["status"], "running");
    world.disk.remount("rw");
    world.works().await;
}
