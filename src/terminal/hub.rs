//! A session as its viewers see it: whoever looks takes at its own pace. The session's own client, which is the last that came to type,
//! slows the program down; any other falls behind alone.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};
use uuid::Uuid;

use crate::{
    engine::exec::{Piece, Size},
    error::{Error, Result},
    terminal::{
        Close, Event, Mode,
        framing::Framing,
        views::{Outcome, Parting, Seat, Told, Views},
    },
};

/// How many viewers a session may have that type, and how many that watch.
const VIEWERS: usize = 32;

/// What one session shows, and to whom.
pub(super) struct Hub {
    session: Uuid,
    views: Mutex<Views>,
    next_viewer: AtomicU64,
    /// Told when the session's own client has caught up, or is another.
    room: Notify,
    /// How many viewers there are that may type.
    clients: watch::Sender<usize>,
    /// Cancelled when a client has shown that it has heard all, the end included.
    collected: CancellationToken,
}

/// How somebody wants to look.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub framing: Framing,
    /// The offset of the first byte wanted.
    pub offset: u64,
    /// It sees and doesn't type.
    pub watches: bool,
    /// Of its terminal.
    pub size: Option<Size>,
}

/// How a session is, for a list.
#[derive(Clone, Debug)]
pub struct Figures {
    /// `None` before its program runs.
    pub mode: Option<Mode>,
    pub size: Option<Size>,
    /// How many viewers may type, and how many only watch.
    pub clients: usize,
    pub watchers: usize,
    /// The offsets of the first byte that is kept, and of the next that will come.
    pub start: u64,
    pub end: u64,
    pub over: bool,
    pub exit_code: Option<i64>,
}

impl Hub {
    pub(super) fn new(session: Uuid) -> Self {
        Self {
            session,
            views: Mutex::default(),
            next_viewer: 0.into(),
            room: Notify::new(),
            clients: watch::Sender::new(0),
            collected: CancellationToken::new(),
        }
    }

    /// Somebody comes to look. `token` is held while it does.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an offset that the output has not reached, [`Error::TooManySessions`] where there are 32 viewers of its kind.
    pub(super) fn join(self: &Arc<Self>, view: View, token: TaskTrackerToken) -> Result<Viewer> {
        let View { framing, offset, watches, size } = view;
        let mut views = self.views();
        let end = views.history.end();
        if offset > end {
            return Err(Error::invalid("INVALID_QUERY", "offset", format!("the session's output ends at {end}"), offset));
        }
        if views.seats.iter().filter(|seat| seat.watches == watches).count() >= VIEWERS {
            return Err(Error::TooManySessions { what: "viewers a session", limit: VIEWERS });
        }
        views.know(offset);
        let viewer = self.next_viewer.fetch_add(1, Ordering::Relaxed);
        let wake = Arc::new(Notify::new());
        let told = views.ready.map(|mode| (0, Told::Ready(mode))).into_iter().collect();
        let (parting, woken) = (Parting::Outcome, wake.clone());
        views.seats.push(Seat { viewer, watches, framing, size, cursor: offset, told, parting, wake: woken });
        if !watches {
            views.deserted = None;
            views.size = views.size.or(size);
            self.clients.send_modify(|clients| *clients += 1);
            self.room.notify_one();
        }
        Ok(Viewer { hub: self.clone(), id: viewer, wake, _token: token })
    }

    /// The session's program runs, or the container's output is shown.
    pub(super) fn ready(&self, mode: Mode) {
        let mut views = self.views();
        views.ready = Some(mode);
        views.tell(None, || Told::Ready(mode));
    }

    /// Adds output.
    pub(super) fn push(&self, piece: Piece) {
        let mut views = self.views();
        views.push(piece);
        views.wake_all();
    }

    /// Waits until the session's own client, if there is one, is less than so many bytes behind. Only one may wait.
    pub(super) async fn room(&self, bytes: u64) {
        loop {
            {
                let mut views = self.views();
                views.awaited = Some(bytes).filter(|bytes| views.is_behind(*bytes));
                if views.awaited.is_none() {
                    return;
                }
            }
            self.room.notified().await;
        }
    }

