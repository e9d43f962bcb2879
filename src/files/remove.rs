//! [`remove_tree`], which removes whatever a container made of its folder, and `put_away`, for what a process in a container may
//! still be at work in. Whether it should is not asked here.
//!
//! A process may nest folders deeper than the stack, a path or the number of open files reaches. So nothing recurses here:
//! a folder that is not empty is moved up to the top, under a number, and emptied when its number's turn comes. Thus there
//! is never more than one level to look at below the top, three open files do, and no list grows. Names are only used in
//! the folder that they were read in, and no link is followed.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags},
    io::Errno,
    path::Arg,
};
use uuid::Uuid;

/// How often a folder is read again because something is still in it: some file systems skip entries while others are
/// removed, and a process that works in it may put something there just before it goes.
const PASSES: u32 = 32;

/// Removes a folder and all that is in it, however deep, wide or forbidding. One that is not there is removed already.
///
/// # Errors
/// The first failure. What could be removed in spite of it, is.
pub fn remove_tree(folder: &Path) -> io::Result<()> {
    remove_until(folder, None)
}

/// How the names of folders begin that are on their way to nothing, beside a mount.
const REMOVED: &str = ".removed-";

/// How long a removal is waited for, and how long it goes on when nobody waits for it: a process that still stands in the
/// folder can make more of it than anyone removes.
const AT_ONCE: Duration = Duration::from_secs(1);
const ASIDE: Duration = Duration::from_secs(120);

/// Renames what is called `name` in the container's folder `folder` to where nobody looks for it, and removes it: here, as long as that is
/// quick, and then aside. What is left stays until [`sweep`]. Nothing may be there, too.
///
/// # Errors
/// That of the rename.
pub(super) fn put_away(folder: &Path, name: &str) -> io::Result<()> {
    let away = folder.join(away());
    match std::fs::rename(folder.join(name), &away) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    finish(away);
    Ok(())
}

/// A name that nothing has, for what is on its way to nothing.
pub(super) fn away() -> String {
    format!("{REMOVED}{}", Uuid::new_v4())
}

/// Removes what has such a name.
pub(super) fn finish(away: PathBuf) {
    match remove(&away, AT_ONCE) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => aside(vec![away]),
        Err(error) => tracing::warn!(%error, "a folder that nobody needs stays until the server's next start"),
        Ok(()) => {}
    }
}

/// Begins to remove what is left in a container's folder of earlier removals, to be called when the server starts.
pub fn sweep(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let left: Vec<_> = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(REMOVED)).collect();
    if !left.is_empty() {
        aside(left.into_iter().map(|entry| entry.path()).collect());
    }
}

