//! Deploys: an archive becomes what a mount holds, whole or not at all, also where the server dies on the way, and can be
//! taken back. In the container's folder:
//!
//! ```text
//!     deploys/.upload-…     the archive as it comes
//!        │ stage            checked whole, before anything of it is written
//!     incoming/             unpacked, with owners and modes as they shall be, synced; and the plan of what to do with it
//!        │ commit           one rename; from here on it is done, if need be at the server's next start
//!     moving/
//!        │ finish           renames, and nothing else; deploys/ gets the archive, and the history with it
//!     app/     former/      on trial: a plan like the first, which takes it back. It is kept until the trial is over
//! ```
//! Up to the commit a failure removes `incoming/` and leaves the mount as it was. [`recover`] puts right what a crash left:
//! `incoming/` is removed, `moving/` is finished.
//!
//! How it gets into the mount depends on whether a container may be at work there: `plan` names the ways, `survey` says
//! what would be in the way, `move_in` and `pieces` go them. `history` is what can be gone back to.

mod history;
mod move_in;
mod pieces;
mod plan;
mod staged;
mod survey;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use history::{Deploy, History, Mode, place};
pub use staged::Staged;

use super::{
    archive::{self, Limits, in_sight, surplus, unpack, unpack_layers},
    durable,
    path::RelPath,
    upload::Upload,
};
use crate::{
    crash::point,
    domain::owner::Owner,
    error::{Error, Result},
};
use history::Layer;
use plan::{ARCHIVE, BASE, FORMER, Gone, INCOMING, MOVING, TREE, What, base, discard};

/// Of how many archives a deploy is made at most.
const LAYERS: usize = 16;

/// What a deploy needs to know of its container and of the server's settings.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Whose the files will be.
    pub owner: Owner,
    pub limits: Limits,
    /// How many deploys can be gone back to, the current one among them.
    pub keep: usize,
    /// Folders of the mount that the container has volumes on. They are left alone.
    pub volumes: Vec<RelPath>,
}

/// When something is moved into the mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A process may be at work in it.
    Live,
    /// The container is down, and stays down until it is done.
    Down {
        /// It may be taken back: see [`take_back`] and [`accept`].
        trial: bool,
    },
}

/// Checks an archive and unpacks it beside the mount, to go to the folder `to` of it.
///
/// It blocks, and only one deploy may be under way at a time in one folder.
///
/// # Errors
/// `INVALID_ZIP`, naming the entry; [`Error::TooLarge`]; `INVALID_PATH` where `to` is too deep; [`Error::Io`], also where
/// the server may not give files to the owner. Nothing is left of it then.
pub fn stage(folder: &Path, upload: Upload, to: RelPath, mode: Mode, terms: Terms) -> Result<Staged> {
    make_ready(folder)?;
    clean_after(folder, || {
        let (before, incoming) = (History::load(folder)?, make_room(folder)?);
        let archive = || upload.open().map_err(Error::io("open the archive"));
        let unpacked = unpack(&incoming.join(TREE), archive()?, &to, terms.owner, &terms.limits)?;
        let deploy = Deploy::new(before.next(), mode, to.as_str(), unpacked, upload.bytes());
        let number = deploy.number;
        let own = Layer { archive: number.to_string(), path: deploy.path.clone(), replaces: mode == Mode::Replace };
        let all_goes = own.replaces && to.as_str().is_empty();
        let known = all_goes || before.is_whole(folder);
        let mut layers = if all_goes || !known { Vec::new() } else { before.layers() };
        if !layers.is_empty() {
            let mut opened = history::open(folder, &layers)?;
            opened.push(archive::Layer { archive: archive()?, at: to.as_str().into(), replaces: own.replaces });
            let seen = in_sight(&opened)?;
            layers = layers.into_iter().enumerate().filter(|(index, _)| seen.contains(index)).map(|(_, layer)| layer).collect();
            fold_oldest(folder, number, &mut layers)?;
        }
        // One that nobody knows what it lies on can't be gone back to.
        layers.extend(known.then_some(own));
        upload.keep(incoming.join(ARCHIVE)).map_err(Error::io("keep the archive"))?;
        move_in::sync(folder)?;
        let after = before.with(deploy, layers, terms.keep);
        let archive = after.deploys.last().is_some_and(Deploy::is_kept).then_some(number);
        Ok(Staged { folder: folder.to_owned(), terms, to, mode, gone: Vec::new(), archive, before, after, unpacked })
    })
}

