//! What others do to the folder, before a start and while the log is written.

use std::{
    fs::Permissions,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;

/// Cuts off the last line of what is written.
fn cut_last(folder: &TempDir) {
    let text = fs::read(files::current(folder.path())).unwrap();
    let end = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(files::current(folder.path()), &text[..end]).unwrap();
}

#[test]
fn a_head_that_was_removed_or_changed_is_told_for_ever_after() {
    let forged = |seq: u64| format!(r#"{{"last":{{"seq":{seq},"hash":"{}"}},"dropped":null}}"#, "0".repeat(64));
    for (head, runs) in
        [(None, false), (Some("x".to_owned()), false), (Some(forged(3)), false), (None, true), (Some(forged(9)), true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("actions.head");
        let mut writer = open(&folder, LARGE);
        writer.append(&mut lines(0..10)).unwrap();
        cut_last(&folder);
        match &head {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        if !runs {
            drop(writer);
            writer = open(&folder, LARGE);
        }
        writer.append(&mut lines(0..1)).unwrap();
        writer.append(&mut lines(0..1)).unwrap();
        drop(writer);
        open(&folder, LARGE).append(&mut lines(0..1)).unwrap();
        let found = findings(&folder).0;
        assert!(found.len() == 1 && found[0].contains("line 10: removed before it: number"), "{head:?} {runs}: {found:?}");
    }
}

#[test]
fn a_crash_before_the_head_was_written_is_gone_on_from_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("actions.head");
    let mut heads = Vec::new();
    let mut writer = open(&folder, LARGE);
    for round in 0..3 {
        heads.push(fs::read(&path).unwrap());
        writer.append(&mut lines(round..round + 5)).unwrap();
    }
    drop(writer);
    for head in heads {
        fs::write(&path, head).unwrap();
        open(&folder, LARGE).append(&mut lines(0..1)).unwrap();
        assert!(findings(&folder).0.is_empty(), "{:?}", findings(&folder));
    }
}

#[test]
fn a_forged_number_leaves_those_after_it_their_own() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder, LARGE).append(&mut lines(0..3)).unwrap();
    let forged = format!("{{\"seq\":{},\"prev\":\"x\"}}\n", u64::MAX);
    OpenOptions::new().append(true).open(files::current(folder.path())).unwrap().write_all(forged.as_bytes()).unwrap();
    open(&folder, LARGE).append(&mut lines(0..2)).unwrap();
    assert_eq!(findings(&folder).0, ["actions.jsonl, line 4: changed or inserted: it has no number and hash"]);
}

#[test]
fn what_only_looks_like_a_file_of_the_log_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["actions.jsonl.01", "actions.jsonl.+1", "actions.jsonl.20261121", "actions.jsonl.old"] {
        fs::write(at(name), "mine\n").unwrap();
    }
    fs::create_dir(at("actions.jsonl.2")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("actions.jsonl.4"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    symlink("/nowhere", at("actions.jsonl.5")).unwrap();
    let mut writer = open(&folder, Bounds { bytes: 1 << 30, files: 2 });
    for round in 0..5 {
        writer.append(&mut lines(round..round + 1)).unwrap();
        writer.rotate().unwrap();
    }
    writer.append(&mut lines(0..1)).unwrap();
    assert_eq!((findings(&folder).0, findings(&folder).1.files), (vec![], 3));
    assert!(at("actions.jsonl.1").is_file() && at("actions.jsonl.3").is_file() && at("actions.jsonl.2").is_dir());
    assert_eq!(fs::read(at("actions.jsonl.20261121")).unwrap(), b"mine\n");
}

#[test]
fn another_folder_in_the_place_of_the_log_s_is_had_only_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs");
    fs::create_dir(&path).unwrap();
    let mut first = Writer::open(&path, LARGE).unwrap();
    first.append(&mut lines(0..1)).unwrap();
    fs::rename(&path, folder.path().join("taken")).unwrap();
    fs::create_dir(&path).unwrap();
    let second = Writer::open(&path, LARGE).unwrap();
    assert!(first.append(&mut lines(0..1)).unwrap_err().to_string().contains("another berth serves it"));
    drop(second);
    first.append(&mut lines(0..1)).unwrap();
    assert!(Writer::open(&path, LARGE).is_err());
}

#[test]
fn nobody_else_may_read_the_log_also_one_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let modes = || -> Vec<u32> {
        let all = fs::read_dir(folder.path()).unwrap();
        all.map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o777).collect()
    };
    let mut writer = open(&folder, LARGE);
    writer.append(&mut lines(0..1)).unwrap();
    writer.rotate().unwrap();
    writer.append(&mut lines(0..1)).unwrap();
    drop(writer);
    assert_eq!(modes(), [0o600; 3]);
    for entry in fs::read_dir(folder.path()).unwrap() {
        fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o644)).unwrap();
    }
    drop(open(&folder, LARGE));
    assert_eq!(modes(), [0o600; 3]);
}
