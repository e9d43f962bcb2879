//! Deploys of a container, in its turn: what is unpacked, and whether the container is restarted on it; and going back.

use std::{path::Path, time::Duration};

use super::{Containers, on_disk, record::Change, terms::Terms};
use crate::{
    domain::{id::Cuid, spec::Spec},
    error::{Error, Result},
    events::Happening,
    files::{
        archive::Unpacked,
        deploy::{self, Deploy, History, Mode, Moment, Staged},
        path::RelPath,
        upload::Upload,
    },
};

/// That the container is restarted on what is deployed, and the deploy taken back where it does not come up.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// How long it may take to stop.
    pub grace: Duration,
    /// Coming up is more than being started: its health check says so, or, where it has none, it goes on for a moment.
    pub wait: bool,
}

/// What came of a deploy.
#[derive(Debug)]
pub struct Deployed {
    /// The deploy that the mount has now.
    pub deploy: Deploy,
    /// What was unpacked for it.
    pub unpacked: Unpacked,
}

impl Containers {
    /// Unpacks an archive into the folder `to` of the mount: whole, or not at all.
    ///
    /// # Errors
    /// `ContainerNotFound`, `RevisionMismatch`, `Invalid` with the archive's first bad entry, `TooLarge`, `Io`; with `restart` also
    /// `DeployFailed`, `Drifted`, `PortConflict`, and those of Compose and the engine, all of which leave the container as it
    /// was.
    pub async fn deploy(
        &self,
        cuid: Cuid,
        upload: Upload,
        to: RelPath,
        mode: Mode,
        restart: Option<Restart>,
        terms: Terms,
    ) -> Result<Deployed> {
        let happening = |deploy| Happening::Deployed { deploy };
        self.put(cuid, restart, terms, happening, move |folder, terms| deploy::stage(folder, upload, to, mode, terms)).await
    }

    /// Goes back to an earlier deploy, or to what the current one was as it came. What the container itself made of the mount
    /// stays, but for what has a deploy's name.
    ///
    /// # Errors
    /// `DeployNotFound`; else as [`Containers::deploy`].
    pub async fn rollback(&self, cuid: Cuid, number: u64, restart: Option<Restart>, terms: Terms) -> Result<Deployed> {
        let happening = |deploy| Happening::RolledBack { deploy };
        self.put(cuid, restart, terms, happening, move |folder, terms| deploy::stage_kept(folder, number, terms)).await
    }

    /// What was deployed into the container.
    ///
    /// # Errors
    /// `ContainerNotFound`, `Io`.
    pub async fn deploys(&self, cuid: Cuid) -> Result<History> {
        let folder = self.folder(cuid)?;
        on_disk(move || History::load(&folder)).await
    }

    async fn put(
        &self,
        cuid: Cuid,
        restart: Option<Restart>,
        terms: Terms,
        happening: fn(u64) -> Happening,
        stage: impl FnOnce(&Path, deploy::Terms) -> Result<Staged> + Send + 'static,
    ) -> Result<Deployed> {
        if restart.is_some() {
            self.engine_is_heard()?;
        }
        self.in_turn(cuid, terms, move |this, terms| async move {
            let (folder, spec) = (this.0.store.folder(cuid), this.0.index.get(cuid)?.record.spec.clone());
            let its = folder.clone();
            if restart.is_some() || on_disk(move || deploy::is_on_trial(&its)).await? {
                this.settle(cuid).await;
            }
            let about = this.about(cuid, &spec).await;
            let staged = on_disk(move || stage(&folder, about)).await?;
            let unpacked = staged.unpacked;
            let deploy = match restart {
                None => this.move_in(cuid, staged).await?,
                Some(restart) => this.restart_on(cuid, &spec, staged, restart, &terms).await?,
            };
            tracing::info!(%cuid, number = deploy.number, files = unpacked.files, bytes = unpacked.bytes, "deployed");
            this.0.events.publish(Some(cuid), happening(deploy.number));
            Ok(Deployed { deploy, unpacked })
        })
        .await
    }

    async fn about(&self, cuid: Cuid, spec: &Spec) -> deploy::Terms {
        let paths = self.mounted_at(cuid, spec).await;
        // Those outside of the mount are none of its folders.
        let below = paths.iter().filter_map(|path| RelPath::parse("volumes", path.strip_prefix("/app/")?).ok());
        let volumes = below.filter(|path| !path.as_str().is_empty()).collect();
        deploy::Terms { owner: spec.owner(self.0.defaults.owner), limits: self.0.limits, keep: self.0.keep_deploys, volumes }
    }

    /// Moves it in as the container is, which is down only if the engine says so.
    async fn move_in(&self, cuid: Cuid, staged: Staged) -> Result<Deploy> {
        // One that hangs is not waited for.
        let is_down = self.engine_is_heard().is_ok() && self.refresh(cuid).await.is_ok_and(|state| !state.status.is_up());
        let moment = if is_down { Moment::Down { trial: false } } else { Moment::Live };
        on_disk(move || staged.move_in(moment)).await
    }

    /// Moves it in between the container's stop and its start.
    async fn restart_on(&self, cuid: Cuid, spec: &Spec, staged: Staged, restart: Restart, terms: &Terms) -> Result<Deploy> {
        let mut deployed = None;
        let done = self.restart_with(cuid, spec, restart, terms, async {
            deployed = Some(on_disk(move || staged.move_in(Moment::Down { trial: true })).await?);
            Ok(())
        });
        let done = done.await;
        if deployed.is_none() {
            let folder = self.0.store.folder(cuid);
            on_disk(move || {
                deploy::throw_away(&folder);
                Ok(())
            })
            .await?;
        }
        let refreshed = self.refresh(cuid).await;
        done?;
        refreshed?;
        deployed.ok_or_else(|| Error::io("deploy")(std::io::Error::other("nothing was moved in")))
    }

    /// Stops the container, does something while it is down, and starts it again.
    async fn restart_with(
        &self,
        cuid: Cuid,
        spec: &Spec,
        restart: Restart,
        terms: &Terms,
        meanwhile: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let state = self.look_closely(cuid).await?;
        let edited = self.may_write_project(cuid, terms).await?;
        self.ports_are_free(cuid, spec, &state).await?;
        self.ensure_image(&spec.image).await?;
        let volumes = Some(self.volumes(cuid).await?);
        let change = Change { volumes, restarts: Some(restart.grace.as_secs()), edited, ..Change::default() };
        let change = self.on_top(cuid, &state, change).await;
        let work = async {
            if state.status.is_up() {
                let seconds = restart.grace.as_secs().to_string();
                self.compose_minimal(cuid, &["stop", "--timeout", &seconds], restart.grace).await?;
            }
            meanwhile.await?;
            self.start_on(cuid, spec, change.edited).await?;
            if restart.wait { self.comes_up(cuid).await } else { Ok(()) }
        };
        self.noted(cuid, spec, &change, work).await
    }

    /// Starts the container, which is down, on what was moved in.
    async fn start_on(&self, cuid: Cuid, spec: &Spec, anew: bool) -> Result<()> {
        let spec = &self.with_packages(cuid, spec).await?;
        let project = self.write_project(cuid, spec, None).await?;
        let state = self.refresh(cuid).await?;
        if anew {
            return self.compose_up(cuid, spec, Duration::ZERO, true).await;
        }
        self.start_now(cuid, spec, Duration::ZERO, &["start"], project.made(&state)).await
    }
}
