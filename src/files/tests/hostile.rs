//! Archives that must change nothing.

use zip::CompressionMethod;

use super::*;
use crate::error::{Error, TooLarge};

/// `INVALID_ZIP` whose message contains `names`, and nothing left but the mount.
#[track_caller]
pub(super) fn assert_refused(world: &World, archive: &[u8], names: &str) {
    match world.unpack(archive, "") {
        Err(Error::Invalid(invalid)) => {
            assert_eq!((invalid.code, invalid.field.as_str()), ("INVALID_ZIP", "body"));
            assert!(invalid.message.contains(names), "{}", invalid.message);
        }
        other => panic!("{names}: {other:?}"),
    }
    world.assert_clean();
}

#[test]
fn a_builder_of_hostile_archives_builds_good_ones_too() {
    let world = World::new();
    world.unpack(&raw_archive(&[Raw::new("a", "1"), Raw::new("b/", "").with(|raw| raw.mode = 0o4_0700)]), "").unwrap();
    world.assert_tree(&[("a", "1"), ("b", "/")]);
}

#[test]
fn an_entry_that_must_not_be_is_refused_by_name_and_nothing_changes() {
    let world = World::new();
    let mode = |mode| move |raw: &mut Raw| raw.mode = mode;
    let link = |name: &str, target: &str| Raw::new(name, target).with(mode(0o12_0777));
    for (bad, names) in [
        (Raw::new("../outside/evil", "x"), "../outside/evil"),
        (Raw::new("a/../../evil", "x"), "a/../../evil"),
        (Raw::new("/etc/evil", "x"), "absolute"),
        (Raw::new("C:evil", "x"), "absolute"),
        (Raw::new("a\\..\\evil", "x"), "backslash"),
        (Raw::new("evil\0.txt", "x"), "NUL"),
        (Raw::new("", "x"), "no name"),
        (Raw::new("a//evil", "x"), "empty component"),
        (Raw::new("x".repeat(256), "x"), "255 bytes"),
        (Raw::new("d/".repeat(128) + "x", "x"), "deep"),
        (Raw::new(b"\xFFevil".to_vec(), "x").with(|raw| raw.flags = 1 << 11), "UTF-8"),
        (Raw::new("evil", "x").with(|raw| raw.flags = 1), "encrypted"),
        (Raw::new("evil", "x").with(|raw| (raw.flags, raw.local_name) = (1, Some(b"other".to_vec()))), "encrypted"),
        (Raw::new("a/../evil", "x").with(|raw| (raw.flags, raw.method) = (1, 99)), "encrypted"),
        (Raw::new("evil/.", "x"), "disagree"),
        (Raw::new("evil", "x").with(|raw| raw.method = 14), "compression"),
        (Raw::new("evil", "x").with(|raw| raw.local_name = Some(b"good".to_vec())), "evil"),
        (Raw::new("evil", "").with(mode(0o1_0644)), "neither"),
        (Raw::new("evil", "").with(mode(0o2_0644)), "neither"),
        (Raw::new("evil", "").with(mode(0o6_0644)), "neither"),
        (Raw::new("evil", "").with(mode(0o14_0644)), "neither"),
        (Raw::new("evil/", "").with(mode(0o10_0644)), "disagree"),
        (Raw::new("evil/", "x").with(mode(0o4_0755)), "content"),
        (link("evil", "/etc/passwd"), "leads out"),
        (link("evil", "../outside"), "leads out"),
        (link("a/evil", "../../outside"), "leads out"),
        (link("evil", ""), "leads out"),
        (link("evil", "a\0b"), "leads out"),
        (link("evil", &"x/".repeat(2048)), "4095"),
        (Raw::new("evil", "x").with(|raw| raw.crc ^= 1), "evil"),
        (Raw::new("evil", "x").with(|raw| raw.size = 0), "evil"),
        (Raw::new("evil", "x").with(|raw| raw.size = 2), "evil"),
        (Raw::new("evil", "not deflated").with(|raw| raw.method = 8), "evil"),
        (Raw::new("evil", "not zstd").with(|raw| raw.method = 93), "evil"),
    ] {
        assert_refused(&world, &raw_archive(&[Raw::new("good", "x"), bad, Raw::new("last", "x")]), names);
        assert!(world.tree().is_empty(), "{names}");
    }
}

