//! Pages of the log, newest first, over all of its files: read from the end backwards, and no more at once than a bound.

use std::{fmt, fs::File, io, os::unix::fs::FileExt, path::Path, str::FromStr};

use chrono::{DateTime, Duration, FixedOffset};
use serde::Deserialize;

use super::{
    backwards::Backwards,
    chain::Link,
    files::{self, Opened},
    writer::PAGE,
};
use crate::domain::id::Cuid;

/// The most that is looked at for one page, in bytes. A filter that leaves little in gives short pages.
const LOOKED_AT: usize = 8 << 20;

/// A line is written when its request ends, by clocks that may have been set meanwhile; how much older than `since` a line's end has
/// to be for all before it to be older, too.
const SLACK: Duration = Duration::minutes(5);

/// What a page has in it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub cuid: Option<Cuid>,
    pub action: Option<String>,
    pub failed: Option<Failed>,
    /// Requests that came then or later.
    pub since: Option<DateTime<FixedOffset>>,
}

/// Which failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    Any,
    /// Only what did not fail.
    None,
    /// By the error's id, such as `auth_error`.
    As(String),
}

/// A part of the log.
#[derive(Debug)]
pub struct Page {
    /// The lines as they are in the file, newest first.
    pub lines: Vec<Vec<u8>>,
    /// Where the next page begins; `None` where nothing older is left to look at.
    pub next: Option<Cursor>,
}

/// A place in the log: before a line that was looked at. It stays the same one while lines are added and files are put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    inode: u64,
    start: u64,
    /// The line's number. Another file may have the inode of one that is gone.
    seq: u64,
}

/// What is looked at of a line.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    timestamp: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    duration_ms: u64,
    cuid: Option<Cuid>,
    #[serde(borrow)]
    action: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    seq: u64,
}

/// A page of up to `limit` lines from `after` on. What is before a place in a file that rotation took away is gone, too: that page is empty.
pub(super) fn page(folder: &Path, filter: &Filter, after: Option<Cursor>, limit: usize) -> io::Result<Page> {
    let files = files::all(folder)?;
    let mut page = Page { lines: Vec::new(), next: None };
    let (mut looked_at, mut last) = (0, None);
    for (opened, end) in from(&files, after)? {
        let mut lines = Backwards::new(&opened.file, end);
        while let Some(line) = lines.next()? {
            if page.lines.len() == limit || looked_at >= LOOKED_AT {
                page.next = last;
                return Ok(page);
            }
            looked_at += line.bytes.len();
            let seen = serde_json::from_slice::<Seen<'_>>(&line.bytes).ok();
            if seen.as_ref().is_some_and(|seen| filter.is_past(seen)) {
                return Ok(page);
            }
            last = Some(Cursor { inode: opened.inode, start: line.start, seq: seen.as_ref().map_or(0, |seen| seen.seq) });
            if seen.is_some_and(|seen| filter.leaves_in(&seen)) {
                page.lines.push(line.bytes);
            }
        }
    }
    Ok(page)
}

/// The files from a place on, newest first, each with the end of its lines that are still to be looked at.
fn from(files: &[Opened], after: Option<Cursor>) -> io::Result<Vec<(&Opened, u64)>> {
    let whole = |opened: &Opened| files::whole_lines(&opened.file);
    let Some(cursor) = after else {
        return files.iter().map(|opened| Ok((opened, whole(opened)?))).collect();
    };
    let mut left = files.iter().skip_while(|opened| !cursor.is_in(opened).unwrap_or_default());
    let first = left.next().map(|opened| Ok((opened, cursor.start)));
    first.into_iter().chain(left.map(|opened| Ok((opened, whole(opened)?)))).collect()
}

impl Filter {
    fn leaves_in(&self, seen: &Seen<'_>) -> bool {
        let error = seen.error.as_deref();
        let failed = self.failed.as_ref().is_none_or(|failed| match failed {
            Failed::Any => error.is_some(),
            Failed::None => error.is_none(),
            Failed::As(id) => error == Some(id),
        });
        failed
            && self.cuid.is_none_or(|cuid| seen.cuid == Some(cuid))
            && self.action.as_ref().is_none_or(|action| seen.action.as_ref().is_some_and(|own| own == action))
            && self.since.is_none_or(|since| seen.at().is_some_and(|at| at >= since))
    }

    /// Whether this and all older lines are from before what is wanted.
    fn is_past(&self, seen: &Seen<'_>) -> bool {
        let took = Duration::milliseconds(seen.duration_ms.try_into().unwrap_or(i64::MAX / 2));
        let ended = seen.at().and_then(|at| at.checked_add_signed(took)?.checked_add_signed(SLACK));
        self.since.is_some_and(|since| ended.is_some_and(|ended| ended < since))
    }
}

impl Seen<'_> {
    fn at(&self) -> Option<DateTime<FixedOffset>> {
        DateTime::parse_from_rfc3339(self.timestamp.as_ref()?).ok()
    }
}

impl Cursor {
    /// Whether its line is still in this file.
    fn is_in(&self, opened: &Opened) -> io::Result<bool> {
        if opened.inode != self.inode || files::whole_lines(&opened.file)? <= self.start {
            return Ok(false);
        }
        Ok(self.seq == 0 || number_at(&opened.file, self.start)? == Some(self.seq))
    }
}

