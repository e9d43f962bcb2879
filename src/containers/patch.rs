//! Changing a container's configuration: the new one up, or the old one back.

use std::time::Duration;

use serde_json::Value;

use super::{
    Containers,
    index::Container,
    lifecycle::GRACE,
    on_disk,
    store::{Change, Record},
    terms::Terms,
};
use crate::{
    domain::{id::Cuid, network::Network, spec::Spec, status::Action},
    engine::state::State,
    error::{Error, Result},
    files::root::Mount,
};

/// How often, and how long apart, a container that was brought up is looked at for a main process that can't be run.
const LOOKS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(50);

impl Containers {
    /// Merges `patch` into the container's specification. One that is up is recreated and up again, but for a change of
    /// `resources` alone, which is made while it runs; one that is not up stays so. If the new configuration can't be brought up, the old one is put back, and up again if it was.
    /// A patch that changes nothing touches nothing.
    ///
    /// # Errors
    /// `Invalid`, `RevisionMismatch`, `InvalidState`, `Drifted`, `NameTaken`, `ImageNotFound`, `NetworkNotFound`, `HostPathNotAllowed`,
    /// `PortConflict`, and those of Compose, the engine and the disk.
    pub async fn patch(&self, cuid: Cuid, patch: Value, terms: Terms) -> Result<Container> {
        self.engine_is_heard()?;
        self.in_turn(cuid, terms, move |this, terms| async move {
            this.settle(cuid).await;
            let old = this.0.index.get(cuid)?.record;
            if terms.made(&old) {
                return this.get(cuid).await;
            }
            let spec = old.spec.patched(&patch)?;
            let state = this.refresh(cuid).await?;
            Action::Patch.check(state.status)?;
            if spec == old.spec {
                return this.0.index.get(cuid);
            }
            this.may_write_project(cuid, &terms).await?;
            if let Some(name) = &spec.name {
                this.0.index.reserve(name, cuid)?;
            }
            let new = old.changed(spec, terms.mark);
            let changed = this.change(&old, &new, &state).await;
            let (kept, dropped) = if changed.is_ok() { (&new, &*old) } else { (&*old, &new) };
            if let Some(name) = dropped.spec.name.as_ref().filter(|name| kept.spec.name.as_ref() != Some(name)) {
                this.0.index.free(name, cuid);
            }
            if changed.is_ok() {
                tracing::info!(%cuid, "configuration changed");
                this.0.index.replace(new);
            }
            this.look(cuid).await;
            changed.and_then(|()| this.0.index.get(cuid))
        })
        .await
    }

    async fn change(&self, old: &Record, new: &Record, state: &State) -> Result<()> {
        let (cuid, was_up) = (old.cuid, state.status.is_up());
        self.check_at_hand(&new.spec).await?;
        if was_up {
            self.ports_are_free(cuid, &new.spec, state).await?;
        }
        self.ensure_image(&new.spec.image).await?;
        self.check_log(&new.spec).await?;
        let change = Change { was_up, volumes: Some(self.volumes(cuid).await?) };
        let work = async {
            let default = self.0.defaults.owner;
            if new.spec.owner(default) != old.spec.owner(default) {
                self.give_mount(cuid, &new.spec).await?;
            }
            self.bring(cuid, &new.spec, was_up).await?;
            self.commit(new, old).await
        };
        self.noted(cuid, &old.spec, &change, work).await
    }

    /// Runs work on a container that may be cut short half-way, noted so that it is put back then to what `old` says, and
    /// to whether it was up. So it is after a failure, too.
    pub(super) async fn noted(
        &self,
        cuid: Cuid,
        old: &Spec,
        change: &Change,
        work: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let (store, noted) = (self.0.store.clone(), change.clone());
        on_disk(move || store.begin_change(cuid, &noted)).await?;
        if let Err(error) = work.await {
            tracing::warn!(%cuid, %error, "a change failed; what was before is put back");
            let back = self.put_back(cuid, old, change).await;
            return Err(Error::TakenBack { cause: Box::new(error), back });
        }
        if let Err(error) = self.end_change(cuid).await {
            // The change is made; a note that stays only has it made once more.
            tracing::error!(%cuid, %error, "the note of a change that is over could not be removed");
        }
        Ok(())
    }

