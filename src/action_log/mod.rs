//! `LOG_DIR/actions.jsonl`: a JSON object a line for every request and every terminal session.
//!
//! One thread writes it (`writer`), so a request never waits for the disk. A line is whole or absent, for whoever reads the file as
//! well: none crosses a page of it. Each has its number and the hash of the line before (`chain`), so that `verify` finds what was
//! changed, removed or cut; `head` has the last one's. `reader` gives pages of it, newest first. While the disk takes nothing, lines
//! wait in memory, up to a bound.

mod backwards;
mod chain;
mod entry;
mod files;
mod head;
mod reader;
mod redact;
mod verify;
mod writer;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use writer::{Message, Writer};

pub use entry::{Entry, Failure, Recording, Terminal};
pub use reader::{Cursor, Failed, Filter, Page};
pub use redact::redact;
pub use verify::{Summary, verify};

/// How many lines may wait for a disk that takes nothing; more are dropped.
const WAITING: usize = 100_000;

/// How large the log may become.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A file that would become larger is put aside.
    pub bytes: u64,
    /// How many files put aside are kept: `actions.jsonl.1`, the newest, and so on.
    pub files: u32,
}

/// The way to the log; cheap to clone.
#[derive(Clone)]
pub struct ActionLog {
    sender: mpsc::UnboundedSender<Message>,
    waiting: Arc<AtomicUsize>,
    folder: Arc<PathBuf>,
}

impl ActionLog {
    /// Opens the log in `folder`, which is made where it is missing, and starts its writer.
    ///
    /// # Errors
    /// [`Error::Io`]; also where another server writes there.
    pub fn open(folder: &Path, bounds: Bounds) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("make LOG_DIR"))?;
        let mut writer = Writer::open(folder, bounds)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = waiting.clone();
        let run = move || writer.run(receiver, &counter);
        thread::Builder::new().name("action-log".into()).spawn(run).map_err(Error::io("start the action log"))?;
        Ok(Self { sender, waiting, folder: Arc::new(folder.to_owned()) })
    }

    /// Hands a line to the writer.
    pub fn record(&self, entry: &Entry) {
        let Some(line) = entry.encode() else { return };
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

    /// Waits as [`ActionLog::flush`] does; another server may write to the folder then, and this one does not any more.
    pub async fn close(&self, limit: Duration) {
        let (done, closed) = oneshot::channel();
        let _ = self.sender.send(Message::Close(done));
        let _ = tokio::time::timeout(limit, closed).await;
    }

    /// Up to `limit` lines that `filter` leaves in, newest first, from `after` on. It reads the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn page(&self, filter: &Filter, after: Option<Cursor>, limit: usize) -> Result<Page> {
        reader::page(&self.folder, filter, after, limit).map_err(Error::io("read the action log"))
    }
}
