//! `LOG_DIR/actions.head`: where the log ends and where it begins, so that what is cut off at either end is missed. Replaced by a
//! rename after each batch of lines.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::chain::Place;

const NAME: &str = "actions.head";

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The last line. After a crash the log may have more.
    pub(super) last: Place,
    /// The last line that rotation took away; it is noted before that.
    pub(super) dropped: Option<Place>,
}

impl Head {
    /// The log's head; `None` where there is none.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        match fs::read(folder.join(NAME)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let aside = folder.join(format!(".{NAME}.new"));
        fs::write(&aside, serde_json::to_vec(self)?)?;
        fs::rename(aside, folder.join(NAME))
    }
}
