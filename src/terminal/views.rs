//! What a session has shown and what each of its viewers lacks. Pure: `hub` locks it and wakes who waits.

use std::{collections::VecDeque, sync::Arc};

use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use crate::{
    engine::exec::{Piece, Size, Source},
    error::Error,
    terminal::{
        Close, Event, Mode,
        framing::Framing,
        history::History,
        notes::{Note, Place},
        protocol::ServerFrame,
    },
};

/// The most output in one message, in bytes.
const MESSAGE: u64 = 12 << 10;
/// How many errors wait for one viewer at most; who floods is hung up on before.
const ERRORS: usize = 64;

/// A session's output and its viewers' places in it.
#[derive(Default)]
pub(super) struct Views {
    pub history: History,
    pub seats: Vec<Seat>,
    /// The recorder's place, which is no viewer's: nobody waits for it, and it is not counted.
    pub recorder: Option<Place>,
    /// The mode that viewers were told.
    pub ready: Option<Mode>,
    /// The terminal's size.
    pub size: Option<Size>,
    /// Since when nobody is there who may type.
    pub deserted: Option<Instant>,
    pub over: Option<(Outcome, Close)>,
    /// How far behind the session's own client may be for the reader to go on, if that waits.
    pub awaited: Option<u64>,
    /// Half a character that waits for its other half while the other source goes on.
    half: Option<(Source, Vec<u8>)>,
    /// The highest offset that any viewer or the recorder got to.
    given: u64,
    /// Who typed last.
    typist: Option<u64>,
}

/// One viewer's place.
pub(super) struct Seat {
    pub viewer: u64,
    /// It sees and doesn't type.
    pub watches: bool,
    pub framing: Framing,
    pub size: Option<Size>,
    /// The offset of the first byte that it has not got.
    pub cursor: u64,
    /// What it is to be told besides output, each once it has the output before it.
    pub told: VecDeque<(u64, Told)>,
    /// How much of the end it has been told.
    pub parting: Parting,
    pub wake: Arc<Notify>,
}

pub(super) enum Told {
    Ready(Mode),
    Failed(Arc<Error>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    Outcome,
    Close,
    Done,
}

/// How a session ended, as its viewers are told.
#[derive(Clone)]
pub(super) enum Outcome {
    Exit(i64),
    Failed(Arc<Error>),
    /// Nothing that it showed has ended.
    Nothing,
}

impl Views {
    /// Adds output. Half a character is put behind what the other source goes on with meanwhile, unless somebody has it already.
    pub(super) fn push(&mut self, Piece { source, bytes }: Piece) {
        let own = self.half.take_if(|half| half.0 == source);
        if let Some(half) = self.history.take_back_half(source, self.given) {
            self.half = Some(half);
        }
        self.history.push(source, &own.map(|half| half.1).unwrap_or_default());
        self.history.push(source, &bytes);
    }

    /// Somebody knows the output up to this offset.
    pub(super) fn know(&mut self, offset: u64) {
        self.given = self.given.max(offset);
    }

    /// Nothing more will come.
    pub(super) fn finish(&mut self, outcome: Outcome, close: Close) {
        if let Some((source, bytes)) = self.half.take() {
            self.history.push(source, &bytes);
        }
        self.over = Some((outcome, close));
    }

    /// Tells one viewer, or all, behind all output before.
    pub(super) fn tell(&mut self, viewer: Option<u64>, told: impl Fn() -> Told) {
        let at = self.history.end();
        for seat in self.seats.iter_mut().filter(|seat| viewer.is_none_or(|viewer| seat.viewer == viewer)) {
            let told = told();
            if seat.told.len() < ERRORS || matches!(told, Told::Ready(_)) {
                seat.told.push_back((at, told));
            }
            seat.wake.notify_one();
        }
    }

    pub(super) fn wake_all(&self) {
        self.seats.iter().for_each(|seat| seat.wake.notify_one());
        self.recorder.iter().for_each(Place::wake);
    }

    /// Whether the session's own client, the last that came to type, is so many bytes behind.
    pub(super) fn is_behind(&self, bytes: u64) -> bool {
        let own = self.seats.iter().rfind(|seat| !seat.watches);
        own.is_some_and(|own| own.cursor + bytes <= self.history.end())
    }