/// Removes folders where nobody waits for it, one after the other.
fn aside(folders: Vec<PathBuf>) {
    let work = move || {
        for folder in folders {
            if let Err(error) = remove(&folder, ASIDE) {
                tracing::warn!(%error, "a folder that nobody needs stays until the server's next start");
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("removal".into()).spawn(work) {
        tracing::warn!(%error, "a folder that nobody needs stays until the server's next start");
    }
}

/// Removes whatever it is: what was a folder when it was renamed may have been swapped for something else before.
fn remove(path: &Path, limit: Duration) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_dir() => std::fs::remove_file(path),
        _ => remove_until(path, Some(Instant::now() + limit)),
    }
}

/// As [`remove_tree`], until a moment.
fn remove_until(folder: &Path, until: Option<Instant>) -> io::Result<()> {
    let top = match open(CWD, folder) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut removal = Removal { top, prefix: format!(".{}-", Uuid::new_v4()), moved: 0, emptied: 0, failure: None, until };
    for _ in 0..PASSES {
        removal.everything()?;
        match rustix::fs::unlinkat(CWD, folder, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            removed => return Ok(removed?),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

struct Removal {
    top: OwnedFd,
    /// How the names of moved folders begin, which nothing else is called.
    prefix: String,
    /// How many folders were moved to the top, each named by how many were before it.
    moved: u64,
    /// How many of these were emptied and removed.
    emptied: u64,
    failure: Option<Errno>,
    /// When it is given up.
    until: Option<Instant>,
}

impl Removal {
    /// # Errors
    /// `TIMEDOUT` where it has gone on for long enough.
    fn may_go_on(&self) -> rustix::io::Result<()> {
        if self.until.is_some_and(|until| Instant::now() > until) { Err(Errno::TIMEDOUT) } else { Ok(()) }
    }

    /// Removes all that is in the top folder.
    fn everything(&mut self) -> rustix::io::Result<()> {
        self.pass(open(&self.top, ".")?)?;
        while self.emptied < self.moved {
            self.may_go_on()?;
            if let Err(error) = self.folder(&self.name(self.emptied)) {
                self.failure.get_or_insert(error);
            }
            self.emptied += 1;
        }
        self.failure.map_or(Ok(()), Err)
    }

    /// Empties and removes a folder that was moved to the top.
    fn folder(&mut self, name: &str) -> rustix::io::Result<()> {
        for _ in 0..PASSES {
            self.pass(open(&self.top, name)?)?;
            match rustix::fs::unlinkat(&self.top, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                removed => return removed,
            }
        }
        Err(Errno::NOTEMPTY)
    }

    /// Goes once through a folder. What can't be removed keeps nothing else from it.
    fn pass(&mut self, folder: OwnedFd) -> rustix::io::Result<()> {
        let mut dir = Dir::new(folder)?;
        while let Some(entry) = dir.read() {
            self.may_go_on()?;
            let entry = entry?;
            let name = entry.file_name();
            let is_moved = name.to_bytes().starts_with(self.prefix.as_bytes());
            if is_moved || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if let Err(error) = self.entry(&dir, name) {
                self.failure.get_or_insert(error);
            }
        }
        Ok(())
    }

    /// Removes what is called `name` in `dir`, or moves it to the top.
    fn entry(&mut self, dir: &Dir, name: &CStr) -> rustix::io::Result<()> {
        let dir = dir.fd()?;
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            Err(Errno::NOENT) => return Ok(()),
            removed => return removed,
        }
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            removed => return removed,
        }
        let number = self.name(self.moved);
        match rustix::fs::renameat(dir, name, &self.top, &number) {
            // Unless one is root, a folder that gets another parent must be writable itself.
            Err(Errno::ACCESS) => {
                unlocked(dir, name)?;
                rustix::fs::renameat(dir, name, &self.top, &number)?;
            }
            moved => moved?,
        }
        self.moved += 1;
        Ok(())
    }

    fn name(&self, number: u64) -> String {
        format!("{}{number}", self.prefix)
    }
}

/// Opens a folder to read and empty it.
fn open(dir: impl AsFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(unlocked(dir, name)?, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Looks at a folder, itself and not what it may link to, and sees to it that its owner may do anything in it.
fn unlocked(dir: impl AsFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    if !Mode::from_raw_mode(rustix::fs::fstat(&folder)?.st_mode).contains(Mode::RWXU) {
        // Only root does without it, which may not be allowed to do this instead. So a failure shows later, or doesn't matter.
        let _ = rustix::fs::chmod(format!("/proc/self/fd/{}", folder.as_raw_fd()), Mode::RWXU);
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use rustix::process::{Resource, getrlimit};

    use super::*;

    /// How many open files are enough for the deepest tree, with those that a test has anyway.
    const FILES: u64 = 24;

    #[test]
    fn what_is_not_there_is_removed_already_and_what_is_no_folder_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        remove_tree(&temp.path().join("nothing")).unwrap();
        fs::create_dir(temp.path().join("folder")).unwrap();
        symlink("folder", temp.path().join("link")).unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        for name in ["link", "file"] {
            assert!(remove_tree(&temp.path().join(name)).is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 3);
    }

    #[test]
    fn nothing_outside_is_touched_and_no_permission_or_kind_keeps_anything() {
        let temp = tempfile::tempdir().unwrap();
        let (outside, tree) = (temp.path().join("outside"), temp.path().join("tree"));
        fs::create_dir_all(tree.join("locked/a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o555)).unwrap();
        fs::write(tree.join("locked/a/b/file"), "").unwrap();
        fs::hard_link(tree.join("locked/a/b/file"), temp.path().join("kept")).unwrap();
        for (link, target) in [("locked/out", "../../outside"), ("absolute", outside.to_str().unwrap()), ("locked/a/up", "../..")]
        {
            symlink(target, tree.join(link)).unwrap();
        }
        let _socket = std::os::unix::net::UnixListener::bind(tree.join("locked/socket")).unwrap();
        rustix::fs::mknodat(CWD, tree.join("locked/a/fifo"), rustix::fs::FileType::Fifo, Mode::empty(), 0).unwrap();
        for (folder, mode) in [("locked/a/b", 0), ("locked/a", 0o400), ("locked", 0o500), ("", 0o100)] {
            fs::set_permissions(tree.join(folder), fs::Permissions::from_mode(mode)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && temp.path().join("kept").exists());
        assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o555);
    }

    #[test]
    fn a_folder_that_a_process_goes_on_nesting_is_put_away_without_waiting_for_it() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("tree")).unwrap();
        let mut level = open(CWD, temp.path().join("tree")).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) && rustix::fs::mkdirat(&level, "d", Mode::RWXU).is_ok() {
                    level = open(&level, "d").unwrap();
                }
            });
            let put_away = put_away(temp.path(), "tree");
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            put_away.unwrap();
        });
        assert!(!temp.path().join("tree").exists());
        while fs::read_dir(temp.path()).unwrap().count() > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_wide_tree_is_removed_whatever_it_calls_its_folders() {
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path().join("tree");
        for i in 0..1000 {
            let folder = tree.join(format!("{}/{i}", i % 7));
            fs::create_dir_all(folder.join("0/1/2")).unwrap();
            fs::write(folder.join("0/1/...\n"), "").unwrap();
        }
        remove_tree(&tree).unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_hundred_thousand_levels_are_removed_with_few_open_files() {
        if getrlimit(Resource::Nofile).current.is_none_or(|limit| limit > FILES) {
            return with_few_files("files::remove::tests::a_hundred_thousand_levels_are_removed_with_few_open_files");
        }
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut level = open(CWD, &tree).unwrap();
        for _ in 0..100_000 {
            rustix::fs::mkdirat(&level, "d", Mode::RWXU).unwrap();
            level = open(&level, "d").unwrap();
        }
        drop(level);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    /// Runs a test again, in a process that may not open more than [`FILES`] files, and cleans up after it.
    #[expect(clippy::disallowed_methods, reason = "the limit is the process's, so the test needs one of its own")]
    fn with_few_files(test: &str) {
        let temp = tempfile::tempdir().unwrap();
        let script = format!("(ulimit -n {FILES} && \"$0\" --exact {test}); ended=$?; rm -rf \"$TMPDIR\"/*; exit $ended");
        let run = std::process::Command::new("sh")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .env("TMPDIR", temp.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&run.stderr));
    }
}
