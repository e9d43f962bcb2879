//! What a session's recorder notes: output as text, sizes, and what it missed, each in its place. It takes at its own pace, slows nothing
//! down, and falls behind alone.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::Notify;

use crate::{
    engine::exec::Size,
    terminal::{history::History, hub::Hub, utf8},
};

/// The most output in one note, in bytes.
const PIECE: u64 = 16 << 10;
/// How many sizes wait for the recorder at most; the oldest go first.
const SIZES: usize = 64;

/// Something to be noted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Output of both sources as it came; bytes that are no text are U+FFFD.
    Output(String),
    Resized(Size),
    /// So many bytes of output were gone before they could be noted.
    Missed(u64),
}

/// The recorder's place in a session's output. Pure.
#[derive(Default)]
pub(super) struct Place {
    /// The offset of the first byte that it has not got.
    cursor: u64,
    /// Sizes, each with the offset of the first byte behind it.
    sizes: VecDeque<(u64, Size)>,
    wake: Arc<Notify>,
}

impl Place {
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The terminal has another size from the byte at this offset on.
    pub(super) fn resized(&mut self, at: u64, size: Size) {
        if self.sizes.len() == SIZES {
            self.sizes.pop_front();
        }
        self.sizes.push_back((at, size));
        self.wake();
    }

    /// What comes next; `over`: nothing will behind what there is. A character that is not all there is held back, unless nothing can
    /// come directly behind it.
    pub(super) fn next(&mut self, history: &History, over: bool) -> Option<Note> {
        let due = self.sizes.front().map(|size| size.0);
        if due.is_some_and(|due| due <= self.cursor) {
            return self.next_size();
        }
        if self.cursor < history.start() {
            let from = std::mem::replace(&mut self.cursor, history.resume());
            return Some(Note::Missed(self.cursor - from));
        }
        let most = due.map_or(PIECE, |due| PIECE.min(due - self.cursor));
        let mut output = history.read(self.cursor, usize::try_from(most).unwrap_or_default())?;
        let is_last = over && self.cursor + output.bytes.len() as u64 == history.end();
        if !output.closed && !is_last {
            output.bytes.truncate(output.bytes.len() - utf8::unfinished(&output.bytes));
        }
        if output.bytes.is_empty() {
            return self.next_size();
        }
        self.cursor += output.bytes.len() as u64;
        Some(Note::Output(String::from_utf8_lossy(&output.bytes).into_owned()))
    }

    fn next_size(&mut self) -> Option<Note> {
        self.sizes.pop_front().map(|(_, size)| Note::Resized(size))
    }
}

/// The recorder's way to what a session shows.
pub(super) struct Notes {
    hub: Arc<Hub>,
    wake: Arc<Notify>,
}

impl Notes {
    /// Everything that `hub` shows from its first byte on. It has one recorder at most.
    pub(super) fn of(hub: &Arc<Hub>) -> Self {
        let place = Place::default();
        let wake = place.wake.clone();
        hub.views().recorder = Some(place);
        Self { hub: hub.clone(), wake }
    }

    /// What comes next. Cancelling it loses nothing.
    pub(super) async fn next(&self) -> Note {
        loop {
            if let Some(note) = self.take() {
                return note;
            }
            self.wake.notified().await;
        }
    }

    /// What there is already.
    pub(super) fn take(&self) -> Option<Note> {
        self.hub.views().note()
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        self.hub.views().recorder = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::exec::Source, terminal::history::KEPT};

    fn output(text: &str) -> Note {
        Note::Output(text.to_owned())
    }

    #[test]
    fn text_is_noted_as_that_text_however_it_is_split() {
        let text = "aé€😀\u{10ffff}\0\n\u{7f}z";
        for cut in 0..=text.len() {
            let (mut place, mut history, mut noted) = (Place::default(), History::default(), String::new());
            for piece in [&text.as_bytes()[..cut], &text.as_bytes()[cut..]] {
                history.push(Source::Stdout, piece);
                while let Some(note) = place.next(&history, false) {
                    let Note::Output(text) = note else { panic!("{note:?}") };
                    noted += &text;
                }
            }
            assert_eq!(noted, text, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_text_is_replaced_and_half_a_character_is_noted_once_nothing_follows() {
        let (mut place, mut history) = (Place::default(), History::default());
        history.push(Source::Stdout, b"\xff-\xf0\x9f");
        assert_eq!(place.next(&history, false), Some(output("\u{fffd}-")));
        assert_eq!(place.next(&history, false), None);
        history.push(Source::Stderr, b"e\xc3");
        assert_eq!(place.next(&history, false), Some(output("\u{fffd}")));
        assert_eq!(place.next(&history, false), Some(output("e")));
        assert_eq!(place.next(&history, false), None);
        assert_eq!(place.next(&history, true), Some(output("\u{fffd}")));
        assert_eq!(place.next(&history, true), None);
    }

    #[test]
    fn sizes_are_noted_where_they_came_and_what_was_missed_is_counted() {
        let (mut place, mut history) = (Place::default(), History::default());
        let size = |cols| Size { cols, rows: 1 };
        history.push(Source::Stdout, b"ab\xc3");
        place.resized(2, size(2));
        place.resized(3, size(3));
        assert_eq!(place.next(&history, false), Some(output("ab")));
        assert_eq!(place.next(&history, false), Some(Note::Resized(size(2))));
        // It has no place inside of a character.
        assert_eq!(place.next(&history, false), Some(Note::Resized(size(3))));
        history.push(Source::Stdout, "\u{a9}".repeat(KEPT / 2).as_bytes());
        assert_eq!(place.next(&history, false), Some(Note::Missed(1)));
        (0..100).for_each(|number| place.resized(history.end(), size(number)));
        while let Some(Note::Output(_)) = place.next(&history, false) {}
        assert_eq!(place.next(&history, false), Some(Note::Resized(size(100 - SIZES as u16 + 1))));
    }
}
