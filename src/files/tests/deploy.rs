//! Archives that are right: what they become, what stays, and what is left when the server dies on the way.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
};

use super::*;
use crate::{
    error::{Error, TooLarge},
    files::deploy::recover,
};

#[test]
fn an_archive_becomes_what_it_names_and_the_rest_stays() {
    let world = World::new();
    fs::create_dir(world.app("lib")).unwrap();
    fs::write(world.app("lib/kept"), "kept").unwrap();
    fs::write(world.app("boot.py"), "old").unwrap();
    let entries =
        [("boot.py", "new"), ("run.sh", "go"), ("empty/", ""), ("lib/deep/er", "1"), ("lib/ünï 😀", "2"), ("link", "→ lib/kept")];
    let deployed = world.unpack(&archive(&entries), "").unwrap();
    assert_eq!(deployed, Unpacked { files: 5, bytes: 3 + 2 + 1 + 1 + 8 });
    world.assert_tree(&[
        ("boot.py", "new"),
        ("run.sh", "*go"),
        ("empty", "/"),
        ("lib", "/"),
        ("lib/kept", "kept"),
        ("lib/deep", "/"),
        ("lib/deep/er", "1"),
        ("lib/ünï 😀", "2"),
        ("link", "→ lib/kept"),
    ]);
    for (path, mode) in [("boot.py", 0o644), ("run.sh", 0o755), ("empty", 0o755), ("lib/deep", 0o755)] {
        assert_eq!(fs::metadata(world.app(path)).unwrap().mode() & 0o7777, mode, "{path}");
    }
}

#[test]
fn everything_unpacked_belongs_to_the_containers_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (world, user) = (World::new(), Owner { uid: 1234, gid: 2345 });
    let entries = Upload::of(&archive(&[("a/b/file", "1"), ("a/link", "→ b"), ("c/", "")]), &place(&world.folder()));
    let terms = Terms { owner: user, ..terms() };
    stage(&world.folder(), entries, rel("x/y"), Mode::Merge, terms).unwrap().move_in(Moment::Live).unwrap();
    for path in ["x", "x/y", "x/y/a", "x/y/a/b", "x/y/a/b/file", "x/y/a/link", "x/y/c"] {
        let meta = fs::symlink_metadata(world.app(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1234, 2345), "{path}");
    }
}

#[test]
fn an_archive_goes_below_a_path_also_through_a_link_that_stays_inside() {
    let world = World::new();
    fs::create_dir_all(world.app("releases/1")).unwrap();
    symlink("releases/1", world.app("current")).unwrap();
    world.unpack(&archive(&[("a", "1")]), "new/deep").unwrap();
    world.unpack(&archive(&[("a", "2")]), "/app/current").unwrap();
    world.unpack(&archive(&[]), "").unwrap();
    world.assert_tree(&[
        ("current", "→ releases/1"),
        ("new", "/"),
        ("new/deep", "/"),
        ("new/deep/a", "1"),
        ("releases", "/"),
        ("releases/1", "/"),
        ("releases/1/a", "2"),
    ]);
}

#[test]
fn an_archive_goes_nowhere_but_into_a_folder_of_the_mount() {
    let world = World::new();
    fs::write(world.app("file"), "").unwrap();
    symlink(world.outside(), world.app("out")).unwrap();
    for at in ["file", "file/below", "out", "out/below", &"d/".repeat(128)] {
        match world.unpack(&archive(&[("secret", "mine"), ("other", "")]), at) {
            Err(Error::Invalid(invalid)) => assert_eq!((invalid.code, invalid.field.as_str()), ("INVALID_PATH", "path"), "{at}"),
            other => panic!("{at}: {other:?}"),
        }
        world.assert_clean();
    }
}

#[test]
fn a_file_never_takes_a_folders_place_nor_a_folder_a_files() {
    let world = World::new();
    fs::create_dir_all(world.app("a/folder")).unwrap();
    fs::write(world.app("a/file"), "kept").unwrap();
    symlink(world.outside(), world.app("a/out")).unwrap();
    let before = world.tree();
    for (name, content) in [("a/folder", "x"), ("a/folder", "→ b"), ("a/file/", ""), ("a/file/below", "x"), ("a/out/x", "x")] {
        hostile::assert_refused(&world, &archive(&[("good", "x"), (name, content)]), "a/");
        assert_eq!(world.tree(), before, "{name}");
    }
}

#[test]
fn what_the_server_left_when_it_died_is_removed_before_the_commit_and_finished_after_it() {
    let world = World::new();
    fs::create_dir(world.app("lib")).unwrap();
    fs::write(world.app("lib/old"), "old").unwrap();
    let before = [("lib", "/"), ("lib/old", "old")];
    let staged = || world.stage(&archive(&[("lib/a", "1"), ("b", "2")]), "", Mode::Merge).unwrap();

    drop(staged());
    recover(&world.folder()).unwrap();
    world.assert_tree(&before);

    staged().commit(Moment::Live).unwrap();
    fs::rename(world.folder().join("moving/tree/b"), world.app("b")).unwrap();
    fs::create_dir(world.folder().join("incoming")).unwrap();
    recover(&world.folder()).unwrap();
    recover(&world.folder()).unwrap();
    world.assert_tree(&[("b", "2"), ("lib", "/"), ("lib/a", "1"), ("lib/old", "old")]);
}

#[test]
fn what_gets_in_the_way_after_the_commit_hinders_only_itself() {
    let world = World::new();
    let staged = world.stage(&archive(&[("a/x", "1"), ("b", "2"), ("c", "3")]), "", Mode::Merge).unwrap();
    staged.commit(Moment::Live).unwrap();
    symlink(world.outside(), world.app("a")).unwrap();
    fs::create_dir(world.app("b")).unwrap();
    assert!(matches!(recover(&world.folder()), Err(Error::Io { .. })));
    let out = format!("→ {}", world.outside().display());
    world.assert_tree(&[("a", &out), ("b", "/"), ("c", "3")]);
}

#[test]
fn what_unpacks_to_more_than_the_limits_is_refused_and_what_just_fits_is_not() {
    let world = World::new();
    let content = "x".repeat(1 << 19);
    world.unpack(&archive(&[("a", &content), ("b", &content)]), "").unwrap();
    let too_large = |archive: &[u8]| match world.unpack(archive, "") {
        Err(Error::TooLarge { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(too_large(&archive(&[("a", &content), ("b", &content), ("c", "x")])), TooLarge::Extracted);
    let names: Vec<_> = (0..101).map(|i| i.to_string()).collect();
    let mut entries: Vec<_> = names.iter().map(|name| (&name[..], "")).collect();
    assert_eq!(too_large(&archive(&entries)), TooLarge::ExtractedFiles);
    entries.pop();
    world.unpack(&archive(&entries), "").unwrap();
    let deep = "d/".repeat(101);
    assert_eq!(too_large(&archive(&[(&deep, "")])), TooLarge::ExtractedFiles);
    world.assert_clean();
}
