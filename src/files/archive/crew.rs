//! [`Crew`]: entries of an archive, unpacked side by side by as many threads as there are processors. Inflating takes one, and
//! making thousands of files keeps the kernel busy for as long.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use zip::read::ZipFileEntry;

use super::{
    Limits,
    check::Cursor,
    entry::{Entry, refused},
    unpack::{Stage, Unpacked},
};
use crate::error::{Error, Result, TooLarge};

/// How many threads at most.
const THREADS: usize = 4;
/// How many entries may wait for one.
const WAITING: usize = 64;

/// An entry that goes to `path` in the tree.
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) entry: Entry,
    pub(super) raw: ZipFileEntry<'static>,
    pub(super) archive: Arc<File>,
}

/// What the threads share.
pub(super) struct Crew {
    jobs: Mutex<Receiver<Job>>,
    failure: Mutex<Option<Error>>,
    bytes: AtomicU64,
    /// How many bytes may be written in all.
    limit: u64,
}

/// Whom entries are given to.
pub(super) struct Foreman<'a> {
    crew: &'a Crew,
    jobs: SyncSender<Job>,
}

impl Foreman<'_> {
    /// Has an entry unpacked.
    ///
    /// # Errors
    /// Another entry's, which is told by [`Crew::unpack`].
    pub(super) fn give(&self, job: Job) -> Result<()> {
        let stopped = || Error::io("unpack")(std::io::Error::other("it was given up"));
        if self.crew.has_failed() { Err(stopped()) } else { self.jobs.send(job).map_err(|_| stopped()) }
    }
}

impl Crew {
    /// Unpacks what `feed` gives into the tree of `stage`.
    ///
    /// # Errors
    /// The first failure of an entry, else that of `feed`.
    pub(super) fn unpack(stage: &Stage, limits: &Limits, feed: impl FnOnce(&Foreman<'_>) -> Result<()>) -> Result<Unpacked> {
        let (jobs, waiting) = sync_channel(WAITING);
        let limit = limits.extracted_bytes;
        let crew = Self { jobs: Mutex::new(waiting), failure: Mutex::new(None), bytes: AtomicU64::new(0), limit };
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS);
        let stages = (0..threads).map(|_| stage.another()).collect::<Result<Vec<_>>>()?;
        let (fed, unpacked) = thread::scope(|scope| {
            let crew = &crew;
            let running: Vec<_> = stages.into_iter().map(|stage| scope.spawn(move || crew.work(stage))).collect();
            let fed = feed(&Foreman { crew, jobs });
            let done = running.into_iter().map(|thread| thread.join().unwrap_or_else(|lost| std::panic::resume_unwind(lost)));
            (fed, done.fold(Unpacked::default(), |all, own| all.with(own)))
        });
        match crew.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => Err(failure),
            None => fed.map(|()| unpacked),
        }
    }

    /// What one thread does, until there is nothing more to come. After a failure it only clears the way for who gives.
    fn work(&self, mut stage: Stage) -> Unpacked {
        let mut contents: Option<Cursor> = None;
        loop {
            let next = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { path, entry, raw, archive }) = next else { return stage.unpacked() };
            if self.has_failed() {
                continue;
            }
            let contents = match &mut contents {
                Some(contents) if contents.is_of(&archive) => contents,
                other => other.insert(Cursor::new(archive)),
            };
            // A thread that is lost to an archive which makes a library panic would leave who gives waiting for ever.
            let put = catch_unwind(AssertUnwindSafe(|| stage.put(self, &path, &entry, raw, contents)));
            if let Err(error) = put.unwrap_or_else(|_| Err(refused(&entry.name, "it can't be unpacked"))) {
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Counts bytes that are about to be written.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub(super) fn count(&self, bytes: u64) -> Result<()> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit {
            return Err(Error::TooLarge { what: TooLarge::Extracted, limit: self.limit });
        }
        Ok(())
    }
}
