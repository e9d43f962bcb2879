//! The lines of a file from one of its lines back to the first, a block at a time.

use std::{fs::File, io, os::unix::fs::FileExt};

/// How much is read at once, in bytes.
const BLOCK: u64 = 64 << 10;

/// A line that is longer, in bytes, is none of ours, and given without its content.
const LONGEST: usize = 64 << 10;

/// The lines of a file, last first.
pub(super) struct Backwards<'a> {
    file: &'a File,
    /// Where `buffer` begins: what is before it is still to be read.
    start: u64,
    buffer: Vec<u8>,
    /// The end of the line in `buffer` was too long to be kept.
    lost: bool,
}

/// A line, with its newline and whatever spaces it has.
pub(super) struct Line {
    /// Where it begins in the file.
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
}

impl<'a> Backwards<'a> {
    /// The lines before `end`, which is the end of one.
    pub(super) fn new(file: &'a File, end: u64) -> Self {
        Self { file, start: end, buffer: Vec::new(), lost: false }
    }

    /// The next line towards the beginning.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let body = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
            // Of a line whose end is lost, the rest has no newline of its own any more.
            let body = if self.lost { &self.buffer[..] } else { body };
            if let Some(at) = body.iter().rposition(|byte| *byte == b'\n') {
                return Ok(Some(self.take(at + 1)));
            }
            if self.start == 0 {
                return Ok(if self.buffer.is_empty() && !self.lost { None } else { Some(self.take(0)) });
            }
            if self.buffer.len() > LONGEST {
                self.buffer.clear();
                self.lost = true;
            }
            self.read_block()?;
        }
    }

    /// The line that begins at `at` in the buffer, which keeps what is before it.
    fn take(&mut self, at: usize) -> Line {
        let bytes = self.buffer.split_off(at);
        let lost = std::mem::take(&mut self.lost);
        Line { start: self.start + at as u64, bytes: if lost { Vec::new() } else { bytes } }
    }

    fn read_block(&mut self) -> io::Result<()> {
        let start = self.start.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(self.start - start).unwrap_or_default()];
        self.file.read_exact_at(&mut block, start)?;
        block.append(&mut self.buffer);
        (self.buffer, self.start) = (block, start);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_last_first_with_their_places_however_long_they_are() {
        let long = "x".repeat(300_000);
        let full = "y".repeat(65_535);
        for lines in
            [vec![], vec!["a"], vec!["", "a", "", "bc", ""], vec!["a", &long, "b", &full, "c"], vec![&long], vec![&full, &full]]
        {
            let file = tempfile::tempfile().unwrap();
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            file.write_all_at(text.as_bytes(), 0).unwrap();
            let mut backwards = Backwards::new(&file, text.len() as u64);
            let mut end = text.len();
            for line in lines.iter().rev() {
                let found = backwards.next().unwrap().unwrap();
                assert_eq!(usize::try_from(found.start).unwrap(), end - line.len() - 1);
                assert!(line.len() > LONGEST || found.bytes == format!("{line}\n").as_bytes());
                end -= line.len() + 1;
            }
            assert!(backwards.next().unwrap().is_none());
        }
    }
}
