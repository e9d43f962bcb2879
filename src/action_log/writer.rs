//! The thread that writes the log: batches of lines, none of which crosses a page of the file, and rotation.
//!
//! A `write` of many pages becomes visible, and is cut short by a crash, page by page. A line that would cross the end of one begins on
//! the next, after spaces, which belong to the line before it where that is of the same batch. So whoever reads the file meanwhile sees
//! whole lines. A page with little room left is filled up with the batch that leaves it so: else spaces without a line would have to go
//! before the next, which might be seen for a moment.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    iter::repeat_n,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use tokio::sync::{mpsc, oneshot};

use super::{Bounds, chain::Place, files, head::Head};
use crate::error::{Error, Result};

/// What becomes visible at once, in bytes, on whatever machine: the smallest page there is.
pub(super) const PAGE: usize = 4096;

/// Few lines are longer, in bytes, so that what is left of a page is kept for another line only if it is as much.
const SPARE: usize = 1024;

/// The most messages that are looked at together.
const BATCH: usize = 1024;

/// How long lines are gathered after a batch: under load one batch of many costs a fraction of many of one.
const PACE: Duration = Duration::from_millis(5);

/// How long the writer waits before it tries a failing disk again.
const RETRY: Duration = Duration::from_secs(1);

/// What the writer is sent.
pub(super) enum Message {
    /// An entry as JSON.
    Line(Vec<u8>),
    Flush(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

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
    /// Two writers in one folder would each take the other's lines for none of its own.
    _lock: File,
}

impl Writer {
    pub(super) fn open(folder: &Path, bounds: Bounds) -> Result<Self> {
        let lock = File::open(folder).map_err(Error::io("open LOG_DIR"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => Error::io("have LOG_DIR")(io::Error::other("another berth serves it")),
            error => Error::io("lock LOG_DIR")(error.into()),
        })?;
        let opened = open_current(folder).and_then(|(file, length)| Ok((file, length, recall(folder)?)));
        let (file, length, head) = opened.map_err(Error::io("open the action log"))?;
        Ok(Self { folder: folder.to_owned(), bounds, file, length, torn: false, head, _lock: lock })
    }

    /// Writes what it is sent, until it is told to close, or nobody is left who could send anything.
    pub(super) fn run(&mut self, mut receiver: mpsc::UnboundedReceiver<Message>, waiting: &AtomicUsize) {
        let mut messages = Vec::new();
        let mut closed = None;
        while closed.is_none() && receiver.blocking_recv_many(&mut messages, BATCH) > 0 {
            let is_full = messages.len() == BATCH;
            let (mut lines, mut flushes) = (VecDeque::new(), Vec::new());
            for message in messages.drain(..) {
                match message {
                    Message::Line(line) => lines.push_back(line),
                    Message::Flush(done) => flushes.push(done),
                    Message::Close(done) => closed = Some(done),
                }
            }
            let count = lines.len();
            while let Err(error) = self.append(&mut lines) {
                tracing::error!(%error, "the action log can't be written");
                thread::sleep(RETRY);
            }
            waiting.fetch_sub(count, Ordering::Relaxed);
            for done in flushes {
                let _ = done.send(());
            }
            if !is_full && closed.is_none() {
                thread::sleep(PACE);
            }
        }
        let _ = flock(&self._lock, FlockOperation::Unlock);
        if let Some(done) = closed {
            let _ = done.send(());
        }
    }

    /// Writes the lines, and removes those from the queue that are written, also where it fails.
    pub(super) fn append(&mut self, lines: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.mend()?;
        if !self.is_current()? {
            // Somebody else put the file aside, cut it or wrote to it.
            self.reopen()?;
        }
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
        if let Err(error) = self.head.write(&self.folder) {
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
        move_if_there(&files::current(&self.folder), &files::aside(&self.folder, 0))?;
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
        let free = (1..=self.bounds.files).find(|number| !numbers.contains(number));
        if free.is_none() {
            let leaving: Vec<u32> = numbers.into_iter().filter(|number| *number >= self.bounds.files).collect();
            self.note_dropped(&leaving)?;
            for number in leaving.into_iter().rev() {
                fs::remove_file(aside(number))?;
            }
        }
        for number in (0..free.unwrap_or(self.bounds.files)).rev() {
            move_if_there(&aside(number), &aside(number + 1))?;
        }
        Ok(())
    }

    /// Notes up to where the log will be gone with these files, whose newest is the first.
    fn note_dropped(&mut self, leaving: &[u32]) -> io::Result<()> {
        let Some(newest) = leaving.first() else { return Ok(()) };
        let Some(last) = files::last(&File::open(files::aside(&self.folder, *newest))?)? else { return Ok(()) };
        if self.head.dropped.as_ref().is_none_or(|dropped| dropped.seq <= last.seq) {
            self.head.dropped = Some(last);
        }
        self.head.write(&self.folder)
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

/// The file that is written, and its length without what a crash left of a line.
fn open_current(folder: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).append(true).create(true).open(files::current(folder))?;
    let length = files::whole_lines(&file)?;
    if length < file.metadata()?.len() {
        file.set_len(length)?;
    }
    Ok((file, length))
}

/// Where the chain goes on: after the last line, or, where that is not what the head says, after what it was, so that the gap stays to be
/// seen.
fn recall(folder: &Path) -> io::Result<Head> {
    let mut last = None;
    for opened in files::all(folder)? {
        last = files::last(&opened.file)?;
        if last.is_some() {
            break;
        }
    }
    let known = Head::read(folder).unwrap_or_else(|error| {
        tracing::error!(%error, "actions.head can't be read: whether lines of the action log are missing can't be told");
        None
    });
    let found = last.clone().unwrap_or_else(Place::start);
    let Some(head) = known else {
        if found.seq > 0 {
            tracing::error!("there is no actions.head: whether lines of the action log are missing can't be told");
        }
        return Ok(Head { last: found, dropped: None });
    };
    if head.last.seq > found.seq {
        let (first, last) = (found.seq + 1, head.last.seq);
        tracing::error!(
            first,
            last,
            "lines of the action log are missing at its end; berth verify-log tells of them from now on"
        );
        return Ok(head);
    }
    if head.last.seq == found.seq && head.last.hash != found.hash {
        tracing::error!(
            number = found.seq,
            "the last line of the action log was changed; berth verify-log tells of it from now on"
        );
        return Ok(head);
    }
    Ok(Head { last: found, ..head })
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
