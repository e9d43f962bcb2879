//! What the writer leaves on the disk, whoever looks at it when.

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::action_log::{Summary, verify};

mod strangers;

const LARGE: Bounds = Bounds { bytes: 1 << 30, files: 5 };

fn open(folder: &TempDir, bounds: Bounds) -> Writer {
    Writer::open(folder.path(), bounds).unwrap()
}

/// Lines of some hundred bytes, of many lengths.
fn lines(numbers: std::ops::Range<usize>) -> VecDeque<Vec<u8>> {
    numbers.map(|number| json!({"number": number, "text": "x".repeat(number * 37 % 1900)}).to_string().into_bytes()).collect()
}

fn read(folder: &TempDir, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.path().join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))).collect()
}

/// What is wrong with the log, in words, and what was read.
fn findings(folder: &TempDir) -> (Vec<String>, Summary) {
    let mut all = Vec::new();
    let summary = verify(folder.path(), &mut |finding| all.push(finding.to_owned())).unwrap();
    (all, summary)
}

#[test]
fn half_a_line_at_the_end_is_removed_before_the_next_is_written() {
    for (before, kept) in [("", 0), ("{\"a\":1}\n", 1), ("{\"a\":1}\n{\"b\"", 1), ("{\"b\"", 0)] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(files::current(folder.path()), before).unwrap();
        open(&folder, LARGE).append(&mut lines(0..1)).unwrap();
        let lines = read(&folder, "actions.jsonl");
        assert_eq!((lines.len(), &lines[kept]["seq"]), (kept + 1, &1.into()), "{before}");
        assert!(findings(&folder).0.is_empty());
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(files::current(folder.path()), [b"{}\n".as_slice(), &[b'x'; 10_000]].concat()).unwrap();
    assert_eq!(open(&folder, LARGE).length, 3);
}

#[test]
fn no_line_crosses_a_page_and_the_chain_goes_on_over_starts() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        open(&folder, LARGE).append(&mut lines(round * 50..round * 50 + 50)).unwrap();
    }
    let text = fs::read(files::current(folder.path())).unwrap();
    for end in (PAGE..text.len()).step_by(PAGE) {
        let tail = text[..end].trim_ascii_end();
        assert!(
            tail.ends_with(b"}") && (serde_json::from_slice::<Value>(tail.rsplit(|byte| *byte == b'\n').next().unwrap()).is_ok())
        );
    }
    let numbers: Vec<u64> = read(&folder, "actions.jsonl").iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=1000).collect::<Vec<_>>());
    assert_eq!(findings(&folder), (vec![], Summary { lines: 1000, unchained: 0, files: 1, findings: 0 }));
}

#[test]
fn a_reader_beside_the_writer_never_sees_half_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = files::current(folder.path());
    let mut writer = open(&folder, LARGE);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let file = File::open(&path).unwrap();
            let (mut start, mut sights, mut buffer) = (0, 0_u64, vec![0; 1 << 20]);
            while !done.load(Ordering::Relaxed) || sights == 0 {
                let length = file.read_at(&mut buffer, start).unwrap();
                let seen = &buffer[..length];
                for line in seen.split_inclusive(|byte| *byte == b'\n') {
                    let whole = line.ends_with(b"}\n") || line.trim_ascii().is_empty() || line.trim_ascii_end().ends_with(b"}");
                    assert!(whole, "half a line: {:?}", String::from_utf8_lossy(line));
                }
                sights += u64::from(length > 0);
                start += seen.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1);
            }
            sights
        });
        let end = Instant::now() + Duration::from_millis(700);
        for round in 0.. {
            if Instant::now() > end {
                break;
            }
            writer.append(&mut lines(round..round + 1 + round % 200)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn a_full_file_is_put_aside_and_a_bounded_number_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder, Bounds { bytes: 64 << 10, files: 3 });
    writer.append(&mut lines(0..1000)).unwrap();
    let sizes = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
    for name in ["actions.jsonl", "actions.jsonl.1", "actions.jsonl.2", "actions.jsonl.3"] {
        assert!(sizes(name) <= 64 << 10, "{name}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5, "four files and the head");
    assert!(findings(&folder).0.is_empty(), "{:?}", findings(&folder));
    drop(writer);

    let mut writer = open(&folder, Bounds { bytes: 64 << 10, files: 1 });
    writer.rotate().unwrap();
    writer.append(&mut lines(0..1)).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "fewer are kept where fewer are asked for");
    assert!(findings(&folder).0.is_empty(), "{:?}", findings(&folder));
}

#[test]
fn a_rotation_that_was_cut_short_is_finished_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(&folder, Bounds { bytes: 1 << 30, files: 3 });
    for round in 0..3 {
        writer.append(&mut lines(round..round + 1)).unwrap();
        writer.rotate().unwrap();
    }
    let at = |name: &str| folder.path().join(name);
    writer.append(&mut lines(3..4)).unwrap();
    fs::remove_file(at("actions.jsonl.3")).unwrap();
    fs::rename(at("actions.jsonl.2"), at("actions.jsonl.3")).unwrap();
    fs::rename(at("actions.jsonl"), at("actions.jsonl.0")).unwrap();
    writer.append(&mut lines(4..5)).unwrap();
    assert_eq!(findings(&folder).1.lines, 4, "also while it is half done");
    writer.rotate().unwrap();
    assert_eq!(findings(&folder).1.lines, 3, "one more file than there is room for, and none too few");
    assert!(!at("actions.jsonl.0").exists());
}

#[test]
fn a_file_that_others_put_aside_cut_or_wrote_to_is_gone_on_with_where_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = files::current(folder.path());
    let mut writer = open(&folder, LARGE);
    writer.append(&mut lines(40..60)).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"by\":\"hand\"}\n{\"ha").unwrap();
    writer.append(&mut lines(0..1)).unwrap();
    assert_eq!(read(&folder, "actions.jsonl").len(), 22);
    assert_eq!(findings(&folder).0, ["actions.jsonl, line 21: changed or inserted: it has no number and hash"]);
    fs::copy(&path, folder.path().join("actions.jsonl.1")).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    writer.append(&mut lines(0..1)).unwrap();
    fs::rename(&path, folder.path().join("taken")).unwrap();
    writer.append(&mut lines(0..1)).unwrap();
    let last = read(&folder, "actions.jsonl").pop().unwrap();
    assert_eq!((&last["seq"], writer.length), (&23.into(), fs::metadata(&path).unwrap().len()));
}

#[test]
fn only_one_writer_has_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder, LARGE);
    assert!(Writer::open(folder.path(), LARGE).err().unwrap().to_string().contains("another berth serves it"));
    drop(first);
    drop(open(&folder, LARGE));
}

#[test]
fn a_start_after_the_end_was_cut_leaves_the_gap_to_be_seen() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder, LARGE).append(&mut lines(0..10)).unwrap();
    let text = fs::read(files::current(folder.path())).unwrap();
    let end = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(files::current(folder.path()), &text[..end]).unwrap();
    assert_eq!(findings(&folder).0, ["cut at the end: number 10 is missing"]);
    open(&folder, LARGE).append(&mut lines(0..1)).unwrap();
    assert_eq!(findings(&folder).0, ["actions.jsonl, line 10: removed before it: number 10 is missing"]);
}
