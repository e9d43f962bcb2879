//! Bytes of output into text where they are text. Pure: it neither reads nor sends.

/// A stretch of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    Text(String),
    /// Not all of it is UTF-8.
    Bytes(Vec<u8>),
}

/// Cuts one stream into [`Chunk`]s, and holds back a character that is not all there until its other half comes.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The beginning of one character: three bytes at the most.
    held: Vec<u8>,
}

impl Splitter {
    /// What may go out now that `bytes` came: all but the beginning of a character at their end.
    pub fn push(&mut self, mut bytes: Vec<u8>) -> Option<Chunk> {
        if !self.held.is_empty() {
            bytes.splice(0..0, self.held.drain(..));
        }
        self.held = bytes.split_off(bytes.len() - unfinished(&bytes));
        chunk(bytes)
    }

    /// What was held back, for no other half will come.
    pub fn finish(&mut self) -> Option<Chunk> {
        chunk(std::mem::take(&mut self.held))
    }
}

fn chunk(bytes: Vec<u8>) -> Option<Chunk> {
    if bytes.is_empty() {
        return None;
    }
    Some(String::from_utf8(bytes).map_or_else(|error| Chunk::Bytes(error.into_bytes()), Chunk::Text))
}

/// How many bytes at the end are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    let begins =
        |end: &[u8]| matches!(std::str::from_utf8(end), Err(error) if error.valid_up_to() == 0 && error.error_len().is_none());
    (1..=bytes.len().min(3)).find(|count| begins(&bytes[bytes.len() - count..])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<Chunk> {
        let mut splitter = Splitter::default();
        let mut chunks: Vec<_> = pieces.iter().filter_map(|piece| splitter.push(piece.to_vec())).collect();
        chunks.extend(splitter.finish());
        chunks
    }

    fn bytes(chunks: &[Chunk]) -> Vec<u8> {
        let each = chunks.iter().map(|chunk| match chunk {
            Chunk::Text(text) => text.clone().into_bytes(),
            Chunk::Bytes(bytes) => bytes.clone(),
        });
        each.flatten().collect()
    }

    #[test]
    fn text_arrives_as_that_text_however_it_is_split() {
        let text = "aé€😀\u{10ffff}\0\n\u{7f}z";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let (head, tail) = text.as_bytes().split_at(first);
                let (middle, tail) = tail.split_at(second - first);
                let chunks = all(&[head, middle, tail]);
                assert!(chunks.iter().all(|chunk| matches!(chunk, Chunk::Text(_))), "{first} {second}: {chunks:?}");
                assert_eq!(bytes(&chunks), text.as_bytes(), "{first} {second}");
            }
        }
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(bytes(&all(&single)), text.as_bytes());
    }

    #[test]
    fn bytes_that_are_no_text_lose_nothing() {
        let all_bytes: Vec<u8> = (0..=255).rev().chain(0..=255).collect();
        for size in 1..=9 {
            let pieces: Vec<&[u8]> = all_bytes.chunks(size).collect();
            assert_eq!(bytes(&all(&pieces)), all_bytes, "in pieces of {size}");
        }
        assert_eq!(all(&[b"\xff\xf0\x9f", b"\x98\x80"]), [Chunk::Bytes(vec![0xff]), Chunk::Text("😀".to_owned())]);
    }

    #[test]
    fn half_a_character_at_the_end_goes_out() {
        assert_eq!(all(&[b"a\xf0\x9f"]), [Chunk::Text("a".to_owned()), Chunk::Bytes(vec![0xf0, 0x9f])]);
        // A surrogate and an overlong form are never the beginning of anything.
        assert_eq!(Splitter::default().push(vec![0xed, 0xa0]), Some(Chunk::Bytes(vec![0xed, 0xa0])));
        assert_eq!(Splitter::default().push(vec![0xc0]), Some(Chunk::Bytes(vec![0xc0])));
    }
}