/// Makes one of the oldest layers, where they are more than are to be opened at every deploy.
fn fold_oldest(folder: &Path, number: u64, layers: &mut Vec<Layer>) -> Result<()> {
    if layers.len() < LAYERS {
        return Ok(());
    }
    let rest = layers.split_off(LAYERS / 2);
    let into = fs::File::create_new(folder.join(INCOMING).join(BASE)).map_err(Error::io("fold archives"))?;
    archive::fold(&history::open(folder, layers)?, into)?;
    *layers = vec![Layer { archive: base(number), path: String::new(), replaces: false }];
    layers.extend(rest);
    Ok(())
}

/// Unpacks beside the mount what it was made of after the deploy of that number. What came with others is to go; what the
/// container itself made of the mount since, is to stay.
///
/// # Errors
/// [`Error::DeployNotFound`]; else as [`stage`].
pub fn stage_kept(folder: &Path, number: u64, terms: Terms) -> Result<Staged> {
    make_ready(folder)?;
    clean_after(folder, || {
        let before = History::load(folder)?;
        let wanted = history::open(folder, before.kept(number)?.layers())?;
        let now = history::open(folder, &before.layers())?;
        let incoming = make_room(folder)?;
        let unpacked = unpack_layers(&incoming.join(TREE), &wanted, terms.owner, &terms.limits)?;
        let surplus = surplus(&now, &wanted)?;
        let gone = |path: PathBuf, what| Gone { path: path.to_string_lossy().into_owned(), what };
        let files = surplus.files.into_iter().map(|path| gone(path, What::File));
        let gone = files.chain(surplus.folders.into_iter().map(|path| gone(path, What::EmptyFolder))).collect();
        move_in::sync(folder)?;
        let (to, mode, after) = (RelPath::default(), Mode::Merge, before.back_to(number));
        Ok(Staged { folder: folder.to_owned(), terms, to, mode, gone, archive: None, before, after, unpacked })
    })
}

/// Removes what was unpacked, where something fails.
fn clean_after<T>(folder: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    work().inspect_err(|_| throw_away(folder))
}

/// That no deploy is under way, nor on trial.
fn make_ready(folder: &Path) -> Result<()> {
    recover(folder)?;
    if is_there(folder, FORMER)? {
        return Err(Error::io("deploy")(io::Error::other("an earlier deploy is still to be taken back")));
    }
    Ok(())
}

fn make_room(folder: &Path) -> Result<PathBuf> {
    let incoming = folder.join(INCOMING);
    fs::create_dir(&incoming).map_err(Error::io("make room to unpack"))?;
    Ok(incoming)
}

/// Removes what was staged and will not be moved in.
pub fn throw_away(folder: &Path) {
    if let Err(error) = discard(folder) {
        tracing::warn!(%error, "what was unpacked stays until the next deploy");
    }
}

/// Puts right what a crash left in a container's folder. It may be called at any time that no deploy is under way there.
///
/// # Errors
/// [`Error::Io`].
pub fn recover(folder: &Path) -> Result<()> {
    discard(folder)?;
    if is_there(folder, MOVING)? { move_in::finish(folder) } else { Ok(()) }
}

/// As [`recover`], when the server starts: what was left of uploads goes, too.
///
/// # Errors
/// [`Error::Io`].
pub fn recover_at_start(folder: &Path) -> Result<()> {
    history::sweep(folder);
    recover(folder)
}

/// Takes back the deploy that is on trial, if one is. The container must be down. To be called again after a failure.
///
/// # Errors
/// [`Error::Io`].
pub fn take_back(folder: &Path) -> Result<()> {
    recover(folder)?;
    if !is_there(folder, FORMER)? {
        return Ok(());
    }
    let back = fs::rename(folder.join(FORMER), folder.join(MOVING));
    back.map_err(Error::io("take the deploy back"))?;
    point("after a deploy is to be taken back");
    durable::sync(folder)?;
    move_in::finish(folder)
}

/// Whether a deploy is on trial.
///
/// # Errors
/// [`Error::Io`].
pub fn is_on_trial(folder: &Path) -> Result<bool> {
    Ok(is_there(folder, FORMER)? || is_there(folder, MOVING)?)
}

/// Ends the trial of a deploy, which stays.
///
/// # Errors
/// [`Error::Io`].
pub fn accept(folder: &Path) -> Result<()> {
    if !is_there(folder, FORMER)? {
        return Ok(());
    }
    plan::retire(folder, FORMER)?;
    history::forget(folder)
}

fn is_there(folder: &Path, name: &str) -> Result<bool> {
    let found = durable::optional(fs::symlink_metadata(folder.join(name)));
    Ok(found.map_err(Error::io("look for a deploy"))?.is_some())
}
