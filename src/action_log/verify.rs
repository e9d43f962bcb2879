//! Whether the log is as it was written: every file, oldest first, line by line, against the chain and its head. It needs no lock, and
//! works while the server writes.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use super::{
    chain::{Link, Place, hash},
    files,
    head::Head,
};

/// A longer line is none of ours, in bytes.
const LONGEST: u64 = 1 << 20;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines with a number and a hash.
    pub lines: u64,
    /// Lines of earlier versions, without.
    pub unchained: u64,
    pub files: usize,
    /// How often something was found to be wrong.
    pub findings: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, unchained, files, .. } = self;
        write!(f, "{lines} lines in {files} {}", if *files == 1 { "file" } else { "files" })?;
        if *unchained > 0 {
            write!(f, ", and {unchained} of an earlier version, which have no hashes")?;
        }
        Ok(())
    }
}

/// Reads the log in `folder`, and tells `found` of everything that is wrong, a line each.
///
/// # Errors
/// [`io::Error`] where it can't be read.
pub fn verify(folder: &Path, found: &mut dyn FnMut(&str)) -> io::Result<Summary> {
    // First, so that the log has at least what it says.
    let head = Head::read(folder);
    let files = files::all(folder)?;
    // Again, so that it says at least of what rotation had taken away by then.
    let later = Head::read(folder).ok().flatten();
    let mut check = Check { summary: Summary::default(), last: None, dropped: None, head: None, met_head: None, found };
    if let Some(later) = later {
        if !later.is_possible() {
            check.tell("actions.head: changed: it says that rotation took away what it says is the last line");
        }
        check.dropped = later.dropped;
    }
    match head {
        Ok(head) => check.head = head.map(|head| head.last),
        Err(error) => check.tell(&format!("actions.head: changed: it can't be read ({error})")),
    }
    for (index, opened) in files.iter().rev().enumerate() {
        check.file(&opened.name, &opened.file, index + 1 == files.len())?;
    }
    check.end();
    Ok(check.summary)
}

struct Check<'a> {
    summary: Summary,
    /// The last line so far: its number, and the hashes of all that claim it.
    last: Option<(u64, Vec<String>)>,
    dropped: Option<Place>,
    head: Option<Place>,
    /// Whether the line that the head names was met with the hash that it says.
    met_head: Option<bool>,
    found: &'a mut dyn FnMut(&str),
}

impl Check<'_> {
    fn tell(&mut self, finding: &str) {
        self.summary.findings += 1;
        (self.found)(finding);
    }

    fn file(&mut self, name: &str, file: &File, is_current: bool) -> io::Result<()> {
        self.summary.files += 1;
        let mut reader = BufReader::with_capacity(256 << 10, file);
        let (mut line, mut number) = (Vec::new(), 0_u64);
        loop {
            line.clear();
            if reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            number += 1;
            let place = format!("{name}, line {number}");
            if line.ends_with(b"\n") {
                self.line(&place, &line);
            } else if line.len() as u64 == LONGEST {
                self.tell(&format!("{place}: inserted: it is longer than any line of the log"));
                reader.skip_until(b'\n')?;
            } else if !is_current {
                self.tell(&format!("{place}: cut: it has no end"));
            }
            // Else it is being written, or what a crash left of it.
        }
    }

    fn line(&mut self, place: &str, line: &[u8]) {
        let hash = hash(line);
        match Link::of(line) {
            None => self.tell(&format!("{place}: changed or inserted: it is no entry of the log")),
            Some(Link { seq: Some(seq @ 1..), prev: Some(prev) }) => {
                self.summary.lines += 1;
                self.chained(place, seq, &prev, hash);
            }
            Some(Link { seq: None, prev: None }) if self.last.as_ref().is_none_or(|(seq, _)| *seq == 0) => {
                self.summary.unchained += 1;
                self.last = Some((0, vec![hash]));
            }
            Some(_) => self.tell(&format!("{place}: changed or inserted: it has no number and hash")),
        }
    }

    fn chained(&mut self, place: &str, seq: u64, prev: &str, hash: String) {
        match self.last.take() {
            None => self.first(place, seq, prev),
            Some((last, hashes)) if seq <= last => {
                self.tell(&format!("{place}: inserted: number {seq} comes after number {last}"));
                let again = (seq == last).then_some(hash.clone());
                self.last = Some((last, hashes.into_iter().chain(again).collect()));
                return;
            }
            Some((last, _)) if seq > last + 1 => self.tell(&missing(&format!("{place}: removed before it"), last + 1, seq - 1)),
            Some((last, hashes)) if !hashes.iter().any(|hash| hash == prev) => {
                let what = if last == 0 { "the last without a number".to_owned() } else { format!("number {last}") };
                self.tell(&format!("{place}: the line before it was changed: {what} has not the hash that this one names"));
            }
            Some(_) => (),
        }
        match &self.head {
            Some(head) if head.seq == seq => self.met_head = Some(head.hash == hash),
            // The head of a log that had no line yet, or whose line rotation took meanwhile.
            Some(head) if head.seq + 1 == seq && self.met_head.is_none() => self.met_head = Some(head.hash == prev),
            _ => (),
        }
        if self.dropped.as_ref().is_some_and(|dropped| dropped.seq == seq && dropped.hash != hash) {
            self.tell(&format!(
                "{place}: changed: number {seq} has not the hash that actions.head has of what rotation took away"
            ));
        }
        self.last = Some((seq, vec![hash]));
    }

    /// The first line with a number, before which there is none.
    fn first(&mut self, place: &str, seq: u64, prev: &str) {
        let before = self.dropped.clone().unwrap_or_else(Place::start);
        if seq > before.seq + 1 && (self.head.is_some() || self.dropped.is_some()) {
            self.tell(&missing(&format!("{place}: cut at the beginning"), before.seq + 1, seq - 1));
        } else if seq == before.seq + 1 && prev != before.hash {
            self.tell(&format!(
                "{place}: cut at the beginning, or changed: it names another line before it than the one that was there"
            ));
        }
    }

    fn end(&mut self) {
        let last = self.last.as_ref().map_or(0, |(seq, _)| *seq);
        let Some(head) = self.head.clone() else {
            if last > 0 {
                self.tell("actions.head: removed: whether lines are cut at the beginning or the end can't be told");
            }
            return;
        };
        // Rotation may have gone on since the head was read.
        let is_dropped = self.dropped.as_ref().is_some_and(|dropped| dropped.seq >= head.seq);
        if head.seq > last {
            self.tell(&missing("cut at the end", last + 1, head.seq));
        } else if self.met_head == Some(false) {
            self.tell(&format!("changed: number {} has not the hash that actions.head has of it", head.seq));
        } else if self.met_head.is_none() && last > 0 && !is_dropped {
            self.tell(&format!(
                "actions.head: changed: it says that number {} is the last, and the log has no such line",
                head.seq
            ));
        }
    }
}

