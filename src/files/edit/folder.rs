//! A new folder of the mount: made beside it, with its owner and mode, and renamed into its place.

use rustix::{
    fs::{AtFlags, Mode},
    io::Errno,
};

use super::{Editor, Error, RelPath, Result, WRITTEN};
use crate::{crash::point, files::root::set_owner};

/// Whether there was anything to do for a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    New,
    /// It was there, perhaps by a link that stays in the mount.
    There,
}

impl Editor {
    /// Makes the folder `path`, and with `parents` those that it lies in.
    ///
    /// # Errors
    /// [`Error::FileNotFound`] naming a folder that is missing; [`Error::Obstacle`] where something else has the name, or a
    /// volume hides it; `INVALID_PATH`; [`Error::Io`].
    pub fn make_folder(&self, path: &RelPath, parents: bool) -> Result<Made> {
        if self.mount.dir.open_dir(path.as_path()).is_ok() {
            return Ok(Made::There);
        }
        if parents {
            self.make_parents(path)?;
        }
        let place = self.place(path)?;
        self.beware_of_volumes(&place, None)?;
        let name = Self::aside(WRITTEN);
        let failed = |error: Errno| Error::io("make the folder")(error.into());
        rustix::fs::mkdirat(&self.beside, &name, Mode::RWXU).map_err(failed)?;
        let finished = set_owner(&self.beside, &name, self.owner).map_err(Error::io("give the folder to its user"));
        let placed = finished.and_then(|()| {
            // Whatever the server's own umask is.
            rustix::fs::chmodat(&self.beside, &name, Mode::from_raw_mode(0o755), AtFlags::empty()).map_err(failed)?;
            point("before the folder is in its place");
            place.receive(&self.beside, &name, true).map_err(|error| match error {
                Errno::EXIST | Errno::NOTDIR | Errno::NOTEMPTY => place.taken(),
                error => failed(error),
            })
        });
        if placed.is_err() {
            let _ = rustix::fs::unlinkat(&self.beside, &name, AtFlags::REMOVEDIR);
        }
        placed.and_then(|()| place.sync()).map(|()| Made::New)
    }

    /// Makes the folders that `path` lies in, as far as they are missing.
    pub(super) fn make_parents(&self, path: &RelPath) -> Result<()> {
        let mut missing = Vec::new();
        let mut at = path.split().map(|(parent, _)| parent);
        while let Some(folder) = at.filter(|folder| self.mount.dir.open_dir(folder.as_path()).is_err()) {
            at = folder.split().map(|(parent, _)| parent);
            missing.push(folder);
        }
        missing.iter().rev().try_for_each(|folder| self.make_folder(folder, false).map(drop))
    }
}
