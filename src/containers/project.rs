//! A container's compose project: rendered to the disk, its image and network at hand, and the CLI's failures in the
//! domain's words.

use std::time::Duration;

use super::{Containers, GRACE, Inner, failure::lost_network, networks, on_disk, terms::Terms};
use crate::{
    compose::{
        self,
        file::is_as_written,
        render::{self, PROJECT_LABEL, Rendered},
    },
    domain::{id::Cuid, spec::Spec, text::Image},
    engine::state::State,
    error::{Error, Result},
    files::{path::RelPath, root::Mount},
};

impl Containers {
    /// The project of a specification with resolved host paths, as it should be now: `boot.py` may have come or gone.
    /// `image` is the id of one to take instead of the specification's. It blocks.
    pub(super) fn render(&self, cuid: Cuid, spec: &Spec, image: Option<&str>) -> Rendered {
        let Inner { store, defaults, template, index, .. } = &*self.0;
        let folder = store.folder(cuid);
        let boot = spec.command.is_none() && has_file(&folder, "boot.py");
        let network = networks::name(index.shared_network(cuid));
        render::Project { cuid, spec, boot, defaults, network: &network, folder: &folder, image }.render(template)
    }

    /// Has the project stand on the disk as it should be now. A host path that may not be mounted any more is refused.
    /// Whoever calls this may overwrite what somebody edited.
    pub(super) async fn write_project(&self, cuid: Cuid, spec: &Spec, image: Option<String>) -> Result<Written> {
        let (this, spec) = (self.clone(), spec.clone());
        on_disk(move || {
            let spec = this.0.host_paths.resolve(spec)?;
            let (project, there) = (this.render(cuid, &spec, image.as_deref()), this.0.store.project(cuid)?);
            if there.as_ref() != Some(&project.text) {
                this.0.store.write_project(cuid, &project.text)?;
            }
            Ok(Written { digest: project.digest, movable: project.movable })
        })
        .await
    }

    /// Whether somebody edited the project on the disk, which may be overwritten all the same.
    ///
    /// # Errors
    /// [`Error::Drifted`] where it may not.
    pub(super) async fn may_write_project(&self, cuid: Cuid, terms: &Terms) -> Result<bool> {
        let store = self.0.store.clone();
        let there = on_disk(move || store.project(cuid)).await?;
        match there.is_some_and(|text| !is_as_written(&text)) {
            true if !terms.overwrite => Err(Error::Drifted),
            edited => Ok(edited),
        }
    }

    /// Runs `docker compose` in the container's folder, on its own project.
    pub(super) async fn compose(&self, cuid: Cuid, command: &[&str], grace: Duration) -> Result<()> {
        let (folder, name) = (self.0.store.folder(cuid), cuid.to_string());
        self.0.compose.run(&compose::cli::Project { folder: &folder, name: &name }, command, grace).await
    }

    /// Runs `docker compose` on the least project that stands for the container: what stops or removes it must not depend
    /// on a file that someone may have spoilt.
    pub(super) async fn compose_minimal(&self, cuid: Cuid, command: &[&str], grace: Duration) -> Result<()> {
        let name = cuid.to_string();
        self.0.compose.run_text(&name, &render::minimal(&name, "none"), command, grace).await
    }

    /// Removes what the engine has of the container: itself, its own network, its packages, and with `with_volumes` its volumes.
    pub(super) async fn compose_down(&self, cuid: Cuid, with_volumes: bool) -> Result<()> {
        let name = cuid.to_string();
        let (volumes, more): (Vec<String>, &[&str]) =
            if with_volumes { (self.0.engine.volumes(&name).await?, &["--volumes"]) } else { (Vec::new(), &[]) };
        let command = [&["down", "--timeout", "0"], more].concat();
        self.0.compose.run_text(&name, &render::removal(&name, &volumes), &command, Duration::ZERO).await?;
        self.drop_packages(cuid).await
    }

    /// Creates or recreates the container without starting it, whose project has been written and whose image is there. `grace`
    /// is how long a running one may take to stop.
    pub(super) async fn compose_create(&self, cuid: Cuid, spec: &Spec, grace: Duration, anew: bool) -> Result<()> {
        self.ensure_network(cuid, spec).await?;
        let new = self.new_volumes(cuid, spec).await?;
        let command = [&["create", "--no-build", "--pull", "never"], by_force(anew)].concat();
        let created = self.compose(cuid, &command, grace).await;
        if let Err(error) = created {
            return Err(self.told(cuid, spec, error).await);
        }
        self.give_volumes(cuid, spec, &new).await
    }

    /// Creates or recreates the container, whose project has been written and whose image is there, and starts it. `grace`
    /// is how long a running one may take to stop; with `anew` it is recreated also where it seems to be as it should.
    pub(super) async fn compose_up(&self, cuid: Cuid, spec: &Spec, grace: Duration, anew: bool) -> Result<()> {
        self.ensure_network(cuid, spec).await?;
        if !self.new_volumes(cuid, spec).await?.is_empty() {
            // Its program is to find them its own.
            self.compose_create(cuid, spec, grace.max(GRACE), anew).await?;
        }
        let seconds = grace.as_secs().to_string();
        let command = ["up", "--detach", "--no-build", "--pull", "never", "--timeout", &seconds];
        let up = match self.compose(cuid, &[&command[..], by_force(anew)].concat(), grace).await {
            // The network that the container was made on is gone, and another has its name.
            Err(error) if lost_network(&error) => self.compose(cuid, &[&command[..], by_force(true)].concat(), grace).await,
            up => up,
        };
        match up {
            Err(error) => Err(self.told(cuid, spec, error).await),
            Ok(()) => Ok(()),
        }
    }

    /// Pulls the image where the engine does not have it.
    pub(super) async fn ensure_image(&self, image: &Image) -> Result<()> {
        if self.0.engine.has_image(image.as_str()).await? {
            return Ok(());
        }
        tracing::info!(image = image.as_str(), "pulling an image");
        self.0.compose.pull_text("berth-pull", &render::minimal("image", image.as_str())).await.map_err(|error| match error {
            Error::ComposeFailed { stderr, .. } => {
                let reason = stderr.trim().lines().last().unwrap_or("it can't be pulled").to_owned();
                Error::ImageNotFound { image: image.as_str().to_owned(), reason }
            }
            error => error,
        })
    }
}

fn by_force(anew: bool) -> &'static [&'static str] {
    if anew { &["--force-recreate"] } else { &[] }
}

/// A project that stands on the disk.
pub(super) struct Written {
    digest: String,
    /// Whether limits are the server's to move on a container as it is.
    pub(super) movable: bool,
}

impl Written {
    /// Whether the container says that it was made from this project, so that at most its limits differ from it.
    pub(super) fn made(&self, state: &State) -> bool {
        state.labels.get(PROJECT_LABEL) == Some(&self.digest)
    }
}

/// Whether the mount in a container's folder has this file at its top.
pub(super) fn has_file(folder: &std::path::Path, name: &str) -> bool {
    RelPath::parse("path", name).and_then(|path| Mount::open(folder)?.open_file(&path)).is_ok()
}
