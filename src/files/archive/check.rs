//! [`Archive`], an archive in a file, and the check of all its entries before any is unpacked. It writes nothing.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use zip::{
    read::{Config, ZipFileEntry},
    result::{ZipError, ZipResult},
    unstable::read::ZipIterable,
};

use super::{
    Limits,
    entry::{ENCRYPTED, Entry, refused, unreadable},
    places::Places,
};
use crate::error::{Error, Result, TooLarge};

/// An archive in a file that nobody else can change.
///
/// Its directory is read anew for each pass and not kept. The check alone remembers every entry and every folder in a
/// name, each in less than 100 bytes; both are counted, so the limit on them bounds the memory.
pub(super) struct Archive {
    index: ZipIterable<Cursor>,
    /// The archive itself, for whoever reads contents meanwhile.
    file: Arc<File>,
}

impl Archive {
    /// Finds the archive's directory.
    pub(super) fn open(file: File) -> Result<Self> {
        let file = Arc::new(file);
        let index = index(&file).map_err(|error| unreadable(None, error))?.enforce_header_consistency(true);
        Ok(Self { index, file })
    }

    /// Goes through the entries, each with its headers as the zip library has them.
    pub(super) fn each(
        &mut self,
        at: &Path,
        mut visit: impl FnMut(Entry, ZipFileEntry<'static>, &Arc<File>) -> Result<()>,
    ) -> Result<()> {
        for (number, raw) in self.index.files().map_err(|error| unreadable(None, error))?.enumerate() {
            let raw = raw.map_err(|error| contradictory(&self.file, number, error))?;
            visit(Entry::read(&raw, at)?, raw, &self.file)?;
        }
        Ok(())
    }

    /// Checks all that can be known without unpacking, for an archive that goes below `at` in the mount: every entry by
    /// itself, that no two claim the same place or the same bytes, and that what they declare is within the limits.
    pub(super) fn check(&mut self, at: &Path, limits: &Limits) -> Result<()> {
        let (mut places, mut ranges, mut bytes, mut ratio) = (Places::default(), Vec::new(), 0_u64, None);
        let count = |places: usize| match limits.extracted_files {
            limit if places as u64 > limit => Err(Error::TooLarge { what: TooLarge::ExtractedFiles, limit }),
            _ => Ok(()),
        };
        // Every entry takes a place of its own, so the number of entries that is declared need not be read to be refused.
        count(self.index.len())?;
        self.each(at, |entry, raw, archive| {
            places.take(&entry)?;
            count(places.len())?;
            bytes = bytes.saturating_add(entry.size);
            if bytes > limits.extracted_bytes {
                return Err(Error::TooLarge { what: TooLarge::Extracted, limit: limits.extracted_bytes });
            }
            let all = ratio.get_or_insert(archive.metadata().map_err(Error::io("look at the archive"))?.len());
            if bytes > MODEST && bytes / RATIO > *all {
                return Err(Error::TooLarge { what: TooLarge::Extracted, limit: all.saturating_mul(RATIO) });
            }
            let mut extra = [0; 2];
            archive
                .read_exact_at(&mut extra, raw.header_start().saturating_add(EXTRA_LENGTH))
                .map_err(|error| unreadable(Some(&entry.name), error.into()))?;
            let header = LOCAL_HEADER + raw.name_raw().len() as u64 + u64::from(u16::from_le_bytes(extra));
            let least = header.saturating_add(raw.compressed_size());
            ranges.push((raw.header_start(), raw.header_start().saturating_add(least)));
            Ok(())
        })?;
        ranges.sort_unstable();
        match ranges.windows(2).find(|pair| pair[0].1 > pair[1].0) {
            Some(pair) => self.each(at, |entry, raw, _| {
                let second = raw.header_start() == pair[1].0;
                if second { Err(refused(&entry.name, "it overlaps another entry")) } else { Ok(()) }
            }),
            None => Ok(()),
        }
    }
}

fn index(archive: &Arc<File>) -> ZipResult<ZipIterable<Cursor>> {
    ZipIterable::try_new(Cursor::new(archive.clone()), Config::default())
}

/// What is wrong with an entry whose headers contradict each other, by the name that the directory has for it.
fn contradictory(archive: &Arc<File>, number: usize, error: ZipError) -> Error {
    let entry = index(archive).ok().and_then(|mut index| index.files().ok()?.nth(number)?.ok());
    let name = entry.as_ref().and_then(|entry| Some(entry.name().ok()?.into_owned()));
    match (name, entry) {
        // Encrypting programs do not agree on what the headers say, and that is not what their user needs to hear.
        (Some(name), Some(entry)) if entry.encrypted() => refused(&name, ENCRYPTED),
        (name, _) => unreadable(name.as_deref(), error),
    }
}

/// The size of a local header without the name and what follows it, and where in it the length of what follows the name is.
const LOCAL_HEADER: u64 = 30;
const EXTRA_LENGTH: u64 = 28;

/// How many times its own size an archive may unpack to, once that is more than [`MODEST`] bytes: a little more than deflate can do
/// at its best, so that only what was made to be a bomb is one.
const RATIO: u64 = 1100;
const MODEST: u64 = 64 << 20;

/// How much of an archive is read at once. Small entries stand close together, headers before contents.
const WINDOW: usize = 64 * 1024;

/// Reads a file from a position of its own, through two windows that seeking does not throw away: the directory and the headers
/// that it names are read in turns.
#[derive(Clone)]
pub(super) struct Cursor {
    file: Arc<File>,
    position: u64,
    windows: [Window; 2],
    /// Which of them was of use last.
    last: usize,
}

/// Some bytes of a file, and the position of the first.
#[derive(Clone, Default)]
struct Window {
    begins: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// What it has from `position` on.
    fn from(&self, position: u64) -> &[u8] {
        let at = position.checked_sub(self.begins).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }

    fn fill(&mut self, file: &File, position: u64) -> io::Result<()> {
        self.bytes.resize(WINDOW, 0);
        let filled = file.read_at(&mut self.bytes, position);
        self.bytes.truncate(*filled.as_ref().unwrap_or(&0));
        self.begins = position;
        filled.map(drop)
    }
}

impl Cursor {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { file, position: 0, windows: Default::default(), last: 0 }
    }

    pub(super) fn is_of(&self, file: &Arc<File>) -> bool {
        Arc::ptr_eq(&self.file, file)
    }
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let found = (0..2).find(|at| !self.windows[*at].from(self.position).is_empty());
        let read = if found.is_none() && buffer.len() >= WINDOW {
            self.file.read_at(buffer, self.position)?
        } else {
            self.last = found.unwrap_or(1 - self.last);
            if found.is_none() {
                self.windows[self.last].fill(&self.file, self.position)?;
            }
            self.windows[self.last].from(self.position).read(buffer)?
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.file.metadata()?.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
