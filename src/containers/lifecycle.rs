//! Start, stop, restart, pause, unpause and delete, each in the container's turn.

use std::time::Duration;

use super::{Containers, Outcome, failure::lost_network, on_disk, store::Change, terms::Terms};
use crate::{
    domain::{
        id::Cuid,
        spec::Spec,
        status::{Action, Verdict},
    },
    engine::state::State,
    error::Result,
};

/// How long a container may take to stop before it is killed, where the caller names no time: Docker's own.
pub const GRACE: Duration = Duration::from_secs(10);

impl Containers {
    /// Does `action` to the container, and answers when it is done. `grace` is how long a stop may take.
    ///
    /// # Errors
    /// `ContainerNotFound`, `RevisionMismatch`, `InvalidState`, `Drifted`, `PortConflict`, and those of Compose, the engine and the disk.
    pub async fn act(&self, cuid: Cuid, action: Action, grace: Duration, terms: Terms) -> Result<Outcome> {
        self.engine_is_heard()?;
        self.in_turn(cuid, terms, move |this, terms| async move {
            let unsettled = this.settle(cuid).await;
            let state = this.refresh(cuid).await?;
            let changed = action.check(state.status)? == Verdict::Go;
            if changed && matches!(action, Action::Start | Action::Restart) {
                this.may_write_project(cuid, &terms).await?;
            }
            if changed {
                let done = this.perform(cuid, action, &state, grace).await;
                // Also after a failure: what it left is what the next read shows.
                let refreshed = this.refresh(cuid).await;
                done?;
                refreshed?;
                tracing::info!(%cuid, ?action, "container changed");
            }
            if unsettled {
                this.end_change(cuid).await?;
            }
            Ok(Outcome { container: this.0.index.get(cuid)?, changed })
        })
        .await
    }

    async fn perform(&self, cuid: Cuid, action: Action, state: &State, grace: Duration) -> Result<()> {
        let seconds = grace.as_secs().to_string();
        match action {
            Action::Start => self.start(cuid, state, grace, &["start"]).await,
            Action::Restart => self.start(cuid, state, grace, &["restart", "--timeout", &seconds]).await,
            Action::Stop => self.compose_minimal(cuid, &["stop", "--timeout", &seconds], grace).await,
            Action::Pause => self.compose_minimal(cuid, &["pause"], Duration::ZERO).await,
            Action::Unpause => self.compose_minimal(cuid, &["unpause"], Duration::ZERO).await,
            Action::Patch | Action::Delete { .. } | Action::Exec | Action::Attach => Ok(()),
        }
    }

    /// Brings the container up: with `command` where it was made from the project as it should be now, which is the
    /// quickest; else, with a `boot.py` that came or went, another template, or the container lost, by recreating it.
    async fn start(&self, cuid: Cuid, state: &State, grace: Duration, command: &[&str]) -> Result<()> {
        let spec = self.0.index.get(cuid)?.record.spec.clone();
        self.ports_are_free(cuid, &spec, state).await?;
        let project = self.write_project(cuid, &spec).await?;
        // Only one that is up may take its time to stop.
        let grace = if state.status.is_up() { grace } else { Duration::ZERO };
        let (made, change) = (project.made(state), Change { was_up: state.status.is_up(), volumes: None });
        if made {
            self.limit(cuid, &spec, state).await?;
        } else {
            self.ensure_image(&spec.image).await?;
        }
        let start = self.start_now(cuid, &spec, grace, command, made);
        // A container that is there and down is either started or not; nothing of it can be half-done.
        if made && !change.was_up { start.await } else { self.noted(cuid, &spec, &change, start).await }
    }

    async fn start_now(&self, cuid: Cuid, spec: &Spec, grace: Duration, command: &[&str], made: bool) -> Result<()> {
        if made {
            self.ensure_network(cuid, spec).await?;
            match self.compose(cuid, command, grace).await {
                Err(error) if lost_network(&error) => (),
                Err(error) => return Err(self.told(cuid, spec, error).await),
                Ok(()) => return Ok(()),
            }
        }
        self.compose_up(cuid, spec, grace).await
    }

    /// Deletes the container, its folder and, with `remove_volumes`, its volumes.
    ///
    /// # Errors
    /// `StillRunning` without `force`; else as [`Containers::act`]. After an error the container is still there.
    pub async fn delete(&self, cuid: Cuid, force: bool, remove_volumes: bool, terms: Terms) -> Result<()> {
        self.engine_is_heard()?;
        self.in_turn(cuid, terms, move |this, _| async move {
            Action::Delete { force }.check(this.refresh(cuid).await?.status)?;
            this.delete_now(cuid, remove_volumes).await
        })
        .await
    }

    async fn delete_now(&self, cuid: Cuid, remove_volumes: bool) -> Result<()> {
        let _mark = self.0.under_way.mark(cuid);
        let store = self.0.store.clone();
        // A rename that fails to be synced may yet be there, and would delete the container at the next start.
        let begin =
            move || store.begin_deletion(cuid, remove_volumes).inspect_err(|_| drop(store.undo_deletion(cuid, remove_volumes)));
        on_disk(begin).await?;
        let store = self.0.store.clone();
        if let Err(error) = self.compose_down(cuid, remove_volumes).await {
            on_disk(move || store.undo_deletion(cuid, remove_volumes)).await?;
            self.refresh(cuid).await?;
            return Err(error);
        }
        self.0.index.remove(cuid);
        if let Err(error) = on_disk(move || store.remove(cuid)).await {
            tracing::error!(%cuid, %error, "a deleted container's folder could not be removed; it is tried again");
        }
        tracing::info!(%cuid, "container deleted");
        Ok(())
    }

    /// What may be done to the container, as it is known now, without asking the engine.
    ///
    /// # Errors
    /// `ContainerNotFound`, `InvalidState`, `StillRunning`.
    pub async fn check(&self, cuid: Cuid, action: Action) -> Result<Verdict> {
        action.check(self.get(cuid).await?.state.status)
    }
}
