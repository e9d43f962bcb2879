//! Files that are whole or not there, also after a crash: written aside, synced, then renamed.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    crash::point,
    error::{Error, Result},
};

/// Writes a file whole: aside, synced, then under its name.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let aside = aside(folder, name);
    // The specification and the project hold env values, which are nobody else's.
    let options = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
    let written = options.open(&aside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        point(&format!("before {name} is in its place"));
        fs::rename(&aside, folder.join(name))?;
        point(&format!("after {name} is in its place"));
        Ok(())
    });
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written.map_err(Error::io(format!("write {name}")))?;
    sync(folder)
}

/// Removes what a crash left of a file that was being written. To be called while nobody writes it.
pub(crate) fn sweep(folder: &Path, name: &str) {
    let _ = fs::remove_file(aside(folder, name));
}

/// Where a file is written before it has its name.
fn aside(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.new"))
}

/// Reads a file of JSON; `None` where there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, name: &str) -> Result<Option<T>> {
    let Some(text) = optional(fs::read(path)).map_err(Error::io(format!("read {name}")))? else { return Ok(None) };
    // Through `Value`, because an error of serde's would repeat what it read, env values included.
    let read = serde_json::from_slice::<Value>(&text).ok().and_then(|value| serde_json::from_value(value).ok());
    read.map(Some).ok_or_else(|| Error::io(format!("read {name}"))(io::Error::other("it is not what the server wrote")))
}

/// A file that is not there is an answer, not a failure.
pub(crate) fn optional<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Makes the names in a container's folder survive a crash.
pub(crate) fn sync(folder: &Path) -> Result<()> {
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("sync the container's folder"))
}
