//! Unpacking: the contents of archives into a new folder, with the owners and modes that they shall have.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use zip::{
    ZipReadOptions,
    read::{ZipFile, ZipFileEntry},
};

use super::{
    Limits,
    check::{Archive, Cursor},
    crew::{Crew, Job},
    entry::{Entry, Kind, MAX_DEPTH, link_stays_inside, modified, refused, unreadable},
    layers::{Layer, Seen, visible},
};
use crate::{
    domain::owner::Owner,
    error::{Error, Result},
    files::{
        path::{MAX_PATH, RelPath, at},
        root::{invalid_path, set_owner},
    },
};

/// How much is unpacked between two writes.
const BUFFER: usize = 128 * 1024;

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files and links.
    pub files: u64,
    /// Their contents.
    pub bytes: u64,
}

impl Unpacked {
    pub(super) fn with(self, other: Self) -> Self {
        Self { files: self.files + other.files, bytes: self.bytes + other.bytes }
    }
}

/// Checks an archive and unpacks it below `to` in the new folder `tree`.
///
/// # Errors
/// `INVALID_ZIP`, naming the entry; [`Error::TooLarge`]; `INVALID_PATH` where `to` is too deep; [`Error::Io`], also where the
/// server may not give files to `owner`.
pub(in crate::files) fn unpack(tree: &Path, archive: File, to: &RelPath, owner: Owner, limits: &Limits) -> Result<Unpacked> {
    let prefix = Path::new(to.as_str());
    if prefix.components().count() >= MAX_DEPTH {
        return Err(invalid_path(to, format!("the path lies {MAX_DEPTH} folders deep or deeper, where no file may lie")));
    }
    let mut archive = Archive::open(archive)?;
    archive.check(prefix, limits)?;
    let mut stage = Stage::new(tree, owner)?;
    stage.enter(prefix).map_err(writing(to.as_str()))?;
    Crew::unpack(&stage, limits, |foreman| {
        archive.each(prefix, |entry, raw, archive| {
            foreman.give(Job { path: prefix.join(&entry.path), entry, raw, archive: archive.clone() })
        })
    })
}

/// Unpacks what is to be seen of archives that were checked when they came, one over the other, into the new folder `tree`.
///
/// # Errors
/// As [`unpack`].
pub(in crate::files) fn unpack_layers(tree: &Path, layers: &[Layer], owner: Owner, limits: &Limits) -> Result<Unpacked> {
    Crew::unpack(&Stage::new(tree, owner)?, limits, |foreman| {
        let give = |seen: Seen, raw, archive: &Arc<File>| {
            foreman.give(Job { path: seen.path, entry: seen.entry, raw, archive: archive.clone() })
        };
        visible(layers, give).map(drop)
    })
}

/// The tree that is being unpacked, as one thread sees it. Only the server reaches it, and its folders are opened below its handle
/// all the same.
pub(super) struct Stage {
    root: Dir,
    /// The folder of the last entry, which is likely the next one's too.
    parent: Option<(PathBuf, Dir)>,
    owner: Owner,
    buffer: Vec<u8>,
    unpacked: Unpacked,
}

impl Stage {
    fn new(tree: &Path, owner: Owner) -> Result<Self> {
        let opened = fs::create_dir(tree).and_then(|()| Dir::open_ambient_dir(tree, ambient_authority()));
        let root = opened.map_err(Error::io("make room to unpack"))?;
        dress(&root, ".".as_ref(), owner).map_err(Error::io("make room to unpack"))?;
        Ok(Self { parent: None, root, owner, buffer: Vec::new(), unpacked: Unpacked::default() })
    }

    /// The same tree, for another thread.
    pub(super) fn another(&self) -> Result<Self> {
        let root = self.root.try_clone().map_err(Error::io("open what is unpacked"))?;
        Ok(Self { parent: None, root, owner: self.owner, buffer: vec![0; BUFFER], unpacked: Unpacked::default() })
    }

    /// What this thread has unpacked.
    pub(super) fn unpacked(&self) -> Unpacked {
        self.unpacked
    }

