//! [`Plan`]: how what was unpacked gets into the mount. It is written beside it before the first step, so that whoever comes
//! after a crash knows how to go on.

use std::{io, path::Path};

use cap_std::{ambient_authority, fs::Dir};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    files::{durable, remove::put_away},
};

/// Where a deploy is prepared, in the container's folder. It means nothing yet, and may be removed.
pub(super) const INCOMING: &str = "incoming";
/// What is to be moved into the mount, and is not all there yet.
pub(super) const MOVING: &str = "moving";
/// What takes a deploy back that is on trial: a plan like any other.
pub(super) const FORMER: &str = "former";

/// In each of these: what was unpacked, by its paths in the mount.
pub(super) const TREE: &str = "tree";
/// What the history is afterwards: a file of its own, so that no content is left to be written once a deploy is committed, which a
/// full disk could prevent.
pub(super) const HISTORY: &str = "history.json";
/// The archive that it came from.
pub(super) const ARCHIVE: &str = "archive.zip";
/// What older archives have in it that is still to be seen, where these became many.
pub(super) const BASE: &str = "base.zip";
/// What was taken out of the mount and nobody needs.
pub(super) const OUT: &str = "out";
const PLAN: &str = "plan.json";

/// How `tree/` gets into the mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) way: Way,
    /// The folder of the mount that it is about; empty for the mount itself.
    pub(super) at: String,
    /// What is taken out of the mount first.
    pub(super) gone: Vec<Gone>,
    /// Folders of the mount that the container has volumes on. They stay: a running container would lose the volume with
    /// the folder.
    pub(super) volumes: Vec<String>,
    /// The number that `archive.zip` is kept under.
    pub(super) archive: Option<u64>,
    /// What takes it back is kept.
    pub(super) trial: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Way {
    /// By a rename each; what `tree/` does not have stays.
    Merge,
    /// By a rename each; then what the archive does not name is taken out. For a container that may be running.
    Replace,
    /// By a rename each, whatever has taken its place meanwhile: what was taken out before comes back.
    Restore,
    /// The folder itself is exchanged. For a container that is down, as a running one would go on with the old one.
    Swap {
        /// The inode of the new folder, by which it is known where it is.
        folder: u64,
    },
}

/// A path of the mount that something is taken away from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Gone {
    pub(super) path: String,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// Anything but a folder.
    File,
    /// Whatever it is, with all that is in it.
    Any,
    /// A folder, where there is nothing in it.
    EmptyFolder,
}

impl Plan {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        durable::read_json(&folder.join(PLAN), PLAN)?
            .ok_or_else(|| Error::io("read plan.json")(io::Error::from(io::ErrorKind::NotFound)))
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|error| Error::io("write plan.json")(error.into()))?;
        durable::write(folder, PLAN, &text)
    }

    /// Whether a volume is mounted at `path`.
    pub(super) fn has_volume_at(&self, path: &Path) -> bool {
        self.volumes.iter().any(|volume| Path::new(volume) == path)
    }

    /// Whether a volume is mounted at `path`, or somewhere below it.
    pub(super) fn leads_to_volume(&self, path: &Path) -> bool {
        self.volumes.iter().any(|volume| Path::new(volume).starts_with(path))
    }
}

/// What `base.zip` is kept as.
pub(super) fn base(number: u64) -> String {
    format!("{number}-base")
}

/// Removes what means nothing, or not any more.
pub(super) fn discard(folder: &Path) -> Result<()> {
    put_away(folder, INCOMING).map_err(Error::io("remove what was unpacked"))
}

/// Removes one of the folders, in a step that a crash does not cut in two.
pub(super) fn retire(folder: &Path, name: &str) -> Result<()> {
    put_away(folder, name).map_err(Error::io("clean up after a deploy"))
}

/// Opens one of the folders, by its path in the container's.
pub(super) fn open(folder: &Path, name: impl AsRef<Path>) -> Result<Dir> {
    Dir::open_ambient_dir(folder.join(name), ambient_authority()).map_err(Error::io("open what was unpacked"))
}
