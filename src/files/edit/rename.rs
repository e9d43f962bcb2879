//! Moving a file or a folder within its mount, by one rename.

use rustix::{fs::FileType, io::Errno};

use super::{Editor, Error, Place, RelPath, Result, kind, same};
use crate::{
    crash::point,
    files::{
        condition::{Condition, etag},
        list::word,
        root::invalid_path,
    },
};

/// What was moved.
#[derive(Debug)]
pub struct Moved {
    /// `file`, `folder`, `link`, `fifo`, `socket` or `device`.
    pub kind: &'static str,
    /// A file's, which moves with it, in its quotes.
    pub etag: Option<String>,
    /// Whether it is anywhere else now.
    pub changed: bool,
}

impl Editor {
    /// Moves what is at `from` to `to`, a link itself and not what it leads to. With `overwrite` it takes the place of a
    /// file, or as a folder that of an empty folder.
    ///
    /// # Errors
    /// [`Error::FileNotFound`] naming what is missing; [`Error::Obstacle`] where something has the name, a volume is
    /// mounted there or below, or the condition on `from` does not hold; `INVALID_PATH`, also for the mount itself and for a
    /// folder that was to be moved into itself; [`Error::Io`].
    pub fn rename(&self, from: &RelPath, to: &RelPath, overwrite: bool, condition: &Condition) -> Result<Moved> {
        let source = self.place(from).map_err(about("from"))?;
        let target = self.place(to).map_err(about("to"))?;
        let what = source.something()?;
        condition.check(from, Some(&what))?;
        let there = target.there()?;
        self.beware_of_volumes(&source, Some(&what))?;
        self.beware_of_volumes(&target, there.as_ref())?;
        let moved = Moved { kind: word(kind(&what)), etag: etag(&what), changed: from != to };
        if !moved.changed {
            return Ok(moved);
        }
        // Two names of one file are no reason for a rename, which would leave both.
        if there.is_some_and(|there| same(&there, &what)) && kind(&what) != FileType::Directory {
            return Err(target.taken());
        }
        point("before the file is moved");
        target.receive(&source.dir, &source.name, !overwrite).map_err(|error| hindered(error, &source, &target))?;
        point("after the file is moved");
        target.sync()?;
        source.sync()?;
        Ok(moved)
    }
}

/// Why a rename came to nothing.
fn hindered(error: Errno, source: &Place, target: &Place) -> Error {
    match error {
        Errno::EXIST | Errno::ISDIR | Errno::NOTDIR => target.taken(),
        Errno::NOTEMPTY => target.not_empty(),
        Errno::NOENT => Error::FileNotFound(source.path.as_str().to_owned()),
        Errno::INVAL => about("to")(invalid_path(&target.path, "a folder can't be moved into itself".into())),
        error => Error::io("move the file")(error.into()),
    }
}

/// Says which of the two paths can't be taken.
fn about(field: &'static str) -> impl FnOnce(Error) -> Error {
    move |mut error| {
        if let Error::Invalid(invalid) = &mut error {
            field.clone_into(&mut invalid.field);
        }
        error
    }
}