    /// Tells one viewer what went wrong with something that it said.
    pub(super) fn fail(&self, viewer: u64, error: Error) {
        let error = Arc::new(error);
        self.views().tell(Some(viewer), || Told::Failed(error.clone()));
    }

    /// Nothing more will come. Viewers are told so behind all output.
    pub(super) fn finish(&self, outcome: Outcome, close: Close) {
        let mut views = self.views();
        views.finish(outcome, close);
        views.wake_all();
    }

    /// Waits until a client has shown that it has heard all.
    pub(super) async fn collected(&self) {
        self.collected.cancelled().await;
    }

    /// Waits until nobody who may type has been there for as long as `grace`.
    pub(super) async fn deserted(&self, grace: Duration) {
        let mut clients = self.clients.subscribe();
        loop {
            let _ = clients.wait_for(|clients| *clients == 0).await;
            let since = self.deserted_since().unwrap_or_else(Instant::now);
            let nobody_came = timeout_at(since + grace, clients.wait_for(|clients| *clients > 0)).await.is_err();
            // Somebody may have come and gone between two looks.
            if nobody_came && self.deserted_since() == Some(since) {
                return;
            }
        }
    }

    /// Since when nobody is there who may type; `None` where somebody is.
    pub(super) fn deserted_since(&self) -> Option<Instant> {
        self.views().deserted
    }

    /// The size that the terminal is to have now that this viewer typed, if it has another.
    pub(super) fn typed(&self, viewer: u64) -> Option<Size> {
        self.views().typed(viewer)
    }

    /// The size that the terminal is to have now that this viewer's has this one, if it has another.
    pub(super) fn resized(&self, viewer: u64, size: Size) -> Option<Size> {
        self.views().resized(viewer, size)
    }

    pub(super) fn figures(&self) -> Figures {
        let views = self.views();
        let watchers = views.seats.iter().filter(|seat| seat.watches).count();
        Figures {
            mode: views.ready,
            size: views.size,
            clients: views.seats.len() - watchers,
            watchers,
            start: views.history.start(),
            end: views.history.end(),
            over: views.over.is_some(),
            exit_code: if let Some((Outcome::Exit(code), _)) = views.over { Some(code) } else { None },
        }
    }

    pub(super) fn views(&self) -> MutexGuard<'_, Views> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who looks at a session. Dropping it leaves the session to others, or to nobody.
pub struct Viewer {
    hub: Arc<Hub>,
    pub(super) id: u64,
    wake: Arc<Notify>,
    _token: TaskTrackerToken,
}

impl Viewer {
    /// The session that is looked at.
    pub fn session(&self) -> Uuid {
        self.hub.session
    }

    /// What comes next; nothing does after [`Event::Closed`]. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self) -> Option<Event> {
        let mut views = self.hub.views();
        let event = views.next(self.hub.session, self.id);
        if views.may_go_on() {
            self.hub.room.notify_one();
        }
        event
    }

    /// Says that the viewer has got all that it was given: where that is the end, its client needs the session no more.
    pub fn collected(&self) {
        // Another client may still come back for it.
        let alone = self.hub.next_viewer.load(Ordering::Relaxed) == 1;
        let has_all = |seat: &Seat| seat.viewer == self.id && !seat.watches && seat.parting == Parting::Done;
        if alone && self.hub.views().seats.iter().any(has_all) {
            self.hub.collected.cancel();
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut views = self.hub.views();
        let Some(at) = views.seats.iter().position(|seat| seat.viewer == self.id) else { return };
        if views.seats.remove(at).watches {
            return;
        }
        if views.seats.iter().all(|seat| seat.watches) {
            views.deserted = Some(Instant::now());
        }
        self.hub.clients.send_modify(|clients| *clients -= 1);
        self.hub.room.notify_one();
    }
}
