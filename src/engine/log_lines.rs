//! From the engine's log stream to lines. Pure: it neither asks nor waits.
//!
//! The stream is a row of entries, each behind a header of a byte for the source, three zeros and its length as four bytes, the highest
//! first. An entry begins with the moment at which the engine read it. A line of more than 16 KiB is several entries, of which only the last
//! ends in a line break; they have one moment in common, by which the end of a program that died half-way through a line is told from the
//! beginning of the next one's output.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};

use crate::{
    engine::exec::Source,
    error::{Error, Result},
};

/// The most of a line that is kept, in bytes; the rest is dropped.
pub const LINE: usize = 1 << 20;

/// More than an entry has, by far.
const ENTRY: usize = 64 << 20;
const HEADER: usize = 8;

/// When the engine read a line, to the nanosecond, as text of one length: `2026-01-02T03:04:05.000000006Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp([u8; Stamp::LENGTH]);

impl Stamp {
    const LENGTH: usize = 30;

    fn parse(text: &[u8]) -> Option<Self> {
        match text.try_into() {
            // All that the engine writes; in other words of the same, as it would be for other zones, it is read properly.
            Ok(bytes) if text.ends_with(b"Z") && text.is_ascii() => Some(Self(bytes)),
            _ => DateTime::parse_from_rfc3339(std::str::from_utf8(text).ok()?).ok().map(|time| time.to_utc().into()),
        }
    }

    fn time(&self) -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339(self.as_str()).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// How long it is until then: nothing, where it has passed; at most a year, for the clocks that can't count further.
    pub fn from_now(self) -> Duration {
        let left = self.time().to_utc() - Utc::now();
        left.to_std().unwrap_or_default().min(Duration::from_secs(365 * 86_400))
    }

    /// As the engine takes it in queries: seconds since 1970, before which it knows of none, and their fraction.
    pub fn to_query(self) -> String {
        let time = self.time().max(DateTime::UNIX_EPOCH.into());
        format!("{}.{:09}", time.timestamp(), time.timestamp_subsec_nanos())
    }
}

impl From<DateTime<Utc>> for Stamp {
    fn from(time: DateTime<Utc>) -> Self {
        let text = time.to_rfc3339_opts(SecondsFormat::Nanos, true);
        // Only a year of five digits makes another length.
        Self(text.as_bytes().try_into().unwrap_or(*b"9999-12-31T23:59:59.999999999Z"))
    }
}

/// A line, or what is there of one, without its line break.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub stamp: Stamp,
    pub source: Source,
    pub bytes: &'a [u8],
    /// Whether it was longer than [`LINE`].
    pub cut: bool,
}

/// What the engine keeps of a line, or of a part of one.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) stamp: Stamp,
    pub(super) source: Source,
    bytes: &'a [u8],
}

impl Entry<'_> {
    /// Whether its line ends with it.
    pub(super) fn ends_line(&self) -> bool {
        self.bytes.ends_with(b"\n")
    }
}

/// Takes a stream apart into entries, wherever it is cut.
#[derive(Default)]
pub(super) struct Entries {
    /// The beginning of an entry whose end is still to come.
    begun: Vec<u8>,
}