/// Which numbers are missing.
fn missing(place: &str, first: u64, last: u64) -> String {
    if first == last {
        format!("{place}: number {first} is missing")
    } else {
        format!("{place}: numbers {first} to {last} are missing")
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, fs};

    use super::*;
    use crate::action_log::{Bounds, writer::Writer};

    /// A log of these many lines a file, the oldest first.
    fn log(lines: &[usize]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), Bounds { bytes: 1 << 30, files: 5 }).unwrap();
        for (index, count) in lines.iter().enumerate() {
            if index > 0 {
                writer.rotate().unwrap();
            }
            let mut all: VecDeque<_> =
                (0..*count).map(|number| format!(r#"{{"file":{index},"n":{number}}}"#).into_bytes()).collect();
            writer.append(&mut all).unwrap();
        }
        folder
    }

    fn findings(folder: &tempfile::TempDir) -> Vec<String> {
        let mut all = Vec::new();
        verify(folder.path(), &mut |finding| all.push(finding.to_owned())).unwrap();
        all
    }

    /// Rewrites a file's lines.
    fn edit(folder: &tempfile::TempDir, name: &str, edit: impl Fn(&mut Vec<String>)) {
        let path = folder.path().join(name);
        let mut lines = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        edit(&mut lines);
        fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }

    #[test]
    fn whatever_is_done_to_a_line_is_found_where_it_was_done() {
        type Edit = fn(&mut Vec<String>);
        let cases: [(&str, Edit, &[&str]); 11] = [
            ("actions.jsonl", |_| (), &[]),
            (
                "actions.jsonl",
                |lines| lines[0].insert_str(1, r#""x":1,"#),
                &["actions.jsonl, line 2: the line before it was changed: number 11"],
            ),
            (
                "actions.jsonl.1",
                |lines| lines[4].insert_str(1, r#""x":1,"#),
                &["actions.jsonl, line 1: the line before it was changed: number 10"],
            ),
            ("actions.jsonl", |lines| lines[4].insert_str(1, r#""x":1,"#), &["changed: number 15 has not the hash"]),
            ("actions.jsonl", |lines| drop(lines.remove(2)), &["actions.jsonl, line 3: removed before it: number 13 is missing"]),
            ("actions.jsonl", |lines| drop(lines.pop()), &["cut at the end: number 15 is missing"]),
            (
                "actions.jsonl.2",
                |lines| drop(lines.drain(..2)),
                &["actions.jsonl.2, line 1: cut at the beginning: numbers 1 to 2 are missing"],
            ),
            (
                "actions.jsonl",
                |lines| lines.insert(1, lines[3].clone()),
                &[
                    "line 2: removed before it: numbers 12 to 13",
                    "line 3: inserted: number 12",
                    "line 4: inserted: number 13",
                    "line 5: inserted: number 14",
                ],
            ),
            (
                "actions.jsonl",
                |lines| lines.insert(1, "{}".into()),
                &["actions.jsonl, line 2: changed or inserted: it has no number and hash"],
            ),
            (
                "actions.jsonl",
                |lines| lines.insert(1, "x".into()),
                &["actions.jsonl, line 2: changed or inserted: it is no entry"],
            ),
            ("actions.jsonl", |lines| lines.swap(1, 2), &["line 2: removed before it: number 12", "line 3: inserted: number 12"]),
        ];
        for (index, (name, change, expected)) in cases.into_iter().enumerate() {
            let folder = log(&[5, 5, 5]);
            edit(&folder, name, change);
            let found = findings(&folder);
            assert_eq!(found.len(), expected.len(), "{index}: {found:?}");
            for (finding, part) in found.iter().zip(expected) {
                assert!(finding.contains(part), "{index}: {finding}");
            }
        }
    }

    #[test]
    fn files_that_are_gone_are_missed_and_those_that_rotation_took_are_not() {
        let folder = log(&[5, 5, 5]);
        fs::remove_file(folder.path().join("actions.jsonl.1")).unwrap();
        assert_eq!(findings(&folder), ["actions.jsonl, line 1: removed before it: numbers 6 to 10 are missing"]);
        let folder = log(&[5, 5, 5]);
        fs::remove_file(folder.path().join("actions.jsonl")).unwrap();
        assert_eq!(findings(&folder), ["cut at the end: numbers 11 to 15 are missing"]);
        let folder = log(&[5, 5, 5]);
        fs::remove_file(folder.path().join("actions.head")).unwrap();
        assert_eq!(findings(&folder).len(), 1);
        let folder = log(&[1; 9]);
        assert_eq!((findings(&folder), fs::read_dir(folder.path()).unwrap().count()), (vec![], 7));
        fs::remove_file(folder.path().join("actions.jsonl.5")).unwrap();
        assert_eq!(findings(&folder), ["actions.jsonl.4, line 1: cut at the beginning: number 4 is missing"]);
    }

    #[test]
    fn a_chain_that_was_written_anew_does_not_fit_its_head() {
        let (folder, other) = (log(&[5]), log(&[4]));
        edit(&other, "actions.jsonl", |lines| lines[1].insert_str(1, r#""x":1,"#));
        let mut place = Place::start();
        let lines: Vec<String> = (0..5)
            .map(|number| {
                let (next, line) = place.seal(format!(r#"{{"forged":{number}}}"#).as_bytes());
                place = next;
                String::from_utf8(line).unwrap()
            })
            .collect();
        edit(&folder, "actions.jsonl", move |old| old.clone_from(&lines));
        assert_eq!(findings(&folder), ["changed: number 5 has not the hash that actions.head has of it"]);
    }

    #[test]
    fn a_head_is_not_believed_what_the_log_does_not_bear_out() {
        type Edit = fn(&mut Head);
        let cases: [(Edit, &str); 4] = [
            (
                |head| head.dropped = Some(Place { seq: 900, ..Place::start() }),
                "rotation took away what it says is the last line",
            ),
            (
                |head| head.dropped = Some(Place { seq: 7, ..Place::start() }),
                "actions.jsonl.1, line 2: changed: number 7 has not",
            ),
            (|head| head.last.seq = 0, "changed: number 0 has not the hash"),
            (|head| head.last.seq = 3, "number 3 is the last, and the log has no such line"),
        ];
        for (index, (edit, expected)) in cases.into_iter().enumerate() {
            let folder = log(&[5, 5, 5]);
            if index != 2 {
                fs::remove_file(folder.path().join("actions.jsonl.2")).unwrap();
            }
            let mut head = Head::read(folder.path()).unwrap().unwrap();
            head.dropped = (index == 3).then(|| Place { seq: 2, ..Place::start() });
            edit(&mut head);
            head.write(folder.path()).unwrap();
            let found = findings(&folder);
            assert!(found.iter().any(|finding| finding.contains(expected)), "{index}: {found:?}");
        }
    }

    #[test]
    fn a_head_from_before_the_first_line_or_the_last_rotation_is_no_finding() {
        let folder = log(&[5]);
        Head { last: Place::start(), dropped: None }.write(folder.path()).unwrap();
        assert!(findings(&folder).is_empty(), "what a crash leaves: {:?}", findings(&folder));
    }

    #[test]
    fn lines_of_earlier_versions_are_no_finding_before_the_first_with_a_number() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("actions.jsonl"), "{\"a\":1}\n{\"a\":2}\n").unwrap();
        let mut writer = Writer::open(folder.path(), Bounds { bytes: 1 << 30, files: 5 }).unwrap();
        writer.append(&mut VecDeque::from([b"{\"b\":1}".to_vec()])).unwrap();
        writer.rotate().unwrap();
        writer.append(&mut VecDeque::from([b"{\"b\":1}".to_vec()])).unwrap();
        let summary = verify(folder.path(), &mut |finding| panic!("{finding}")).unwrap();
        assert_eq!(summary, Summary { lines: 2, unchained: 2, files: 2, findings: 0 });
        edit(&folder, "actions.jsonl.1", |lines| lines[1] = r#"{"a":3}"#.into());
        assert_eq!(findings(&folder).len(), 1, "the last of them has its hash in the first");
    }

    #[test]
    fn what_is_being_written_is_no_finding() {
        let folder = log(&[3]);
        let path = folder.path().join("actions.jsonl");
        let text = fs::read(&path).unwrap();
        fs::write(&path, [&text[..], b"     {\"hal"].concat()).unwrap();
        assert!(findings(&folder).is_empty());
    }
}
