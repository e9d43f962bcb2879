//! Changing a container's configuration: the new one up, or the old one back.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use super::{
    Containers,
    change::Bring,
    container::Container,
    on_disk,
    record::{Change, Record},
    terms::Terms,
};
use crate::{
    domain::{
        id::Cuid,
        status::{Action, Status},
    },
    engine::state::State,
    error::{Error, Result},
};

/// For how long, and how often, a container that was brought up is watched for a main process that ends at once.
pub(super) const MOMENT: Duration = Duration::from_secs(1);
pub(super) const PAUSE: Duration = Duration::from_millis(20);

impl Containers {
    /// Merges `patch` into the container's specification. One that is up is recreated and up again, but for a change of
    /// `resources` alone, which is made while it runs; one that is not up stays so. If the new configuration can't be brought
    /// up, the old one is put back, and up again if it was. A patch that changes nothing touches nothing.
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
            let state = this.look_closely(cuid).await?;
            Action::Patch.check(state.status)?;
            if spec == old.spec {
                return this.0.index.get(cuid);
            }
            let edited = this.may_write_project(cuid, &terms).await?;
            if let Some(name) = &spec.name {
                this.0.index.reserve(name, cuid)?;
            }
            let new = old.changed(spec, terms.mark);
            let changed = this.change(&old, &new, &state, edited).await;
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

    async fn change(&self, old: &Record, new: &Record, state: &State, edited: bool) -> Result<()> {
        let cuid = old.cuid;
        self.check_at_hand(&new.spec).await?;
        if state.status.is_up() {
            self.could_come_back(&old.spec).await?;
            self.ports_are_free(cuid, &new.spec, state).await?;
        }
        self.ensure_image(&new.spec.image).await?;
        self.check_log(&new.spec).await?;
        let change = Change { volumes: Some(self.volumes(cuid).await?), edited, ..Change::default() };
        let change = self.on_top(cuid, state, change).await;
        let how = Bring { up: change.was_up, anew: change.edited, ..Bring::default() };
        let work = async {
            let default = self.0.defaults.owner;
            if new.spec.owner(default) != old.spec.owner(default) {
                self.give_mount(cuid, &new.spec).await?;
            }
            // One that kept being restarted before may go on to.
            if self.bring(cuid, &new.spec, &how).await? && how.up && state.status != Status::Restarting {
                self.main_process_stays(cuid).await?;
            }
            self.commit(new, old).await
        };
        self.noted(cuid, &old.spec, &change, work).await
    }

    /// That the main process lives on for a moment: one that ends at once is no configuration that is up. An exit code of 126
    /// or 127 is also what is left of a program that can't be run, as the engine starts the container's init.
    async fn main_process_stays(&self, cuid: Cuid) -> Result<()> {
        // What is known may still be the end of the container that this one took the place of.
        self.refresh(cuid).await?;
        let began = Instant::now();
        while began.elapsed() < MOMENT {
            let state = self.0.index.get(cuid)?.state;
            if let Some(code) = state.exit_code.filter(|code| *code != 0 && state.status != Status::Running) {
                let stderr = match code {
                    126 | 127 => {
                        format!("the main process ended with {code}: there may be no such program, or it can't be executed")
                    }
                    code => format!("the main process ended at once, with exit code {code}"),
                };
                return Err(Error::ComposeFailed { command: "up".into(), exit_code: i32::try_from(code).ok(), stderr });
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Writes the new record, or leaves the old one: a write that fails may yet have got as far as its rename.
    async fn commit(&self, new: &Record, old: &Record) -> Result<()> {
        let (store, new, old) = (self.0.store.clone(), new.clone(), old.clone());
        on_disk(move || store.commit(&new).inspect_err(|_| drop(store.commit(&old)))).await
    }
}
