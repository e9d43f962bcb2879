//! Unpacking an upload into a container's mount, in the container's turn.

use std::fs::File;

use super::{Containers, on_disk, terms::Terms};
use crate::{
    domain::id::Cuid,
    error::Result,
    files::{
        archive::{self, Deployed},
        path::RelPath,
    },
};

impl Containers {
    /// Unpacks `archive` into the folder `to` of the mount: whole, or not at all. Files that it doesn't name stay.
    ///
    /// # Errors
    /// [`crate::error::Error::ContainerNotFound`], [`crate::error::Error::Invalid`] with the archive's first bad entry,
    /// [`crate::error::Error::TooLarge`], [`crate::error::Error::Io`].
    pub async fn deploy(&self, cuid: Cuid, archive: File, to: RelPath, terms: Terms) -> Result<Deployed> {
        self.in_turn(cuid, terms, move |this, _| async move {
            let owner = this.0.index.get(cuid)?.record.spec.owner(this.0.defaults.owner);
            let (folder, limits) = (this.0.store.folder(cuid), this.0.limits);
            let deployed = on_disk(move || archive::unpack(&folder, archive, &to, owner, limits)).await?;
            tracing::info!(%cuid, files = deployed.files, bytes = deployed.bytes, "archive deployed");
            Ok(deployed)
        })
        .await
    }
}
