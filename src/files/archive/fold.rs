//! [`fold`], which makes one archive of several. Contents are copied as they are packed.

use std::{
    fs::File,
    io::{BufWriter, Write},
};

use zip::{ZipReadOptions, ZipWriter};

use super::{
    check::Cursor,
    entry::{Kind, unreadable},
    layers::{Layer, visible},
};
use crate::error::{Error, Result};

/// Writes what is to be seen of `layers` into one archive, by paths from the top of the mount.
pub(in crate::files) fn fold(layers: &[Layer], into: File) -> Result<()> {
    let mut zip = ZipWriter::new(BufWriter::new(into));
    let mut contents: Option<Cursor> = None;
    visible(layers, |seen, raw, archive| {
        let contents = match &mut contents {
            Some(contents) if contents.is_of(archive) => contents,
            other => other.insert(Cursor::new(archive.clone())),
        };
        let end = if seen.entry.kind == Kind::Folder { "/" } else { "" };
        let name = format!("{}{end}", seen.path.display());
        if name == "/" {
            return Ok(());
        }
        let entry = raw.with_reader(contents, ZipReadOptions::new());
        let copied = entry.and_then(|entry| zip.raw_copy_file_rename(entry, &name));
        copied.map_err(|error| unreadable(Some(&seen.entry.name), error))
    })?;
    let written = zip.finish().map_err(std::io::Error::from).and_then(|mut file| file.flush());
    written.map_err(Error::io("fold archives"))
}
