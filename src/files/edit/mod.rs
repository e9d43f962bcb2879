//! [`Editor`]: changes to single files and folders of a mount, each by one rename or unlink.
//!
//! A process in the container may swap anything meanwhile. So a path is followed once, below the mount's handle, to the folder
//! that its last name stands in; what is done is done by that bare name in that folder, and follows no link. Whatever takes a
//! while, such as receiving a file or removing a tree, is done beside the mount, where no container reaches:
//!
//! ```text
//!     body ──► .written-…  ──rename──► app/          a file or folder with its owner and mode, synced
//!     app/ ──rename──► .removed-…  ──► nothing       a folder, whatever is in it
//! ```
//! A file where a link was takes the link's place, and not that of what it leads to.

mod delete;
mod folder;
mod rename;
mod write;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cap_std::{ambient_authority, fs::Dir};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat},
    io::Errno,
};
use uuid::Uuid;

pub use folder::Made;
pub use rename::Moved;
pub use write::{Writing, Written, receive};

use super::{
    path::RelPath,
    remove,
    root::{Mount, invalid_path, not_reached, noun},
};
use crate::{
    domain::{obstacle::Obstacle, owner::Owner},
    error::{Error, Result},
};

/// How names beside the mount begin of what is on its way into it.
const WRITTEN: &str = ".written-";

/// Removes what a crash left of changes that were under way, to be called when the server starts. What can't be removed is
/// tried again the next time.
pub fn sweep(folder: &Path) {
    remove::sweep(folder);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(WRITTEN) {
            // A folder that is on its way into the mount is empty.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_folder { fs::remove_dir(entry.path()) } else { fs::remove_file(entry.path()) };
            if let Err(error) = removed {
                tracing::warn!(?name, %error, "what is left of a change could not be removed yet");
            }
        }
    }
}

/// Changes the mount of one container, whose turn the caller has.
pub struct Editor {
    folder: PathBuf,
    /// The container's folder, which holds the mount and what stands beside it.
    beside: Dir,
    mount: Mount,
    owner: Owner,
    /// Where in the mount the container has volumes. On this side these are folders like any other, and removing or
    /// replacing one takes the volume from the running container.
    volumes: Vec<RelPath>,
}

/// A name in a folder of the mount, whether or not anything has it.
struct Place {
    dir: Dir,
    name: String,
    path: RelPath,
}

impl Editor {
    /// Opens the mount in a container's folder. What is made in it will be `owner`'s; `volumes` are the absolute paths at
    /// which the container has something mounted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path, owner: Owner, volumes: impl Iterator<Item = String>) -> Result<Self> {
        let beside = Dir::open_ambient_dir(folder, ambient_authority()).map_err(Error::io("open the container's folder"))?;
        let below = |path: String| path.starts_with("/app/").then(|| RelPath::parse("volumes", &path));
        let volumes = volumes.filter_map(below).collect::<Result<_>>()?;
        Ok(Self { folder: folder.to_owned(), beside, mount: Mount::open(folder)?, owner, volumes })
    }

    /// Opens the folder that `path` lies in. The mount has no such place itself.
    fn place(&self, path: &RelPath) -> Result<Place> {
        let Some((parent, name)) = path.split() else {
            return Err(invalid_path(path, "the mount itself can't be replaced, moved or deleted".into()));
        };
        let dir = self.mount.dir.open_dir(parent.as_path()).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => invalid_path(path, format!("{:?} is not a folder", parent.as_str())),
            _ => not_reached(&parent, error),
        })?;
        Ok(Place { dir, name: name.to_owned(), path: path.clone() })
    }

    /// Refuses what would be hidden from the container by a volume, or take one from it: `there` is what is replaced or
    /// goes away.
    fn beware_of_volumes(&self, place: &Place, there: Option<&Stat>) -> Result<()> {
        let parent = rustix::fs::fstat(&place.dir).map_err(|error| Error::io("look at the folder")(error.into()))?;
        for volume in &self.volumes {
            let mut hit = place.path != *volume && place.path.is_within(volume);
            // By what they are, and not by their names alone: the path may go through links.
            let mut above = Some(volume.clone());
            while let Some(path) = above.filter(|path| !path.as_str().is_empty()) {
                if let Ok(found) = self.mount.look(&path) {
                    hit |= path == *volume && same(&found.stat, &parent);
                    hit |= there.is_some_and(|there| same(&found.stat, there));
                }
                above = path.split().map(|(parent, _)| parent);
            }
            if hit {
                let (path, volume) = (place.path.as_str().to_owned(), format!("/app/{}", volume.as_str()));
                return Err(Error::Obstacle(Obstacle::Mounted { path, volume }));
            }
        }
        Ok(())
    }

    /// A name beside the mount that nothing has.
    fn aside(prefix: &str) -> String {
        format!("{prefix}{}", Uuid::new_v4())
    }
}

impl Place {
    /// What has the name, itself and not what it may link to.
    fn there(&self) -> Result<Option<Stat>> {
        match rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            stat => stat.map(Some).map_err(|error| Error::io("look at the file")(error.into())),
        }
    }

    /// What has the name, which must be something.
    fn something(&self) -> Result<Stat> {
        self.there()?.ok_or_else(|| Error::FileNotFound(self.path.as_str().to_owned()))
    }

    /// The refusal to take the place of what is there.
    fn taken(&self) -> Error {
        let there = self.there().ok().flatten().map_or("something", |stat| noun(kind(&stat)));
        Error::Obstacle(Obstacle::Exists { path: self.path.as_str().to_owned(), there })
    }

    /// The refusal of a folder that something is in.
    fn not_empty(&self) -> Error {
        Error::Obstacle(Obstacle::NotEmpty { path: self.path.as_str().to_owned() })
    }

    /// Makes what happened to the name survive a crash.
    fn sync(&self) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let synced = rustix::fs::openat(&self.dir, ".", flags, Mode::empty()).and_then(rustix::fs::fsync);
        synced.map_err(|error| Error::io("sync the folder")(error.into()))
    }

    /// Renames `name` of `dir` to this. With `new`, nothing may have the name, not even an empty folder.
    fn receive(&self, dir: &Dir, name: &str, new: bool) -> rustix::io::Result<()> {
        if new {
            match rustix::fs::renameat_with(dir, name, &self.dir, &self.name, RenameFlags::NOREPLACE) {
                // Some file systems can't rename like that; a folder that was to be moved into itself fails again.
                Err(Errno::INVAL | Errno::NOSYS) => {}
                renamed => return renamed,
            }
            if rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Err(Errno::EXIST);
            }
        }
        rustix::fs::renameat(dir, name, &self.dir, &self.name)
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether both are the same thing, by whatever names.
fn same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

#[cfg(test)]
mod tests;