impl Entries {
    /// # Errors
    /// [`Error::EngineUnavailable`] where the stream makes no sense.
    pub(super) fn take(&mut self, bytes: &[u8], mut each: impl FnMut(Entry<'_>)) -> Result<()> {
        if self.begun.is_empty() {
            let taken = take_whole(bytes, &mut each)?;
            self.begun.extend_from_slice(&bytes[taken..]);
        } else {
            self.begun.extend_from_slice(bytes);
            let taken = take_whole(&self.begun, &mut each)?;
            self.begun.drain(..taken);
        }
        Ok(())
    }
}

/// Takes the entries that are all there, and tells how many bytes these were.
fn take_whole(bytes: &[u8], each: &mut impl FnMut(Entry<'_>)) -> Result<usize> {
    let mut at = 0;
    while let Some((header, rest)) = bytes[at..].split_first_chunk::<HEADER>() {
        let [source, _, _, _, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        if length > ENTRY {
            return Err(Error::EngineUnavailable("its log makes no sense".to_owned()));
        }
        let Some(entry) = rest.get(..length) else { break };
        at += HEADER + length;
        let end = entry.iter().take(64).position(|byte| *byte == b' ').unwrap_or(0);
        if let Some(stamp) = Stamp::parse(&entry[..end]) {
            let source = if source == 2 { Source::Stderr } else { Source::Stdout };
            each(Entry { stamp, source, bytes: &entry[end + 1..] });
        }
    }
    Ok(at)
}

/// Joins entries to lines.
#[derive(Default)]
pub(super) struct Joiner {
    stdout: Option<Begun>,
    stderr: Option<Begun>,
}

/// A line whose end is still to come.
struct Begun {
    stamp: Stamp,
    bytes: Vec<u8>,
    cut: bool,
}

impl Joiner {
    pub(super) fn take(&mut self, entry: Entry<'_>, mut each: impl FnMut(&Line<'_>)) {
        let Entry { stamp, source, bytes } = entry;
        let begun = match source {
            Source::Stdout => &mut self.stdout,
            Source::Stderr => &mut self.stderr,
        };
        if let Some(broken) = begun.take_if(|begun| begun.stamp != stamp) {
            broken.show(source, &mut each);
        }
        let (bytes, whole) = bytes.strip_suffix(b"\n").map_or((bytes, false), |bytes| (bytes, true));
        if whole && begun.is_none() {
            let cut = bytes.len() > LINE;
            return each(&Line { stamp, source, bytes: &bytes[..bytes.len().min(LINE)], cut });
        }
        let line = begun.get_or_insert_with(|| Begun { stamp, bytes: Vec::new(), cut: false });
        let room = (LINE - line.bytes.len()).min(bytes.len());
        line.bytes.extend_from_slice(&bytes[..room]);
        line.cut |= room < bytes.len();
        if whole && let Some(line) = begun.take() {
            line.show(source, &mut each);
        }
    }

    /// What there is of lines that nothing ended.
    pub(super) fn finish(&mut self, mut each: impl FnMut(&Line<'_>)) {
        for (source, begun) in [(Source::Stdout, self.stdout.take()), (Source::Stderr, self.stderr.take())] {
            if let Some(begun) = begun {
                begun.show(source, &mut each);
            }
        }
    }
}

impl Begun {
    fn show(&self, source: Source, each: &mut impl FnMut(&Line<'_>)) {
        each(&Line { stamp: self.stamp, source, bytes: &self.bytes, cut: self.cut });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(second: u32) -> Stamp {
        Stamp::parse(format!("2026-01-01T00:00:{second:02}.000000001Z").as_bytes()).unwrap()
    }

    fn entry(source: u8, second: u32, text: &[u8]) -> Vec<u8> {
        let body = [stamp(second).as_str().as_bytes(), b" ", text].concat();
        [&[source, 0, 0, 0], &(body.len() as u32).to_be_bytes()[..], &body].concat()
    }

    fn lines(pieces: &[&[u8]]) -> Vec<(u8, String, Vec<u8>, bool)> {
        let (mut entries, mut joiner, mut told) = (Entries::default(), Joiner::default(), Vec::new());
        let mut tell = |line: &Line<'_>| {
            let source = if line.source == Source::Stderr { 2 } else { 1 };
            told.push((source, line.stamp.as_str().to_owned(), line.bytes.to_vec(), line.cut));
        };
        for piece in pieces {
            entries.take(piece, |entry| joiner.take(entry, &mut tell)).unwrap();
        }
        joiner.finish(&mut tell);
        told
    }

    #[test]
    fn lines_are_the_same_wherever_the_stream_is_cut() {
        let stream = [
            entry(1, 1, b"one\n"),
            entry(1, 2, b"lo"),
            entry(2, 3, b"oh\n"),
            entry(1, 2, b"ng\n"),
            entry(1, 4, b"died in"),
            entry(1, 5, b"\n"),
            entry(2, 6, b"no end"),
        ]
        .concat();
        let at = |second| stamp(second).as_str().to_owned();
        let expected = [
            (1, at(1), b"one".to_vec(), false),
            (2, at(3), b"oh".to_vec(), false),
            (1, at(2), b"long".to_vec(), false),
            (1, at(4), b"died in".to_vec(), false),
            (1, at(5), b"".to_vec(), false),
            (2, at(6), b"no end".to_vec(), false),
        ];
        for cut in 0..=stream.len() {
            assert_eq!(lines(&[&stream[..cut], &stream[cut..]]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_is_kept_up_to_its_bound_and_said_to_be_cut() {
        let piece = vec![b'x'; 16 << 10];
        let mut stream: Vec<u8> = (0..80).flat_map(|_| entry(1, 1, &piece)).collect();
        stream.extend(entry(1, 1, b"end\n"));
        stream.extend(entry(1, 2, b"next\n"));
        let told = lines(&[&stream]);
        assert_eq!((told[0].2.len(), told[0].3), (LINE, true));
        assert_eq!((&told[1].2[..], told[1].3), (&b"next"[..], false));
        let nonsense = [1, 0, 0, 0, 255, 255, 255, 255];
        assert!(Entries::default().take(&nonsense, |_| ()).is_err());
    }

    #[test]
    fn a_stamp_is_what_the_engine_takes_back() {
        let stamp = Stamp::parse(b"2026-01-02T04:04:05.000000006+01:00").unwrap();
        assert_eq!(stamp.as_str(), "2026-01-02T03:04:05.000000006Z");
        assert_eq!(stamp.to_query(), "1767323045.000000006");
        assert_eq!(Stamp::parse(b"1960-01-02T03:04:05.000000006Z").unwrap().to_query(), "0.000000000");
        assert!(Stamp::parse(b"yesterday").is_none());
    }
}
