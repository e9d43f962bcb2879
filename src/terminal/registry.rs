//! Which sessions there are: opening them, counting them, ending them all.

use std::sync::Arc;

use serde_json::Value;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use uuid::Uuid;

use crate::{
    domain::id::Cuid,
    engine::{Engine, processes::leftovers},
    error::{Error, Result},
    terminal::{
        Event, Open, SessionEnd,
        output::Viewer,
        protocol::ClientFrame,
        room::{Room, Taken},
        session::Session,
    },
};

/// How many frames of input are on their way to a session that is busy.
const INPUT_FRAMES: usize = 64;
/// How many frames of output wait for a viewer that is busy: a frame has 16 KiB of output.
const OUTPUT_FRAMES: usize = 4;
/// How long [`Sessions::close_all`] waits at most.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(15);

/// All sessions of a server; cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    engine: Engine,
    runtime: Handle,
    /// Whether what an earlier life of the server left behind is gone; no program starts before.
    swept: watch::Sender<bool>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Sessions {
    /// None yet. They will run on `runtime`, once [`Sessions::sweep`] was called.
    pub fn new(engine: Engine, runtime: Handle) -> Self {
        let swept = watch::Sender::new(false);
        Self { engine, runtime, swept, tasks: TaskTracker::new(), shutdown: CancellationToken::new() }
    }

    /// Ends what sessions in these containers left behind in an earlier life of the server. Those of this life wait for it,
    /// because the two can't be told apart.
    pub async fn sweep(&self, cuids: &[Cuid]) {
        if let Err(error) = leftovers::sweep(&self.engine, cuids).await {
            tracing::error!(%error, "what an earlier server's terminals left behind could not be looked for");
        }
        self.swept.send_replace(true);
    }

    /// Opens a session: it begins at once, and what becomes of it is told to the listener. `open` has passed [`Open::check`].
    /// `on_end` is called when it is over and everything is cleaned up.
    pub fn open(&self, open: Open, on_end: impl FnOnce(SessionEnd) + Send + 'static) -> (Speaker, Listener) {
        let id = Uuid::new_v4();
        let gone = self.shutdown.child_token();
        let (input, frames) = mpsc::channel(INPUT_FRAMES);
        let (viewer, events) = mpsc::channel(OUTPUT_FRAMES);
        let viewer = Viewer::new(viewer, gone.clone());
        let session = Session::new(id, open, self.engine.clone(), frames, viewer, self.shutdown.clone());
        let (mut swept, stopping) = (self.swept.subscribe(), gone.clone());
        // Never aborted: a session that is being started when its viewer goes must still clean up after itself.
        self.tasks.spawn_on(
            async move {
                tokio::select! {
                    _ = swept.wait_for(|swept| *swept) => (),
                    () = stopping.cancelled() => (),
                }
                on_end(session.run().await);
            },
            &self.runtime,
        );
        (Speaker { input, room: Arc::default(), full: false }, Listener { events, _gone: gone.drop_guard() })
    }

    /// How many sessions there are, those included that are cleaning up.
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Ends all sessions, and waits until nothing that they started is left; 15 seconds at the most. What is opened later ends at once.
    pub async fn close_all(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        if timeout(CLOSING, self.tasks.wait()).await.is_err() {
            tracing::warn!(sessions = self.count(), "gave up waiting for terminals to end");
        }
    }
}

/// A client's frame on its way.
pub(super) struct Said {
    pub frame: ClientFrame,
    /// For the frame's bytes, given back as the program takes them.
    pub room: Option<Taken>,
}

/// Gives a session what its client says.
pub struct Speaker {
    input: mpsc::Sender<Said>,
    room: Arc<Room>,
    /// Whether input was refused, and the program has taken nothing since.
    full: bool,
}

impl Speaker {
    /// Hands a frame over. False when the session is over.
    ///
    /// It waits while a mebibyte of input waits for a program that reads slowly: frames behind are not seen then, so whoever calls
    /// this must notice by other means that the client is gone. Once the program has read nothing for five seconds, input is refused
    /// until it reads on, and all other frames get through.
    ///
    /// # Errors
    /// [`Error::Invalid`] with `STDIN_FULL`: nothing of this frame is taken.
    pub async fn say(&mut self, frame: ClientFrame) -> Result<bool> {
        let room = match &frame {
            ClientFrame::Stdin(bytes) => Some(self.make_room(bytes.len()).await?),
            _ => None,
        };
        Ok(self.input.send(Said { frame, room }).await.is_ok())
    }

    async fn make_room(&mut self, bytes: usize) -> Result<Taken> {
        // A small frame may still have room, but must not arrive where one before it did not.
        let taken = if self.full && !self.room.has_moved() { None } else { self.room.take(bytes).await };
        self.full = taken.is_none();
        taken.ok_or_else(|| {
            let message = "the program reads no input, and no more can wait for it: nothing of this frame was taken";
            Error::invalid("STDIN_FULL", "data", message, Value::Null)
        })
    }
}

/// Hears what a session has to tell. Dropping it ends the session.
pub struct Listener {
    events: mpsc::Receiver<Event>,
    _gone: DropGuard,
}

impl Listener {
    /// What comes next; `None` when the session is over and all was told. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}
