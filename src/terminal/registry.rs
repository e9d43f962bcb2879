//! Which sessions there are: opening them, coming back to them, counting them, ending them all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Local};
use tokio::{
    runtime::Handle,
    select,
    sync::{Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use uuid::Uuid;

use crate::{
    compose::cli::Compose,
    config::{TerminalConfig, Transport},
    domain::id::Cuid,
    engine::{Engine, processes::leftovers},
    error::{Error, Result},
    terminal::{
        Figures, Mode, Open, Origin, Recordings, SessionEnd, Speaker, View, Viewer,
        hub::Hub,
        oneshot::{COMMANDS, LARGE},
        protocol::ClientFrame,
        recording::Recorder,
        room::Room,
        session::Session,
        speaker::Said,
    },
};

/// How many frames of input are on their way to a session that is busy.
const INPUT_FRAMES: usize = 64;
/// How many sessions a container may have.
const PER_CONTAINER: usize = 32;
/// How long [`Sessions::close_all`] waits at most.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(15);
/// How long viewers may then take for the last words.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(3);

/// All sessions of a server; cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    pub(super) engine: Engine,
    /// By which programs are started, if not by the engine itself.
    compose: Option<Compose>,
    config: TerminalConfig,
    recordings: Recordings,
    all: Arc<Mutex<HashMap<Uuid, Entry>>>,
    /// Whether what an earlier life of the server left behind is gone; no program starts before.
    pub(super) swept: watch::Sender<bool>,
    /// Room for commands.
    pub(super) commands: Arc<Semaphore>,
    /// Room for commands that print much.
    pub(super) large: Arc<Semaphore>,
    tasks: TaskTracker,
    /// One for each viewer.
    viewers: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// A session that somebody may look at: one that is over, too, for as long as its grace.
#[derive(Clone)]
struct Entry {
    cuid: Cuid,
    started: DateTime<Local>,
    hub: Arc<Hub>,
    said: mpsc::Sender<Said>,
    room: Arc<Room>,
    stop: CancellationToken,
    /// Cancelled when it is off the list: over, and what is recorded of it written.
    done: CancellationToken,
}

/// A session in a list.
pub struct Listed {
    pub session: Uuid,
    pub started: DateTime<Local>,
    pub figures: Figures,
}

impl Sessions {
    /// None yet. Their programs start once [`Sessions::sweep`] was called. What is not to end with their clients' connections runs on `runtime`.
    pub fn new(config: TerminalConfig, engine: Engine, compose: Compose, runtime: Handle) -> Self {
        Self {
            recordings: Recordings::new(config.record, runtime),
            engine,
            compose: Some(compose).filter(|_| config.transport == Transport::Compose),
            config,
            all: Arc::default(),
            swept: watch::Sender::new(false),
            commands: Arc::new(Semaphore::new(COMMANDS)),
            large: Arc::new(Semaphore::new(LARGE)),
            tasks: TaskTracker::new(),
            viewers: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// What is recorded of sessions.
    pub fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    /// Ends what sessions in these containers left behind in an earlier life of the server. Those of this life wait for it,
    /// because the two can't be told apart.
    pub async fn sweep(&self, cuids: &[Cuid]) {
        if let Err(error) = leftovers::sweep(&self.engine, cuids).await {
            tracing::error!(%error, "what an earlier server's terminals left behind could not be looked for");
        }
        self.swept.send_replace(true);
    }

    /// Opens a session: it begins at once, and what becomes of it is told to its viewers. `open` has passed [`Open::check`].
    /// `on_end` is called when it is over and everything is cleaned up. The session runs on the caller's runtime, which is that of its
    /// client's connection: on one thread with it, a keystroke wakes no other.
    ///
    /// # Errors
    /// [`Error::TooManySessions`].
    pub fn open(
        &self,
        open: Open,
        view: View,
        origin: Origin,
        on_end: impl FnOnce(SessionEnd) + Send + 'static,
    ) -> Result<(Speaker, Viewer)> {
        let id = Uuid::new_v4();
        let (input, said) = mpsc::channel(INPUT_FRAMES);
        let (hub, stop) = (Arc::new(Hub::new(id)), self.shutdown.child_token());
        let end = SessionEnd::new(id, &open);
        let done = CancellationToken::new();
        let (cuid, started) = (open.cuid, end.started);
        let entry =
            Entry { cuid, started, hub: hub.clone(), said: input, room: Arc::default(), stop: stop.clone(), done: done.clone() };
        let size = (open.settled_mode() == Some(Mode::Shell)).then(|| open.size());
        let viewer = hub.join(View { size, ..view }, self.viewers.token())?;
        {
            let mut all = self.all();
            let own = victim(&all, |entry| entry.cuid == open.cuid, PER_CONTAINER, "sessions a container")?;
            let any = match own {
                Some(_) => None,
                None => victim(&all, |_| true, self.config.max_sessions, "sessions in all")?,
            };
            if let Some(entry) = own.or(any).and_then(|id| all.remove(&id)) {
                entry.stop.cancel();
            }
            all.insert(id, entry.clone());
        }
        let recorder = self.recordings.begin(&hub, &open, &end, origin);
        let session = Session {
            engine: self.engine.clone(),
            compose: self.compose.clone(),
            open,
            said,
            hub: hub.clone(),
            grace: self.config.grace,
            stop: stop.clone(),
            shutdown: self.shutdown.clone(),
            end,
        };
        // Never aborted: a session that is being started when its viewers go must still clean up after itself.
        self.tasks.spawn(self.clone().live(id, session, recorder, on_end, done));
        Ok((Speaker::new(Some(entry.said), viewer.id, entry.room), viewer))
    }

    /// Runs a session, and forgets it when nobody will come back to it.
    async fn live(
        self,
        id: Uuid,
        session: Session,
        recorder: Option<Recorder>,
        on_end: impl FnOnce(SessionEnd),
        done: CancellationToken,
    ) {
        let _known = Known { sessions: &self, id, _done: done.drop_guard() };
        let (hub, stop) = (session.hub.clone(), session.stop.clone());
        let mut swept = self.swept.subscribe();
        select! {
            _ = swept.wait_for(|swept| *swept) => {}
            () = stop.cancelled() => {}
        }
        let mut end = session.run().await;
        if let Some(recorder) = recorder {
            end.recorded = Some(recorder.end(&end).await);
        }
        on_end(end);
        // Who lost its connection in the last moment comes back for the end.
        select! {
            () = hub.collected() => {}
            () = sleep(self.config.grace) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Looks at a session of this container that is there already.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`], [`Error::Invalid`] for an offset that the output has not reached, [`Error::TooManySessions`].
    pub fn join(&self, cuid: Cuid, session: Uuid, view: View) -> Result<(Speaker, Viewer)> {
        let entry = self.find(cuid, session)?;
        let viewer = entry.hub.join(view, self.viewers.token())?;
        let said = (!view.watches).then_some(entry.said);
        if let (Some(said), Some(size)) = (&said, view.size) {
            // Where a busy session has no room for it, the size is taken when its owner types.
            let _ = said.try_send(Said { frame: ClientFrame::Resize(size), viewer: viewer.id, room: None });
        }
        Ok((Speaker::new(said, viewer.id, entry.room), viewer))
    }

    /// The container's sessions, oldest first.
    pub fn list(&self, cuid: Cuid) -> Vec<Listed> {
        let all = self.all();
        let entries = all.iter().filter(|(_, entry)| entry.cuid == cuid);
        let one = |(id, entry): (&Uuid, &Entry)| Listed { session: *id, started: entry.started, figures: entry.hub.figures() };
        let mut list: Vec<Listed> = entries.map(one).collect();
        list.sort_by_key(|listed| (listed.started, listed.session));
        list
    }

    /// Ends a session of this container, waits until nothing that it started is left, and forgets it. Its exit code, if it had one.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`].
    pub async fn end(&self, cuid: Cuid, session: Uuid) -> Result<Option<i64>> {
        let entry = self.find(cuid, session)?;
        entry.stop.cancel();
        entry.done.cancelled().await;
        Ok(entry.hub.figures().exit_code)
    }

    /// How many sessions there are, without those that are over.
    pub fn count(&self) -> usize {
        self.all().values().filter(|entry| !entry.hub.figures().over).count()
    }

    /// Ends all sessions, and waits until nothing that they started is left, 15 seconds at the most, and all viewers were told so.
    /// What is opened later ends at once.
    pub async fn close_all(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        if timeout(CLOSING, self.tasks.wait()).await.is_err() {
            tracing::warn!(sessions = self.tasks.len(), "gave up waiting for terminals to end");
        }
        self.viewers.close();
        let _ = timeout(FAREWELL, self.viewers.wait()).await;
    }

    fn find(&self, cuid: Cuid, session: Uuid) -> Result<Entry> {
        self.all().get(&session).filter(|entry| entry.cuid == cuid).cloned().ok_or(Error::SessionNotFound(session))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which session is to make room for one more, where there are `limit` that `counts` holds for: one that is over, else the one
/// that has been without a client for the longest.
fn victim(all: &HashMap<Uuid, Entry>, counts: impl Fn(&Entry) -> bool, limit: usize, what: &'static str) -> Result<Option<Uuid>> {
    let counted = || all.iter().filter(|(_, entry)| counts(entry));
    if counted().count() < limit {
        return Ok(None);
    }
    let left = |(id, entry): (&Uuid, &Entry)| Some((!entry.hub.figures().over, entry.hub.deserted_since()?, *id));
    let oldest = counted().filter_map(left).min();
    oldest.map(|(_, _, id)| Some(id)).ok_or(Error::TooManySessions { what, limit })
}

/// Takes a session off the list when it is dropped, whatever became of it.
struct Known<'a> {
    sessions: &'a Sessions,
    id: Uuid,
    _done: DropGuard,
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.sessions.all().remove(&self.id);
    }
}
