//! Whether what was unpacked has room in the mount as it is now, and what of it is new there. It changes nothing.

use std::{
    collections::HashSet,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType};

use super::plan::{Gone, Plan, Way, What};
use crate::{
    error::{Error, Result},
    files::{
        archive::refused,
        path::{RelPath, at},
        root::{Found, Mount, invalid_path, noun},
    },
};

/// Looks for what is in the way: a file where there is to be a folder, a folder where there is to be a file, which only what
/// replaces takes out. Says what of the tree is new in the mount.
pub(super) fn survey(tree: &Dir, mount: &Mount, plan: &Plan, to: &RelPath) -> Result<Vec<Gone>> {
    let gone: HashSet<&Path> = plan.gone.iter().map(|gone| Path::new(&gone.path)).collect();
    let (mut new, mut pending) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(path) = pending.pop() {
        // Where it is not there any more, or leads out by now, moving in will notice.
        let Ok(there) = mount.dir.open_dir(at(&path)) else { continue };
        let from = tree.open_dir(at(&path)).map_err(reading)?;
        for entry in from.entries().map_err(reading)? {
            let name = entry.map_err(reading)?.file_name();
            let path = path.join(&name);
            let is_folder = kind(&from, &name).map_err(reading)? == FileType::Directory;
            if !is_folder && plan.leads_to_volume(&path) {
                return Err(refused(&below(&path, to), "the container has a volume in its place"));
            }
            let there = kind(&there, &name).ok().filter(|_| !gone.contains(&*path));
            let replaced = plan.way != Way::Merge && path != Path::new(to.as_str()) && path.starts_with(to.as_str());
            match (is_folder, there) {
                (_, None) => new.push(Gone { path: path.to_string_lossy().into_owned(), what: What::Any }),
                (true, Some(FileType::Directory)) => pending.push(path),
                (_, Some(_)) if replaced => {}
                (true, Some(FileType::Symlink)) if mount.dir.open_dir(&path).is_ok() => pending.push(path),
                (true, Some(kind)) | (false, Some(kind @ FileType::Directory)) => {
                    return Err(in_the_way(&path, to, is_folder, kind));
                }
                (false, Some(_)) => {}
            }
        }
    }
    Ok(new)
}

/// Whether there is a folder at `to`, itself and not a link to one; nothing may be there, too.
///
/// # Errors
/// `INVALID_PATH` where something else is there.
pub(super) fn has_folder(mount: &Mount, to: &RelPath) -> Result<bool> {
    let path = Path::new(to.as_str());
    let Some(name) = path.file_name() else { return Ok(true) };
    let Ok(parent) = mount.dir.open_dir(at(path.parent().unwrap_or(Path::new("")))) else { return Ok(false) };
    match Found::entry(&parent, name).map(|found| found.kind()) {
        Ok(FileType::Directory) => Ok(true),
        Ok(kind) => Err(invalid_path(to, format!("{:?} is not a folder: there is {} in its place", to.as_str(), noun(kind)))),
        Err(_) => Ok(false),
    }
}

/// What is called `name` in `dir`; a link is a link.
pub(super) fn kind(dir: &Dir, name: &OsStr) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode))
}

fn reading(error: io::Error) -> Error {
    Error::io("read what was unpacked")(error)
}

/// A path of the mount as the archive has it.
fn below(path: &Path, to: &RelPath) -> String {
    path.strip_prefix(to.as_str()).unwrap_or(path).to_string_lossy().into_owned()
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
