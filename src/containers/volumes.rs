//! The volumes of a container's own: a new one is given to the container's user, and those that are not wanted any more go; and
//! the one among them that the server adds, for packages.

use std::collections::BTreeSet;

use super::{Containers, on_disk, project::has_file};
use crate::{
    domain::{
        id::Cuid,
        owner::Owner,
        spec::Spec,
        user::User,
        volume::{Mode, PACKAGES_PREFIX, Source, Volume},
    },
    error::{Error, Result},
};

impl Containers {
    /// The names at the engine of all volumes of the container, also of those that its specification does not name any more.
    pub(super) async fn volumes(&self, cuid: Cuid) -> Result<BTreeSet<String>> {
        Ok(self.0.engine.volumes(&cuid.to_string()).await?.into_iter().collect())
    }

    /// What the container is to have mounted and the engine hasn't: the first mount of each such volume that can be written to.
    pub(super) async fn new_volumes(&self, cuid: Cuid, spec: &Spec) -> Result<Vec<Volume>> {
        if spec.own_volumes().next().is_none() {
            return Ok(Vec::new());
        }
        let mut there = self.volumes(cuid).await?;
        let writable = spec.volumes.iter().filter(|volume| volume.mode == Mode::ReadWrite);
        let is_new = |volume: &&Volume| match &volume.source {
            Source::Volume(name) => there.insert(at_engine(cuid, name.as_str())),
            Source::Host(_) => false,
        };
        Ok(writable.filter(is_new).cloned().collect())
    }

    /// Gives the volumes that are not among those of `before` to the container's user: a crash may have come in between.
    pub(super) async fn give_since(&self, cuid: Cuid, spec: &Spec, before: &BTreeSet<String>) -> Result<()> {
        let is_new = |volume: &&Volume| match &volume.source {
            Source::Volume(name) => volume.mode == Mode::ReadWrite && !before.contains(&at_engine(cuid, name.as_str())),
            Source::Host(_) => false,
        };
        let new: Vec<Volume> = spec.volumes.iter().filter(is_new).cloned().collect();
        self.give_volumes(cuid, spec, &new).await
    }

    /// Gives new volumes of a container, which has been created, to its user: the engine makes them root's. A user that only the
    /// image knows is left to the image, and may write to the volume for packages as everybody may.
    pub(super) async fn give_volumes(&self, cuid: Cuid, spec: &Spec, volumes: &[Volume]) -> Result<()> {
        let user = self.user(spec);
        for volume in volumes {
            let (owner, mode) = match user {
                Some(owner) => (owner, None),
                None if volume.is_packages() => (Owner { uid: 0, gid: 0 }, Some(0o1777)),
                None => continue,
            };
            let given = self.0.engine.give_volume(&cuid.to_string(), &volume.container_path, owner, mode).await;
            given.map_err(|error| match error {
                Error::EngineRefused(_) => no_place(spec, volume),
                error => error,
            })?;
        }
        Ok(())
    }

    /// Where the container has something mounted, or will have: by its specification, and by the engine, which knows what an
    /// image or a template adds. While that does not answer, the specification is all there is to go by.
    pub(super) async fn mounted_at(&self, cuid: Cuid, spec: &Spec) -> Vec<String> {
        let name = cuid.to_string();
        let known = self.engine_is_heard().is_ok();
        let mut paths = if known { self.0.engine.mounted_at(&name).await.unwrap_or_default() } else { Vec::new() };
        paths.extend(spec.volumes.iter().map(|volume| volume.container_path.as_str().to_owned()));
        paths
    }

    /// As whom the container runs, where that is known by number.
    fn user(&self, spec: &Spec) -> Option<Owner> {
        spec.user.as_ref().map_or(Some(self.0.defaults.owner), User::owner)
    }

    /// The specification, with a volume for packages where the container is to have them: by the setting, and by what is in the
    /// mount now. Whoever makes a container of it looks once, as the mount is the container's to change. It blocks.
    pub(super) fn look_for_packages(&self, cuid: Cuid, mut spec: Spec) -> Spec {
        let has = |name| has_file(&self.0.store.folder(cuid), name);
        let looked = spec.volumes.iter().any(Volume::is_packages);
        if self.0.install_requirements && !looked && spec.command.is_none() && has("boot.py") && has("requirements.txt") {
            spec.volumes.push(Volume::packages(self.user(&spec)));
        }
        spec
    }

    /// The same, where it blocks nobody.
    pub(super) async fn with_packages(&self, cuid: Cuid, spec: &Spec) -> Result<Spec> {
        let (this, spec) = (self.clone(), spec.clone());
        on_disk(move || Ok(this.look_for_packages(cuid, spec))).await
    }

    /// Removes the container's volumes for packages, but for one that the engine keeps as a container has it: what is in them
    /// can be had again.
    pub(super) async fn drop_packages(&self, cuid: Cuid) -> Result<()> {
        let begins = at_engine(cuid, PACKAGES_PREFIX);
        for name in self.volumes(cuid).await?.iter().filter(|name| name.starts_with(&begins)) {
            match self.0.engine.remove_volume(name).await {
                Err(Error::EngineRefused(_)) => (),
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Removes the volumes that the container has now and had not `before` a change that was taken back; those of `spec`, which
    /// is back, stay.
    pub(super) async fn drop_volumes(&self, cuid: Cuid, spec: &Spec, before: &BTreeSet<String>) -> Result<()> {
        let kept: BTreeSet<String> = spec.own_volumes().map(|name| at_engine(cuid, name)).collect();
        for name in self.volumes(cuid).await?.difference(before).filter(|name| !kept.contains(*name)) {
            self.0.engine.remove_volume(name).await?;
        }
        Ok(())
    }
}

/// What Compose calls a volume of a project.
fn at_engine(cuid: Cuid, name: &str) -> String {
    format!("{cuid}_{name}")
}

/// What the engine means where it finds no folder at a volume's path.
fn no_place(spec: &Spec, volume: &Volume) -> Error {
    let path = &volume.container_path;
    let index = spec.volumes.iter().position(|other| other.container_path == *path).unwrap_or_default();
    let field = format!("volumes[{index}].container_path");
    let message = format!("{field}: the image has something else than a folder there");
    Error::invalid("INVALID_VOLUME", field, message, path.as_str())
}
