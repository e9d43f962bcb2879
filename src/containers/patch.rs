//! Changing a container's configuration: the new one up, or the old one back.

use serde_json::Value;

use super::{
    Containers,
    index::Container,
    lifecycle::GRACE,
    on_disk,
    store::{Change, Record},
};
use crate::{
    domain::{id::Cuid, spec::Spec, status::Action},
    error::Result,
};

impl Containers {
    /// Merges `patch` into the container's specification. One that is up is recreated and up again; one that is not
    /// stays so. If the new configuration can't be brought up, the old one is put back, and up again if it was.
    /// A patch that changes nothing touches nothing.
    ///
    /// # Errors
    /// [`crate::error::Error::Invalid`], [`crate::error::Error::InvalidState`], [`crate::error::Error::NameTaken`],
    /// [`crate::error::Error::ImageNotFound`], [`crate::error::Error::PortConflict`], and those of Compose, the engine and the
    /// disk.
    pub async fn patch(&self, cuid: Cuid, patch: Value) -> Result<Container> {
        self.in_turn(cuid, move |this| async move {
            let record = this.0.index.get(cuid)?.record;
            let spec = record.spec.patched(&patch)?;
            let status = this.refresh(cuid).await?.status;
            Action::Patch.check(status)?;
            if spec == record.spec {
                return this.0.index.get(cuid);
            }
            this.check_processors(&spec).await?;
            this.ensure_image(&spec.image).await?;
            if let Some(name) = &spec.name {
                this.0.index.reserve(name, cuid)?;
            }
            let new = Record { spec, ..(*record).clone() };
            let change = Change { was_up: status.is_up() };
            let changed = this.change(&record, &new, change).await;
            let (kept, dropped) = if changed.is_ok() { (&new, &*record) } else { (&*record, &new) };
            if let Some(name) = dropped.spec.name.as_ref().filter(|name| kept.spec.name.as_ref() != Some(name)) {
                this.0.index.free(name, cuid);
            }
            let seen = this.0.index.ticket();
            let state = this.0.engine.state(&cuid.to_string()).await;
            if changed.is_ok() {
                tracing::info!(%cuid, "configuration changed");
                return Ok(this.0.index.insert(new, state.unwrap_or_default(), seen));
            }
            if let Ok(state) = state {
                this.0.index.observe(cuid, state, seen);
            }
            changed.and_then(|()| this.0.index.get(cuid))
        })
        .await
    }

    async fn change(&self, old: &Record, new: &Record, change: Change) -> Result<()> {
        let (store, cuid) = (self.0.store.clone(), old.cuid);
        on_disk(move || store.begin_change(cuid, change)).await?;
        let (store, record) = (self.0.store.clone(), new.clone());
        let brought = match self.bring(cuid, &new.spec, change).await {
            Ok(()) => on_disk(move || store.commit(&record)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = brought {
            tracing::warn!(%cuid, %error, "a new configuration could not be brought up; the old one is put back");
            self.put_back(cuid, &old.spec, change).await;
            return Err(error);
        }
        let store = self.0.store.clone();
        on_disk(move || store.end_change(cuid)).await
    }

    /// Writes the project of `spec`, and recreates the container by it.
    async fn bring(&self, cuid: Cuid, spec: &Spec, change: Change) -> Result<()> {
        let project = self.render(cuid, spec).await?;
        self.write_project(cuid, project).await?;
        if change.was_up { self.compose_up(cuid, spec, GRACE).await } else { self.compose_create(cuid).await }
    }

    /// Puts the old configuration back after a change that failed or was cut short. Where that fails, too, the note of
    /// the change stays, and the next start of the server tries again.
    pub(super) async fn put_back(&self, cuid: Cuid, old: &Spec, change: Change) {
        let store = self.0.store.clone();
        let back = match self.bring(cuid, old, change).await {
            Ok(()) => on_disk(move || store.end_change(cuid)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = back {
            tracing::error!(%cuid, %error, "the old configuration could not be put back; the next start tries again");
        }
    }
}
