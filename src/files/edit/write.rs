//! A file of the mount, written whole: received beside it, and renamed into its place.

use std::path::Path;

use chrono::{DateTime, Local};
use rustix::{
    fs::{FileType, Gid, Mode, Uid},
    io::Errno,
};

use super::{Editor, Error, Place, RelPath, Result, WRITTEN, kind};
use crate::{
    crash::point,
    error::TooLarge,
    files::{
        condition::{Condition, etag, unexpected},
        list::modified,
        upload::{Spool, Upload},
    },
};

/// The mode of a new file.
const MODE: u32 = 0o644;

/// How a file is to be written.
#[derive(Clone, Debug, Default)]
pub struct Writing {
    /// Its permission bits, up to 0o777; `None`: those of the file that it replaces, or 0644.
    pub mode: Option<u32>,
    /// Folders of its path that are missing are made.
    pub parents: bool,
    pub condition: Condition,
}

/// A file as it was written.
#[derive(Debug)]
pub struct Written {
    /// Whether nothing was there before.
    pub created: bool,
    pub size: u64,
    pub mode: u32,
    pub modified: Option<DateTime<Local>>,
    /// In its quotes.
    pub etag: Option<String>,
}

/// Opens a file beside the mount in a container's folder, for a body of up to `limit` bytes.
///
/// # Errors
/// [`Error::Io`].
pub async fn receive(folder: &Path, limit: u64) -> Result<Spool> {
    Spool::create_as(folder, WRITTEN, limit, TooLarge::Body).await
}

impl Editor {
    /// Puts a received file at `to`, in place of whatever file, link, FIFO or the like is there.
    ///
    /// # Errors
    /// [`Error::FileNotFound`] naming a folder that is missing; [`Error::Obstacle`] where a folder has the name, or the
    /// condition does not hold; `INVALID_PATH`; [`Error::Io`].
    pub fn write(&self, to: &RelPath, upload: Upload, how: &Writing) -> Result<Written> {
        let place = match self.place(to) {
            Err(Error::FileNotFound(_)) if how.parents => {
                how.condition.check(to, None)?;
                self.make_parents(to)?;
                self.place(to)?
            }
            place => place?,
        };
        let there = place.there()?;
        how.condition.check(to, there.as_ref())?;
        self.beware_of_volumes(&place, there.as_ref())?;
        if there.is_some_and(|there| kind(&there) == FileType::Directory) {
            return Err(place.taken());
        }
        let kept = there.filter(|there| kind(there) == FileType::RegularFile).map_or(MODE, |there| there.st_mode & 0o777);
        let written = self.put(&place, upload, how.mode.unwrap_or(kept), how.condition.is_new_only())?;
        Ok(Written { created: there.is_none(), ..written })
    }

    fn put(&self, place: &Place, upload: Upload, mode: u32, new: bool) -> Result<Written> {
        let (file, path) = upload.into_parts();
        let (uid, gid) = (Uid::from_raw(self.owner.uid), Gid::from_raw(self.owner.gid));
        rustix::fs::fchown(&file, Some(uid), Some(gid))
            .and_then(|()| rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)))
            .and_then(|()| rustix::fs::fsync(&file))
            .map_err(|error| Error::io("store the file")(error.into()))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| Error::io("look at the file")(error.into()))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        point("before the file is in its place");
        place.receive(&self.beside, name, new).map_err(|error| match error {
            Errno::EXIST if new => unexpected(&place.path, "If-None-Match", place.there().ok().flatten().as_ref()),
            Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => place.taken(),
            error => Error::io("put the file into its place")(error.into()),
        })?;
        // Nothing has that name any more.
        let _ = path.keep();
        point("after the file is in its place");
        place.sync()?;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        Ok(Written { created: false, size, mode, modified: modified(&stat), etag: etag(&stat) })
    }
}
