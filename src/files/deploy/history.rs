//! `deploys/`: what was deployed into a container's mount, and the archives of it, which the container can't reach.
//!
//! `history.json` says what is there. It comes by the same plan as what it tells of, so that it and the mount agree after a crash. An archive
//! that it does not need is removed.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Local};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::plan::HISTORY;
use crate::{
    error::{Error, Result},
    files::{archive, durable, upload},
};

/// Where they are, in the container's folder.
const DEPLOYS: &str = "deploys";

/// What becomes of what is in the folder already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DeployMode)]
pub enum Mode {
    /// What the archive does not name stays.
    Merge,
    /// The folder has exactly what the archive names.
    Replace,
}

/// All that is known of a container's deploys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// The highest number that was given.
    last: u64,
    /// The deploy that the mount has, where there was one.
    pub current: Option<u64>,
    /// Those that are kept, the oldest first.
    pub deploys: Vec<Deploy>,
}

/// An archive that was unpacked into the mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deploy {
    /// From 1, one for each that got as far as the mount.
    pub number: u64,
    pub at: DateTime<Local>,
    pub mode: Mode,
    /// The folder of the mount that it went to; empty for the mount itself.
    pub path: String,
    /// Files and links in the archive.
    pub files: u64,
    /// Their contents.
    pub bytes: u64,
    /// The archive itself.
    pub archive_bytes: u64,
    /// What the mount's files are made of, the oldest first, itself the last. Without any it can't be gone back to.
    layers: Vec<Layer>,
}

/// An archive, and how it was unpacked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Layer {
    /// The name of the archive without its ending.
    pub(super) archive: String,
    pub(super) path: String,
    pub(super) replaces: bool,
}

impl Deploy {
    /// Whether it can be gone back to.
    pub fn is_kept(&self) -> bool {
        !self.layers.is_empty()
    }
}

impl History {
    /// What a container's folder has.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn load(folder: &Path) -> Result<Self> {
        Ok(durable::read_json(&folder.join(DEPLOYS).join(HISTORY), HISTORY)?.unwrap_or_default())
    }

    /// Writes it beside a plan.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|error| Error::io("write history.json")(error.into()))?;
        durable::write(folder, HISTORY, &text)
    }

    /// The deploy of that number.
    ///
    /// # Errors
    /// [`Error::DeployNotFound`] where it is not there to go back to.
    pub(super) fn kept(&self, number: u64) -> Result<&Deploy> {
        let found = self.deploys.iter().find(|deploy| deploy.number == number && deploy.is_kept());
        found.ok_or(Error::DeployNotFound(number))
    }

    /// The number of the next deploy.
    pub(super) fn next(&self) -> u64 {
        self.last + 1
    }

    /// Whether it is known what the mount's files are made of now: of nothing, or of archives that are still there.
    pub(super) fn is_whole(&self, folder: &Path) -> bool {
        let layers = self.layers();
        self.current.is_none() || (!layers.is_empty() && layers.iter().all(|layer| kept_at(folder, &layer.archive).exists()))
    }

    /// What the mount's files are made of now, the oldest first.
    pub(super) fn layers(&self) -> Vec<Layer> {
        let current = self.current.and_then(|current| self.deploys.iter().find(|deploy| deploy.number == current));
        current.map(|deploy| deploy.layers.clone()).unwrap_or_default()
    }

    /// The history in which `deploy`, made of `layers`, is the current one, and no more than `keep` can be gone back to.
    pub(super) fn with(&self, mut deploy: Deploy, layers: Vec<Layer>, keep: usize) -> Self {
        let (number, mut deploys) = (deploy.number, self.deploys.clone());
        deploy.layers = if keep == 0 { Vec::new() } else { layers };
        deploys.push(deploy);
        let oldest = deploys.len().saturating_sub(keep.max(1));
        Self { last: number, current: Some(number), deploys: deploys.split_off(oldest) }
    }

    /// The history in which a deploy that is kept is the current one.
    pub(super) fn back_to(&self, number: u64) -> Self {
        Self { current: Some(number), ..self.clone() }
    }

    /// The history after `tried` was taken back: its number stays taken.
    pub(super) fn without(&self, tried: &Self) -> Self {
        Self { last: tried.last, ..self.clone() }
    }

    fn needed(&self) -> BTreeSet<String> {
        let layers = self.deploys.iter().flat_map(|deploy| &deploy.layers);
        layers.map(|layer| name(&layer.archive)).collect()
    }
}

impl Deploy {
    /// A deploy that is not made yet.
    pub(super) fn new(number: u64, mode: Mode, path: &str, unpacked: archive::Unpacked, archive_bytes: u64) -> Self {
        let archive::Unpacked { files, bytes } = unpacked;
        Self { number, at: Local::now(), mode, path: path.to_owned(), files, bytes, archive_bytes, layers: Vec::new() }
    }

    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }
}

/// The folder that uploads are received in, and archives kept.
pub fn place(folder: &Path) -> PathBuf {
    folder.join(DEPLOYS)
}

/// Where an archive is kept.
pub(super) fn kept_at(folder: &Path, archive: &str) -> PathBuf {
    place(folder).join(name(archive))
}

fn name(archive: &str) -> String {
    format!("{archive}.zip")
}

/// Opens the archives of layers.
pub(super) fn open(folder: &Path, layers: &[Layer]) -> Result<Vec<archive::Layer>> {
    let open = |layer: &Layer| {
        let archive = File::open(kept_at(folder, &layer.archive))?;
        Ok(archive::Layer { archive, at: PathBuf::from(&layer.path), replaces: layer.replaces })
    };
    layers.iter().map(open).collect::<io::Result<_>>().map_err(Error::io("open a kept archive"))
}

/// Moves a history that stands beside a plan to where it counts, unless that has been done.
pub(super) fn settle(folder: &Path, moving: &Path) -> Result<()> {
    let moved = fs::rename(moving.join(HISTORY), place(folder).join(HISTORY));
    durable::optional(moved).map_err(Error::io("write history.json"))?;
    durable::sync(&place(folder))
}

/// Removes the archives that no deploy needs any more.
pub(super) fn forget(folder: &Path) -> Result<()> {
    let needed = History::load(folder)?.needed();
    let Ok(entries) = fs::read_dir(place(folder)) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".zip")
            && !needed.contains(&name)
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(%error, name, "an archive that is not needed any more could not be removed");
        }
    }
    Ok(())
}

/// Removes what a crash left of uploads. To be called while there is no upload.
pub(super) fn sweep(folder: &Path) {
    upload::sweep(&place(folder));
}
