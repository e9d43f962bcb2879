//! What a mount has of several archives, of which each was unpacked over the ones before: the newest that names a path has it.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use zip::read::ZipFileEntry;

use super::{
    check::Archive,
    entry::{Entry, Kind},
    places::{Place, Places},
};
use crate::error::{Error, Result};

/// An archive, and how it was unpacked.
pub(in crate::files) struct Layer {
    pub(in crate::files) archive: File,
    /// Where in the mount.
    pub(in crate::files) at: PathBuf,
    /// Whether all that was there before went.
    pub(in crate::files) replaces: bool,
}

/// An entry that is not hidden by a newer layer.
pub(super) struct Seen {
    layer: usize,
    /// Where it is in the mount.
    pub(super) path: PathBuf,
    pub(super) entry: Entry,
}

/// Goes through the entries that are not hidden, the newest layer's first, and gives the paths that they take.
pub(super) fn visible(
    layers: &[Layer],
    mut visit: impl FnMut(Seen, ZipFileEntry<'static>, &Arc<File>) -> Result<()>,
) -> Result<Places> {
    let (mut places, mut replaced) = (Places::default(), Vec::<&Path>::new());
    for (number, layer) in layers.iter().enumerate().rev() {
        let archive = layer.archive.try_clone().map_err(Error::io("open a kept archive"))?;
        Archive::open(archive)?.each(&layer.at, |entry, raw, archive| {
            let path = layer.at.join(&entry.path);
            let is_gone = replaced.iter().any(|replaced| path.starts_with(replaced));
            if is_gone || !places.cover(&path, entry.kind.into()) {
                return Ok(());
            }
            visit(Seen { layer: number, path, entry }, raw, archive)
        })?;
        if layer.replaces {
            replaced.push(&layer.at);
        }
    }
    Ok(places)
}

/// Which of the layers have something that no newer one hides.
pub(in crate::files) fn in_sight(layers: &[Layer]) -> Result<BTreeSet<usize>> {
    let mut seen = BTreeSet::new();
    visible(layers, |entry, _, _| {
        seen.insert(entry.layer);
        Ok(())
    })?;
    // One that replaced a folder still hides what older ones have there, unless a newer one does.
    for (number, layer) in layers.iter().enumerate().filter(|(_, layer)| layer.replaces) {
        let again = layers[number + 1..].iter().any(|newer| newer.replaces && layer.at.starts_with(&newer.at));
        if !again && seen.range(..number).next().is_some() {
            seen.insert(number);
        }
    }
    Ok(seen)
}

/// The paths that layers take, of a single one for instance.
pub(in crate::files) fn places(layers: &[Layer]) -> Result<Places> {
    visible(layers, |_, _, _| Ok(()))
}

/// What one mount has that another has not.
#[derive(Default)]
pub(in crate::files) struct Surplus {
    /// Files and links.
    pub(in crate::files) files: Vec<PathBuf>,
    /// The deepest first.
    pub(in crate::files) folders: Vec<PathBuf>,
}

/// What is of `from` and not of `to`.
pub(in crate::files) fn surplus(from: &[Layer], to: &[Layer]) -> Result<Surplus> {
    let wanted = places(to)?;
    let (mut files, mut folders) = (Vec::new(), BTreeSet::new());
    visible(from, |Seen { path, entry, .. }, _, _| {
        if entry.kind != Kind::Folder && wanted.find(&path) != Some(Place::Other) {
            files.push(path.clone());
        }
        let own = (entry.kind == Kind::Folder).then_some(&*path);
        let above = path.ancestors().skip(1).chain(own).filter(|path| !path.as_os_str().is_empty());
        let is_folder = |path: &Path| matches!(wanted.find(path), Some(Place::Folder | Place::Implied));
        folders.extend(above.filter(|path| !is_folder(path)).map(Path::to_owned));
        Ok(())
    })?;
    Ok(Surplus { files, folders: folders.into_iter().rev().collect() })
}
