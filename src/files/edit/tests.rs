//! Changes of files and folders in a mount, with all that a container may have put there.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::files::condition::{Condition, Tags};

struct World {
    folder: tempfile::TempDir,
    owner: Owner,
}

impl World {
    fn new() -> Self {
        let owner = Owner { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/secret"), "secret").unwrap();
        fs::create_dir(folder.path().join("c")).unwrap();
        Mount::create(&folder.path().join("c"), owner).unwrap();
        Self { folder, owner }
    }

    fn app(&self, path: &str) -> PathBuf {
        self.folder.path().join("c/app").join(path)
    }

    fn editor(&self, volumes: &[&str]) -> Editor {
        let volumes: Vec<String> = volumes.iter().map(|path| (*path).to_owned()).collect();
        Editor::open(&self.folder.path().join("c"), self.owner, volumes.into_iter()).unwrap()
    }

    async fn write(&self, editor: &Editor, path: &str, content: &str, how: Writing) -> Result<Written> {
        let mut spool = receive(&self.folder.path().join("c"), 100).await?;
        spool.write(content.as_bytes()).await?;
        editor.write(&rel(path), spool.finish().await?, &how)
    }

    /// That nothing is left beside the mount, and nothing outside was touched.
    fn assert_clean(&self) {
        assert_eq!(fs::read_dir(self.folder.path().join("c")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(self.folder.path().join("outside")).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(self.folder.path().join("outside/secret")).unwrap(), "secret");
    }
}

fn rel(path: &str) -> RelPath {
    RelPath::parse("path", path).unwrap()
}

fn obstacle<T: std::fmt::Debug>(result: Result<T>) -> Obstacle {
    match result {
        Err(Error::Obstacle(obstacle)) => obstacle,
        other => panic!("{other:?}"),
    }
}

fn how(if_match: Option<Tags>, if_none_match: Option<Tags>) -> Writing {
    Writing { condition: Condition { if_match, if_none_match }, ..Writing::default() }
}

#[tokio::test]
async fn a_file_is_written_with_its_mode_kept_and_links_replaced() {
    let world = World::new();
    let editor = world.editor(&[]);
    let first = world.write(&editor, "run.sh", "1", Writing::default()).await.unwrap();
    assert_eq!((first.created, first.size, first.mode), (true, 1, 0o644));
    fs::set_permissions(world.app("run.sh"), fs::Permissions::from_mode(0o4755)).unwrap();
    let second = world.write(&editor, "run.sh", "22", Writing::default()).await.unwrap();
    assert_eq!((second.created, second.size, second.mode), (false, 2, 0o755));
    assert_eq!(fs::metadata(world.app("run.sh")).unwrap().mode() & 0o7777, 0o755);
    let third = world.write(&editor, "run.sh", "3", Writing { mode: Some(0o600), ..Writing::default() }).await.unwrap();
    assert_eq!((third.mode, fs::metadata(world.app("run.sh")).unwrap().mode() & 0o7777), (0o600, 0o600));
    symlink("../../outside/secret", world.app("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, world.app("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    for name in ["link", "fifo"] {
        assert!(!world.write(&editor, name, "mine", Writing::default()).await.unwrap().created);
        assert!(fs::symlink_metadata(world.app(name)).unwrap().is_file());
    }
    fs::create_dir(world.app("folder")).unwrap();
    let refused = obstacle(world.write(&editor, "folder", "x", Writing::default()).await);
    assert_eq!(refused, Obstacle::Exists { path: "folder".into(), there: "a folder" });
    world.assert_clean();
}

#[tokio::test]
async fn a_file_is_written_only_on_its_caller_s_condition() {
    let world = World::new();
    let editor = world.editor(&[]);
    let new_only = || how(None, Some(Tags::Any));
    assert!(world.write(&editor, "f", "1", new_only()).await.unwrap().created);
    let etag = |obstacle| if let Obstacle::Unexpected { etag, .. } = obstacle { etag } else { panic!("{obstacle:?}") };
    let there = etag(obstacle(world.write(&editor, "f", "2", new_only()).await)).unwrap();
    let tags = || Some(Tags::These(vec![there.trim_matches('"').to_owned()]));
    assert!(world.write(&editor, "f", "333", how(tags(), None)).await.is_ok());
    assert_ne!(etag(obstacle(world.write(&editor, "f", "4", how(tags(), None)).await)), Some(there.clone()));
    assert_eq!(etag(obstacle(world.write(&editor, "g", "4", how(Some(Tags::Any), None)).await)), None);
    let deep = Writing { parents: true, ..how(Some(Tags::Any), None) };
    obstacle(world.write(&editor, "a/b/c", "4", deep).await);
    assert!(!world.app("a").exists(), "a condition that does not hold makes no folders");
    assert_eq!(fs::read_to_string(world.app("f")).unwrap(), "333");
    world.assert_clean();
}

#[tokio::test]
async fn parents_are_made_where_that_is_asked_for() {
    let world = World::new();
    let editor = world.editor(&[]);
    match world.write(&editor, "a/b/c", "x", Writing::default()).await {
        Err(Error::FileNotFound(missing)) => assert_eq!(missing, "a/b"),
        other => panic!("{other:?}"),
    }
    assert!(world.write(&editor, "a/b/c", "x", Writing { parents: true, ..Writing::default() }).await.unwrap().created);
    assert_eq!(fs::metadata(world.app("a/b")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(editor.make_folder(&rel("a/b"), false).unwrap(), Made::There);
    assert_eq!(editor.make_folder(&rel(""), false).unwrap(), Made::There);
    assert_eq!(editor.make_folder(&rel("a/d/e/f"), true).unwrap(), Made::New);
    assert!(matches!(editor.make_folder(&rel("x/y"), false), Err(Error::FileNotFound(missing)) if missing == "x"));
    obstacle(editor.make_folder(&rel("a/b/c"), false));
    obstacle(editor.make_folder(&rel("a/b/c/d"), true));
    symlink("../../outside", world.app("out")).unwrap();
    obstacle(editor.make_folder(&rel("out"), false));
    assert!(matches!(editor.make_folder(&rel("out/x"), false), Err(Error::Invalid(_))));
    obstacle(editor.make_folder(&rel("out/x/y"), true));
    world.assert_clean();
}

#[test]
fn what_is_deleted_is_gone_and_what_it_led_to_is_not() {
    let world = World::new();
    let editor = world.editor(&[]);
    let delete = |path: &str, recursive| editor.delete(&rel(path), recursive, &Condition::default());
    fs::create_dir_all(world.app("full/a/b")).unwrap();
    fs::create_dir(world.app("empty")).unwrap();
    fs::write(world.app("full/file"), "").unwrap();
    symlink("../../../outside", world.app("full/out")).unwrap();
    symlink("full", world.app("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, world.app("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(obstacle(delete("full", false)), Obstacle::NotEmpty { path: "full".into() });
    assert_eq!(delete("empty", false).unwrap(), "folder");
    assert_eq!(delete("fifo", false).unwrap(), "fifo");
    assert_eq!(delete("link", true).unwrap(), "link");
    assert_eq!(delete("full/file", true).unwrap(), "file");
    assert!(matches!(delete("full/out/secret", false), Err(Error::Invalid(_))));
    assert_eq!(delete("full", true).unwrap(), "folder");
    assert!(matches!(delete("full", true), Err(Error::FileNotFound(path)) if path == "full"));
    assert!(matches!(delete("", true), Err(Error::Invalid(_))));
    assert_eq!(fs::read_dir(world.app("")).unwrap().count(), 0);
    world.assert_clean();
}

#[test]
fn a_move_takes_no_place_that_it_was_not_given() {
    let world = World::new();
    let editor = world.editor(&[]);
    let rename = |from: &str, to: &str, overwrite| editor.rename(&rel(from), &rel(to), overwrite, &Condition::default());
    fs::create_dir_all(world.app("folder/sub")).unwrap();
    fs::create_dir(world.app("empty")).unwrap();
    fs::write(world.app("a"), "a").unwrap();
    fs::write(world.app("b"), "b").unwrap();
    fs::hard_link(world.app("a"), world.app("same")).unwrap();
    let there = |path: &str, there| Obstacle::Exists { path: path.into(), there };
    assert_eq!(obstacle(rename("a", "b", false)), there("b", "a file"));
    assert_eq!(obstacle(rename("a", "folder", true)), there("folder", "a folder"));
    assert_eq!(obstacle(rename("folder", "a", true)), there("a", "a file"));
    assert_eq!(obstacle(rename("a", "same", true)), there("same", "a file"));
    assert_eq!(obstacle(rename("empty", "folder", true)), Obstacle::NotEmpty { path: "folder".into() });
    for (from, to, field) in [("folder", "folder/sub/x", "to"), ("", "x", "from"), ("a", "", "to"), ("a", "b/c", "to")] {
        match rename(from, to, false) {
            Err(Error::Invalid(invalid)) => assert_eq!(invalid.field, field, "{from} {to}"),
            other => panic!("{from} {to}: {other:?}"),
        }
    }
    assert!(matches!(rename("a", "x/y", false), Err(Error::FileNotFound(missing)) if missing == "x"));
    assert!(matches!(rename("x", "y", false), Err(Error::FileNotFound(missing)) if missing == "x"));
    assert!(!rename("a", "a", false).unwrap().changed);
    let moved = rename("a", "folder/a", false).unwrap();
    assert_eq!((moved.kind, moved.changed, moved.etag.is_some()), ("file", true, true));
    assert!(rename("b", "folder/a", true).unwrap().changed);
    assert_eq!(fs::read_to_string(world.app("folder/a")).unwrap(), "b");
    assert_eq!(rename("folder", "empty", true).unwrap().kind, "folder");
    assert!(world.app("empty/sub").exists() && !world.app("folder").exists());
    world.assert_clean();
}

#[tokio::test]
async fn what_a_volume_is_mounted_on_is_left_alone_by_whatever_name() {
    let world = World::new();
    let editor = world.editor(&["/app/data/deep", "/app/file", "/elsewhere"]);
    fs::create_dir_all(world.app("data/deep/below")).unwrap();
    fs::create_dir(world.app("other")).unwrap();
    fs::write(world.app("file"), "").unwrap();
    symlink("data", world.app("link")).unwrap();
    for path in ["data", "data/deep", "data/deep/below", "link/deep", "file"] {
        let refused = obstacle(editor.delete(&rel(path), true, &Condition::default()));
        assert!(matches!(refused, Obstacle::Mounted { .. }), "{path}: {refused:?}");
        let refused = obstacle(editor.rename(&rel(path), &rel("new"), false, &Condition::default()));
        assert!(matches!(refused, Obstacle::Mounted { .. }), "{path}: {refused:?}");
    }
    for path in ["file", "data/deep/new", "link/deep/new"] {
        let refused = obstacle(world.write(&editor, path, "x", Writing::default()).await);
        assert!(matches!(refused, Obstacle::Mounted { .. }), "{path}: {refused:?}");
    }
    assert!(matches!(obstacle(editor.make_folder(&rel("data/deep/new"), false)), Obstacle::Mounted { .. }));
    assert!(matches!(
        obstacle(editor.rename(&rel("other"), &rel("data/deep"), true, &Condition::default())),
        Obstacle::Mounted { .. }
    ));
    assert!(editor.delete(&rel("link"), false, &Condition::default()).is_ok(), "a link to it is no part of it");
    assert!(world.write(&editor, "data/beside", "x", Writing::default()).await.is_ok());
    world.assert_clean();
}

#[test]
fn what_a_crash_left_is_swept_away() {
    let world = World::new();
    let folder = world.folder.path().join("c");
    fs::write(folder.join(".written-1"), "").unwrap();
    fs::create_dir(folder.join(".written-2")).unwrap();
    fs::create_dir_all(folder.join(".removed-3/a/b")).unwrap();
    sweep(&folder);
    // Trees are removed aside.
    while fs::read_dir(&folder).unwrap().count() > 1 {
        std::thread::yield_now();
    }
    world.assert_clean();
}
