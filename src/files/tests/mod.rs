//! What the tests of deploys and archives share: a container's folder with something outside of it, and archives built byte by byte.

mod deploy;
mod formats;
mod hostile;
mod layers;
mod pack;
mod race;

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{
    archive::{Limits, Unpacked},
    deploy::{Deploy, Mode, Moment, Staged, Terms, place, stage, stage_kept},
    path::RelPath,
    root::Mount,
    upload::Upload,
};
use crate::{domain::owner::Owner, error::Result};

const LIMITS: Limits = Limits { extracted_bytes: 1 << 20, extracted_files: 100 };

/// A container's folder, and beside it what must never be touched.
struct World {
    temp: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { temp: tempfile::tempdir().unwrap() };
        fs::create_dir(world.folder()).unwrap();
        fs::create_dir(world.outside()).unwrap();
        fs::write(world.outside().join("secret"), "secret").unwrap();
        Mount::create(&world.folder(), owner()).unwrap();
        fs::create_dir(place(&world.folder())).unwrap();
        world
    }

    fn folder(&self) -> PathBuf {
        self.temp.path().join("container")
    }

    fn outside(&self) -> PathBuf {
        self.temp.path().join("outside")
    }

    fn app(&self, path: &str) -> PathBuf {
        self.folder().join("app").join(path)
    }

    fn mount(&self) -> Mount {
        Mount::open(&self.folder()).unwrap()
    }

    /// Deploys while a process may be at work in the mount.
    fn unpack(&self, archive: &[u8], at: &str) -> Result<Unpacked> {
        let staged = self.stage(archive, at, Mode::Merge)?;
        let unpacked = staged.unpacked;
        staged.move_in(Moment::Live).map(|_| unpacked)
    }

    fn stage(&self, archive: &[u8], at: &str, mode: Mode) -> Result<Staged> {
        stage(&self.folder(), Upload::of(archive, &place(&self.folder())), rel(at), mode, terms())
    }

    fn deploy(&self, entries: &[(&str, &str)], at: &str, mode: Mode, moment: Moment) -> Result<Deploy> {
        self.stage(&archive(entries), at, mode)?.move_in(moment)
    }

    fn go_back(&self, number: u64, moment: Moment) -> Result<Deploy> {
        stage_kept(&self.folder(), number, terms())?.move_in(moment)
    }

    /// Every path below the mount, with what is there: content, `→ target`, or `/`; an executable is marked with `*`.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        let mut pending = vec![self.app("")];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
                let (path, meta) = (entry.path(), entry.metadata().unwrap());
                let what = if meta.is_dir() {
                    pending.push(path.clone());
                    "/".to_owned()
                } else if meta.is_symlink() {
                    format!("→ {}", fs::read_link(&path).unwrap().display())
                } else {
                    let mark = if meta.permissions().mode() & 0o111 == 0 { "" } else { "*" };
                    format!("{mark}{}", fs::read_to_string(&path).unwrap())
                };
                tree.insert(path.strip_prefix(self.app("")).unwrap().to_str().unwrap().to_owned(), what);
            }
        }
        tree
    }

    fn assert_tree(&self, expected: &[(&str, &str)]) {
        assert_eq!(self.tree(), expected.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect());
        self.assert_clean();
    }

    /// The mount has these files and no others.
    fn assert_files(&self, expected: &[(&str, &str)]) {
        let mut tree = self.tree();
        tree.retain(|_, what| what != "/");
        assert_eq!(tree, expected.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect());
    }

    /// Nothing is beside the mount, and nothing happened outside.
    fn assert_clean(&self) {
        assert_eq!(names(&self.folder()), ["app", "deploys"]);
        assert!(names(&place(&self.folder())).iter().all(|name| name.ends_with(".zip") || name == "history.json"));
        assert_eq!(names(&self.outside()), ["secret"]);
        assert_eq!(fs::read_to_string(self.outside().join("secret")).unwrap(), "secret");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The user that runs the tests, who may give files to no other.
fn owner() -> Owner {
    Owner { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
}

fn terms() -> Terms {
    Terms { owner: owner(), limits: LIMITS, keep: 3, volumes: Vec::new() }
}

fn rel(path: &str) -> RelPath {
    RelPath::parse("path", path).unwrap()
}

/// An archive of ordinary files, folders (named with a slash) and links (`→ target`), as a well-behaved program makes it.
fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        let mode = if name.ends_with(".sh") { 0o4755 } else { 0o600 };
        let options = SimpleFileOptions::default().unix_permissions(mode);
        if name.ends_with('/') {
            zip.add_directory(*name, options).unwrap();
        } else if let Some(target) = content.strip_prefix("→ ") {
            zip.add_symlink(*name, target, options).unwrap();
        } else {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

/// An entry with whatever a hostile program would write into its headers. As made, it is a right one, stored.
#[derive(Clone)]
struct Raw {
    name: Vec<u8>,
    /// In the local header, if another.
    local_name: Option<Vec<u8>>,
    data: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u32,
    size: u32,
    /// The whole of a Unix mode.
    mode: u32,
    /// Where the directory says that the entry starts, if not where it does.
    starts: Option<u32>,
}

impl Raw {
    fn new(name: impl Into<Vec<u8>>, data: impl Into<Vec<u8>>) -> Self {
        let (name, data) = (name.into(), data.into());
        let length = u32::try_from(data.len()).unwrap();
        let (crc, mode) = (crc32(&data), 0o10_0644);
        Self { name, local_name: None, crc, data, flags: 0, method: 0, compressed: length, size: length, mode, starts: None }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// What both headers of an entry have in common, from the flags to the length of the extra field.
    fn header(&self, name: &[u8]) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend([self.flags, self.method, 0, 0x21].map(u16::to_le_bytes).concat());
        header.extend([self.crc, self.compressed, self.size].map(u32::to_le_bytes).concat());
        header.extend([u16::try_from(name.len()).unwrap(), 0].map(u16::to_le_bytes).concat());
        header
    }
}

fn raw_archive(entries: &[Raw]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let start = entry.starts.unwrap_or(u32::try_from(zip.len()).unwrap());
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        zip.extend(b"PK\x03\x04\x14\0");
        zip.extend(entry.header(local_name));
        zip.extend(local_name);
        zip.extend(&entry.data);
        directory.extend(b"PK\x01\x02\x14\x03\x14\0");
        directory.extend(entry.header(&entry.name));
        directory.extend([0; 6]);
        directory.extend([entry.mode << 16, start].map(u32::to_le_bytes).concat());
        directory.extend(&entry.name);
    }
    let (count, start) = (u16::try_from(entries.len()).unwrap(), u32::try_from(zip.len()).unwrap());
    let size = u32::try_from(directory.len()).unwrap();
    zip.extend(directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend([count, count].map(u16::to_le_bytes).concat());
    zip.extend([size, start].map(u32::to_le_bytes).concat());
    zip.extend([0; 2]);
    zip
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
