//! Changes to single files and folders of a container's mount, in the container's turn.

use super::{Containers, on_disk, terms::Terms};
use crate::{
    domain::id::Cuid,
    error::Result,
    files::{
        condition::Condition,
        edit::{Editor, Made, Moved, Writing, Written},
        path::RelPath,
        upload::Upload,
    },
};

impl Containers {
    /// Puts a received file into the mount: see [`Editor::write`].
    ///
    /// # Errors
    /// [`crate::error::Error::ContainerNotFound`], and those of the editor.
    pub async fn write_file(&self, cuid: Cuid, to: RelPath, upload: Upload, how: Writing) -> Result<Written> {
        self.edit(cuid, move |editor| editor.write(&to, upload, &how)).await
    }

    /// Makes a folder in the mount: see [`Editor::make_folder`].
    ///
    /// # Errors
    /// As [`Self::write_file`].
    pub async fn make_folder(&self, cuid: Cuid, path: RelPath, parents: bool) -> Result<Made> {
        self.edit(cuid, move |editor| editor.make_folder(&path, parents)).await
    }

    /// Deletes a file or folder of the mount, and says what it was: see [`Editor::delete`].
    ///
    /// # Errors
    /// As [`Self::write_file`].
    pub async fn delete_file(&self, cuid: Cuid, path: RelPath, recursive: bool, only: Condition) -> Result<&'static str> {
        self.edit(cuid, move |editor| editor.delete(&path, recursive, &only)).await
    }

    /// Moves a file or folder within the mount: see [`Editor::rename`].
    ///
    /// # Errors
    /// As [`Self::write_file`].
    pub async fn move_file(&self, cuid: Cuid, from: RelPath, to: RelPath, overwrite: bool, only: Condition) -> Result<Moved> {
        self.edit(cuid, move |editor| editor.rename(&from, &to, overwrite, &only)).await
    }

    async fn edit<T: Send + 'static>(&self, cuid: Cuid, change: impl FnOnce(&Editor) -> Result<T> + Send + 'static) -> Result<T> {
        self.in_turn(cuid, Terms::default(), move |this, _| async move {
            let (spec, folder) = (this.0.index.get(cuid)?.record.spec.clone(), this.0.store.folder(cuid));
            let owner = spec.owner(this.0.defaults.owner);
            let volumes = this.mounted_at(cuid, &spec).await;
            on_disk(move || change(&Editor::open(&folder, owner, volumes.into_iter())?)).await
        })
        .await
    }
}
