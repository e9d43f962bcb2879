//! The lines of an asciicast, version 2: a header, then an event each. Pure: it neither reads nor writes.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::{
    engine::exec::Size,
    terminal::{Mode, Open, SessionEnd, notes::Note},
};

/// What of the bound is kept for the last line, which says that the recording ends there.
const LAST_LINE: u64 = 256;

/// A cast that is being made.
pub(super) struct Cast {
    /// Lines that were not taken yet.
    lines: Vec<u8>,
    /// How long it is with these, in bytes, and how long it may be.
    length: u64,
    limit: u64,
}

impl Cast {
    /// One of `limit` bytes at most, with its header.
    pub(super) fn new(open: &Open, begun: &SessionEnd, limit: u64) -> Self {
        let Size { cols, rows } = open.size();
        let mut env = json!({});
        if open.settled_mode() == Some(Mode::Shell) {
            env["TERM"] = "xterm-256color".into();
        }
        if let Some(shell) = &open.shell {
            env["SHELL"] = shell.as_str().into();
        }
        let timestamp = begun.started.timestamp();
        let mut this = Self { lines: Vec::new(), length: 0, limit };
        this.push(&line(&json!({ "version": 2, "width": cols, "height": rows, "timestamp": timestamp, "env": env })));
        this
    }

    /// Adds an event, so long after the beginning. False where it has no room: the cast ends with a line that says so, and takes no more.
    pub(super) fn add(&mut self, at: Duration, note: &Note) -> bool {
        let event = match note {
            Note::Output(text) => event(at, "o", text),
            Note::Resized(size) => event(at, "r", &format!("{}x{}", size.cols, size.rows)),
            Note::Missed(bytes) => event(at, "m", &format!("{bytes} bytes of output are missing here")),
        };
        let has_room = self.length + event.len() as u64 + LAST_LINE <= self.limit;
        if has_room {
            self.push(&event);
        } else {
            let end = format!("the recording ends here: it has reached its {} MiB", self.limit >> 20);
            self.push(&self::event(at, "m", &end));
        }
        has_room
    }

    /// How many bytes of lines wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// The lines that wait.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }

    fn push(&mut self, line: &[u8]) {
        self.length += line.len() as u64;
        self.lines.extend_from_slice(line);
    }
}

/// How much of a file's text is whole lines.
pub(super) fn whole_lines(text: &[u8]) -> usize {
    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

fn event(at: Duration, code: &str, data: &str) -> Vec<u8> {
    // In microseconds, which are exact for longer than any session.
    line(&(at.as_micros() as f64 / 1e6, code, data))
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // Numbers and strings always become JSON.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{domain::id::Cuid, terminal::SessionEnd};

    fn cast(limit: u64) -> Cast {
        let open = Open {
            cuid: Cuid::new(),
            mode: None,
            cols: Some(100),
            rows: None,
            shell: Some("/bin/ash".to_owned()),
            user: None,
            cwd: None,
        };
        Cast::new(&open, &SessionEnd::new(uuid::Uuid::nil(), &open), limit)
    }

    fn lines(cast: &mut Cast) -> Vec<Value> {
        let text = String::from_utf8(cast.take()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_cast_is_a_header_and_events() {
        let mut cast = cast(1 << 20);
        let size = Size { cols: 5, rows: 6 };
        for note in [Note::Output("a\n\u{1b}[0mé\0\"".to_owned()), Note::Resized(size), Note::Missed(7)] {
            assert!(cast.add(Duration::from_micros(1_000_001), &note));
        }
        let lines = lines(&mut cast);
        let mut header = lines[0].clone();
        assert!(header["timestamp"].take().as_i64().unwrap() > 1_700_000_000);
        let env = json!({ "TERM": "xterm-256color", "SHELL": "/bin/ash" });
        assert_eq!(header, json!({ "version": 2, "width": 100, "height": 24, "timestamp": null, "env": env }));
        let missed = "7 bytes of output are missing here";
        let events = [json!(["o", "a\n\u{1b}[0mé\0\""]), json!(["r", "5x6"]), json!(["m", missed])];
        for (line, event) in lines[1..].iter().zip(&events) {
            assert_eq!(line, &json!([1.000_001, event[0], event[1]]));
        }
        assert_eq!((lines.len(), cast.waiting()), (4, 0));
    }

    #[test]
    fn a_cast_that_is_full_says_so_within_its_bound() {
        let mut cast = cast(1 << 20);
        let mut length = 0;
        let text = "\u{1}".repeat(10_000);
        while cast.add(Duration::MAX, &Note::Output(text.clone())) {
            length += cast.take().len();
        }
        let last = cast.take();
        length += last.len();
        assert!(last.ends_with(b",\"m\",\"the recording ends here: it has reached its 1 MiB\"]\n"));
        assert!(((1 << 20) - 70_000..=1 << 20).contains(&length), "{length}");
    }

    #[test]
    fn only_whole_lines_are_kept() {
        for (text, whole) in [("", 0), ("a", 0), ("a\n", 2), ("a\nb", 2), ("\n\n", 2)] {
            assert_eq!(whole_lines(text.as_bytes()), whole, "{text:?}");
        }
    }
}
