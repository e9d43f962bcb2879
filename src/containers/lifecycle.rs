//! Start, stop, restart, pause, unpause and delete, each in the container's turn.

use std::time::Duration;

use super::{Containers, Outcome, failure::lost_network, on_disk, record::Change, terms::Terms};
use crate::{
    domain::{
        id::Cuid,
        spec::Spec,
        status::{Action, Verdict},
    },
    engine::state::State,
    error::{Error, Result},
};

/// How long a container may take to stop before it is killed, where the caller names no time: Docker's own.
pub const GRACE: Duration = Duration::from_secs(10);

impl Containers {
    /// Does `action` to the container, and answers when it is done. `grace` is how long a stop may take.
    ///
    /// # Errors
    /// `ContainerNotFound`, `RevisionMismatch`, `InvalidState`, `Drifted`, `PortConflict`, and those of Compose, the engine and
    /// the disk.
    pub async fn act(&self, cuid: Cuid, action: Action, grace: Duration, terms: Terms) -> Result<Outcome> {
        self.engine_is_heard()?;
        self.in_turn(cuid, terms, move |this, terms| async move {
            let unsettled = this.settle(cuid).await;
            let state = this.look_closely(cuid).await?;
            let changed = action.check(state.status)? == Verdict::Go;
            if changed {
                let done = this.perform(cuid, action, &state, grace, &terms).await;
                // Also after a failure: what it left is what the next read shows.
                let refreshed = this.refresh(cuid).await;
                done?;
                refreshed?;
                tracing::info!(%cuid, ?action, "container changed");
            }
            // A start has made the container anew, and a stop leaves nothing up; the others leave the rest to be put back.
            let over = action == Action::Stop || (changed && matches!(action, Action::Start | Action::Restart));
            if unsettled && over {
                this.end_change(cuid).await?;
            }
            Ok(Outcome { container: this.0.index.get(cuid)?, changed })
        })
        .await
    }

    async fn perform(&self, cuid: Cuid, action: Action, state: &State, grace: Duration, terms: &Terms) -> Result<()> {
        let seconds = grace.as_secs().to_string();
        match action {
            Action::Start | Action::Restart => {
                let edited = self.may_write_project(cuid, terms).await?;
                let command: &[&str] = if action == Action::Start { &["start"] } else { &["restart", "--timeout", &seconds] };
                self.start(cuid, state, grace, command, edited).await
            }
            Action::Stop => self.compose_minimal(cuid, &["stop", "--timeout", &seconds], grace).await,
            Action::Pause => self.compose_minimal(cuid, &["pause"], Duration::ZERO).await,
            Action::Unpause => self.compose_minimal(cuid, &["unpause"], Duration::ZERO).await,
            Action::Patch | Action::Delete { .. } | Action::Exec | Action::Attach | Action::Stats => Ok(()),
        }
    }

    /// Brings the container up: with `command` where it was made from the project as it should be now, which is the
    /// quickest; else, with a `boot.py` or `requirements.txt` that came or went, another template, or the container lost, by recreating it.
    async fn start(&self, cuid: Cuid, state: &State, grace: Duration, command: &[&str], edited: bool) -> Result<()> {
        let spec = self.with_packages(cuid, &self.0.index.get(cuid)?.record.spec).await?;
        self.ports_are_free(cuid, &spec, state).await?;
        // Only one that is up may take its time to stop.
        let grace = if state.status.is_up() { grace } else { Duration::ZERO };
        let volumes = if spec.own_volumes().next().is_some() { Some(self.volumes(cuid).await?) } else { None };
        let change = Change { volumes, restarts: state.status.is_up().then_some(grace.as_secs()), edited, ..Change::default() };
        let change = self.on_top(cuid, state, change).await;
        if change.edited {
            // From the note on, as nobody could tell any more once the project is written.
            let anew = async {
                self.write_project(cuid, &spec, None).await?;
                self.ensure_image(&spec.image).await?;
                self.compose_up(cuid, &spec, grace, true).await
            };
            return self.noted(cuid, &spec, &change, anew).await;
        }
        let project = self.write_project(cuid, &spec, None).await?;
        // Other limits than it can live with take a new container, which a restart may as well be.
        let made = project.made(state) && self.limit(cuid, &spec, state, &project).await.map_or_else(unfit, |()| Ok(true))?;
        if !made {
            self.ensure_image(&spec.image).await?;
        }
        // A container that is there and down is either started or not; nothing of it can be half-done.
        if made && !change.was_up {
            match self.start_as_it_is(cuid, &spec, command, grace).await {
                Err(error) if lost_network(&error) => (),
                started => return started,
            }
        }
        self.noted(cuid, &spec, &change, self.start_now(cuid, &spec, grace, command, made && change.was_up)).await
    }

    pub(super) async fn start_now(&self, cuid: Cuid, spec: &Spec, grace: Duration, command: &[&str], made: bool) -> Result<()> {
        if made {
            match self.start_as_it_is(cuid, spec, command, grace).await {
                Err(error) if lost_network(&error) => (),
                started => return started,
            }
        }
        self.compose_up(cuid, spec, grace, false).await
    }

    /// Starts the container that there is.
    async fn start_as_it_is(&self, cuid: Cuid, spec: &Spec, command: &[&str], grace: Duration) -> Result<()> {
        self.ensure_network(cuid, spec).await?;
        match self.compose(cuid, command, grace).await {
            Err(error) if !lost_network(&error) => Err(self.told(cuid, spec, error).await),
            started => started,
        }
    }

    /// Deletes the container, its folder and, with `remove_volumes`, its volumes.
    ///
    /// # Errors
    /// `StillRunning` without `force`; else as [`Containers::act`]. After an error the container is still there.
    pub async fn delete(&self, cuid: Cuid, force: bool, remove_volumes: bool, terms: Terms) -> Result<()> {
        self.engine_is_heard()?;
        if force && terms.if_match.is_none() && self.0.index.turn(cuid)?.try_lock().is_err() {
            // Somebody may be waiting for it to stop, for an hour.
            let _ = self.compose_minimal(cuid, &["kill"], Duration::ZERO).await;
        }
        self.in_turn(cuid, terms, move |this, _| async move {
            Action::Delete { force }.check(this.look_closely(cuid).await?.status)?;
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

/// That a container can't be given its limits as it is is no failure of a start, which can recreate it.
fn unfit(error: Error) -> Result<bool> {
    if let Error::Invalid(_) = error { Ok(false) } else { Err(error) }
}
