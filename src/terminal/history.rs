//! The last output of a session, by absolute offsets. Pure: it neither reads nor sends.

use std::collections::VecDeque;

use crate::{engine::exec::Source, terminal::utf8};

/// How many bytes of output are kept: 1 MiB, the oldest go first.
pub const KEPT: usize = 1 << 20;
/// How many stretches of one source are kept at most, which bounds what a program costs that writes to both sources by turns.
const STRETCHES: usize = 1 << 14;

/// The kept bytes of a session's output. The first byte that a session ever put out has the offset 0.
#[derive(Debug, Default)]
pub struct History {
    bytes: VecDeque<u8>,
    /// Where each stretch of one source begins; the first may have lost its beginning.
    stretches: VecDeque<(u64, Source)>,
    /// The offset behind the last byte.
    end: u64,
}

/// Some output out of a history.
#[derive(Debug, PartialEq, Eq)]
pub struct Stretch {
    pub source: Source,
    pub bytes: Vec<u8>,
    /// Whether output of the other source follows, so that nothing more will ever come directly behind it.
    pub closed: bool,
}

impl History {
    /// The offset of the first byte that is still there.
    pub fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// The offset that the next byte will have.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Adds output; what is too old then goes.
    pub fn push(&mut self, source: Source, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.stretches.back().is_none_or(|last| last.1 != source) {
            self.stretches.push_back((self.end, source));
        }
        self.end += bytes.len() as u64;
        let fresh = &bytes[bytes.len().saturating_sub(KEPT)..];
        let over = (self.bytes.len() + fresh.len()).saturating_sub(KEPT);
        self.bytes.drain(..over);
        self.bytes.extend(fresh);
        if self.stretches.len() > STRETCHES {
            let over = self.stretches[1].0 - self.start();
            self.bytes.drain(..usize::try_from(over).unwrap_or(KEPT));
        }
        while self.stretches.len() > 1 && self.stretches[1].0 <= self.start() {
            self.stretches.pop_front();
        }
    }

    /// Up to `most` bytes of one source from this offset on, which is not before [`History::start`]; `None` where there are none yet.
    pub fn read(&self, from: u64, most: usize) -> Option<Stretch> {
        if from >= self.end {
            return None;
        }
        let next = self.stretches.partition_point(|stretch| stretch.0 <= from);
        let source = self.stretches[next - 1].1;
        let (end, followed) = self.stretches.get(next).map_or((self.end, false), |next| (next.0, true));
        let begin = usize::try_from(from - self.start()).ok()?;
        let count = usize::try_from(end - from).map_or(most, |count| count.min(most));
        let (first, second) = self.bytes.as_slices();
        let mut bytes = Vec::with_capacity(count);
        bytes.extend_from_slice(&first[begin.min(first.len())..(begin + count).min(first.len())]);
        bytes.extend_from_slice(&second[begin.saturating_sub(first.len())..(begin + count).saturating_sub(first.len())]);
        Some(Stretch { source, closed: followed && from + count as u64 == end, bytes })
    }

    /// Where a reader goes on whose own place is gone: at the first kept byte that is not in the middle of a character.
    pub fn resume(&self) -> u64 {
        self.start() + self.bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count() as u64
    }

