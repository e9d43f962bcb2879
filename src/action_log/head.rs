//! `LOG_DIR/actions.head`: where the log ends and where it begins, so that what is cut off at either end is missed. Replaced by a
//! rename after each batch of lines.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::{
    chain::{MOST, Place},
    files,
};

const NAME: &str = "actions.head";

/// A longer one is none of ours, in bytes.
const LONGEST: u64 = 4096;

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The last line. After a crash the log may have more.
    pub(super) last: Place,
    /// The last line that rotation took away; it is noted before that.
    pub(super) dropped: Option<Place>,
}

impl Head {
    /// The log's head; `None` where there is none. One that is none of ours is [`io::ErrorKind::InvalidData`].
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(NAME);
        let Some(file) = files::open(&path)? else {
            let is_there = fs::symlink_metadata(path).is_ok();
            return if is_there { Err(invalid("it is no file")) } else { Ok(None) };
        };
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text)?;
        let head: Self = serde_json::from_slice(&text).map_err(invalid)?;
        if head.last.seq > MOST { Err(invalid("no line has such a number")) } else { Ok(Some(head)) }
    }

    /// Whether what it says can be: the last line is behind those that rotation took away.
    pub(super) fn is_possible(&self) -> bool {
        self.dropped.as_ref().is_none_or(|dropped| dropped.seq == 0 || dropped.seq < self.last.seq)
    }

    /// Takes every right to the file from others than its owner.
    pub(super) fn keep_private(folder: &Path) -> io::Result<()> {
        files::open(&folder.join(NAME))?.as_ref().map_or(Ok(()), files::keep_private)
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let aside = folder.join(format!(".{NAME}.new"));
        // What a crash left of one; anything else of that name must not be written to.
        let _ = fs::remove_file(&aside);
        let mut file = File::options().write(true).create_new(true).mode(files::MODE).open(&aside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(aside, folder.join(NAME))
    }

    /// Writes over the head that is there, which takes no room: for the last time, on a disk that is full.
    pub(super) fn overwrite(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let file = File::options().write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(folder.join(NAME))?;
        file.write_all_at(&text, 0)?;
        file.set_len(text.len() as u64)
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
