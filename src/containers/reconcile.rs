//! What a start of the server finds: containers for the index, what a crash cut short and is finished or taken back, and
//! containers at the engine that carry the label without a folder, which are reported and left alone. What could not be
//! finished because the engine went away is tried again when it is back.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Containers, on_disk, store::Found};
use crate::{domain::id::Cuid, engine::state::State, error::Result, files};

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
                    if let Err(error) = files::archive::recover(&self.0.store.folder(cuid)) {
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
        for found in on_disk(move || store.scan()).await? {
            let (cuid, with_volumes) = match found {
                Found::HalfMade(cuid) => (cuid, true),
                Found::HalfDeleted { cuid, with_volumes } => (cuid, with_volumes),
                Found::Whole(_) | Found::Broken(..) => continue,
            };
            if self.is_at_work(cuid) {
                continue;
            }
            tracing::warn!(%cuid, "taking away what was cut short of a creation or a deletion");
            self.take_away(cuid, with_volumes).await;
        }
        for cuid in self.0.index.cuids() {
            let Ok(turn) = self.0.index.turn(cuid) else { continue };
            let _turn = turn.lock_owned().await;
            self.settle(cuid).await;
        }
        Ok(())
    }

    /// Whether the folder is a container's after all, or is about to be: in this order, as a creation is in the index before
    /// it is not under way any more.
    fn is_at_work(&self, cuid: Cuid) -> bool {
        self.0.under_way.all().contains(&cuid) || self.0.index.get(cuid).is_ok()
    }

    /// What was found and is not touched.
    pub fn orphaned(&self) -> Orphans {
        self.0.orphans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn orphans(&self, change: impl FnOnce(&mut Orphans)) {
        change(&mut self.0.orphans.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
