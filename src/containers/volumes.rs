//! The volumes of a container's own: a new one is given to the container's user, and those that are not wanted any more go.

use std::collections::BTreeSet;

use super::Containers;
use crate::{
    domain::{
        id::Cuid,
        owner::Owner,
        spec::Spec,
        user::User,
        volume::{Mode, Source, Volume},
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
    /// image knows is left to the image.
    pub(super) async fn give_volumes(&self, cuid: Cuid, spec: &Spec, volumes: &[Volume]) -> Result<()> {
        let user: Option<Owner> = spec.user.as_ref().map_or(Some(self.0.defaults.owner), User::owner);
        let Some(owner) = user else { return Ok(()) };
        for volume in volumes {
            let given = self.0.engine.give_volume(&cuid.to_string(), &volume.container_path, owner).await;
            given.map_err(|error| match error {
                Error::EngineRefused(_) => no_place(spec, volume),
                error => error,
            })?;
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