#[test]
fn two_entries_for_one_place_are_refused() {
    let world = World::new();
    for pair in [
        ["a", "a"],
        ["a/", "a/"],
        ["a", "./a"],
        ["a", "a/"],
        ["a/", "a"],
        ["a", "a/b"],
        ["a/b", "a"],
        ["x/a/b/c", "x/a"],
        ["./", "./"],
        [".", "././"],
    ] {
        let entry = |name: &str| Raw::new(name, "").with(|raw| raw.mode = 0);
        assert_refused(&world, &raw_archive(&[entry("good"), entry(pair[0]), entry(pair[1])]), pair[1]);
        assert!(world.tree().is_empty(), "{pair:?}");
    }
    // A link is no way to write through.
    let link = Raw::new("a", ".").with(|raw| raw.mode = 0o12_0777);
    assert_refused(&world, &raw_archive(&[link, Raw::new("a/b", "x")]), "a/b");
    // A folder after what is in it is none of these.
    world.unpack(&archive(&[("a/b", "x"), ("a/", "")]), "").unwrap();
}

#[test]
fn entries_are_counted_whatever_they_are_called() {
    let world = World::new();
    for name in ["./", "a"] {
        let entry = Raw::new(name, "").with(|raw| raw.mode = 0);
        let unpacked = world.unpack(&raw_archive(&vec![entry; 101]), "");
        assert!(matches!(unpacked, Err(Error::TooLarge { what: TooLarge::ExtractedFiles, limit: 100 })), "{name}: {unpacked:?}");
    }
    world.assert_clean();
    world.unpack(&archive(&[("./", ""), ("a", "1"), ("./b/", "")]), "").unwrap();
    world.assert_tree(&[("a", "1"), ("b", "/")]);
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let world = World::new();
    let first = Raw::new("a", "x".repeat(100));
    let inside = first.clone().with(|raw| raw.starts = Some(0));
    assert_refused(&world, &raw_archive(&[first.clone(), inside.with(|raw| raw.name = b"b".to_vec())]), "");
    let quoting = raw_archive(&[Raw::new("inner", "y")]);
    let outer = Raw::new("outer", quoting);
    let inner = Raw::new("inner", "y").with(|raw| raw.starts = Some(35));
    assert_refused(&world, &raw_archive(&[outer, inner]), "overlaps");
}

#[test]
fn an_archive_that_only_a_bomb_can_be_is_refused_before_it_is_unpacked() {
    let world = World::new();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("zeros", SimpleFileOptions::default().compression_method(CompressionMethod::Zstd)).unwrap();
    for _ in 0..80 {
        zip.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let (bomb, limits) = (zip.finish().unwrap().into_inner(), Limits { extracted_bytes: 1 << 30, ..LIMITS });
    let upload = Upload::of(&bomb, &place(&world.folder()));
    let staged = stage(&world.folder(), upload, rel(""), Mode::Merge, Terms { limits, ..terms() });
    assert!(matches!(staged.map(drop), Err(Error::TooLarge { what: TooLarge::Extracted, .. })));
    world.assert_clean();
}

#[test]
fn a_bomb_is_stopped_by_what_it_unpacks_to_whatever_it_declares() {
    let world = World::new();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bomb", SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)).unwrap();
    zip.write_all(&vec![0; 50_000_019]).unwrap();
    let mut bomb = zip.finish().unwrap().into_inner();
    assert!(matches!(world.unpack(&bomb, ""), Err(Error::TooLarge { limit: 1_048_576, .. })));
    let real = 50_000_019_u32.to_le_bytes();
    while let Some(at) = bomb.windows(4).position(|window| window == real) {
        bomb[at..at + 4].copy_from_slice(&16_u32.to_le_bytes());
    }
    assert_refused(&world, &bomb, "bomb");
    assert!(world.tree().is_empty());
}

#[test]
fn what_is_no_archive_or_only_a_part_of_one_is_refused() {
    let world = World::new();
    let whole = archive(&[("a", "12345678"), ("b/c", "12345678")]);
    for cut in 0..whole.len() {
        assert_refused(&world, &whole[..cut], "archive");
    }
    assert_refused(&world, b"#!/bin/sh\necho this is no archive, and long enough to be one\n", "archive");
    // Whatever a flipped byte breaks, it never panics and never leaves anything half-done.
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 0xFF;
        let _ = world.unpack(&broken, "");
        world.assert_clean();
    }
}
