//! From `incoming/` over `moving/` into the mount, and what a crash in between needs. It knows no archives: what it moves
//! was checked and unpacked before.
//!
//! In the mount, a process may be at work. Each folder is opened anew below the mount's handle, and what is in it is
//! renamed between two folder handles by its bare name: whatever is swapped for whatever, nothing is touched outside.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, MetadataExt},
};
use rustix::{
    fs::{AtFlags, FileType, Mode, RenameFlags},
    io::Errno,
};

use super::entry::refused;
use crate::{
    crash::point,
    domain::owner::Owner,
    error::{Error, Result},
    files::{
        path::{RelPath, at},
        remove::remove_tree,
        root::{Mount, invalid_path, noun, set_owner},
    },
};

/// Where an archive is unpacked, in the container's folder. It means nothing yet.
pub(super) const INCOMING: &str = "incoming";

/// What belongs into the mount and is not all there yet.
const MOVING: &str = "moving";

/// Puts right what a crash left in a container's folder, to be called when the server starts. It may be called at any time
/// that nothing is being unpacked there.
///
/// # Errors
/// [`Error::Io`].
pub fn recover(folder: &Path) -> Result<()> {
    discard(folder)?;
    match fs::symlink_metadata(folder.join(MOVING)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("look for an unfinished upload")(error)),
        Ok(_) => finish(folder),
    }
}

/// Removes what was unpacked and not committed.
pub(super) fn discard(folder: &Path) -> Result<()> {
    remove_tree(&folder.join(INCOMING)).map_err(Error::io("remove what was unpacked"))
}

/// From here on, what was unpacked below `incoming/` is the container's.
pub(super) fn commit(folder: &Path) -> Result<()> {
    point("before the upload is committed");
    let renamed = fs::rename(folder.join(INCOMING), folder.join(MOVING));
    point("after the upload is committed");
    renamed.and_then(|()| File::open(folder)?.sync_all()).map_err(Error::io("commit the upload"))
}

/// Makes everything that was written to the folder's file system survive a crash.
pub(super) fn sync(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
    synced.map_err(Error::io("sync the upload"))
}

/// Whether what was unpacked can go into the mount as it is now: no file where there is a folder, and no folder where there
/// is something else.
pub(super) fn fits(folder: &Path, mount: &Mount, to: &RelPath) -> Result<()> {
    let staged = open(folder, INCOMING)?;
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        // Where it is not there any more, or leads out by now, moving in will notice.
        let Ok(there) = mount.dir.open_dir(at(&path)) else { continue };
        let from = staged.open_dir(at(&path)).map_err(reading)?;
        for entry in from.entries().map_err(reading)? {
            let name = entry.map_err(reading)?.file_name();
            let (Ok(there), path) = (kind(&there, &name), path.join(&name)) else { continue };
            let is_folder = kind(&from, &name).map_err(reading)? == FileType::Directory;
            match (is_folder, there) {
                (true, FileType::Directory) => pending.push(path),
                (true, FileType::Symlink) if mount.dir.open_dir(&path).is_ok() => pending.push(path),
                (true, _) | (false, FileType::Directory) => return Err(in_the_way(&path, to, is_folder, there)),
                (false, _) => {}
            }
        }
    }
    Ok(())
}

/// Moves all that is in `moving/` into the mount, and removes it. Whatever can't be moved, the rest is.
pub(super) fn finish(folder: &Path) -> Result<()> {
    let (staged, mount) = (open(folder, MOVING)?, Mount::open(folder)?);
    let mut moving = Moving { staged, mount: mount.dir, pending: vec![PathBuf::new()], failure: None };
    while let Some(path) = moving.pending.pop() {
        if let Err(error) = moving.folder(&path) {
            moving.failed(&path, error);
        }
    }
    // What was moved must be safe in its new place before the old one goes.
    sync(folder)?;
    point("before the emptied folder is removed");
    remove_tree(&folder.join(MOVING)).map_err(Error::io("clean up after the upload"))?;
    moving.failure.map_or(Ok(()), Err)
}

struct Moving {
    staged: Dir,
    mount: Dir,
    /// Folders that are in the mount already, so that what is in them is moved one by one.
    pending: Vec<PathBuf>,
    /// The first one.
    failure: Option<Error>,
}

impl Moving {
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let (from, to) = (self.staged.open_dir(at(path))?, self.mount.open_dir(at(path))?);
        for entry in from.entries()? {
            let name = entry?.file_name();
            let path = path.join(&name);
            point(&format!("before {path:?} is moved in"));
            if let Err(error) = self.entry(&from, &to, &name, &path) {
                self.failed(&path, error);
            }
        }
        Ok(())
    }

    /// A file takes the place of whatever has its name. A folder is moved whole where nothing has its name; it never takes
    /// the place of one, not even of an empty one, as the container may have something mounted on it.
    fn entry(&mut self, from: &Dir, to: &Dir, name: &OsStr, path: &Path) -> io::Result<()> {
        if kind(from, name)? != FileType::Directory {
            return Ok(rustix::fs::renameat(from, name, to, name)?);
        }
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            // Some file systems can't rename like that.
            Err(Errno::INVAL | Errno::NOSYS) => make_like(from, to, name)?,
            Err(error) => return Err(error.into()),
        }
        self.pending.push(path.to_owned());
        Ok(())
    }

    fn failed(&mut self, path: &Path, error: io::Error) {
        let doing = format!("move {path:?} into the mount, where something got in the way meanwhile");
        self.failure.get_or_insert_with(|| Error::io(doing)(error));
    }
}

/// Makes the folder `name` in `to`, if it is not there, with the owner that it has in `from`.
fn make_like(from: &Dir, to: &Dir, name: &OsStr) -> io::Result<()> {
    match rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => return Ok(()),
        made => made?,
    }
    let like = from.symlink_metadata(name)?;
    set_owner(to, name, Owner { uid: like.uid(), gid: like.gid() })
}

fn open(folder: &Path, name: &str) -> Result<Dir> {
    Dir::open_ambient_dir(folder.join(name), ambient_authority()).map_err(Error::io("open what was unpacked"))
}

/// What is called `name` in `dir`; a link is a link.
fn kind(dir: &Dir, name: &OsStr) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode))
}

fn reading(error: io::Error) -> Error {
    Error::io("read what was unpacked")(error)
}

/// Says of an unpacked path why the mount has no place for it: the entry's fault, or that of where the client wants it.
fn in_the_way(path: &Path, to: &RelPath, is_folder: bool, there: FileType) -> Error {
    let what = noun(if is_folder { FileType::Directory } else { FileType::RegularFile });
    match path.strip_prefix(to.as_str()) {
        Ok(entry) if !entry.as_os_str().is_empty() => {
            refused(&entry.to_string_lossy(), &format!("it is {what}, and in the mount there is {} in its place", noun(there)))
        }
        _ => invalid_path(to, format!("{:?} is not a folder: there is {} in its place", to.as_str(), noun(there))),
    }
}
