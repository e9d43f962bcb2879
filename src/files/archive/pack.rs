//! [`Packer`]: a folder of a mount, or a file, as a stream of a zip archive. It changes nothing.
//!
//! What it packs can be unpacked where it was. So a link that begins with `/app`, as the container calls the mount, becomes
//! a relative one, and a link that leads out of the mount is left out.

use std::{
    cell::Cell,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use cap_std::fs::Dir;
use chrono::{Local, TimeZone};
use rustix::fs::{FileType, Stat};
use zip::{
    CompressionMethod, DateTime, ZipWriter,
    result::{ZipError, ZipResult},
    write::{SimpleFileOptions, StreamWriter},
};

use super::entry::portable_target;
use crate::{
    error::{Error, Result},
    files::{
        path::{MAX_PATH, RelPath, at},
        root::{Found, Mount, invalid_path, noun},
    },
};

/// How much of a file is read at once.
const BUFFER: usize = 64 * 1024;

/// From which size on an entry has the 64-bit sizes that not every reader knows: before 4 GiB, as what can't be compressed
/// grows a little.
const LARGE: u64 = 0xF000_0000;

/// What may be remembered of a tree while it is packed, in bytes. An archive ends with a list of all its entries, which the
/// zip library keeps, and a container chooses how many these are and how long their names. This is enough for 200,000, as
/// many as an upload may have by default, with names of 200 bytes.
const MEMORY: usize = 128 << 20;

/// What an entry takes of that without its name, which is kept here, too, as long as it is a folder to be looked into.
const ENTRY: usize = 256;

/// Something in a mount, opened and about to be packed.
pub struct Packer {
    what: What,
    /// Where in the mount it is.
    at: PathBuf,
    wanted: Wanted,
}

/// Whether somebody still waits for the archive.
type Wanted = Box<dyn Fn() -> bool + Send>;

enum What {
    Folder(Dir),
    File { name: String, stat: Stat, content: File },
}

impl Packer {
    /// Opens the folder or file at `path`, so that what can fail does so before the first byte is sent.
    ///
    /// # Errors
    /// [`Error::FileNotFound`]; `INVALID_PATH` for what is neither file nor folder, or is led out of the mount.
    pub fn open(mount: &Mount, path: &RelPath) -> Result<Self> {
        let found = mount.look(path)?;
        // What links mean depends on where they really are. Whoever moves a folder meanwhile confuses only their own links.
        let at = location(&mount.dir, &found.fd).unwrap_or_else(|| path.as_str().into());
        let what = match found.kind() {
            FileType::Directory => What::Folder(Dir::from_std_file(File::from(found.fd))),
            FileType::RegularFile => {
                let name = path.file_name().unwrap_or_default().to_owned();
                What::File { name, stat: found.stat, content: found.read().map_err(Error::io("open the file"))? }
            }
            kind => return Err(invalid_path(path, format!("{:?} is {}", path.as_str(), noun(kind)))),
        };
        Ok(Self { what, at, wanted: Box::new(|| true) })
    }

    /// Ends the work as soon as `wanted` says no. A sink alone would notice late: a terabyte of zeros is packed into little,
    /// and a million FIFOs into nothing.
    #[must_use]
    pub fn only_while(self, wanted: impl Fn() -> bool + Send + 'static) -> Self {
        Self { wanted: Box::new(wanted), ..self }
    }

    /// Writes the archive: a folder's content by names relative to it, or the one file by its own name.
    ///
    /// Links are kept as links, whether or not they lead anywhere. Skipped are links that lead out of the mount, devices,
    /// FIFOs and sockets, what can't be read, what is gone when its turn comes, and paths that are too long to be used. A
    /// file that is cut while it is read is in the archive as far as it was read.
    ///
    /// It remembers each entry to its end: 256 bytes and twice the name, and no more than 128 MiB of that in all.
    ///
    /// # Errors
    /// [`Error::Io`], where the sink fails, nobody wants the archive any more, or the entries are more than may be
    /// remembered. The archive is left without its end.
    pub fn run(self, sink: impl Write) -> Result<()> {
        self.run_within(MEMORY, sink)
    }

    pub(in crate::files) fn run_within(self, memory: usize, sink: impl Write) -> Result<()> {
        let cut = Rc::new(Cell::new(false));
        let zip = ZipWriter::new_stream(Sink { inner: sink, cut: cut.clone() });
        let mut packing = Packing { zip, cut, at: self.at, wanted: self.wanted, memory, buffer: vec![0; BUFFER] };
        let packed = match self.what {
            What::Folder(root) => packing.tree(&root),
            What::File { name, stat, content } => packing.file(name.as_bytes(), &stat, content),
        };
        let finished = packed.and_then(|()| packing.zip.finish()).map_err(io::Error::from);
        finished.and_then(|stream| stream.into_inner().flush()).map_err(Error::io("send the archive"))
    }
}

struct Packing<W: Write> {
    zip: ZipWriter<StreamWriter<Sink<W>>>,
    /// Whether the archive must not get an end.
    cut: Rc<Cell<bool>>,
    /// Where in the mount that is what entries' names are relative to.
    at: PathBuf,
    wanted: Wanted,
    /// How many bytes may still be remembered.
    memory: usize,
    buffer: Vec<u8>,
}

impl<W: Write> Packing<W> {
    /// Packs a tree folder by folder. Each is opened anew from the root, so that neither the stack nor the number of open
    /// files grows with the depth, and no `..` is trusted in a tree that changes.
    fn tree(&mut self, root: &Dir) -> ZipResult<()> {
        let mut pending = vec![PathBuf::new()];
        while let Some(path) = pending.pop() {
            let Ok(entries) = root.open_dir(at(&path)).and_then(|dir| Ok((dir.entries()?, dir))) else { continue };
            let (entries, dir) = entries;
            for entry in entries.map_while(io::Result::ok) {
                self.go_on()?;
                let name = entry.file_name();
                let path = path.join(&name);
                if path.as_os_str().len() >= MAX_PATH {
                    continue;
                }
                self.remember(&path)?;
                if self.entry(&dir, &name, &path)? == FileType::Directory {
                    pending.push(path);
                }
            }
        }
        Ok(())
    }

    /// Cuts the archive short where nobody wants it any more.
    fn go_on(&self) -> ZipResult<()> {
        if (self.wanted)() {
            return Ok(());
        }
        self.cut.set(true);
        Err(io::Error::from(io::ErrorKind::BrokenPipe).into())
    }

    /// Counts what an entry takes, and cuts the archive short where that is too much.
    fn remember(&mut self, path: &Path) -> ZipResult<()> {
        match self.memory.checked_sub(ENTRY + 2 * path.as_os_str().len()) {
            Some(left) => self.memory = left,
            None => {
                self.cut.set(true);
                tracing::warn!(folder = ?self.at, "an archive was cut short: the folder has more entries than can be packed");
                return Err(io::Error::other("there are more entries than can be packed").into());
            }
        }
        Ok(())
    }

    /// Packs what is called `name` in `dir`, and says what it is.
    fn entry(&mut self, dir: &Dir, name: &OsStr, path: &Path) -> ZipResult<FileType> {
        let Ok(found) = Found::entry(dir, name) else { return Ok(FileType::Unknown) };
        let (kind, path) = (found.kind(), path.as_os_str());
        match kind {
            FileType::RegularFile => match found.read() {
                Ok(content) => self.file(path.as_bytes(), &found.stat, content)?,
                Err(_) => return Ok(FileType::Unknown),
            },
            FileType::Directory => self.folder(path, &found.stat)?,
            FileType::Symlink => self.link(Path::new(path), &found)?,
            _ => {}
        }
        Ok(kind)
    }

    fn file(&mut self, name: &[u8], stat: &Stat, content: File) -> ZipResult<()> {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        if !self.start(name, options(stat).large_file(size >= LARGE))? {
            return Ok(());
        }
        // A file that grows is packed up to the size that its entry was made for.
        let mut content = content.take(size);
        loop {
            self.go_on()?;
            match content.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => self.zip.write_all(&self.buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(()),
            }
        }
    }

    /// A folder whose name is no UTF-8 has no entry of its own, as the library takes none; what is in it has.
    fn folder(&mut self, name: &OsStr, stat: &Stat) -> ZipResult<()> {
        match name.to_str() {
            Some(name) => taken(self.zip.add_directory(name, options(stat))).map(|_| ()),
            None => Ok(()),
        }
    }

    fn link(&mut self, path: &Path, found: &Found) -> ZipResult<()> {
        let Ok(target) = rustix::fs::readlinkat(found.fd.as_fd(), "", Vec::new()) else { return Ok(()) };
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        let Some(packed) = portable_target(&self.at.join(path), target) else {
            tracing::debug!(?path, ?target, "a link that leads out of the mount is not packed");
            return Ok(());
        };
        if self.start(path.as_os_str().as_bytes(), options(&found.stat))? {
            self.zip.write_all(packed.as_os_str().as_bytes())?;
        }
        Ok(())
    }

    /// Starts an entry, if the library takes it.
    fn start(&mut self, name: &[u8], options: SimpleFileOptions) -> ZipResult<bool> {
        taken(self.zip.start_file_with_options(options.name(name)))
    }
}

/// Where something that was opened is, relative to `root`.
fn location(root: impl AsFd, found: impl AsFd) -> Option<PathBuf> {
    let name = |fd: BorrowedFd<'_>| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok();
    Some(name(found.as_fd())?.strip_prefix(name(root.as_fd())?).ok()?.to_owned())
}

/// An entry that the library refuses, such as a second of the same name in a folder that changed while it was listed, is
/// left out. A sink that fails ends it all.
fn taken(result: ZipResult<()>) -> ZipResult<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(ZipError::InvalidArchive(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Everything is compressed, fast: readers of streams need to see the end of an entry whose size stands behind it.
fn options(stat: &Stat) -> SimpleFileOptions {
    let modified = Local.timestamp_opt(stat.st_mtime, 0).earliest();
    let modified = modified.and_then(|time| DateTime::try_from(time.naive_local()).ok());
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1))
        .external_attributes((stat.st_mode & 0o17_0777) << 16)
        .last_modified_time(modified.unwrap_or_default())
}

/// Passes on what is written, until that fails once, or the archive is cut. From then on it takes everything and passes on
/// nothing: the zip library ends an archive when it is dropped, and what was cut short must not get an end.
struct Sink<W> {
    inner: W,
    cut: Rc<Cell<bool>>,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cut.get() {
            return Ok(bytes.len());
        }
        self.inner.write(bytes).inspect_err(|error| self.cut.set(error.kind() != io::ErrorKind::Interrupted))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.cut.get() { Ok(()) } else { self.inner.flush() }
    }
}
