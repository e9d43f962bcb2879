//! What a program has printed, up to a bound, and how it is written where only text can be.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// The most that is kept of each stream, in bytes.
pub const KEPT: usize = 10 << 20;

/// How much is always text where it is some, in bytes, whatever it takes.
const SMALL: usize = 1 << 20;
/// The most that is written at once, in bytes: whole groups of base64.
const PIECE: usize = 48 << 10;

/// What a program has printed on both its streams.
#[derive(Debug, Default)]
pub struct Printed {
    pub stdout: Captured,
    pub stderr: Captured,
}

/// One stream, up to [`KEPT`] bytes.
#[derive(Default)]
pub struct Captured {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Captured {
    /// Takes what there is room for.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = (KEPT - self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.truncated |= room < bytes.len();
    }

    /// As text, if it is some. A character that the bound went through does not count.
    fn text(&self) -> Option<&str> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Some(text),
            Err(error) if self.truncated && error.error_len().is_none() => {
                std::str::from_utf8(&self.bytes[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Captured {
    /// Only how much it is: it may be ten megabytes, and is nothing for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.bytes.len())
    }
}

impl Printed {
    /// How much is kept, in bytes.
    pub fn len(&self) -> usize {
        self.stdout.bytes.len() + self.stderr.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says that more was printed than could be waited for.
    pub fn cut(&mut self) {
        self.stdout.truncated = true;
    }

    /// Whether more was printed than is kept.
    pub fn truncated(&self) -> bool {
        self.stdout.truncated || self.stderr.truncated
    }

    /// Both streams as texts, if that is how they are to be written.
    fn both(&self) -> Option<[&str; 2]> {
        let both = [self.stdout.text()?, self.stderr.text()?];
        let fits = self.len() <= SMALL || both.map(escaped).iter().sum::<usize>() <= 2 * self.len();
        fits.then_some(both)
    }

    /// As it is to be written.
    pub fn written(mut self) -> Written {
        let truncated = self.truncated();
        let encoding = match self.both().map(|both| both.map(str::len)) {
            Some([stdout, stderr]) => {
                self.stdout.bytes.truncate(stdout);
                self.stderr.bytes.truncate(stderr);
                Encoding::Utf8
            }
            None => Encoding::Base64,
        };
        Written { stdout: self.stdout.bytes, stderr: self.stderr.bytes, encoding, truncated }
    }

    /// Standard output and standard error as they are written, in a copy, and how that is.
    pub fn texts(&self) -> ([String; 2], Encoding) {
        match self.both() {
            Some(both) => (both.map(str::to_owned), Encoding::Utf8),
            None => ([&self.stdout, &self.stderr].map(|stream| BASE64_STANDARD.encode(&stream.bytes)), Encoding::Base64),
        }
    }
}

/// How many bytes a text takes in JSON.
fn escaped(text: &str) -> usize {
    let bytes = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(bytes).sum()
}

/// How output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    /// Where it is no UTF-8, or there is much of it and text would take more than twice as much: each NUL is six bytes in JSON.
    Base64,
}

impl Encoding {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Base64 => "base64",
        }
    }
}

/// What was printed, whose encoding is known. It is written piece by piece, as all of it together may take three times the room.
pub struct Written {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    pub encoding: Encoding,
    pub truncated: bool,
}

impl Written {
    /// How many bytes both streams take in JSON, without their quotes.
    pub fn length(&self) -> usize {
        [&self.stdout, &self.stderr].map(|bytes| self.length_of(bytes)).iter().sum()
    }

    fn length_of(&self, bytes: &[u8]) -> usize {
        match self.encoding {
            Encoding::Utf8 => escaped(std::str::from_utf8(bytes).unwrap_or_default()),
            Encoding::Base64 => bytes.len().div_ceil(3) * 4,
        }
    }

    /// What is written of standard output, or of standard error, from this byte on, up to a bound; and where it goes on. `None` at the end.
    pub fn piece(&self, stderr: bool, at: usize) -> Option<(Vec<u8>, usize)> {
        let rest = if stderr { &self.stderr } else { &self.stdout }.get(at..).filter(|rest| !rest.is_empty())?;
        let mut count = rest.len().min(PIECE);
        let text = match self.encoding {
            Encoding::Base64 => BASE64_STANDARD.encode(&rest[..count]).into_bytes(),
            Encoding::Utf8 => {
                while rest.get(count).is_some_and(|byte| byte & 0xc0 == 0x80) {
                    count -= 1;
                }
                let text = std::str::from_utf8(&rest[..count]).unwrap_or_default();
                let mut quoted = serde_json::to_vec(text).unwrap_or_default();
                quoted.pop();
                quoted.drain(..quoted.len().min(1));
                quoted
            }
        };
        Some((text, at + count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(printed: Printed) -> (String, String, &'static str) {
        let texts = printed.texts();
        let written = printed.written();
        let mut length = 0;
        let [stdout, stderr] = [false, true].map(|stderr| {
            let (mut json, mut at) = (b"\"".to_vec(), 0);
            while let Some((piece, next)) = written.piece(stderr, at) {
                json.extend(piece);
                at = next;
            }
            length += json.len() - 1;
            json.push(b'"');
            serde_json::from_slice::<String>(&json).unwrap()
        });
        assert_eq!(length, written.length());
        assert!(texts == ([stdout.clone(), stderr.clone()], written.encoding));
        (stdout, stderr, written.encoding.as_str())
    }

    fn printed(stdout: &[&[u8]], stderr: &[u8]) -> Printed {
        let mut printed = Printed::default();
        stdout.iter().for_each(|bytes| printed.stdout.push(bytes));
        printed.stderr.push(stderr);
        printed
    }

    #[test]
    fn text_stays_text_where_the_bound_cuts_it() {
        let cut: [&[u8]; 2] = [&vec![b'x'; KEPT - 1], "é".as_bytes()];
        let (stdout, stderr, encoding) = document(printed(&cut, b""));
        assert_eq!((stdout.len(), stderr.as_str(), encoding), (KEPT - 1, "", "utf8"));
        let (stdout, stderr, encoding) = document(printed(&cut, b"\xff"));
        assert_eq!((stdout.len(), stderr.as_str(), encoding), (KEPT.div_ceil(3) * 4, "/w==", "base64"));
        assert_eq!(document(printed(&[b"\xc3"], b"")).2, "base64", "a program may print half a character");
    }

    #[test]
    fn output_is_written_in_pieces_and_never_takes_much_more_than_it_is() {
        let mixed = "é\0\"\\\n\t\u{8}\u{c}\u{1f}€x".repeat(10_000);
        let (stdout, _, encoding) = document(printed(&[mixed.as_bytes()], b""));
        assert_eq!((stdout.as_str(), encoding), (mixed.as_str(), "utf8"));
        let zeros = vec![0; 2 << 20];
        let written = printed(&[&zeros], b"").written();
        assert_eq!(written.encoding, Encoding::Base64);
        assert!(written.length() < zeros.len() * 3 / 2);
    }
}
