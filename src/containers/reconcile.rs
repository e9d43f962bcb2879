//! What a start of the server finds: containers for the index, what a crash cut short and is finished or taken back, and
//! containers at the engine that carry the label without a folder, which are reported and left alone. What could not be
//! finished because the engine went away is tried again when it is back.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::{StreamExt, stream};

use super::{Containers, on_disk, store::Found};
use crate::{domain::id::Cuid, engine::state::State, error::Result, files};

/// What `DATA_DIR` has of a cuid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    None,
    Whole,
    HalfMade,
    HalfDeleted { with_volumes: bool },
    Broken,
}

impl Folder {
    fn of(found: &Found) -> Self {
        match found {
            Found::Whole(_) => Self::Whole,
            Found::HalfMade(_) => Self::HalfMade,
            Found::HalfDeleted { with_volumes, .. } => Self::HalfDeleted { with_volumes: *with_volumes },
            Found::Broken(..) => Self::Broken,
        }
    }
}

/// What is to be done about a cuid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is as it should be, or somebody is at work on it.
    Leave,
    /// It is a container; a change of it that was cut short is put back.
    Settle,
    /// It never was one, or is none any more.
    TakeAway { with_volumes: bool },
    /// Nobody knows whose it is: it is reported, and left alone.
    Report,
}

/// What is to be done about a cuid, by what `DATA_DIR` has of it, whether a container of the engine carries it, and whether it
/// is being created or deleted.
pub(super) fn step(folder: Folder, at_engine: bool, at_work: bool) -> Step {
    match folder {
        _ if at_work => Step::Leave,
        Folder::None if at_engine => Step::Report,
        Folder::None => Step::Leave,
        Folder::Broken => Step::Report,
        Folder::Whole => Step::Settle,
        // Its volumes are as new as itself.
        Folder::HalfMade => Step::TakeAway { with_volumes: true },
        Folder::HalfDeleted { with_volumes } => Step::TakeAway { with_volumes },
    }
}

/// What was found and is not touched.
#[derive(Clone, Debug, Default)]
pub struct Orphans {
    /// Containers at the engine whose label names no container of this server.
    pub containers: Vec<String>,
    /// Folders whose `container.json` can't be read.
    pub folders: Vec<Cuid>,
}

/// Containers that are being created or deleted.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<HashSet<Cuid>>);

/// One of them, until it is dropped.
pub(super) struct Mark<'a>(&'a UnderWay, Cuid);

impl UnderWay {
    pub(super) fn mark(&self, cuid: Cuid) -> Mark<'_> {
        self.all().insert(cuid);
        Mark(self, cuid)
    }

    fn all(&self) -> MutexGuard<'_, HashSet<Cuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.0.all().remove(&self.1);
    }
}

impl Containers {
    /// Fills the index from the folders; an upload whose files were being moved in is finished on the way.
    pub(super) fn load(&self) -> Result<()> {
        for found in self.0.store.scan()? {
            match found {
                // They wait for the engine: see `finish`.
                Found::HalfMade(_) | Found::HalfDeleted { .. } => (),
                Found::Broken(cuid, error) => {
                    tracing::error!(%cuid, %error, "a container's folder is left alone");
                    self.orphans(|orphans| orphans.folders.push(cuid));
                }
                Found::Whole(record) => {
                    let cuid = record.cuid;
                    self.0.store.sweep(cuid);
                    files::edit::sweep(&self.0.store.folder(cuid));
                    if let Err(error) = files::deploy::recover_at_start(&self.0.store.folder(cuid)) {
                        tracing::error!(%cuid, %error, "an upload that a crash cut short could not be finished; the next one tries again");
                    }
                    if let Some(Err(error)) = record.spec.name.as_ref().map(|name| self.0.index.reserve(name, cuid)) {
                        tracing::error!(%cuid, %error, "two containers have the same name");
                    }
                    self.0.index.insert(*record, State::default(), self.0.index.ticket());
                }
            }
        }
        Ok(())
    }

    /// Removes what was half-made or half-deleted, and puts back what was half-changed, each in its turn. To be called
    /// whenever the engine is there again.
    pub(super) async fn finish(&self) {
        let this = self.clone();
        let finished = self.to_the_end(async move { this.finish_now().await }).await;
        if let Err(error) = finished {
            tracing::error!(%error, "what was cut short could not be looked for");
        }
    }

    async fn finish_now(&self) -> Result<()> {
        let store = self.0.store.clone();
        let found = on_disk(move || store.scan()).await?;
        // Side by side: a container that is put back may take its time to stop.
        stream::iter(found).for_each_concurrent(None, |found| self.finish_one(found)).await;
        Ok(())
    }

    async fn finish_one(&self, found: Found) {
        let (cuid, folder) = (found.cuid(), Folder::of(&found));
        match step(folder, false, self.is_at_work(cuid, folder)) {
            Step::TakeAway { with_volumes } => {
                tracing::warn!(%cuid, "taking away what was cut short of a creation or a deletion");
                self.take_away(cuid, with_volumes).await;
            }
            Step::Settle => {
                let Ok(turn) = self.0.index.turn(cuid) else { return };
                let turn = turn.lock_owned().await;
                self.settle(cuid).await;
                drop(turn);
                self.0.index.tell_rest(cuid);
            }
            Step::Leave | Step::Report => {}
        }
    }

    /// Whether somebody is at work on the folder, or has been since it was looked at: in this order, as a creation is in the
    /// index before it is not under way any more.
    fn is_at_work(&self, cuid: Cuid, seen: Folder) -> bool {
        self.0.under_way.all().contains(&cuid) || (seen != Folder::Whole && self.0.index.get(cuid).is_ok())
    }

    /// Whether a container at the engine, whose label names this cuid and which has no folder, is nobody's.
    pub(super) fn is_orphan(&self, cuid: Option<Cuid>) -> bool {
        let at_work = cuid.is_some_and(|cuid| self.is_at_work(cuid, Folder::None));
        step(Folder::None, true, at_work) == Step::Report
    }

    /// What was found and is not touched.
    pub fn orphaned(&self) -> Orphans {
        self.0.orphans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn orphans(&self, change: impl FnOnce(&mut Orphans)) {
        change(&mut self.0.orphans.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_find_is_decided() {
        let taken = |with_volumes| Step::TakeAway { with_volumes };
        // A row a find: with and without a container at the engine, and the same while somebody is at work on it.
        for (folder, [there, gone, there_at_work, gone_at_work]) in [
            (Folder::None, [Step::Report, Step::Leave, Step::Leave, Step::Leave]),
            (Folder::Whole, [Step::Settle, Step::Settle, Step::Leave, Step::Leave]),
            (Folder::HalfMade, [taken(true), taken(true), Step::Leave, Step::Leave]),
            (Folder::HalfDeleted { with_volumes: true }, [taken(true), taken(true), Step::Leave, Step::Leave]),
            (Folder::HalfDeleted { with_volumes: false }, [taken(false), taken(false), Step::Leave, Step::Leave]),
            (Folder::Broken, [Step::Report, Step::Report, Step::Leave, Step::Leave]),
        ] {
            assert_eq!(step(folder, true, false), there, "{folder:?}");
            assert_eq!(step(folder, false, false), gone, "{folder:?}");
            assert_eq!(step(folder, true, true), there_at_work, "{folder:?}");
            assert_eq!(step(folder, false, true), gone_at_work, "{folder:?}");
        }
    }
}