    /// Takes back the beginning of a character at the end, unless it is of this source or begins before `given`, which readers
    /// already know.
    pub fn take_back_half(&mut self, source: Source, given: u64) -> Option<(Source, Vec<u8>)> {
        let last = *self.stretches.back().filter(|last| last.1 != source)?;
        let tail = self.bytes.len() - self.bytes.len().min(3);
        let half = utf8::unfinished(&self.bytes.range(tail..).copied().collect::<Vec<_>>());
        let cut = self.end - half as u64;
        if half == 0 || cut < given.max(last.0) {
            return None;
        }
        let bytes = self.bytes.split_off(self.bytes.len() - half).into();
        self.end = cut;
        if cut == last.0 {
            self.stretches.pop_back();
        }
        Some((last.1, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Source::{Stderr, Stdout},
        *,
    };

    fn all(history: &History, from: u64) -> Vec<(Source, Vec<u8>)> {
        let (mut at, mut all) = (from, Vec::new());
        while let Some(stretch) = history.read(at, 7) {
            at += stretch.bytes.len() as u64;
            all.push((stretch.source, stretch.bytes));
        }
        assert_eq!(at, history.end());
        all
    }

    #[test]
    fn every_byte_is_found_at_its_offset_until_it_is_too_old() {
        let mut history = History::default();
        let byte = |at: u64| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
        let mut written = 0;
        for size in (1..5000).chain([KEPT - 1, KEPT, KEPT + 1, 3 * KEPT, 1, 2]) {
            let bytes: Vec<u8> = (written..written + size as u64).map(byte).collect();
            history.push(Stdout, &bytes);
            written += size as u64;
            assert_eq!((history.end(), history.start()), (written, written.saturating_sub(KEPT as u64)));
            for at in [history.start(), u64::midpoint(history.start(), written), written - 1] {
                let stretch = history.read(at, 100).unwrap();
                let expected: Vec<u8> = (at..written.min(at + 100)).map(byte).collect();
                assert_eq!(stretch, Stretch { source: Stdout, bytes: expected, closed: false });
            }
            assert_eq!(history.read(written, 1), None);
        }
    }

    #[test]
    fn sources_stay_apart_and_in_order() {
        let mut history = History::default();
        for (source, text) in [(Stdout, "one"), (Stdout, "two"), (Stderr, "oh"), (Stdout, ""), (Stderr, "!"), (Stdout, "three")] {
            history.push(source, text.as_bytes());
        }
        let whole = [(Stdout, b"onetwo".to_vec()), (Stderr, b"oh!".to_vec()), (Stdout, b"three".to_vec())];
        assert_eq!(all(&history, 0), whole);
        assert_eq!(all(&history, 7), [(Stderr, b"h!".to_vec()), (Stdout, b"three".to_vec())]);
        assert!(history.read(0, 9).unwrap().closed && !history.read(0, 5).unwrap().closed && !history.read(9, 9).unwrap().closed);
    }

    #[test]
    fn a_program_that_writes_to_both_by_turns_costs_little() {
        let mut history = History::default();
        for _ in 0..STRETCHES {
            history.push(Stdout, b"a");
            history.push(Stderr, b"b");
        }
        assert!(history.stretches.len() <= STRETCHES);
        assert_eq!(history.end(), 2 * STRETCHES as u64);
        let kept = all(&history, history.start());
        assert_eq!(kept.len() as u64, history.end() - history.start());
        assert!(kept.len() >= STRETCHES - 1 && kept.ends_with(&[(Stdout, b"a".to_vec()), (Stderr, b"b".to_vec())]));
    }

    #[test]
    fn half_a_character_steps_back_for_the_other_source_where_nobody_knows_of_it() {
        let mut history = History::default();
        history.push(Stdout, b"a\xf0\x9f");
        assert_eq!(history.take_back_half(Stdout, 0), None, "its other half may come");
        assert_eq!(history.take_back_half(Stderr, 2), None, "somebody has a part of it");
        assert_eq!(history.take_back_half(Stderr, 1), Some((Stdout, b"\xf0\x9f".to_vec())));
        assert_eq!(history.take_back_half(Stderr, 1), None);
        history.push(Stderr, b"x");
        history.push(Stdout, b"\xf0");
        assert_eq!(history.take_back_half(Stderr, 2), Some((Stdout, b"\xf0".to_vec())));
        history.push(Stderr, b"y");
        assert_eq!(all(&history, 0), [(Stdout, b"a".to_vec()), (Stderr, b"xy".to_vec())]);
    }

    #[test]
    fn who_lost_its_place_goes_on_with_a_whole_character() {
        let mut history = History::default();
        history.push(Stdout, "é".repeat(KEPT / 2).as_bytes());
        assert_eq!(history.resume(), 0);
        history.push(Stdout, b"x");
        assert_eq!((history.start(), history.resume()), (1, 2));
    }
}
