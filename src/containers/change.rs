//! Changes that may be cut short: noted before they begin, and put back after a failure or a crash. What Compose does to
//! recreate a container has steps of its own: it makes the new one under another name, stops the old one, removes it, and
//! renames the new one. Cut short, it leaves two, and an engine that is still about to stop the old one.

use std::time::Duration;

use chrono::Utc;

use super::{Containers, GRACE, on_disk, record::Change};
use crate::{
    domain::{id::Cuid, network::Network, spec::Spec, status::Status},
    engine::state::State,
    error::{Error, Result},
    files::{deploy, root::Mount},
};

/// How a container is brought to its project.
#[derive(Default)]
pub(super) struct Bring {
    /// To be running in the end.
    pub up: bool,
    /// It may be about to be stopped by a command that was cut short: it is, within this time, and started again.
    pub shaken: Option<Duration>,
    /// Its label may lie: it is recreated.
    pub anew: bool,
    /// The image's id, where the specification's reference leads to another one by now.
    pub image: Option<String>,
}

impl Containers {
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
        if self.0.install_requirements
            && let Err(error) = self.drop_packages(cuid).await
        {
            tracing::warn!(%cuid, %error, "packages that the container uses no more could not be removed");
        }
        Ok(())
    }

    /// The note of a change of a container in this state, on top of one that could not be put back: what was before that is
    /// what is to come back.
    pub(super) async fn on_top(&self, cuid: Cuid, state: &State, change: Change) -> Change {
        let earlier = self.interrupted_change(cuid).await.unwrap_or_default();
        Change {
            was_up: state.status.is_up() || earlier.was_up,
            revision: self.0.index.get(cuid).map(|container| container.record.revision).ok(),
            at: Utc::now(),
            volumes: earlier.volumes.or(change.volumes),
            image: earlier.image.or_else(|| state.image.clone()),
            restarts: change.restarts.or(earlier.restarts),
            edited: change.edited || earlier.edited,
        }
    }

    /// Writes the project of `spec`, and brings the container to it: by other limits where that is all there is to do, else
    /// by recreating it, and says whether it did. A network of its own goes where it is not on it.
    pub(super) async fn bring(&self, cuid: Cuid, spec: &Spec, how: &Bring) -> Result<bool> {
        let spec = &self.with_packages(cuid, spec).await?;
        let project = self.write_project(cuid, spec, how.image.clone()).await?;
        let state = self.refresh(cuid).await?;
        let made = project.made(&state) && !how.anew;
        if made {
            self.limit(cuid, spec, &state, &project).await?;
        }
        match (made, how.up) {
            (true, true) if how.shaken.is_some() && state.status.is_up() => {
                let grace = how.shaken.unwrap_or(GRACE);
                self.compose(cuid, &["restart", "--timeout", &grace.as_secs().to_string()], grace).await?;
            }
            (true, up) if state.status.is_up() || !up => {}
            (_, true) => self.compose_up(cuid, spec, GRACE, how.anew).await?,
            (_, false) => self.compose_create(cuid, spec, Duration::ZERO, how.anew).await?,
        }
        if spec.network != Some(Network::Own)
            && let Err(error) = self.0.engine.remove_network(&format!("{cuid}_default")).await
        {
            // Somebody else's container is on it.
            tracing::warn!(%cuid, %error, "a container's own network, which it left, could not be removed");
        }
        Ok(!made)
    }

    /// Gives the mount's top folder to the container's user; what is in it stays whose it is.
    pub(super) async fn give_mount(&self, cuid: Cuid, spec: &Spec) -> Result<()> {
        let (folder, owner) = (self.0.store.folder(cuid), spec.owner(self.0.defaults.owner));
        on_disk(move || Mount::create(&folder, owner).map(drop)).await
    }

    /// Puts the old configuration back after a change that failed or was cut short, and says whether that succeeded. Where
    /// it fails, too, the note of the change stays: the next action on the container, or the next start of the server, tries
    /// again.
    async fn put_back(&self, cuid: Cuid, old: &Spec, change: &Change) -> bool {
        let name = cuid.to_string();
        let back = async {
            self.take_back_files(cuid, change).await?;
            let old = &self.with_packages(cuid, old).await?;
            self.give_mount(cuid, old).await?;
            let halved = self.0.engine.tidy_halves(&name).await?;
            let image = self.image_of(old, change).await?;
            let stops = change.restarts.map(Duration::from_secs).or(halved.then_some(GRACE));
            // After a crash, or where its events were not heard, nobody knows whether the engine was told to.
            let shaken = stops.filter(|_| self.0.index.may_be_stopping(cuid, change.at));
            let how = Bring { up: change.was_up, shaken, anew: change.edited, image };
            self.bring(cuid, old, &how).await?;
            if let Some(volumes) = &change.volumes {
                self.drop_volumes(cuid, old, volumes).await?;
                self.give_since(cuid, old, volumes).await?;
            }
            self.end_change(cuid).await
        };
        if let Err(error) = back.await {
            tracing::error!(%cuid, %error, "the old configuration could not be put back; it is tried again");
            return false;
        }
        true
    }

    /// Takes back the deploy that was on trial, if one was: the container is stopped for it.
    async fn take_back_files(&self, cuid: Cuid, change: &Change) -> Result<()> {
        let folder = self.0.store.folder(cuid);
        let on_trial = {
            let folder = folder.clone();
            on_disk(move || deploy::is_on_trial(&folder)).await?
        };
        if !on_trial {
            return Ok(());
        }
        if self.refresh(cuid).await?.status.is_up() {
            let grace = change.restarts.map_or(GRACE, Duration::from_secs);
            self.compose_minimal(cuid, &["stop", "--timeout", &grace.as_secs().to_string()], grace).await?;
        }
        on_disk(move || deploy::take_back(&folder)).await
    }

    /// The image that the container was made from, where the specification's reference leads elsewhere by now.
    async fn image_of(&self, old: &Spec, change: &Change) -> Result<Option<String>> {
        let Some(made_from) = &change.image else { return Ok(None) };
        let moved = self.0.engine.image_id(old.image.as_str()).await?.as_ref() != Some(made_from);
        Ok(if moved && self.0.engine.has_image(made_from).await? { Some(made_from.clone()) } else { None })
    }

    /// Puts back what an earlier change could not. True where it still can't be, so that the note must go once the caller
    /// has made the container anew, or stopped it.
    pub(super) async fn settle(&self, cuid: Cuid) -> bool {
        let Some(change) = self.interrupted_change(cuid).await else {
            self.accept_files(cuid).await;
            return false;
        };
        let Ok(container) = self.0.index.get(cuid) else { return false };
        !self.put_back(cuid, &container.record.spec, &change).await
    }

    pub(super) async fn end_change(&self, cuid: Cuid) -> Result<()> {
        self.accept_files(cuid).await;
        let store = self.0.store.clone();
        on_disk(move || store.end_change(cuid)).await
    }

    /// Ends the trial of a deploy, if one is on trial.
    async fn accept_files(&self, cuid: Cuid) {
        let folder = self.0.store.folder(cuid);
        if let Err(error) = on_disk(move || deploy::accept(&folder)).await {
            tracing::warn!(%cuid, %error, "what was before a deploy could not be removed; it is tried again");
        }
    }

    /// Asks the engine for the container's state before a change; one that somebody renamed by hand gets its name back.
    pub(super) async fn look_closely(&self, cuid: Cuid) -> Result<State> {
        let state = self.refresh(cuid).await?;
        if state.status == Status::Missing && self.0.engine.reclaim(&cuid.to_string()).await? {
            tracing::warn!(%cuid, "a container had been renamed, and has its name back");
            return self.refresh(cuid).await;
        }
        Ok(state)
    }

    /// The change that was cut short; one whose note can't be read is none. Where the record is past it, all was done but
    /// the note's removal.
    async fn interrupted_change(&self, cuid: Cuid) -> Option<Change> {
        let store = self.0.store.clone();
        let noted = on_disk(move || store.interrupted_change(cuid)).await;
        let noted = noted.unwrap_or_else(|error| {
            tracing::error!(%cuid, %error, "the note of a change can't be read");
            None
        });
        let revision = self.0.index.get(cuid).map(|container| container.record.revision).ok();
        noted.map(|change| {
            if change.revision.is_none() || change.revision == revision {
                change
            } else {
                Change { image: None, edited: false, volumes: None, ..change }
            }
        })
    }
}
