//! What a start of the server finds: containers for the index, what a crash cut short and is finished or taken back, and
//! containers at the engine that carry the label without a folder, which are reported and left alone.

use super::{Containers, store::Found};
use crate::{domain::id::Cuid, engine::state::State, error::Result, files};

/// What a crash left to do, once the engine answers.
pub(super) struct Unfinished {
    half_made: Vec<Cuid>,
    half_deleted: Vec<Cuid>,
}

/// What was found and is not touched.
#[derive(Clone, Debug, Default)]
pub struct Orphans {
    /// Containers at the engine whose label names no container of this server.
    pub containers: Vec<String>,
    /// Folders whose `container.json` can't be read.
    pub folders: Vec<Cuid>,
}

impl Containers {
    /// Fills the index from the folders; an upload whose files were being moved in is finished on the way.
    pub(super) fn load(&self) -> Result<Unfinished> {
        let mut unfinished = Unfinished { half_made: Vec::new(), half_deleted: Vec::new() };
        for found in self.0.store.scan()? {
            match found {
                Found::HalfMade(cuid) => unfinished.half_made.push(cuid),
                Found::HalfDeleted(cuid) => unfinished.half_deleted.push(cuid),
                Found::Broken(cuid, error) => {
                    tracing::error!(%cuid, %error, "a container's folder is left alone");
                    self.orphans(|orphans| orphans.folders.push(cuid));
                }
                Found::Whole(record) => {
                    let cuid = record.cuid;
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
        Ok(unfinished)
    }

    /// Waits for the engine, then removes what was half-made or half-deleted, and puts back what was half-changed, each in
    /// its turn.
    pub(super) async fn finish(&self, unfinished: Unfinished) {
        self.once_watched().await;
        let this = self.clone();
        let _ = self.to_the_end(async move { this.finish_now(unfinished).await }).await;
    }

    async fn finish_now(&self, unfinished: Unfinished) -> Result<()> {
        for cuid in unfinished.half_made {
            tracing::warn!(%cuid, "removing what a crash left of a creation");
            self.take_away(cuid, &["--volumes"]).await;
        }
        for cuid in unfinished.half_deleted {
            tracing::warn!(%cuid, "finishing a deletion that a crash cut short");
            self.take_away(cuid, &[]).await;
        }
        for cuid in self.0.index.cuids() {
            let Ok(turn) = self.0.index.turn(cuid) else { continue };
            let _turn = turn.lock_owned().await;
            self.settle(cuid).await;
        }
        Ok(())
    }

    /// What was found and is not touched.
    pub fn orphaned(&self) -> Orphans {
        self.0.orphans.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) fn orphans(&self, change: impl FnOnce(&mut Orphans)) {
        change(&mut self.0.orphans.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}
