//! [`Staged`]: what was unpacked beside a mount, and its way in.

use std::{ffi::OsStr, fs, io, path::PathBuf};

use super::{
    Moment, Terms, clean_after,
    history::{Deploy, History, Mode},
    move_in,
    plan::{FORMER, Gone, INCOMING, MOVING, OUT, Plan, TREE, Way, open},
    survey,
};
use crate::{
    crash::point,
    error::{Error, Result},
    files::{archive::Unpacked, durable, path::RelPath, root::Mount},
};

/// Something that is unpacked beside the mount and may be moved in.
pub struct Staged {
    pub(super) folder: PathBuf,
    pub(super) terms: Terms,
    pub(super) to: RelPath,
    pub(super) mode: Mode,
    pub(super) gone: Vec<Gone>,
    pub(super) archive: Option<u64>,
    pub(super) before: History,
    pub(super) after: History,
    /// What it holds.
    pub unpacked: Unpacked,
}

impl Staged {
    /// Moves it into the mount, and gives the deploy that the mount has then.
    ///
    /// # Errors
    /// `INVALID_ZIP` and `INVALID_PATH` where something is in the way; [`Error::Io`]. They leave the mount as it was, but
    /// for one: where a process in the container got in the way meanwhile, only what it hindered is not there.
    pub fn move_in(self, moment: Moment) -> Result<Deploy> {
        clean_after(&self.folder, || self.commit(moment))?;
        move_in::finish(&self.folder)?;
        let current = self.after.deploys.into_iter().find(|deploy| Some(deploy.number) == self.after.current);
        current.ok_or_else(|| Error::io("find the deploy")(io::ErrorKind::NotFound.into()))
    }

    /// The point of no return: it is moved in, now or after a crash.
    pub(in crate::files) fn commit(&self, moment: Moment) -> Result<()> {
        let (mount, trial) = (Mount::open(&self.folder)?, moment == Moment::Down { trial: true });
        let way = self.way(&mount, moment)?;
        let mut plan = Plan {
            way,
            at: self.to.as_str().to_owned(),
            gone: self.gone.clone(),
            volumes: self.terms.volumes.iter().map(|path| path.as_str().to_owned()).collect(),
            archive: self.archive,
            trial,
        };
        let incoming = self.folder.join(INCOMING);
        let new = survey::survey(&open(&incoming, TREE)?, &mount, &plan, &self.to)?;
        let former = incoming.join(FORMER);
        fs::create_dir(&former).map_err(Error::io("make room for what is taken out"))?;
        let taking_back = match way {
            Way::Swap { .. } => Way::Swap { folder: self.exchangeable(&mount)? },
            _ => Way::Restore,
        };
        fs::create_dir(incoming.join(OUT)).map_err(Error::io("make room for what is taken out"))?;
        plan.write(&incoming)?;
        self.after.write(&incoming)?;
        if trial {
            let gone = if taking_back == Way::Restore { new } else { Vec::new() };
            plan = Plan { way: taking_back, gone, archive: None, trial: false, ..plan };
            for name in [TREE, OUT] {
                fs::create_dir(former.join(name)).map_err(Error::io("make room for what is taken out"))?;
            }
            plan.write(&former)?;
            self.before.without(&self.after).write(&former)?;
        }
        durable::sync(&incoming)?;
        point("before the deploy is committed");
        let renamed = fs::rename(&incoming, self.folder.join(MOVING));
        point("after the deploy is committed");
        renamed.map_err(Error::io("commit the deploy"))?;
        durable::sync(&self.folder)
    }

    fn way(&self, mount: &Mount, moment: Moment) -> Result<Way> {
        // Where there is nothing to replace, there is no folder to be exchanged, either.
        if self.mode == Mode::Merge || !survey::has_folder(mount, &self.to)? {
            return Ok(Way::Merge);
        }
        if moment == Moment::Live {
            return Ok(Way::Replace);
        }
        let tree = open(&self.folder.join(INCOMING), TREE)?;
        let folder = move_in::inode(&tree, self.place()).map_err(Error::io("look at what was unpacked"))?;
        Ok(folder.map_or(Way::Merge, |folder| Way::Swap { folder }))
    }

    /// The inode of the folder that is to be exchanged, on a file system that can do that: it is tried beside the mount.
    fn exchangeable(&self, mount: &Mount) -> Result<u64> {
        let incoming = open(&self.folder, INCOMING)?;
        let tried = || -> io::Result<Option<u64>> {
            let (one, other) = (OsStr::new(TREE), OsStr::new(FORMER));
            for _ in 0..2 {
                move_in::exchange((&incoming, one), (&incoming, other))?;
            }
            move_in::inode(&mount.dir, self.place())
        };
        tried().map_err(Error::io("exchange folders"))?.ok_or_else(|| Error::FileNotFound(self.to.as_str().to_owned()))
    }

    /// How to name the folder that it goes to in a tree or the mount.
    fn place(&self) -> &OsStr {
        if self.to.as_str().is_empty() { OsStr::new(".") } else { OsStr::new(self.to.as_str()) }
    }
}
