//! What calls on single files and folders take in their queries and bodies, and how they answer.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::files::{FilePath, MountPath},
    octal,
};
use crate::{domain::id::Cuid, files::list::Entry};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// What is listed; the mount itself where nothing is said.
    #[serde(default)]
    #[param(value_type = Option<MountPath>, inline, example = "static")]
    pub(super) path: String,
    /// How many there are on a page; 1000 where nothing is said.
    #[param(minimum = 1, maximum = 1000, example = 100)]
    pub(super) limit: Option<usize>,
    /// The `next_cursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]*$")]
    pub(super) cursor: Option<String>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteQuery {
    /// Which file.
    #[param(value_type = Option<FilePath>, inline, required = true, example = "boot.py")]
    pub(super) path: Option<String>,
    /// Permission bits in octal. Without them a file keeps its own, and a new one has 644.
    #[param(pattern = "^0?[0-7]{3}$", example = "640")]
    pub(super) mode: Option<String>,
    /// Make the folders that it lies in.
    #[serde(default)]
    pub(super) parents: bool,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FolderQuery {
    /// Which folder.
    #[param(value_type = Option<MountPath>, inline, required = true, example = "static")]
    pub(super) path: Option<String>,
    /// Make the folders that it lies in.
    #[serde(default)]
    pub(super) parents: bool,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// What is deleted; a link itself, and not what it leads to.
    #[param(value_type = Option<FilePath>, inline, required = true, example = "old.txt")]
    pub(super) path: Option<String>,
    /// Delete also a folder that has something in it.
    #[serde(default)]
    pub(super) recursive: bool,
}

/// What is moved where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"from": "new.py", "to": "boot.py", "overwrite": true}))]
pub(super) struct Move {
    #[schema(value_type = FilePath, inline)]
    pub(super) from: String,
    #[schema(value_type = FilePath, inline)]
    pub(super) to: String,
    /// Take the place of a file that is there.
    #[serde(default)]
    pub(super) overwrite: bool,
}

/// A page of a folder, or what is no folder by itself.
#[derive(Serialize, ToSchema)]
#[schema(as = FileList, example = json!({"path": "", "type": "folder", "entries": [{
    "name": "boot.py", "type": "file", "size": 120, "mode": "0644", "modified": "2024-01-20T15:30:00+01:00", "etag": "\"a1:78:5f\"",
}], "total": 1, "limit": 1000, "next_cursor": null}))]
pub(crate) struct ListView {
    pub(super) path: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) entries: Vec<EntryView>,
    /// How many there are in all.
    pub(super) total: u64,
    pub(super) limit: usize,
    /// Where the next page begins; null on the last one.
    pub(super) next_cursor: Option<String>,
}

/// An entry. What is no UTF-8 is shown as far as it is, with all of its bytes beside it.
#[derive(Serialize, ToSchema)]
#[schema(as = FileEntry)]
pub(super) struct EntryView {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_base64: Option<String>,
    /// `file`, `folder`, `link`, `fifo`, `socket` or `device`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// A file's length in bytes; 0 for anything else.
    size: u64,
    /// Permission bits in octal.
    mode: String,
    #[schema(format = DateTime)]
    modified: Option<String>,
    /// Where a link leads, as it says itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_base64: Option<String>,
    /// A file's, for `If-Match`.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// A file as it was written.
#[derive(Serialize, ToSchema)]
#[schema(as = FileWritten, example = json!({
    "cuid": "c123e4567-e89b-42d3-a456-426614174000", "path": "boot.py", "type": "file", "size": 120, "mode": "0644",
    "modified": "2024-01-20T15:30:00+01:00", "etag": "\"a1:78:5f\"",
}))]
pub(crate) struct WrittenView {
    pub(super) cuid: Cuid,
    pub(super) path: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) size: u64,
    pub(super) mode: String,
    #[schema(format = DateTime)]
    pub(super) modified: Option<String>,
    pub(super) etag: Option<String>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
#[schema(as = FileDeleted, example = json!({"cuid": "c123e4567-e89b-42d3-a456-426614174000", "path": "old.txt", "type": "file", "status": "deleted"}))]
pub(crate) struct RemovedView {
    pub(super) cuid: Cuid,
    pub(super) path: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
}

/// A folder that is there.
#[derive(Serialize, ToSchema)]
#[schema(as = FolderMade, example = json!({"cuid": "c123e4567-e89b-42d3-a456-426614174000", "path": "static", "type": "folder", "changed": true}))]
pub(crate) struct FolderView {
    pub(super) cuid: Cuid,
    pub(super) path: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// False where it was there already.
    pub(super) changed: bool,
}

/// What was moved.
#[derive(Serialize, ToSchema)]
#[schema(as = FileMoved, example = json!({
    "cuid": "c123e4567-e89b-42d3-a456-426614174000", "from": "new.py", "to": "boot.py", "type": "file", "etag": "\"a1:78:5f\"", "changed": true,
}))]
pub(crate) struct MovedView {
    pub(super) cuid: Cuid,
    pub(super) from: String,
    pub(super) to: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) etag: Option<String>,
    /// False where both are the same.
    pub(super) changed: bool,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let (name, name_base64) = text(entry.name);
        let (target, target_base64) = entry.target.map(text).map_or((None, None), |(text, bytes)| (Some(text), bytes));
        Self {
            name,
            name_base64,
            kind: entry.kind,
            size: entry.size,
            mode: octal(entry.mode),
            modified: entry.modified.map(|time| time.to_rfc3339()),
            target,
            target_base64,
            etag: entry.etag,
        }
    }
}

/// Bytes as text; with the bytes themselves in base64, where that is not all of them.
fn text(bytes: Vec<u8>) -> (String, Option<String>) {
    String::from_utf8(bytes).map_or_else(
        |error| (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(STANDARD.encode(error.as_bytes()))),
        |text| (text, None),
    )
}
