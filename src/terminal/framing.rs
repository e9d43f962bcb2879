//! How output is put into messages: the same bytes for everyone, in the words that each viewer asked for. Pure.

use crate::{
    engine::exec::Source,
    terminal::{Event, history::Stretch, protocol::ServerFrame, utf8},
};

/// The subprotocol of [`Framing::Binary`].
pub const BINARY: &str = "berth.v1.binary";
/// Set in the offset of a binary message that holds standard error.
const STDERR: u64 = 1 << 63;

/// The most text in one message of JSON, in bytes: some sixty messages are on their way to a client that doesn't read.
const JSON: usize = 12 << 10;

/// What a viewer's messages with output look like; all others are frames of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Frames of JSON, as text where the bytes are text, on request with the offset of their first byte.
    Json { offsets: bool },
    /// The offset of the first byte in eight bytes, the highest first and its highest bit set for standard error; then the bytes.
    Binary,
}

impl Framing {
    /// The message for output that begins at this offset, and how many of its bytes it holds. As text it holds back a character
    /// that is not all there, unless nothing comes behind it.
    pub(super) fn output(self, at: u64, stretch: Stretch) -> Option<(u64, Event)> {
        let Stretch { source, mut bytes, closed } = stretch;
        match self {
            Self::Json { offsets } => {
                let cut = fitting(&bytes);
                let whole = cut == bytes.len();
                bytes.truncate(cut);
                if !(closed && whole) {
                    bytes.truncate(bytes.len() - utf8::unfinished(&bytes));
                }
                let count = bytes.len() as u64;
                let offset = offsets.then_some(at);
                (count > 0).then(|| (count, Event::Text(ServerFrame::output(source, bytes, offset).to_json())))
            }
            Self::Binary => {
                let offset = if source == Source::Stderr { at | STDERR } else { at };
                bytes.splice(0..0, offset.to_be_bytes());
                Some((bytes.len() as u64 - 8, Event::Binary(bytes)))
            }
        }
    }
}

/// How many of the bytes fit into a message of [`JSON`] bytes, where each may take as many as JSON has for it.
fn fitting(bytes: &[u8]) -> usize {
    let mut length = 0;
    let over = bytes.iter().position(|byte| {
        length += match byte {
            b'\n' | b'\r' | b'\t' | b'"' | b'\\' | 8 | 12 => 2,
            0..0x20 => 6,
            _ => 1,
        };
        length > JSON
    });
    over.unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde_json::Value;

    use super::*;
    use crate::terminal::history::History;

    /// All that a history of these pieces says in JSON, as it is when each piece has come, with whether it was text.
    fn told(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let (mut history, mut at, mut told) = (History::default(), 0, Vec::new());
        for (number, piece) in pieces.iter().enumerate() {
            history.push(Source::Stdout, piece);
            while let Some(mut stretch) = history.read(at, 5) {
                stretch.closed = number == pieces.len() - 1 && at + stretch.bytes.len() as u64 == history.end();
                let Some((count, Event::Text(frame))) = (Framing::Json { offsets: true }).output(at, stretch) else { break };
                let frame: Value = serde_json::from_str(&frame).unwrap();
                assert_eq!(frame["offset"], at);
                let data = frame["data"].as_str().unwrap();
                let text = frame["encoding"] == "utf8";
                let bytes = if text { data.as_bytes().to_vec() } else { BASE64_STANDARD.decode(data).unwrap() };
                assert_eq!(bytes.len() as u64, count);
                at += count;
                told.push((bytes, text));
            }
        }
        told
    }

    #[test]
    fn text_arrives_as_that_text_however_it_is_split() {
        let text = "aé€😀\u{10ffff}\0\n\u{7f}z";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let (head, tail) = text.as_bytes().split_at(first);
                let (middle, tail) = tail.split_at(second - first);
                let told = told(&[head, middle, tail]);
                assert!(told.iter().all(|told| told.1), "{first} {second}: {told:?}");
                assert_eq!(told.into_iter().flat_map(|told| told.0).collect::<Vec<_>>(), text.as_bytes(), "{first} {second}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_lose_nothing() {
        let all: Vec<u8> = (0..=255).rev().chain(0..=255).collect();
        for size in 1..=9 {
            let pieces: Vec<&[u8]> = all.chunks(size).collect();
            assert_eq!(told(&pieces).into_iter().flat_map(|told| told.0).collect::<Vec<_>>(), all, "in pieces of {size}");
        }
        let half = [(b"a".to_vec(), true), (b"\xf0\x9f".to_vec(), false)];
        assert_eq!(told(&[b"a\xf0\x9f", b""]), half, "half a character at the end goes out");
    }

    #[test]
    fn binary_messages_are_an_offset_and_bytes() {
        for (source, first) in [(Source::Stdout, 1), (Source::Stderr, 0x81)] {
            let stretch = Stretch { source, bytes: b"\xf0".to_vec(), closed: false };
            let Some((1, Event::Binary(message))) = Framing::Binary.output((1 << 56) | 0x0203, stretch) else { panic!() };
            assert_eq!(message, [first, 0, 0, 0, 0, 0, 2, 3, 0xf0]);
        }
    }
}
