//! A process in the container that swaps a folder for a link to the outside, over and over, while the server works on it.

use std::{
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::files::archive::Packer;

/// How often the server does its work meanwhile, at the least.
const ROUNDS: u32 = 200;

/// How long it may take until the work met both sides of the swap.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `work` while `app/hot` is now a folder that holds `secret`, and now a link to the folder outside that does too,
/// until it was run often enough and says that it has seen enough.
fn while_swapping(world: &World, mut work: impl FnMut() -> bool) {
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
        let _stop = Stop(&stop);
        let begun = Instant::now();
        for round in 0.. {
            while swaps.load(Ordering::Relaxed) < round {
                thread::yield_now();
            }
            if work() && round >= ROUNDS {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the work meets only one side of the swap");
        }
    });
    world.assert_clean();
}

/// Ends the swapping, also where the work panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_ever_written_outside_while_folders_are_swapped_for_links() {
    let world = World::new();
    let archive = archive(&[("hot/secret", "evil"), ("hot/more/evil", "evil"), ("hot/evil.sh", "evil")]);
    let (mut moved, mut hindered) = (0, 0);
    while_swapping(&world, || {
        match world.unpack(&archive, "") {
            Ok(_) => moved += 1,
            Err(_) => hindered += 1,
        }
        moved > 0 && hindered > 0
    });
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
        read > 0
    });
}