    /// Whether the reader, that waited for the session's own client, may go on; told once.
    pub(super) fn may_go_on(&mut self) -> bool {
        self.awaited.is_some_and(|bytes| !self.is_behind(bytes)) && self.awaited.take().is_some()
    }

    /// The size that the terminal is to have now that this viewer typed, if it has another.
    pub(super) fn typed(&mut self, viewer: u64) -> Option<Size> {
        if self.typist.replace(viewer) == Some(viewer) { None } else { self.take_size_of(viewer) }
    }

    /// The size that the terminal is to have now that this viewer has another: its own, unless somebody else who is there typed last.
    pub(super) fn resized(&mut self, viewer: u64, size: Size) -> Option<Size> {
        self.seats.iter_mut().find(|seat| seat.viewer == viewer)?.size = Some(size);
        let is_there = |typist| self.seats.iter().any(|seat| seat.viewer == typist);
        if self.typist.is_some_and(|typist| typist != viewer && is_there(typist)) { None } else { self.take_size_of(viewer) }
    }

    fn take_size_of(&mut self, viewer: u64) -> Option<Size> {
        let size = self.seats.iter().find(|seat| seat.viewer == viewer)?.size?;
        if self.size.replace(size) == Some(size) {
            return None;
        }
        if let (Some(recorder), Some(Mode::Shell)) = (&mut self.recorder, self.ready) {
            recorder.resized(self.history.end(), size);
        }
        Some(size)
    }

    /// What the recorder is to note next; `None` where it has all there is.
    pub(super) fn note(&mut self) -> Option<Note> {
        let recorder = self.recorder.as_mut()?;
        let note = recorder.next(&self.history, self.over.is_some());
        self.given = self.given.max(recorder.cursor());
        note
    }

    /// What the viewer of `session` is to get next; `None` where it has all there is.
    pub(super) fn next(&mut self, session: Uuid, viewer: u64) -> Option<Event> {
        let seat = self.seats.iter_mut().find(|seat| seat.viewer == viewer)?;
        let (start, resume) = (self.history.start(), self.history.resume());
        let due = seat.told.front().map(|told| told.0);
        if due.is_some_and(|due| due <= seat.cursor) {
            return seat.tell(session, start, resume);
        }
        if seat.cursor < start {
            let from = std::mem::replace(&mut seat.cursor, resume);
            return Some(text(&ServerFrame::Gap { from, to: resume }));
        }
        let most = due.map_or(MESSAGE, |due| MESSAGE.min(due - seat.cursor));
        if let Some(mut stretch) = self.history.read(seat.cursor, usize::try_from(most).unwrap_or_default()) {
            stretch.closed |= self.over.is_some() && seat.cursor + stretch.bytes.len() as u64 == self.history.end();
            let Some((count, event)) = seat.framing.output(seat.cursor, stretch) else {
                // Half a character is all that is there before what is to be told.
                return seat.tell(session, start, resume);
            };
            seat.cursor += count;
            self.given = self.given.max(seat.cursor);
            return Some(event);
        }
        self.over.as_ref().and_then(|(outcome, close)| seat.part(outcome, *close))
    }
}

impl Seat {
    fn tell(&mut self, session: Uuid, start: u64, resume: u64) -> Option<Event> {
        match self.told.pop_front()?.1 {
            Told::Ready(mode) => {
                let lost = self.cursor < start;
                let offset = if lost { resume } else { self.cursor };
                Some(text(&ServerFrame::Ready { session, mode, tty: mode == Mode::Shell, offset, lost }))
            }
            Told::Failed(error) => Some(Event::Failed(error)),
        }
    }

    fn part(&mut self, outcome: &Outcome, close: Close) -> Option<Event> {
        let parting = self.parting;
        self.parting = if parting == Parting::Outcome { Parting::Close } else { Parting::Done };
        match (parting, outcome) {
            (Parting::Outcome, Outcome::Exit(code)) => Some(text(&ServerFrame::Exit { code: *code })),
            (Parting::Outcome, Outcome::Failed(error)) => Some(Event::Failed(error.clone())),
            (Parting::Outcome, Outcome::Nothing) => self.part(outcome, close),
            (Parting::Close, _) => Some(Event::Closed(close)),
            (Parting::Done, _) => None,
        }
    }
}

fn text(frame: &ServerFrame) -> Event {
    Event::Text(frame.to_json())
}