    /// Makes what an entry stands for at `path`.
    pub(super) fn put(
        &mut self,
        crew: &Crew,
        path: &Path,
        entry: &Entry,
        raw: ZipFileEntry<'_>,
        contents: &mut Cursor,
    ) -> Result<()> {
        if entry.kind == Kind::Folder {
            return self.enter(path).map_err(writing(&entry.name));
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        self.enter(parent).map_err(writing(&entry.name))?;
        let mut content =
            raw.with_reader(contents, ZipReadOptions::new()).map_err(|error| unreadable(Some(&entry.name), error))?;
        self.unpacked.files += 1;
        match entry.kind {
            Kind::File { executable } => self.file(crew, path, entry, executable, &mut content),
            _ => self.link(crew, path, entry, &mut content),
        }
    }

    /// Makes the folder at `path`, and those it lies in, where they are missing, and opens it.
    fn enter(&mut self, path: &Path) -> io::Result<()> {
        if self.parent.as_ref().is_some_and(|(entered, _)| entered == path) {
            return Ok(());
        }
        let dir = match self.root.open_dir(at(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make(path)?;
                self.root.open_dir(path)?
            }
            opened => opened?,
        };
        self.parent = Some((path.to_owned(), dir));
        Ok(())
    }

    fn make(&self, path: &Path) -> io::Result<()> {
        let mut made = PathBuf::new();
        for component in path.components() {
            made.push(component);
            match self.root.create_dir(&made) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                result => result?,
            }
            dress(&self.root, &made, self.owner)?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        crew: &Crew,
        path: &Path,
        entry: &Entry,
        executable: bool,
        content: &mut ZipFile<'_, Cursor>,
    ) -> Result<()> {
        let (name, dir) = self.place(path);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(opened.map_err(|error| not_made(entry, error.into()))?);
        self.copy(crew, entry, content, &mut file)?;
        let mode = if executable { 0o755 } else { 0o644 };
        let dressed = rustix::fs::fchown(&file, Some(Uid::from_raw(self.owner.uid)), Some(Gid::from_raw(self.owner.gid)))
            .and_then(|()| rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)))
            .and_then(|()| modified(content).map_or(Ok(()), |seconds| rustix::fs::futimens(&file, &modified_at(seconds))));
        dressed.map_err(|error| writing(&entry.name)(error.into()))
    }

    /// Copies what is really there, whatever the headers say.
    fn copy(&mut self, crew: &Crew, entry: &Entry, content: &mut impl Read, file: &mut impl Write) -> Result<()> {
        let mut size = 0_u64;
        loop {
            let read = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(Some(&entry.name), error.into())),
            };
            size += read as u64;
            self.unpacked.bytes += read as u64;
            crew.count(read as u64)?;
            file.write_all(&self.buffer[..read]).map_err(writing(&entry.name))?;
        }
        if size == entry.size {
            return Ok(());
        }
        Err(refused(&entry.name, &format!("it unpacks to {size} bytes and says that it has {}", entry.size)))
    }

    fn link(&mut self, crew: &Crew, path: &Path, entry: &Entry, content: &mut impl Read) -> Result<()> {
        if entry.size >= MAX_PATH as u64 {
            return Err(refused(&entry.name, "it is a link to a path of more than 4095 bytes"));
        }
        let mut target = Vec::new();
        self.copy(crew, entry, content, &mut target)?;
        let target = PathBuf::from(OsString::from_vec(target));
        if !link_stays_inside(path, &target) || target.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(refused(&entry.name, "it is a link that leads out of the mount"));
        }
        let (name, dir) = self.place(path);
        rustix::fs::symlinkat(&target, dir, name).map_err(|error| not_made(entry, error.into()))?;
        set_owner(dir, name, self.owner).map_err(writing(&entry.name))
    }

    /// The last component of `path`, whose folder was just entered, and that folder.
    fn place<'a>(&'a self, path: &'a Path) -> (&'a Path, &'a Dir) {
        let dir = self.parent.as_ref().map_or(&self.root, |(_, dir)| dir);
        (path.file_name().map_or(path, Path::new), dir)
    }
}

/// Gives a folder the owner and the mode that all have.
fn dress(dir: &Dir, name: &Path, owner: Owner) -> io::Result<()> {
    set_owner(dir, name, owner)?;
    Ok(rustix::fs::chmodat(dir, name, Mode::from_raw_mode(0o755), AtFlags::empty())?)
}

/// Where even our own check of duplicates misses one: names that are the same to this file system only.
fn not_made(entry: &Entry, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => refused(&entry.name, "it is in the archive twice"),
        _ => writing(&entry.name)(error),
    }
}

fn writing(name: &str) -> impl FnOnce(io::Error) -> Error {
    Error::io(format!("unpack {name:?}"))
}

fn modified_at(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
