//! What writes the log: batches of lines, none of which crosses a page of the file, and rotation.
//!
//! A `write` of many pages becomes visible, and is cut short by a crash, page by page. A line that would cross the end of one begins on
//! the next, after spaces, which belong to the line before it where that is of the same batch. So whoever reads the file meanwhile sees
//! whole lines. A page with little room left is filled up with the batch that leaves it so: else spaces without a line would have to go
//! before the next, which might be seen for a moment.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write},
    iter::{once, repeat_n},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

use super::{
    Bounds,
    chain::Place,
    files,
    head::Head,
    resume::{LEFT_OUT, resume},
};
use crate::error::{Error, Result};

/// What becomes visible at once, in bytes, on whatever machine: the smallest page there is.
pub(super) const PAGE: usize = 4096;

/// Few lines are longer, in bytes, so that what is left of a page is kept for another line only if it is as much.
const SPARE: usize = 1024;

/// The log, opened to be written.
pub(super) struct Writer {
    folder: PathBuf,
    bounds: Bounds,
    file: File,
    /// Up to where the file holds whole lines.
    length: u64,
    /// A batch was cut short, and what there is of it is still to be taken away.
    torn: bool,
    head: Head,
    /// What `actions.head` has, where that is known.
    written: Option<Head>,
    /// Two writers in one folder would each take the other's lines for none of its own.
    lock: File,
}

impl Writer {
    pub(super) fn open(folder: &Path, bounds: Bounds) -> Result<Self> {
        let lock = lock(folder).map_err(Error::io("have LOG_DIR"))?;
        // Earlier versions let everybody read the log. A file system that knows no rights is none to fail for.
        let _ = files::all(folder).map(|files| files.iter().for_each(|opened| drop(files::keep_private(&opened.file))));
        let _ = Head::keep_private(folder);
        let opened = open_current(folder).and_then(|(file, length)| Ok((file, length, resume(folder)?)));
        let (file, length, (head, written)) = opened.map_err(Error::io("open the action log"))?;
        Ok(Self { folder: folder.to_owned(), bounds, file, length, torn: false, head, written, lock })
    }

    /// Lets another writer have the folder. So many lines are lost, and their numbers left out.
    pub(super) fn close(&mut self, lost: u64) {
        self.leave_out(lost);
        if lost > 0
            && let Err(error) = self.write_head().or_else(|_| self.head.overwrite(&self.folder))
        {
            tracing::error!(%error, "the action log's head can't be written");
        }
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }

    /// So many numbers get no line.
    pub(super) fn leave_out(&mut self, numbers: u64) {
        self.head.last = self.head.last.clone().without(numbers);
    }

    /// Writes the lines, and removes those from the queue that are written, also where it fails.
    pub(super) fn append(&mut self, lines: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.keep_folder()?;
        self.mend()?;
        if !self.is_current()? {
            // Somebody else put the file aside, cut it or wrote to it.
            self.reopen()?;
        }
        self.look_at_head();
        while !lines.is_empty() {
            let (batch, count, last) = self.batch(lines);
            if count == 0 {
                self.rotate()?;
                continue;
            }
            if let Err(error) = self.file.write_all(&batch) {
                self.torn = true;
                self.mend()?;
                return Err(error);
            }
            self.length += batch.len() as u64;
            self.head.last = last;
            lines.drain(..count);
        }
        if let Err(error) = self.write_head() {
            // It is tried again with the next batch, and a start makes up for it.
            tracing::error!(%error, "the action log's head can't be written");
        }
        Ok(())
    }

    /// As many of the lines as the file has room for, sealed and on their pages; how many these are, and the last one's place.
    fn batch(&self, lines: &VecDeque<Vec<u8>>) -> (Vec<u8>, usize, Place) {
        let (mut batch, mut count, mut last) = (Vec::new(), 0, self.head.last.clone());
        for object in lines {
            let (place, mut line) = last.seal(object);
            line.push(b'\n');
            let end = self.length + batch.len() as u64;
            let padding = Some(room(end)).filter(|room| line.len() > *room).unwrap_or_default();
            if end > 0 && end + (padding + line.len()) as u64 > self.bounds.bytes {
                break;
            }
            pad(&mut batch, padding);
            batch.append(&mut line);
            (count, last) = (count + 1, place);
        }
        let end = self.length + batch.len() as u64;
        if count > 0 && room(end) < SPARE && end + room(end) as u64 <= self.bounds.bytes {
            pad(&mut batch, room(end));
        }
        (batch, count, last)
    }

