//! Moving in, by a [`Plan`]: from `moving/` into the mount. Each step can be done again, so that whoever comes after a crash
//! goes on.
//!
//! In the mount, a process may be at work. Each folder is opened anew below the mount's handle, and what is in it is
//! renamed between two folder handles by its bare name: whatever is swapped for whatever, nothing is touched outside.

use std::{ffi::OsStr, fs, io, path::Path};

use cap_std::{ambient_authority, fs::Dir};
use rustix::{
    fs::{AtFlags, RenameFlags},
    io::Errno,
};

use super::{
    history,
    pieces::Pieces,
    plan::{ARCHIVE, BASE, FORMER, MOVING, OUT, Plan, TREE, Way, base, open, retire},
};
use crate::{
    crash::point,
    error::{Error, Result},
    files::{durable, path::at, root::Mount},
};

/// Moves all that is in `moving/` into the mount, and removes it; on trial, what takes it back is in `former/` then.
/// Where a process in the container hinders something, the rest is moved; where the disk does, what is left stays in `moving/`,
/// and it can be tried again.
pub(super) fn finish(folder: &Path) -> Result<()> {
    let moving = folder.join(MOVING);
    let plan = Plan::read(&moving)?;
    let hindered = match plan.way {
        Way::Swap { folder: new } => swap(folder, &plan, new).map(|()| None),
        Way::Merge | Way::Replace | Way::Restore => pieces(folder, &plan),
    };
    let hindered = hindered?;
    if let Some(number) = plan.archive {
        for (name, archive) in [(ARCHIVE, number.to_string()), (BASE, base(number))] {
            let kept = fs::rename(moving.join(name), history::kept_at(folder, &archive));
            durable::optional(kept).map_err(Error::io("keep the archive"))?;
        }
    }
    point("before the history is in its place");
    history::settle(folder, &moving)?;
    // What was moved must be safe in its new place before the old one goes.
    sync(folder)?;
    if plan.trial {
        durable::optional(fs::rename(moving.join(FORMER), folder.join(FORMER))).map_err(Error::io("keep what was before"))?;
        durable::sync(folder)?;
    }
    point("before the emptied folder is removed");
    retire(folder, MOVING)?;
    if !plan.trial {
        history::forget(folder)?;
    }
    hindered.map_or(Ok(()), Err)
}

/// Makes everything that was written to the folder's file system survive a crash. One sync is much faster than one for each
/// file.
pub(super) fn sync(folder: &Path) -> Result<()> {
    let synced = fs::File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
    synced.map_err(Error::io("sync the deploy"))
}

/// Exchanges two folders by their names in others.
pub(super) fn exchange(one: (&Dir, &OsStr), other: (&Dir, &OsStr)) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(one.0, one.1, other.0, other.1, RenameFlags::EXCHANGE)?)
}

/// The inode of what is called `name` in `dir`, and nothing where nothing is.
pub(super) fn inode(dir: &Dir, name: &OsStr) -> io::Result<Option<u64>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat.st_ino)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens the folder that the folder at `place` lies in, below `root`, and gives its name there. `root` itself is called
/// `name` in `outer`.
pub(super) fn locate<'a>(outer: &Dir, name: &'a str, root: &Dir, place: &'a Path) -> io::Result<(Dir, &'a OsStr)> {
    match (place.file_name(), place.parent()) {
        (Some(name), Some(parent)) => Ok((root.open_dir(at(parent))?, name)),
        _ => Ok((outer.try_clone()?, OsStr::new(name))),
    }
}

/// Exchanges the folder that the plan is about for the new one, unless that has been done.
fn swap(folder: &Path, plan: &Plan, new: u64) -> Result<()> {
    let moving = open(folder, MOVING)?;
    let swapped = || -> io::Result<()> {
        let Ok(tree) = moving.open_dir(TREE) else { return Ok(()) };
        let outer = Dir::open_ambient_dir(folder, ambient_authority())?;
        let place = Path::new(&plan.at);
        let (there, its_name) = locate(&outer, Mount::NAME, &outer.open_dir(Mount::NAME)?, place)?;
        let (here, name) = locate(&moving, TREE, &tree, place)?;
        if inode(&there, its_name)? != Some(new) {
            point("before the folders are exchanged");
            exchange((&here, name), (&there, its_name))?;
        }
        point("after the folders are exchanged");
        if plan.trial { moving.rename(TREE, &moving, Path::new(FORMER).join(TREE)) } else { Ok(()) }
    };
    swapped().map_err(Error::io("exchange the folders"))
}

/// Moves piece by piece, and says what hindered it, if anything did.
fn pieces(folder: &Path, plan: &Plan) -> Result<Option<Error>> {
    let moving = folder.join(MOVING);
    if plan.trial && !moving.join(FORMER).exists() {
        // It has been moved to where it belongs: all but the removal is done.
        return Ok(None);
    }
    let out = if plan.trial { Path::new(FORMER).join(TREE) } else { OUT.into() };
    let mut pieces = Pieces::new(plan, open(folder, Path::new(MOVING).join(TREE))?, Mount::open(folder)?, open(&moving, out)?);
    pieces.take_out()?;
    pieces.move_in()?;
    if plan.way == Way::Replace {
        let archive = fs::File::open(moving.join(ARCHIVE)).or_else(|_| fs::File::open(kept(folder, plan)));
        pieces.clear(archive.map_err(Error::io("open the archive"))?)?;
    }
    Ok(pieces.hindered())
}

/// Where the archive is by now, if it is not beside the plan.
fn kept(folder: &Path, plan: &Plan) -> std::path::PathBuf {
    history::kept_at(folder, &plan.archive.unwrap_or_default().to_string())
}
