//! Deleting a file, or a folder with all that is in it: out of the mount by one rename, then removed where no container
//! reaches.

use rustix::{
    fs::{AtFlags, FileType},
    io::Errno,
};

use super::{Editor, Error, Place, RelPath, Result, kind};
use crate::{
    crash::point,
    files::{condition::Condition, list::word, remove},
};

impl Editor {
    /// Deletes what is at `path`, a link itself and not what it leads to, and says what it was. A folder that is not empty
    /// goes only with `recursive`; it is gone from the mount at once, and what of it takes long to remove, is removed when
    /// nobody waits for it.
    ///
    /// # Errors
    /// [`Error::FileNotFound`]; [`Error::Obstacle`] where a folder is not empty, a volume is mounted there or below, or the
    /// condition does not hold; `INVALID_PATH`, also for the mount itself; [`Error::Io`].
    pub fn delete(&self, path: &RelPath, recursive: bool, condition: &Condition) -> Result<&'static str> {
        let place = self.place(path)?;
        let there = place.something()?;
        condition.check(path, Some(&there))?;
        self.beware_of_volumes(&place, Some(&there))?;
        let is_folder = kind(&there) == FileType::Directory;
        if is_folder && recursive {
            self.delete_tree(&place)?;
        } else {
            let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            rustix::fs::unlinkat(&place.dir, &place.name, flags).map_err(|error| match error {
                Errno::NOENT => Error::FileNotFound(path.as_str().to_owned()),
                Errno::NOTEMPTY | Errno::EXIST => place.not_empty(),
                // It is a folder now, or none any more.
                Errno::ISDIR | Errno::NOTDIR => place.taken(),
                error => Error::io("delete the file")(error.into()),
            })?;
            place.sync()?;
        }
        Ok(word(kind(&there)))
    }

    fn delete_tree(&self, place: &Place) -> Result<()> {
        let name = remove::away();
        rustix::fs::renameat(&place.dir, &place.name, &self.beside, &name).map_err(|error| match error {
            Errno::NOENT => Error::FileNotFound(place.path.as_str().to_owned()),
            error => Error::io("move the folder out of the mount")(error.into()),
        })?;
        point("after the folder is out of the mount");
        place.sync()?;
        // It may be something else by now that was put in its place, which goes with it.
        remove::finish(self.folder.join(name));
        Ok(())
    }
}