/// The number of the line that begins at `start`.
fn number_at(file: &File, start: u64) -> io::Result<Option<u64>> {
    let mut block = [0; PAGE];
    let length = file.read_at(&mut block, start)?;
    let end = block[..length].iter().position(|byte| *byte == b'\n').unwrap_or(length);
    // Spaces before it belong to the line, which can end on the next page then.
    let padding = block[..end].iter().take_while(|byte| **byte == b' ').count();
    if end == length && padding > 0 {
        return number_at(file, start + padding as u64);
    }
    Ok(Link::of(&block[..end]).and_then(|link| link.seq))
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inode, self.start, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ').map(|word| word.parse().map_err(drop));
        match [words.next(), words.next(), words.next(), words.next()] {
            [Some(inode), Some(start), Some(seq), None] => Ok(Self { inode: inode?, start: start?, seq: seq? }),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, fs};

    use chrono::Local;

    use super::*;
    use crate::action_log::{Bounds, entry::example, writer::Writer};

    fn writer(folder: &Path) -> Writer {
        Writer::open(folder, Bounds { bytes: 64 << 10, files: 3 }).unwrap()
    }

    fn append(writer: &mut Writer, paths: impl IntoIterator<Item = String>) {
        let mut lines: VecDeque<_> = paths.into_iter().map(|path| example(&path, None).encode().unwrap()).collect();
        writer.append(&mut lines).unwrap();
    }

    fn paths(page: &Page) -> Vec<String> {
        let path =
            |line: &Vec<u8>| serde_json::from_slice::<serde_json::Value>(line).unwrap()["path"].as_str().unwrap().to_owned();
        page.lines.iter().map(path).collect()
    }

    #[test]
    fn pages_have_every_line_once_while_lines_come_and_files_are_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        append(&mut writer, (0..300).map(|number| format!("/{number}")));
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = page(folder.path(), &Filter::default(), cursor, 7).unwrap();
            seen.extend(paths(&page));
            append(&mut writer, ["/later".to_owned()]);
            if seen.len() == 70 {
                writer.rotate().unwrap();
            }
            let Some(next) = page.next else { break };
            assert_eq!(next.to_string().parse(), Ok(next));
            cursor = Some(next);
        }
        assert_eq!(seen, (0..300).rev().map(|number| format!("/{number}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_place_in_a_file_that_is_gone_has_nothing_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        append(&mut writer, (0..3).map(|number| format!("/{number}")));
        let first = page(folder.path(), &Filter::default(), None, 1).unwrap();
        for _ in 0..5 {
            writer.rotate().unwrap();
            append(&mut writer, (0..9).map(|number| format!("/{number}")));
        }
        for seq in [3, 0] {
            let gone = Cursor { inode: u64::MAX, seq, ..first.next.unwrap() };
            let page = page(folder.path(), &Filter::default(), Some(gone), 5).unwrap();
            assert!(page.lines.is_empty() && page.next.is_none());
        }
        let again = Cursor { inode: files::all(folder.path()).unwrap()[0].inode, ..first.next.unwrap() };
        assert!(page(folder.path(), &Filter::default(), Some(again), 5).unwrap().lines.is_empty(), "another file with its inode");
    }

    #[test]
    fn filters_leave_in_what_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let (cuid, now) = (Cuid::new(), Local::now());
        let old = now - Duration::days(2);
        let entries = [
            crate::action_log::Entry { timestamp: old, ..example("/old", Some("x")) },
            crate::action_log::Entry { timestamp: old, duration_ms: 172_800_000, ..example("/long", None) },
            crate::action_log::Entry { cuid: Some(cuid), ..example("/cuid", None) },
            crate::action_log::Entry { action: "list".into(), ..example("/list", Some("x")) },
        ];
        let mut writer = writer(folder.path());
        writer.append(&mut entries.iter().map(|entry| entry.encode().unwrap()).collect()).unwrap();
        let of = |filter: Filter| paths(&page(folder.path(), &filter, None, 10).unwrap());
        let since = Some((now - Duration::hours(1)).fixed_offset());
        assert_eq!(of(Filter { cuid: Some(cuid), ..Filter::default() }), ["/cuid"]);
        assert_eq!(of(Filter { action: Some("list".into()), ..Filter::default() }), ["/list"]);
        assert_eq!(of(Filter { failed: Some(Failed::Any), ..Filter::default() }), ["/list", "/old"]);
        assert_eq!(of(Filter { failed: Some(Failed::As("not_found".into())), since, ..Filter::default() }), ["/list"]);
        assert_eq!(of(Filter { failed: Some(Failed::None), ..Filter::default() }), ["/cuid", "/long"]);
        assert_eq!(of(Filter { since, ..Filter::default() }), ["/list", "/cuid"]);
    }

    #[test]
    fn no_more_than_a_bound_is_looked_at_for_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), Bounds { bytes: 1 << 30, files: 3 }).unwrap();
        let rare = example("/rare", Some("x")).encode().unwrap();
        let common = example(&"x".repeat(2000), None).encode().unwrap();
        writer.append(&mut [rare].into_iter().chain(std::iter::repeat_n(common, 5000)).collect()).unwrap();
        let failed = Filter { failed: Some(Failed::Any), ..Filter::default() };
        let first = page(folder.path(), &failed, None, 5).unwrap();
        assert!(first.lines.is_empty() && first.next.is_some());
        let mut pages = vec![first];
        while let Some(next) = pages.last().unwrap().next {
            pages.push(page(folder.path(), &failed, Some(next), 5).unwrap());
        }
        let bytes = fs::metadata(files::current(folder.path())).unwrap().len();
        assert_eq!(pages.len() as u64, bytes.div_ceil(LOOKED_AT as u64));
        assert_eq!(paths(pages.last().unwrap()), ["/rare"]);
    }
}
