//! [`Pieces`]: moving into a mount by a rename each, while a process may be at work there.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use cap_std::fs::{Dir, MetadataExt, ReadDir};
use rustix::{
    fs::{AtFlags, FileType, Mode, RenameFlags},
    io::Errno,
};
use uuid::Uuid;

use super::{
    plan::{Gone, Plan, Way, What},
    survey::kind,
};
use crate::{
    crash::point,
    domain::owner::Owner,
    error::{Error, Result},
    files::{
        archive::{Layer, Place, Places, places},
        path::at,
        root::{Mount, set_owner},
    },
};

/// How often a folder is read again because something was taken out of it: some file systems skip entries then.
const PASSES: u32 = 4;

pub(super) struct Pieces<'a> {
    plan: &'a Plan,
    tree: Dir,
    mount: Dir,
    /// Where what is taken out of the mount goes: on trial under its path, else under a number.
    out: Dir,
    prefix: Uuid,
    taken: u64,
    /// What hindered first.
    hindered: Option<Error>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(plan: &'a Plan, tree: Dir, mount: Mount, out: Dir) -> Self {
        Self { plan, tree, mount: mount.dir, out, prefix: Uuid::new_v4(), taken: 0, hindered: None }
    }

    /// The first thing that could not be moved.
    pub(super) fn hindered(self) -> Option<Error> {
        self.hindered
    }

    /// Takes out what the plan says.
    ///
    /// # Errors
    /// [`Error::Io`], as of the others, where it can't go on for now.
    pub(super) fn take_out(&mut self) -> Result<()> {
        let plan = self.plan;
        for gone in &plan.gone {
            let path = Path::new(&gone.path);
            point(&format!("before {path:?} is taken out"));
            match self.go(gone, path) {
                Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    self.failed(path, error)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn go(&mut self, gone: &Gone, path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        let dir = self.mount.open_dir(at(path.parent().unwrap_or(path)))?;
        let is_folder = kind(&dir, name)? == FileType::Directory;
        match gone.what {
            _ if self.plan.leads_to_volume(path) => Ok(()),
            What::File if is_folder => Ok(()),
            What::File | What::Any => self.take(&dir, name, path),
            What::EmptyFolder if !is_folder => Ok(()),
            What::EmptyFolder => {
                if self.plan.trial {
                    self.folder_like(path)?;
                }
                match rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
                    removed => Ok(removed?),
                }
            }
        }
    }

    /// Moves all of the tree in.
    pub(super) fn move_in(&mut self) -> Result<()> {
        let mut pending = vec![PathBuf::new()];
        while let Some(path) = pending.pop() {
            let opened =
                self.tree.open_dir(at(&path)).and_then(|from| Ok((from.entries()?, from, self.mount.open_dir(at(&path))?)));
            match opened {
                Ok((entries, from, to)) => self.folder(entries, &from, &to, &path, &mut pending)?,
                Err(error) => self.failed(&path, error)?,
            }
        }
        Ok(())
    }

    fn folder(&mut self, entries: ReadDir, from: &Dir, to: &Dir, path: &Path, pending: &mut Vec<PathBuf>) -> Result<()> {
        for entry in entries {
            let name = entry.map_err(Error::io("read what was unpacked"))?.file_name();
            let path = path.join(&name);
            point(&format!("before {path:?} is moved in"));
            match self.entry(from, to, &name, &path) {
                Ok(true) => pending.push(path),
                Ok(false) => {}
                Err(error) => self.failed(&path, error)?,
            }
        }
        Ok(())
    }

    /// A file takes the place of whatever has its name. A folder is moved whole where nothing has its name; it never takes
    /// the place of one, not even of an empty one, as the container may have something mounted on it. True where what is in
    /// it is to be moved one by one.
    fn entry(&mut self, from: &Dir, to: &Dir, name: &OsStr, path: &Path) -> io::Result<bool> {
        let there = kind(to, name).ok();
        if kind(from, name)? != FileType::Directory {
            let is_folder = there == Some(FileType::Directory);
            if there.is_some() && (self.plan.trial || (is_folder && self.replaces(path))) {
                self.take(to, name, path)?;
            }
            return Ok(rustix::fs::renameat(from, name, to, name).map(|()| false)?);
        }
        if self.replaces(path) && there.is_some_and(|kind| kind != FileType::Directory) {
            self.take(to, name, path)?;
        }
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(false),
            Err(Errno::EXIST) => {}
            // Some file systems can't rename like that.
            Err(Errno::INVAL | Errno::NOSYS) => make_like(from, to, name)?,
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Whether what is at `path` in the mount goes, whatever it is.
    fn replaces(&self, path: &Path) -> bool {
        match self.plan.way {
            Way::Replace => path.starts_with(&self.plan.at) && path != Path::new(&self.plan.at),
            Way::Restore => true,
            _ => false,
        }
    }

    /// Takes out of the mount what the archive, which has been moved in, does not name.
    pub(super) fn clear(&mut self, archive: File) -> Result<()> {
        let top = PathBuf::from(&self.plan.at);
        let named = places(&[Layer { archive, at: top.clone(), replaces: true }])?;
        let mut pending = vec![top];
        while let Some(path) = pending.pop() {
            point(&format!("before {path:?} is cleared"));
            match self.mount.open_dir(at(&path)) {
                Ok(dir) => self.clear_folder(&named, &dir, &path, &mut pending)?,
                Err(error) => self.failed(&path, error)?,
            }
        }
        Ok(())
    }

    fn clear_folder(&mut self, named: &Places, dir: &Dir, path: &Path, pending: &mut Vec<PathBuf>) -> Result<()> {
        for pass in 0..PASSES {
            let before = self.taken;
            for entry in dir.entries().map_err(Error::io("read the mount"))? {
                let name = entry.map_err(Error::io("read the mount"))?.file_name();
                let path = path.join(&name);
                let is_folder = kind(dir, &name).is_ok_and(|kind| kind == FileType::Directory);
                match named.find(&path) {
                    Some(Place::Folder | Place::Implied) if is_folder && pass == 0 => pending.push(path),
                    Some(_) => {}
                    None if self.plan.has_volume_at(&path) => {}
                    None if is_folder && self.plan.leads_to_volume(&path) => pending.extend((pass == 0).then_some(path)),
                    None => match self.take(dir, &name, &path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => self.failed(&path, error)?,
                        _ => {}
                    },
                }
            }
            if self.taken == before {
                break;
            }
        }
        Ok(())
    }

    /// Takes what is called `name` in `dir` out of the mount, unless that was done before a crash: then what is there now is
    /// new.
    fn take(&mut self, dir: &Dir, name: &OsStr, path: &Path) -> io::Result<()> {
        if self.plan.leads_to_volume(path) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the container has a volume there"));
        }
        if !self.plan.trial {
            rustix::fs::renameat(dir, name, &self.out, format!("{}-{}", self.prefix, self.taken))?;
            self.taken += 1;
            return Ok(());
        }
        let to = self.folder_like(path.parent().unwrap_or(Path::new("")))?;
        match rustix::fs::renameat_with(dir, name, &to, name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => Ok(()),
            taken => Ok(taken?),
        }
    }

    /// The folder among what was taken out that stands for the one at `path` in the mount.
    fn folder_like(&self, path: &Path) -> io::Result<Dir> {
        let mut done = PathBuf::new();
        for component in path.components() {
            let (from, to) = (self.mount.open_dir(at(&done))?, self.out.open_dir(at(&done))?);
            make_like(&from, &to, component.as_os_str())?;
            done.push(component);
        }
        self.out.open_dir(at(path))
    }

    /// Notes what a process in the container can have done, and goes on.
    ///
    /// # Errors
    /// Anything else, and whatever fails while there can't be such a process: then it is to be tried again.
    fn failed(&mut self, path: &Path, error: io::Error) -> Result<()> {
        let is_alone = self.plan.trial || self.plan.way == Way::Restore;
        if is_alone || !is_hindrance(&error) {
            return Err(Error::io(format!("move {path:?} into the mount"))(error));
        }
        let doing = format!("move {path:?} into the mount, where something got in the way meanwhile");
        self.hindered.get_or_insert_with(|| Error::io(doing)(error));
        Ok(())
    }
}

/// Whether it may come of something in the mount that was swapped for something else, and not of the disk or the server.
fn is_hindrance(error: &io::Error) -> bool {
    use Errno as E;
    let others = [E::NOSPC, E::DQUOT, E::IO, E::ROFS, E::NOMEM, E::MFILE, E::NFILE];
    !others.iter().any(|errno| Some(errno.raw_os_error()) == error.raw_os_error())
}

/// Makes the folder `name` in `to`, if it is not there, with the owner that it has in `from`.
fn make_like(from: &Dir, to: &Dir, name: &OsStr) -> io::Result<()> {
    match rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => return Ok(()),
        made => made?,
    }
    let like = from.symlink_metadata(name)?;
    set_owner(to, name, Owner { uid: like.uid(), gid: like.gid() })
}
