//! Recordings of sessions, below their containers' folders: what a session showed as an asciicast, and a document on who had it when.
//!
//! A session's recorder takes notes of what the session shows, at its own pace: neither the program nor any viewer ever waits for the disk.
//! What it could not note in time is told in the cast, and what the disk doesn't take ends the recording and nothing else.

mod cast;
mod recorder;
mod shelf;

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::Semaphore};
use uuid::Uuid;

use crate::{
    config::Record,
    error::{Error, Result},
    terminal::{Open, SessionEnd, hub::Hub},
};
pub(super) use recorder::Recorder;
use shelf::{Limits, Shelf};

pub use shelf::{Document, State};

/// How long a cast may be, in bytes.
const CAST: u64 = 16 << 20;
/// How much is kept of one container: twice what its sessions may record at once in number, and all of it in bytes.
const LIMITS: Limits = Limits { count: 1000, bytes: 32 * CAST };
/// How many recorders are at the disk at once: one that hangs must leave the blocking threads to others.
const AT_THE_DISK: usize = 4;

/// Whose session it is.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The container's folder.
    pub folder: PathBuf,
    /// Who opened it, and from which address.
    pub user: Option<String>,
    pub remote: Option<String>,
}

/// What was kept of a session that is over.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The name of the file: the cast's where there is one. `None` where the disk took none.
    pub file: Option<String>,
    /// Whether its output was to be recorded.
    pub full: bool,
    /// Whether the cast ends before the session did.
    pub truncated: bool,
}

/// A recording in a list.
pub struct Recording {
    pub document: Document,
    /// How long its cast is by now; `None` where its output is not recorded.
    pub cast_bytes: Option<u64>,
}

/// All recordings of a server; cheap to clone. Who names a container names its folder.
#[derive(Clone)]
pub struct Recordings(Arc<Inner>);

struct Inner {
    record: Record,
    runtime: Handle,
    disk: Semaphore,
    /// Sessions that are being recorded, each with what is locked while its cast is in the middle of a line.
    going: Mutex<HashMap<Uuid, Arc<Mutex<()>>>>,
    /// Held while a recording that was cut short is put in order.
    settling: Mutex<()>,
}

/// A session that is being recorded, until it is dropped.
struct Going {
    recordings: Recordings,
    session: Uuid,
    writing: Arc<Mutex<()>>,
}

impl Recordings {
    /// `record` says what is recorded of sessions from now on. Recorders run on `runtime`.
    pub(super) fn new(record: Record, runtime: Handle) -> Self {
        let (going, settling) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { record, runtime, disk: Semaphore::new(AT_THE_DISK), going, settling }))
    }

    /// Begins to record a session that has shown nothing yet, if sessions are recorded.
    pub(super) fn begin(&self, hub: &Arc<Hub>, open: &Open, begun: &SessionEnd, origin: Origin) -> Option<Recorder> {
        if self.0.record == Record::Off {
            return None;
        }
        let writing = Arc::<Mutex<()>>::default();
        self.going().insert(begun.session, writing.clone());
        let going = Going { recordings: self.clone(), session: begun.session, writing };
        Some(Recorder::spawn(going, hub, open, begun, origin))
    }

    /// A container's recordings, newest first. Disk work.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self, container: &Path) -> Result<Vec<Recording>> {
        let shelf = Shelf::of(container);
        let names = shelf.all().map_err(Error::io("read the recordings"))?;
        let one = |name| {
            // It may put the cast in order.
            let document = self.document(&shelf, &name)?;
            Some(Recording { document, cast_bytes: shelf.cast_bytes(&name) })
        };
        Ok(names.into_iter().rev().filter_map(one).collect())
    }

    /// Opens the cast of a session, which ends with a whole line while `look` runs; that is given the file's name, too. Disk work.
    ///
    /// # Errors
    /// [`Error::RecordingNotFound`], also where there is only a document; [`Error::Io`], and what `look` fails with.
    pub fn open<T>(&self, container: &Path, session: Uuid, look: impl FnOnce(File, &str) -> Result<T>) -> Result<T> {
        let (shelf, name) = find(container, session)?;
        self.document(&shelf, &name);
        let writing = self.going().get(&session).cloned();
        let _whole = writing.as_ref().map(|writing| lock(writing));
        let file = shelf.open_cast(&name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::RecordingNotFound(session),
            _ => Error::io("open the recording")(error),
        })?;
        look(file, &name.cast())
    }

    /// Removes the recording of a session that is over. Disk work.
    ///
    /// # Errors
    /// [`Error::RecordingNotFound`], [`Error::RecordingGoesOn`], [`Error::Io`].
    pub fn remove(&self, container: &Path, session: Uuid) -> Result<()> {
        let (shelf, name) = find(container, session)?;
        if self.goes_on(session) {
            return Err(Error::RecordingGoesOn(session));
        }
        shelf.remove(&name).map_err(Error::io("remove the recording"))
    }

    /// A recording's document. One that an earlier life of the server left in the middle is put in order.
    fn document(&self, shelf: &Shelf, name: &shelf::Name) -> Option<Document> {
        let document = shelf.document(name)?;
        if document.state != State::Recording || self.goes_on(name.session()) {
            return Some(document);
        }
        let _one = lock(&self.0.settling);
        // It may have ended since it was read.
        let mut document = shelf.document(name)?;
        if document.state == State::Recording
            && let Err(error) = shelf.interrupted(name, &mut document)
        {
            tracing::warn!(%error, session = %name.session(), "a recording that was cut short could not be put in order");
        }
        Some(document)
    }

    fn goes_on(&self, session: Uuid) -> bool {
        self.going().contains_key(&session)
    }

    fn going(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Mutex<()>>>> {
        self.0.going.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs disk work where it blocks nobody.
    async fn at_the_disk<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let _turn = self.0.disk.acquire().await.map_err(io::Error::other)?;
        let ran = tokio::task::spawn_blocking(work).await;
        ran.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.recordings.going().remove(&self.session);
    }
}

fn find(container: &Path, session: Uuid) -> Result<(Shelf, shelf::Name)> {
    let shelf = Shelf::of(container);
    let name = shelf.find(session).map_err(Error::io("read the recordings"))?;
    name.map(|name| (shelf, name)).ok_or(Error::RecordingNotFound(session))
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
