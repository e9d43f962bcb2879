//! What a program has printed, up to a bound, and how it is written where only text can be.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// The most that is kept of each stream, in bytes.
pub const KEPT: usize = 10 << 20;

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
    /// Whether more was printed than is kept.
    pub fn truncated(&self) -> bool {
        self.stdout.truncated || self.stderr.truncated
    }

    /// Standard output, standard error, and the encoding of both: `utf8`, or `base64` where one of them is no UTF-8.
    pub fn encoded(&self) -> (String, String, &'static str) {
        match (self.stdout.text(), self.stderr.text()) {
            (Some(stdout), Some(stderr)) => (stdout.to_owned(), stderr.to_owned(), "utf8"),
            _ => (BASE64_STANDARD.encode(&self.stdout.bytes), BASE64_STANDARD.encode(&self.stderr.bytes), "base64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_where_the_bound_cuts_it() {
        let mut printed = Printed::default();
        printed.stdout.push(&vec![b'x'; KEPT - 1]);
        printed.stdout.push("é".as_bytes());
        assert!(printed.truncated());
        let (stdout, stderr, encoding) = printed.encoded();
        assert_eq!((stdout.len(), stderr.as_str(), encoding), (KEPT - 1, "", "utf8"));
        printed.stderr.push(b"\xff");
        assert_eq!((printed.encoded().1.as_str(), printed.encoded().2), ("/w==", "base64"));
        let mut half = Printed::default();
        half.stdout.push(b"\xc3");
        assert_eq!(half.encoded().2, "base64", "a program may print half a character");
    }
}
