//! A project's volumes at the engine: which there are, and whose a new one is.

use std::collections::HashMap;

use bollard::{
    container::PathStatResponse,
    query_parameters::{ContainerArchiveInfoOptionsBuilder, ListVolumesOptionsBuilder, UploadToContainerOptionsBuilder},
};
use chrono::Utc;
use tar::{Builder, EntryType, Header};

use super::{Engine, absent, failed};
use crate::{
    domain::{owner::Owner, volume::ContainerPath},
    error::{Error, Result},
};

/// Compose's label for the project that something at the engine belongs to.
pub(super) const PROJECT: &str = "com.docker.compose.project";

/// Go's bits for a link and for a sticky folder, in the mode of the engine's answers.
const LINK: u32 = 1 << 27;
const STICKY: u32 = 1 << 20;

impl Engine {
    /// The names of all volumes of a compose project.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn volumes(&self, project: &str) -> Result<Vec<String>> {
        let filters = HashMap::from([("label", vec![format!("{PROJECT}={project}")])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let answer = self.docker()?.list_volumes(Some(options)).await.map_err(failed)?;
        Ok(answer.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
    }

    /// Removes a volume that no container has; one that is not there is as good.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        absent(self.docker()?.remove_volume(name, None::<bollard::query_parameters::RemoveVolumeOptions>).await)
    }

    /// Gives the root of the volume at `path` in a container, which need not run, to `owner`. Its mode stays where none is given.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn give_volume(&self, container: &str, path: &ContainerPath, owner: Owner, mode: Option<u32>) -> Result<()> {
        let (mut path, mut stat) = (path.clone(), self.path_stat(container, path).await?);
        if stat.file_mode & LINK != 0 {
            // The image has a link there; the engine says where it ends in the container.
            path = ContainerPath::try_from(stat.link_target).map_err(Error::EngineRefused)?;
            stat = self.path_stat(container, &path).await?;
        }
        let (folder, name) = path.split();
        let sticky = if stat.file_mode & STICKY == 0 { 0 } else { 0o1000 };
        let mode = mode.unwrap_or(stat.file_mode & 0o777 | sticky);
        let archive = folder_entry(name, mode, owner).map_err(Error::io("give a volume away"))?;
        let options = UploadToContainerOptionsBuilder::new().path(folder).no_overwrite_dir_non_dir("true").build();
        let body = bollard::body_full(archive.into());
        self.docker()?.upload_to_container(container, Some(options), body).await.map_err(failed)
    }

    async fn path_stat(&self, container: &str, path: &ContainerPath) -> Result<PathStatResponse> {
        let options = ContainerArchiveInfoOptionsBuilder::new().path(path.as_str()).build();
        self.docker()?.get_container_archive_info(container, Some(options)).await.map_err(failed)
    }
}

/// An archive of one folder, which only sets what is there already: unpacking it above a volume changes the volume's root.
fn folder_entry(name: &str, mode: u32, owner: Owner) -> std::io::Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(mode);
    header.set_uid(owner.uid.into());
    header.set_gid(owner.gid.into());
    header.set_mtime(Utc::now().timestamp().cast_unsigned());
    header.set_size(0);
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header, name, std::io::empty())?;
    builder.into_inner()
}