    /// Writes the new record, or leaves the old one: a write that fails may yet have got as far as its rename.
    async fn commit(&self, new: &Record, old: &Record) -> Result<()> {
        let (store, new, old) = (self.0.store.clone(), new.clone(), old.clone());
        on_disk(move || store.commit(&new).inspect_err(|_| drop(store.commit(&old)))).await
    }

    /// Writes the project of `spec`, and brings the container to it: by other limits where that is all there is to do, else
    /// by recreating it. A network of its own goes where it is not on it.
    async fn bring(&self, cuid: Cuid, spec: &Spec, was_up: bool) -> Result<()> {
        let project = self.write_project(cuid, spec).await?;
        let state = self.refresh(cuid).await?;
        if project.made(&state) {
            self.limit(cuid, spec, &state).await?;
            if state.status.is_up() || !was_up {
                return Ok(());
            }
        }
        if was_up {
            self.compose_up(cuid, spec, GRACE).await?;
            self.main_process_runs(cuid).await?;
        } else {
            self.compose_create(cuid, spec, Duration::ZERO).await?;
        }
        if spec.network == Some(Network::Own) {
            return Ok(());
        }
        self.0.engine.remove_network(&format!("{cuid}_default")).await
    }

    /// Gives the mount's top folder to the container's user; what is in it stays whose it is.
    async fn give_mount(&self, cuid: Cuid, spec: &Spec) -> Result<()> {
        let (folder, owner) = (self.0.store.folder(cuid), spec.owner(self.0.defaults.owner));
        on_disk(move || Mount::create(&folder, owner).map(drop)).await
    }

    /// That the main process could be run at all. The engine doesn't tell: the container's init is what it starts, and that
    /// exits with 126 or 127, as a shell would, moments later.
    async fn main_process_runs(&self, cuid: Cuid) -> Result<()> {
        for _ in 0..LOOKS {
            let state = self.refresh(cuid).await?;
            if let Some(code @ (126 | 127)) = state.exit_code {
                let stderr = "the main process could not be run: there is no such program, or it can't be executed".to_owned();
                return Err(Error::ComposeFailed { command: "up".into(), exit_code: i32::try_from(code).ok(), stderr });
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Puts the old configuration back after a change that failed or was cut short, and says whether that succeeded. Where
    /// it fails, too, the note of the change stays: the next action on the container, or the next start of the server, tries
    /// again.
    async fn put_back(&self, cuid: Cuid, old: &Spec, change: &Change) -> bool {
        let back = async {
            self.give_mount(cuid, old).await?;
            self.bring(cuid, old, change.was_up).await?;
            if let Some(volumes) = &change.volumes {
                self.drop_volumes(cuid, old, volumes).await?;
            }
            self.end_change(cuid).await
        };
        if let Err(error) = back.await {
            tracing::error!(%cuid, %error, "the old configuration could not be put back; it is tried again");
            return false;
        }
        true
    }

    /// Puts back what an earlier change could not. True where it still can't be, so that the note must go once the caller
    /// has brought the container into another state.
    pub(super) async fn settle(&self, cuid: Cuid) -> bool {
        let Some(change) = self.interrupted_change(cuid).await else { return false };
        let Ok(container) = self.0.index.get(cuid) else { return false };
        !self.put_back(cuid, &container.record.spec, &change).await
    }

    pub(super) async fn end_change(&self, cuid: Cuid) -> Result<()> {
        let store = self.0.store.clone();
        on_disk(move || store.end_change(cuid)).await
    }

    /// The change that was cut short; one whose note can't be read is none.
    async fn interrupted_change(&self, cuid: Cuid) -> Option<Change> {
        let store = self.0.store.clone();
        let noted = on_disk(move || store.interrupted_change(cuid)).await;
        noted.unwrap_or_else(|error| {
            tracing::error!(%cuid, %error, "the note of a change can't be read");
            None
        })
    }
}
