//! Start, stop, restart, pause, unpause and delete, each in the container's turn.

use std::time::Duration;

use super::{Containers, Outcome, on_disk};
use crate::{
    domain::{
        id::Cuid,
        status::{Action, Status, Verdict},
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
    /// [`Error::ContainerNotFound`](crate::error::Error::ContainerNotFound), [`Error::InvalidState`](crate::error::Error::InvalidState), [`Error::PortConflict`](crate::error::Error::PortConflict), and those of Compose, the engine and
    /// the disk.
    pub async fn act(&self, cuid: Cuid, action: Action, grace: Duration) -> Result<Outcome> {
        self.in_turn(cuid, move |this| async move {
            let status = this.refresh(cuid).await?.status;
            let changed = action.check(status)? == Verdict::Go;
            if changed {
                let done = this.perform(cuid, action, status, grace).await;
                // Also after a failure: what it left is what the next read shows.
                let refreshed = this.refresh(cuid).await;
                done?;
                refreshed?;
                tracing::info!(%cuid, ?action, "container changed");
            }
            Ok(Outcome { container: this.0.index.get(cuid)?, changed })
        })
        .await
    }

    async fn perform(&self, cuid: Cuid, action: Action, status: Status, grace: Duration) -> Result<()> {
        let seconds = grace.as_secs().to_string();
        match action {
            Action::Start => self.start(cuid, status, grace, &["start"]).await,
            Action::Restart => self.start(cuid, status, grace, &["restart", "--timeout", &seconds]).await,
            Action::Stop => self.compose(cuid, &["stop", "--timeout", &seconds], grace).await,
            Action::Pause => self.compose(cuid, &["pause"], Duration::ZERO).await,
            Action::Unpause => self.compose(cuid, &["unpause"], Duration::ZERO).await,
            Action::Patch | Action::Delete { .. } | Action::Exec | Action::Attach => Ok(()),
        }
    }

    /// Brings the container up: with `command` where its project still stands as it was, which is the quickest; else, with
    /// a `boot.py` that came or went, another template, or the container lost, by recreating it.
    async fn start(&self, cuid: Cuid, status: Status, grace: Duration, command: &[&str]) -> Result<()> {
        let spec = self.0.index.get(cuid)?.record.spec.clone();
        let project = self.render(cuid, &spec).await?;
        if self.write_project(cuid, project).await? || status == Status::Missing {
            self.ensure_image(&spec.image).await?;
            return self.compose_up(cuid, &spec, grace).await;
        }
        self.ensure_network().await?;
        let started = self.compose(cuid, command, grace).await;
        started.map_err(|error| self.port_conflict(cuid, &spec, error))
    }

    /// Deletes the container, its folder and, with `remove_volumes`, its volumes.
    ///
    /// # Errors
    /// [`Error::StillRunning`](crate::error::Error::StillRunning) without `force`; else as [`Containers::act`]. After an error the container is still there.
    pub async fn delete(&self, cuid: Cuid, force: bool, remove_volumes: bool) -> Result<()> {
        self.in_turn(cuid, move |this| async move {
            let state = this.refresh(cuid).await?;
            Action::Delete { force }.check(state.status)?;
            this.delete_now(cuid, &state, remove_volumes).await
        })
        .await
    }

    async fn delete_now(&self, cuid: Cuid, state: &State, remove_volumes: bool) -> Result<()> {
        let store = self.0.store.clone();
        on_disk(move || store.begin_deletion(cuid)).await?;
        let volumes: &[&str] = if remove_volumes { &["--volumes"] } else { &[] };
        let command = [&["down", "--timeout", "0"], volumes].concat();
        let down = if state.status == Status::Missing { Ok(()) } else { self.compose(cuid, &command, Duration::ZERO).await };
        let store = self.0.store.clone();
        if let Err(error) = down {
            on_disk(move || store.undo_deletion(cuid)).await?;
            self.refresh(cuid).await?;
            return Err(error);
        }
        self.0.index.remove(cuid);
        if let Err(error) = on_disk(move || store.remove(cuid)).await {
            tracing::error!(%cuid, %error, "a deleted container's folder could not be removed; the next start tries again");
        }
        tracing::info!(%cuid, "container deleted");
        Ok(())
    }

    /// What may be done to the container, as it is known now, without asking the engine.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`](crate::error::Error::ContainerNotFound), [`Error::InvalidState`](crate::error::Error::InvalidState).
    pub async fn check(&self, cuid: Cuid, action: Action) -> Result<Verdict> {
        action.check(self.get(cuid).await?.state.status)
    }
}
