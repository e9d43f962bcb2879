//! Packing: what is in the stream, and what is not.

use std::{
    io::Read,
    os::unix::{fs::symlink, net::UnixListener},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use zip::ZipArchive;

use super::*;
use crate::{error::Error, files::archive::Packer};

fn pack(world: &World, path: &str) -> Vec<u8> {
    let mut packed = Vec::new();
    Packer::open(&world.mount(), &rel(path)).unwrap().run(&mut packed).unwrap();
    packed
}

/// What is in an archive, as [`World::tree`] tells it.
fn contents(archive: &[u8]) -> BTreeMap<String, String> {
    let mut zip = ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut contents = BTreeMap::new();
    for i in 0..zip.len() {
        let mut entry = zip.by_index(i).unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        let mark = match entry.unix_mode().unwrap() {
            mode if mode & 0o17_0000 == 0o12_0000 => "→ ",
            mode if mode & 0o17_0000 == 0o4_0000 => "/",
            mode if mode & 0o111 != 0 => "*",
            _ => "",
        };
        contents.insert(entry.name().unwrap().trim_end_matches('/').to_owned(), format!("{mark}{content}"));
    }
    contents
}

#[test]
fn what_is_packed_unpacks_to_the_same() {
    let (world, copy) = (World::new(), World::new());
    let long = "0123456789abcdef".repeat(10_000);
    let entries = [
        ("a/b/c.sh", "run"),
        ("a/empty/", ""),
        ("a/link", "→ ../x"),
        ("x", &long),
        ("ünï 😀", "2"),
        ("loop", "→ loop"),
        ("none", ""),
    ];
    world.unpack(&archive(&entries), "").unwrap();
    let packed = pack(&world, "");
    assert_eq!(contents(&packed), world.tree());
    copy.unpack(&packed, "").unwrap();
    assert_eq!(copy.tree(), world.tree());
    assert_eq!(
        copy.app("x").metadata().unwrap().modified().unwrap(),
        world.app("x").metadata().unwrap().modified().unwrap(),
        "even times stay, to two seconds",
    );
    assert_eq!(contents(&pack(&world, "a/b")), BTreeMap::from([("c.sh".into(), "*run".into())]));
    assert_eq!(contents(&pack(&world, "a/b/c.sh")), BTreeMap::from([("c.sh".into(), "*run".into())]));
}

#[test]
fn links_out_devices_fifos_and_sockets_are_not_packed() {
    let world = World::new();
    symlink(world.outside(), world.app("out")).unwrap();
    symlink("/etc/passwd", world.app("passwd")).unwrap();
    let _socket = UnixListener::bind(world.app("socket")).unwrap();
    let special = |name: &str, kind| {
        rustix::fs::mknodat(rustix::fs::CWD, world.app(name), kind, rustix::fs::Mode::RUSR, rustix::fs::makedev(1, 5))
    };
    special("fifo", rustix::fs::FileType::Fifo).unwrap();
    // Only root can make one; it is /dev/zero, which would never end.
    let _ = special("device", rustix::fs::FileType::CharacterDevice);
    symlink("../outside", world.app("up")).unwrap();
    fs::write(world.app("file"), "packed").unwrap();
    assert_eq!(contents(&pack(&world, "")), BTreeMap::from([("file".into(), "packed".into())]));
    for path in ["fifo", "socket", "out", "passwd", "out/secret"] {
        let refused = Packer::open(&world.mount(), &rel(path)).err();
        assert!(matches!(&refused, Some(Error::Invalid(invalid)) if invalid.code == "INVALID_PATH"), "{path}: {refused:?}");
    }
    for path in ["missing", "missing/below"] {
        assert!(matches!(Packer::open(&world.mount(), &rel(path)), Err(Error::FileNotFound(name)) if name == path));
    }
}

#[test]
fn links_by_the_containers_name_for_the_mount_are_packed_relative_and_unpack_where_they_were() {
    let (world, copy) = (World::new(), World::new());
    fs::create_dir_all(world.app("releases/1/bin")).unwrap();
    symlink("/app/releases/1", world.app("current")).unwrap();
    symlink("/app/data", world.app("releases/1/bin/data")).unwrap();
    symlink("../../../data", world.app("releases/1/bin/same")).unwrap();
    let links =
        [("current", "→ releases/1"), ("releases/1/bin/data", "→ ../../../data"), ("releases/1/bin/same", "→ ../../../data")];
    copy.unpack(&pack(&world, ""), "").unwrap();
    for (path, target) in links {
        assert_eq!(copy.tree()[path], target);
    }
    // Also where the folder is reached through a link itself.
    symlink("releases/1", world.app("short")).unwrap();
    for path in ["releases/1", "short"] {
        copy.unpack(&pack(&world, path), "releases/1").unwrap();
        assert_eq!(copy.tree()["releases/1/bin/data"], "→ ../../../data", "{path}");
    }
}

#[test]
fn a_tree_deeper_than_any_path_is_packed_as_far_as_paths_go() {
    let world = World::new();
    // Made from the inside out, as no path is long enough to make it at once.
    for depth in 0..40 {
        fs::create_dir_all(world.app(&format!("new/{}", "d".repeat(250)))).unwrap();
        if depth > 0 {
            fs::rename(world.app("old"), world.app(&format!("new/{}/deeper", "d".repeat(250)))).unwrap();
        }
        fs::rename(world.app("new"), world.app("old")).unwrap();
    }
    let packed = contents(&pack(&world, ""));
    assert!(packed.len() > 30 && packed.keys().all(|name| name.len() < 4096));
}

#[test]
fn a_name_that_is_no_utf8_breaks_nothing() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let world = World::new();
    let folder = world.app("").join(OsStr::from_bytes(b"\xFF\xFE"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "1").unwrap();
    let packed = pack(&world, "");
    let mut zip = ZipArchive::new(Cursor::new(packed)).unwrap();
    assert_eq!(zip.len(), 1);
    assert_eq!(zip.by_index(0).unwrap().name_raw(), b"\xFF\xFE/file");
}

#[test]
fn a_file_that_shrinks_or_grows_after_its_turn_came_leaves_the_archive_whole() {
    let world = World::new();
    for (size, packed) in [(10, 10), (1000, 100)] {
        fs::write(world.app("file"), "x".repeat(100)).unwrap();
        let packer = Packer::open(&world.mount(), &rel("file")).unwrap();
        fs::write(world.app("file"), "x".repeat(size)).unwrap();
        let mut archive = Vec::new();
        packer.run(&mut archive).unwrap();
        assert_eq!(contents(&archive)["file"].len(), packed);
    }
}

#[test]
fn the_work_ends_when_nobody_wants_the_archive_also_where_nothing_is_written() {
    let world = World::new();
    for number in 0..100 {
        UnixListener::bind(world.app(&format!("{number}"))).unwrap();
    }
    fs::File::create(world.app("sparse")).unwrap().set_len(1 << 40).unwrap();
    for path in ["", "sparse"] {
        let (mut packed, asked) = (Vec::new(), Arc::new(AtomicU32::new(0)));
        let counter = asked.clone();
        let packer = Packer::open(&world.mount(), &rel(path)).unwrap();
        let wanted = move || counter.fetch_add(1, Ordering::Relaxed) < 20;
        assert!(packer.only_while(wanted).run(&mut packed).is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 21);
        assert!(ZipArchive::new(Cursor::new(packed)).is_err());
    }
}

#[test]
fn a_sink_that_fails_gets_no_end_of_the_archive() {
    struct Narrow(Vec<u8>);
    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.len() + bytes.len() > 100 {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            self.0.extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let world = World::new();
    world.unpack(&archive(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]), "").unwrap();
    let mut sink = Narrow(Vec::new());
    assert!(matches!(Packer::open(&world.mount(), &rel("")).unwrap().run(&mut sink), Err(Error::Io { .. })));
    assert!(!sink.0.is_empty() && !sink.0.windows(4).any(|window| window == b"PK\x05\x06"));
}

#[test]
fn an_archive_of_more_than_can_be_remembered_gets_no_end() {
    let world = World::new();
    let names: Vec<_> = (0..100).map(|i| format!("{i:0100}")).collect();
    let entries: Vec<_> = names.iter().map(|name| (&name[..], "")).collect();
    world.unpack(&archive(&entries), "").unwrap();
    let end = b"PK\x05\x06";
    for (memory, whole) in [(100 * (256 + 2 * 100), true), (100 * (256 + 2 * 100) - 1, false)] {
        let mut packed = Vec::new();
        let run = Packer::open(&world.mount(), &rel("")).unwrap().run_within(memory, &mut packed);
        assert_eq!((run.is_ok(), packed.windows(4).any(|window| window == end)), (whole, whole));
    }
}
