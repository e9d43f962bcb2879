//! `LOG_DIR/actions.jsonl`: a JSON object a line for every request and every terminal session.
//!
//! One thread writes it (`queue`, `writer`), so a request never waits for the disk. A line is whole or absent, for whoever reads the file as
//! well: none crosses a page of it. Each has its number and the hash of the line before (`chain`), so that `verify` finds what was
//! changed, removed or cut; `head` has the last one's, and `resume` finds where it goes on. `reader` gives pages of it, newest first.
//! While the disk takes nothing, lines wait in memory (`queue`), up to a bound.

mod backwards;
mod chain;
mod entry;
mod files;
mod head;
mod queue;
mod reader;
mod redact;
mod resume;
mod verify;
mod writer;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use queue::{Message, Shared};
use writer::Writer;

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
    shared: Arc<Shared>,
    folder: Arc<PathBuf>,
}

impl ActionLog {
    /// Opens the log in `folder`, which is made where it is missing, and starts its writer.
    ///
    /// # Errors
    /// [`Error::Io`]; also where another server writes there.
    pub fn open(folder: &Path, bounds: Bounds) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("make LOG_DIR"))?;
        let writer = Writer::open(folder, bounds)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let known = shared.clone();
        let run = move || queue::run(writer, receiver, &known);
        thread::Builder::new().name("action-log".into()).spawn(run).map_err(Error::io("start the action log"))?;
        Ok(Self { sender, shared, folder: Arc::new(folder.to_owned()) })
    }

    /// Hands a line to the writer. Where it can't be kept, that is told on stderr.
    pub fn record(&self, entry: &Entry) {
        let Some(line) = entry.encode() else {
            return tracing::error!(request_id = %entry.request_id, "a line of the action log can't be written as JSON of its length");
        };
        let waiting = &self.shared.waiting;
        if waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            waiting.fetch_sub(1, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::error!("the action log's disk takes nothing, and no more lines can wait: one is dropped");
        } else if self.sender.send(Message::Line(line)).is_err() {
            waiting.fetch_sub(1, Ordering::Relaxed);
            tracing::error!(request_id = %entry.request_id, "nobody writes the action log any more: a line is lost");
        }
    }

    /// Waits until everything recorded so far is written, or `limit` is over.
    pub async fn flush(&self, limit: Duration) {
        let (done, written) = oneshot::channel();
        let _ = self.sender.send(Message::Flush(done));
        let _ = tokio::time::timeout(limit, written).await;
    }

    /// Waits as [`ActionLog::flush`] does; another server may write to the folder then, and this one does not any more. What a disk that
    /// takes nothing has not taken by then is lost: that is told on stderr, and the lines' numbers are left out.
    pub async fn close(&self, limit: Duration) {
        let (done, closed) = oneshot::channel();
        let _ = self.shared.deadline.set(Instant::now() + limit);
        let _ = self.sender.send(Message::Close(done));
        if tokio::time::timeout(limit, closed).await.is_err() {
            let lines = self.shared.waiting.load(Ordering::Relaxed);
            tracing::error!(lines, "the action log could not be written to its end in time: lines of it may be lost");
        }
    }

    /// Up to `limit` lines that `filter` leaves in, newest first, from `after` on. It reads the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn page(&self, filter: &Filter, after: Option<Cursor>, limit: usize) -> Result<Page> {
        reader::page(&self.folder, filter, after, limit).map_err(Error::io("read the action log"))
    }
}
