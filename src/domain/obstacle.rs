//! [`Obstacle`]: what in a mount stands in the way of a change to a file or a folder of it.

use std::fmt;

/// Why a file or a folder is not changed as things are. Paths are relative to the mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Something has the name that was to be new; `there` says what, with its article.
    Exists { path: String, there: &'static str },
    /// A folder with something in it goes only with all that is in it.
    NotEmpty { path: String },
    /// A volume of the container is mounted at `volume`, which is this path, or above or below it.
    Mounted { path: String, volume: String },
    /// It is not what the request's `header` expects; `etag` is the tag of the file that is there, if one is.
    Unexpected { path: String, header: &'static str, etag: Option<String> },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists { path, there } => write!(f, "there is {there} at {path:?} already"),
            Self::NotEmpty { path } => write!(f, "{path:?} is a folder that is not empty"),
            Self::Mounted { path, volume } => {
                write!(f, "{path:?} can't be changed from outside: the container has a volume at {volume:?}")
            }
            Self::Unexpected { path, header, .. } => write!(f, "{path:?} is not what {header} expects"),
        }
    }
}
