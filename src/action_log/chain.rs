//! The chain: each line ends with its number and the hash of the line before. The hash is the SHA-256 of the line's bytes without the
//! spaces around it and its newline.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The most that [`Place::seal`] adds to a line, in bytes.
pub(super) const SEAL_BYTES: usize = r#","seq":18446744073709551615,"prev":"""#.len() + 64;

/// The highest number. What claims a higher one has none, so that no forged line leaves those after it without.
pub(super) const MOST: u64 = u64::MAX / 2;

/// Where the chain is: the number and the hash of a line. Lines of earlier versions, which have none, are all number 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) hash: String,
}

/// What a line says of its place.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    pub(super) seq: Option<u64>,
    pub(super) prev: Option<String>,
}

impl Place {
    /// Before the first line.
    pub(super) fn start() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }

    /// So many numbers on, which no line gets.
    pub(super) fn without(self, numbers: u64) -> Self {
        Self { seq: self.seq.saturating_add(numbers).min(MOST), ..self }
    }

    /// A line's own place.
    pub(super) fn of(line: &[u8]) -> Self {
        Self { seq: Link::of(line).and_then(|link| link.seq).unwrap_or_default(), hash: hash(line) }
    }

    /// Adds to an object of JSON that it is the line after this place, and goes on to it.
    pub(super) fn seal(&self, object: &[u8]) -> (Self, Vec<u8>) {
        let seq = self.seq.saturating_add(1);
        let mut line = object.strip_suffix(b"}").unwrap_or(object).to_vec();
        line.extend_from_slice(format!(r#","seq":{seq},"prev":"{}"}}"#, self.hash).as_bytes());
        (Self { seq, hash: hash(&line) }, line)
    }
}

impl Link {
    /// What the line says; `None` where it is no object of JSON.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        let link: Self = serde_json::from_slice(line).ok()?;
        Some(Self { seq: link.seq.filter(|seq| *seq <= MOST), ..link })
    }
}

/// A line's hash, in hexadecimal digits.
pub(super) fn hash(line: &[u8]) -> String {
    Sha256::digest(line.trim_ascii()).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_one_before_it() {
        let (first, line) = Place::start().seal(br#"{"a":1}"#);
        assert_eq!(line, format!(r#"{{"a":1,"seq":1,"prev":"{}"}}"#, "0".repeat(64)).into_bytes());
        assert_eq!(Place::of(&[b"   ", &line[..], b"  \n"].concat()), first);
        let (second, line) = first.seal(b"{\"b\":2}");
        assert_eq!((second.seq, Link::of(&line).unwrap().prev), (2, Some(first.hash)));
        assert_eq!(hash(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let last = Place { seq: u64::MAX - 1, ..second };
        assert_eq!(last.seal(b"{}").1.len(), 2 + SEAL_BYTES);
    }
}
