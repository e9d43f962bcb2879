//! A process in the container that swaps a folder for a link to the outside, over and over, while the server works on it.

use std::{
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use super::*;
use crate::files::archive::Packer;

/// How often the server does its work meanwhile.
const ROUNDS: u32 = 200;

/// Runs `work` while `app/hot` is now a folder that holds `secret`, and now a link to the folder outside that does too.
fn while_swapping(world: &World, mut work: impl FnMut()) {
    let (stop, swaps) = (AtomicBool::new(false), AtomicU32::new(0));
    fs::create_dir(world.app("hot")).unwrap();
    fs::write(world.app("hot/secret"), "inside").unwrap();
    symlink(world.outside(), world.app("link")).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let app = fs::File::open(world.app("")).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(&app, "hot", &app, "link", exchange);
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 0..ROUNDS {
            while swaps.load(Ordering::Relaxed) < round {
                thread::yield_now();
            }
            work();
        }
        stop.store(true, Ordering::Relaxed);
    });
    world.assert_clean();
}

#[test]
fn nothing_is_ever_written_outside_while_folders_are_swapped_for_links() {
    let world = World::new();
    let archive = archive(&[("hot/secret", "evil"), ("hot/more/evil", "evil"), ("hot/evil.sh", "evil")]);
    let (mut moved, mut hindered) = (0, 0);
    while_swapping(&world, || match world.unpack(&archive, "") {
        Ok(_) => moved += 1,
        Err(_) => hindered += 1,
    });
    assert!(moved > 0 && hindered > 0, "the race was on: {moved} moved, {hindered} hindered");
}

#[test]
fn nothing_is_ever_read_from_outside_while_folders_are_swapped_for_links() {
    let world = World::new();
    let (mount, mut read) = (world.mount(), 0);
    while_swapping(&world, || {
        let mut packed = Vec::new();
        Packer::open(&mount, &rel("")).unwrap().run(&mut packed).unwrap();
        for path in ["hot/secret", "link/secret"] {
            let content = mount.open_file(&rel(path)).map(std::io::read_to_string);
            assert!(content.is_err() || content.is_ok_and(|content| content.unwrap() == "inside"));
        }
        let mut zip = zip::ZipArchive::new(Cursor::new(packed)).unwrap();
        for i in 0..zip.len() {
            let entry = zip.by_index(i).unwrap();
            let is_secret = entry.name().unwrap().ends_with("/secret");
            if is_secret {
                assert_eq!(std::io::read_to_string(entry).unwrap(), "inside");
                read += 1;
            }
        }
    });
    assert!(read > 0);
}
