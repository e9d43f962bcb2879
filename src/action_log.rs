//! `LOG_DIR/actions.jsonl`: a JSON object a line for every request and every terminal session.
//!
//! One thread writes it, so a request never waits for the disk. A line is whole or absent: what a crash or a full disk
//! cut is removed before the next line is written. While the disk takes nothing, lines wait in memory, up to a bound.

use std::{
    borrow::Cow,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use chrono::{DateTime, Local};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    domain::id::Cuid,
    error::{Error, Result},
};

/// A file of this size is put aside, in bytes.
const ROTATE_AT: u64 = 64 << 20;

/// How many files put aside are kept: `actions.jsonl.1`, the newest, to `.5`.
const KEPT: usize = 5;

/// How many lines may wait for a disk that takes nothing; more are counted and dropped.
const WAITING: usize = 100_000;

/// How long the writer waits before it tries a failing disk again.
const RETRY: Duration = Duration::from_secs(1);

/// One line. Fields that don't apply are left out.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub timestamp: DateTime<Local>,
    pub request_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    pub method: String,
    /// Without the query.
    pub path: String,
    pub action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuid: Option<Cuid>,
    pub status: u16,
    pub duration_ms: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Nothing was done: it is the answer of an earlier request with the same idempotency key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
}

/// What a failure's line has in addition; the names are the error body's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub error: Cow<'static, str>,
    pub code: Cow<'static, str>,
    pub message: String,
}

/// What a terminal session's line has in addition.
#[derive(Clone, Debug, Serialize)]
pub struct Terminal {
    pub session: String,
    pub mode: &'static str,
    pub exit_code: Option<i64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recording>,
}

/// What a terminal session's line has where sessions are recorded.
#[derive(Clone, Debug, Serialize)]
pub struct Recording {
    /// `full` or `metadata`, or `failed` where the disk took nothing.
    pub recording: &'static str,
    /// The file's name, in the folder of the container's recordings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording_file: Option<String>,
    /// The recording ends before the session did.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recording_truncated: bool,
}

/// The way to the log; cheap to clone.
#[derive(Clone)]
pub struct ActionLog {
    sender: mpsc::UnboundedSender<Message>,
    waiting: Arc<AtomicUsize>,
}

enum Message {
    Line(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

impl ActionLog {
    /// Opens the log in `folder`, which is made where it is missing, and starts its writer.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("make LOG_DIR"))?;
        let mut writer = Writer::open(folder.join("actions.jsonl")).map_err(Error::io("open the action log"))?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = waiting.clone();
        let run = move || writer.run(receiver, &counter);
        thread::Builder::new().name("action-log".into()).spawn(run).map_err(Error::io("start the action log"))?;
        Ok(Self { sender, waiting })
    }

    /// Hands a line to the writer.
    pub fn record(&self, entry: &Entry) {
        let Ok(mut line) = serde_json::to_vec(entry) else { return };
        line.push(b'\n');
        if self.waiting.fetch_add(1, Ordering::Relaxed) < WAITING {
            let _ = self.sender.send(Message::Line(line));
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            tracing::error!("the action log's disk takes nothing, and no more lines can wait: one is dropped");
        }
    }

    /// Waits until everything recorded so far is written, or `limit` is over.
    pub async fn flush(&self, limit: Duration) {
        let (done, written) = oneshot::channel();
        let _ = self.sender.send(Message::Flush(done));
        let _ = tokio::time::timeout(limit, written).await;
    }
}

struct Writer {
    path: PathBuf,
    file: File,
    /// Up to where the file holds whole lines.
    length: u64,
}

impl Writer {
    fn open(path: PathBuf) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let length = whole_lines(&mut file)?;
        file.set_len(length)?;
        Ok(Self { path, file, length })
    }

    fn run(&mut self, mut receiver: mpsc::UnboundedReceiver<Message>, waiting: &AtomicUsize) {
        let mut messages = Vec::new();
        while receiver.blocking_recv_many(&mut messages, 1024) > 0 {
            let (mut batch, mut lines, mut flushes) = (Vec::new(), 0, Vec::new());
            for message in messages.drain(..) {
                match message {
                    Message::Line(line) => {
                        batch.extend_from_slice(&line);
                        lines += 1;
                    }
                    Message::Flush(done) => flushes.push(done),
                }
            }
            while let Err(error) = self.append(&batch) {
                tracing::error!(%error, "the action log can't be written");
                thread::sleep(RETRY);
            }
            waiting.fetch_sub(lines, Ordering::Relaxed);
            for done in flushes {
                let _ = done.send(());
            }
        }
    }

    fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        if !self.is_current()? {
            // Somebody else put the file aside.
            *self = Self::open(self.path.clone())?;
        }
        if self.length > 0 && self.length + batch.len() as u64 > ROTATE_AT {
            self.rotate()?;
        }
        match self.file.write_all(batch) {
            Ok(()) => self.length += batch.len() as u64,
            Err(error) => {
                self.file.set_len(self.length)?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether the file that is written is the one under the log's name.
    fn is_current(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == self.file.metadata().map(|own| (own.dev(), own.ino()))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts the file aside. Each step can be taken again after a failure of a later one, and loses no file of the kept.
    fn rotate(&mut self) -> io::Result<()> {
        let aside = |number: usize| self.path.with_extension(format!("jsonl.{number}"));
        move_if_there(&self.path, &aside(0))?;
        if aside(0).exists() {
            for number in (0..KEPT).rev() {
                move_if_there(&aside(number), &aside(number + 1))?;
            }
        }
        *self = Self::open(self.path.clone())?;
        Ok(())
    }
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The length of the file up to its last newline.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..usize::try_from(end - start).unwrap_or_default()];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_at_the_end_is_removed_before_the_next_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("actions.jsonl");
        for (before, after) in [("", ""), ("{\"a\":1}\n", "{\"a\":1}\n"), ("{\"a\":1}\n{\"b\"", "{\"a\":1}\n"), ("{\"b\"", "")] {
            fs::write(&path, before).unwrap();
            Writer::open(path.clone()).unwrap().append(b"{}\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{after}{{}}\n"));
        }
        fs::write(&path, [b"{}\n".as_slice(), &[b'x'; 10_000]].concat()).unwrap();
        assert_eq!(Writer::open(path).unwrap().length, 3);
    }

    #[test]
    fn a_full_file_is_put_aside_and_a_bounded_number_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path().join("actions.jsonl")).unwrap();
        for round in 0..KEPT + 3 {
            writer.append(format!("{{\"round\":{round}}}\n").as_bytes()).unwrap();
            writer.rotate().unwrap();
        }
        writer.append(b"{}\n").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT + 1);
        fs::remove_file(folder.path().join("actions.jsonl")).unwrap();
        writer.rotate().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT + 1, "a file that is gone pushes none out");
        fs::rename(folder.path().join("actions.jsonl"), folder.path().join("taken")).unwrap();
        writer.append(b"{}\n").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("actions.jsonl")).unwrap(), "{}\n", "one put aside by others is left");
        assert_eq!(fs::read_to_string(folder.path().join("actions.jsonl.1")).unwrap(), format!("{{\"round\":{}}}\n", KEPT + 2));
    }
}
