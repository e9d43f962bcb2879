//! Whether what was unpacked has room in the mount as it is now, and what of it is new there. It changes nothing.

use std::{
    collections::HashMap,
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
/// replaces takes out. Gives what of the tree is new in the mount, where a plan that takes it back has to know.
pub(super) fn survey(tree: &Dir, mount: &Mount, plan: &Plan, to: &RelPath) -> Result<Vec<Gone>> {
    beware_of_volumes(tree, plan, to)?;
    let gone: HashMap<&Path, What> = plan.gone.iter().map(|gone| (Path::new(&gone.path), gone.what)).collect();
    let (mut new, mut pending) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(path) = pending.pop() {
        // Where it is not there any more, or leads out by now, moving in will notice.
        let Ok(there) = mount.dir.open_dir(at(&path)) else { continue };
        let from = tree.open_dir(at(&path)).map_err(reading)?;
        for entry in from.entries().map_err(reading)? {
            let name = entry.map_err(reading)?.file_name();
            let path = path.join(&name);
            let is_folder = kind(&from, &name).map_err(reading)? == FileType::Directory;
            let there = kind(&there, &name).ok();
            let goes = there.is_some_and(|kind| match gone.get(&*path) {
                Some(What::File) => kind != FileType::Directory,
                Some(What::EmptyFolder) => kind == FileType::Directory && goes_whole(mount, &gone, &path),
                _ => false,
            });
            let replaced = plan.way != Way::Merge && path != Path::new(to.as_str()) && path.starts_with(to.as_str());
            match (is_folder, there) {
                (_, None) if plan.trial => new.push(Gone { path: path.to_string_lossy().into_owned(), what: What::Any }),
                (_, None) => {}
                (_, Some(_)) if goes => {}
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

/// Whether all that is in a folder of the mount is to go, so that it will be empty.
fn goes_whole(mount: &Mount, gone: &HashMap<&Path, What>, folder: &Path) -> bool {
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        let Ok(entries) = mount.dir.open_dir(&path).and_then(|dir| dir.entries()) else { return false };
        for entry in entries {
            let Ok(entry) = entry else { return false };
            let path = path.join(entry.file_name());
            match (gone.get(&*path), entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                (Some(What::Any), _) | (Some(What::File), false) => {}
                (Some(What::EmptyFolder), true) => pending.push(path),
                _ => return false,
            }
        }
    }
    true
}

/// Refuses what a volume would hide from the container, or what would have to take one's place.
fn beware_of_volumes(tree: &Dir, plan: &Plan, to: &RelPath) -> Result<()> {
    for volume in &plan.volumes {
        let volume = Path::new(volume);
        if Path::new(to.as_str()).starts_with(volume) {
            return Err(invalid_path(to, format!("{:?} is in a volume of the container", to.as_str())));
        }
        for above in volume.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            let parent = tree.open_dir(at(above.parent().unwrap_or(above)));
            let found = parent.and_then(|dir| kind(&dir, above.file_name().unwrap_or_default()));
            if found.is_ok_and(|kind| kind != FileType::Directory) {
                return Err(refused(&below(above, to), "the container has a volume in its place"));
            }
        }
        let hidden = tree.open_dir(volume).and_then(|dir| dir.entries()).ok().and_then(|mut entries| entries.next()?.ok());
        if let Some(hidden) = hidden {
            return Err(refused(
                &below(&volume.join(hidden.file_name()), to),
                "it lies in a volume of the container, which hides it",
            ));
        }
    }
    Ok(())
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
