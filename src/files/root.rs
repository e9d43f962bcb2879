//! [`Mount`], the directory that a container sees as `/app`, and how anything in it is opened.
//!
//! A process in the container may swap any part of it at any moment, for a link that leads out or for a device. So paths
//! are resolved by the kernel below the mount's handle, and a thing is first opened only to be looked at (`O_PATH`, which
//! neither waits for a FIFO nor wakes a device's driver) and opened for reading only once it is seen to be a regular file.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions, OpenOptionsExt},
};
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid},
    io::Errno,
};

use super::path::RelPath;
use crate::{
    domain::owner::Owner,
    error::{Error, Result},
};

/// A container's mount. Nothing outside of it can be reached through it.
pub struct Mount {
    pub(super) dir: Dir,
}

impl Mount {
    /// The mount's name in the container's folder.
    pub(super) const NAME: &str = "app";

    /// Makes the mount in a container's folder, for its user; one that is there already is given to the user.
    ///
    /// # Errors
    /// [`Error::Io`]; also where the server may not give files to `owner`.
    pub fn create(folder: &Path, owner: Owner) -> Result<Self> {
        let path = folder.join(Self::NAME);
        let made = match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        made.map_err(Error::io("make the mount"))?;
        let mount = Self::open(folder)?;
        set_owner(&mount.dir, ".", owner).map_err(Error::io("give the mount to the container's user"))?;
        rustix::fs::chmodat(&mount.dir, ".", Mode::from_raw_mode(0o755), AtFlags::empty())
            .map_err(|error| Error::io("set the mount's mode")(error.into()))?;
        Ok(mount)
    }

    /// Opens the mount in a container's folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path) -> Result<Self> {
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).and_then(|folder| folder.open_dir(Self::NAME));
        Ok(Self { dir: dir.map_err(Error::io("open the mount"))? })
    }

    /// Opens a regular file for reading. Links are followed as long as they stay in the mount.
    ///
    /// # Errors
    /// [`Error::FileNotFound`]; `INVALID_PATH` where it is something else than a file, or is led out of the mount.
    pub fn open_file(&self, path: &RelPath) -> Result<fs::File> {
        let found = self.look(path)?;
        match found.kind() {
            FileType::RegularFile => found.read().map_err(Error::io("open the file")),
            kind => Err(invalid_path(path, format!("{:?} is {}, not a file", path.as_str(), noun(kind)))),
        }
    }

    /// Looks at whatever is at `path`, following links that stay in the mount.
    pub(super) fn look(&self, path: &RelPath) -> Result<Found> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlags::PATH.bits().cast_signed());
        let opened = self.dir.open_with(path.as_path(), &options);
        let fd = OwnedFd::from(opened.map_err(|error| not_reached(path, error))?.into_std());
        Found::new(fd).map_err(Error::io("look at the file"))
    }
}

/// Something that was opened to be looked at, and nothing more.
pub(super) struct Found {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
}

impl Found {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { stat: rustix::fs::fstat(&fd)?, fd })
    }

    /// Looks at what is called `name` in `dir`; a link is not followed.
    pub(super) fn entry(dir: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::new(rustix::fs::openat(dir, name, flags, Mode::empty())?)
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens for reading the very thing that was looked at, which must be a regular file: its name is not used again.
    /// It does not wait for a lease that a process in the container took on it, but fails with `WouldBlock`.
    pub(super) fn read(&self) -> io::Result<fs::File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let itself = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        Ok(rustix::fs::open(itself, flags, Mode::empty())?.into())
    }
}

/// Gives `name` in `dir` to the container's user, itself and not what it may link to.
pub(super) fn set_owner(dir: impl AsFd, name: impl rustix::path::Arg, owner: Owner) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    Ok(rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// What something is, with its article.
pub(super) fn noun(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown kind",
    }
}

/// `INVALID_PATH` for the path that a client gave.
pub(super) fn invalid_path(path: &RelPath, message: String) -> Error {
    Error::invalid("INVALID_PATH", "path", message, path.as_str())
}

/// Why a path can't be followed to its end. Nothing that lies outside shows in it.
pub(super) fn not_reached(path: &RelPath, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::FileNotFound(path.as_str().to_owned()),
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            invalid_path(path, format!("{:?} goes through a loop of links", path.as_str()))
        }
        // The jail's own refusal, unlike the kernel's of the same kind, has no error number.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => {
            invalid_path(path, format!("{:?} leads out of the container's mount", path.as_str()))
        }
        _ => Error::io("open the file")(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        os::unix::{
            fs::{MetadataExt, symlink},
            net::UnixListener,
        },
    };

    use super::*;

    fn mount() -> (tempfile::TempDir, Mount) {
        let folder = tempfile::tempdir().unwrap();
        let us = Owner { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
        let mount = Mount::create(folder.path(), us).unwrap();
        (folder, mount)
    }

    #[test]
    fn a_mount_is_made_for_its_user_and_can_be_made_twice() {
        let (folder, _) = mount();
        let meta = fs::metadata(folder.path().join("app")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o755, rustix::process::getuid().as_raw()));
        let root = rustix::process::geteuid().is_root();
        let made = Mount::create(folder.path(), Owner { uid: 1234, gid: 1234 });
        assert_eq!(made.is_ok(), root, "only root gives files away");
    }

    #[test]
    fn a_file_is_opened_also_through_links_that_stay_in_the_mount() {
        let (folder, mount) = mount();
        let app = folder.path().join("app");
        fs::create_dir_all(app.join("a/b")).unwrap();
        fs::write(app.join("a/b/back\\slash"), "content").unwrap();
        symlink("b", app.join("a/link")).unwrap();
        symlink("../a/link/back\\slash", app.join("a/file")).unwrap();
        for path in ["/app/a/b/back\\slash", "a/link/back\\slash", "a/file"] {
            let mut content = String::new();
            mount.open_file(&RelPath::parse("path", path).unwrap()).unwrap().read_to_string(&mut content).unwrap();
            assert_eq!(content, "content", "{path}");
        }
    }

    #[test]
    fn what_is_no_file_of_the_mount_is_refused_without_being_opened() {
        let (folder, mount) = mount();
        let app = folder.path().join("app");
        fs::write(folder.path().join("container.json"), "secret").unwrap();
        fs::write(app.join("file"), "").unwrap();
        symlink("../container.json", app.join("out")).unwrap();
        symlink("/etc", app.join("etc")).unwrap();
        symlink("loop", app.join("loop")).unwrap();
        symlink("nowhere", app.join("dangling")).unwrap();
        let _socket = UnixListener::bind(app.join("socket")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, app.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        for path in ["", "out", "etc", "etc/passwd", "etc/missing", "loop", "socket", "fifo"] {
            match mount.open_file(&RelPath::parse("path", path).unwrap()) {
                Err(Error::Invalid(invalid)) => assert_eq!(invalid.code, "INVALID_PATH", "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
        for path in ["missing", "file/below", "dangling"] {
            let opened = mount.open_file(&RelPath::parse("path", path).unwrap());
            assert!(matches!(&opened, Err(Error::FileNotFound(name)) if name == path), "{path}: {opened:?}");
        }
    }
}