    /// A head that is gone or another's leaves its mark in the chain before it is replaced.
    fn look_at_head(&mut self) {
        let Some(written) = &self.written else { return };
        let is_own = match Head::read(&self.folder) {
            Ok(found) => found.as_ref() == Some(written),
            // It is there, and may be ours, where it only can't be read just now.
            Err(error) => error.kind() != io::ErrorKind::InvalidData,
        };
        if !is_own {
            tracing::error!("actions.head was removed or changed; {LEFT_OUT}");
            self.leave_out(1);
            self.written = None;
        }
    }

    fn write_head(&mut self) -> io::Result<()> {
        self.head.write(&self.folder)?;
        self.written = Some(self.head.clone());
        Ok(())
    }

    /// Where there is another folder under the name, it has to be had as well: it may be another server's.
    fn keep_folder(&mut self) -> io::Result<()> {
        let (own, named) = (self.lock.metadata()?, fs::metadata(&self.folder)?);
        if (own.dev(), own.ino()) != (named.dev(), named.ino()) {
            tracing::error!("LOG_DIR is another folder than it was; the action log goes on there");
            self.lock = lock(&self.folder)?;
        }
        Ok(())
    }

    /// Takes away what there is of a batch that was cut short.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Whether the file that is written is the one under the log's name, and ends where it was left.
    fn is_current(&self) -> io::Result<bool> {
        let own = self.file.metadata()?;
        match fs::metadata(files::current(&self.folder)) {
            Ok(named) => Ok((named.dev(), named.ino()) == (own.dev(), own.ino()) && own.len() == self.length),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.length) = open_current(&self.folder)?;
        Ok(())
    }

    /// Puts the file aside. Each step can be taken again after a failure of a later one, and loses no file of the kept.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        self.shift()?;
        if_there(fs::rename(files::current(&self.folder), files::aside(&self.folder, 0)))?;
        self.shift()?;
        self.reopen()
    }

    /// Gives the file that is numbered 0, if there is one, its place among those put aside; the oldest go where there is none free.
    fn shift(&mut self) -> io::Result<()> {
        let folder = self.folder.clone();
        let aside = |number| files::aside(&folder, number);
        let numbers = files::numbers(&folder)?;
        if !numbers.contains(&0) {
            return Ok(());
        }
        let slots = files::slots(&folder, self.bounds.files);
        let free = slots.iter().position(|number| !numbers.contains(number));
        if free.is_none() {
            let leaving: Vec<u32> = numbers.into_iter().filter(|number| Some(number) >= slots.last()).collect();
            self.note_dropped(&leaving)?;
            for number in leaving.into_iter().rev() {
                if_there(fs::remove_file(aside(number)))?;
            }
        }
        let moves: Vec<(u32, u32)> = once(0).chain(slots.iter().copied()).zip(slots.iter().copied()).collect();
        for (from, to) in moves.into_iter().take(free.map_or(usize::MAX, |free| free + 1)).rev() {
            if_there(fs::rename(aside(from), aside(to)))?;
        }
        Ok(())
    }

    /// Notes up to where the log will be gone with these files, whose newest is the first.
    fn note_dropped(&mut self, leaving: &[u32]) -> io::Result<()> {
        let Some(newest) = leaving.first() else { return Ok(()) };
        let Some(file) = files::open(&files::aside(&self.folder, *newest))? else { return Ok(()) };
        let Some(last) = files::last(&file)? else { return Ok(()) };
        if self.head.dropped.as_ref().is_none_or(|dropped| dropped.seq <= last.seq) {
            self.head.dropped = Some(last);
        }
        self.write_head()
    }
}

/// How much of its page there is after a place in the file.
fn room(end: u64) -> usize {
    PAGE - usize::try_from(end % PAGE as u64).unwrap_or_default()
}

/// Adds spaces to the last line of a batch; before the first there is none.
fn pad(batch: &mut Vec<u8>, spaces: usize) {
    let newline = batch.len().saturating_sub(1);
    batch.splice(newline..newline, repeat_n(b' ', spaces));
}

/// The lock on the folder.
fn lock(folder: &Path) -> io::Result<File> {
    let lock = File::open(folder)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(io::Error::other("another berth serves it")),
        Err(error) => Err(error.into()),
    }
}

/// The file that is written, and its length without what a crash left of a line.
fn open_current(folder: &Path) -> io::Result<(File, u64)> {
    let mut options = File::options();
    // A pipe of this name must not keep the writer waiting.
    options.read(true).append(true).create(true).mode(files::MODE).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(files::current(folder))?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("actions.jsonl is no file"));
    }
    let length = files::whole_lines(&file)?;
    if length < file.metadata()?.len() {
        file.set_len(length)?;
    }
    Ok((file, length))
}

/// What was done to a file, which may be gone.
fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
