//! [`list`]: what is in a folder of the mount, a page of it at a time. No file is opened.
//!
//! A container may fill a folder without end. So all names are looked at for every page, but only a page of them is kept, and
//! only what is on the page is looked at itself.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Local};
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};

use super::{
    condition::etag,
    path::RelPath,
    root::{Found, Mount},
};
use crate::error::{Error, Result};

/// Something in a mount, as it is shown.
#[derive(Debug)]
pub struct Entry {
    /// Its bytes, which need not be UTF-8.
    pub name: Vec<u8>,
    /// `file`, `folder`, `link`, `fifo`, `socket` or `device`.
    pub kind: &'static str,
    /// A file's length in bytes; 0 for anything else.
    pub size: u64,
    /// The permission bits, up to 0o7777.
    pub mode: u32,
    /// Not given for a time that no calendar has.
    pub modified: Option<DateTime<Local>>,
    /// Where a link leads, as it says itself.
    pub target: Option<Vec<u8>>,
    /// A file's entity tag, in its quotes.
    pub etag: Option<String>,
}

/// A page of a folder, or what is no folder by itself.
#[derive(Debug)]
pub struct Listing {
    /// What was listed, as in [`Entry::kind`].
    pub kind: &'static str,
    /// By the bytes of their names.
    pub entries: Vec<Entry>,
    /// How many there are in all.
    pub total: u64,
    /// Whether there are more after these.
    pub more: bool,
}

/// Lists up to `limit` entries of the folder at `path` whose names come after `after`. Of anything else its one entry is
/// given. Links are followed to what is listed as long as they stay in the mount, and are shown as what they are.
///
/// # Errors
/// [`Error::FileNotFound`]; `INVALID_PATH` where the path is led out of the mount; [`Error::Io`].
pub fn list(mount: &Mount, path: &RelPath, after: &[u8], limit: usize) -> Result<Listing> {
    let found = mount.look(path)?;
    let kind = word(found.kind());
    if found.kind() != FileType::Directory {
        let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
        return Ok(Listing { kind, entries: vec![Entry::new(name, &found)], total: 1, more: false });
    }
    let (names, total, more) = names(&found, after, limit).map_err(|error| Error::io("read the folder")(error.into()))?;
    // What is gone by now is not shown.
    let entries = names.into_iter().filter_map(|name| {
        let found = Found::entry(&found.fd, name.as_slice()).ok()?;
        Some(Entry::new(name, &found))
    });
    Ok(Listing { kind, entries: entries.collect(), total, more })
}

/// The first `limit` names after `after`, how many names there are in all, and whether there are more after these.
fn names(folder: &Found, after: &[u8], limit: usize) -> rustix::io::Result<(BTreeSet<Vec<u8>>, u64, bool)> {
    let (mut kept, mut total, mut more) = (BTreeSet::new(), 0, false);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(rustix::fs::openat(&folder.fd, ".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        total += 1;
        if name <= after {
            continue;
        }
        if kept.len() == limit {
            more = true;
            if kept.last().is_some_and(|last: &Vec<u8>| name >= last.as_slice()) {
                continue;
            }
            kept.pop_last();
        }
        kept.insert(name.to_vec());
    }
    Ok((kept, total, more))
}

impl Entry {
    fn new(name: Vec<u8>, found: &Found) -> Self {
        let (stat, kind) = (&found.stat, found.kind());
        let size = if kind == FileType::RegularFile { u64::try_from(stat.st_size).unwrap_or_default() } else { 0 };
        let target = || Some(rustix::fs::readlinkat(&found.fd, "", Vec::new()).ok()?.into_bytes());
        Self {
            name,
            kind: word(kind),
            size,
            mode: stat.st_mode & 0o7777,
            modified: modified(stat),
            target: if kind == FileType::Symlink { target() } else { None },
            etag: etag(stat),
        }
    }
}

/// When something was changed last, where RFC 3339 has a word for it.
pub(super) fn modified(stat: &Stat) -> Option<DateTime<Local>> {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).ok()?;
    let time = DateTime::from_timestamp(stat.st_mtime, nanoseconds)?.with_timezone(&Local);
    (0..=9999).contains(&time.year()).then_some(time)
}

/// What something is, in a word.
pub(super) fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "folder",
        FileType::Symlink => "link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Unknown => "unknown",
    }
}
