//! [`Condition`]: only if a file is as the caller knows it. A file's tag is made of its number, size and time of change, so it
//! is had without reading the file; `download` gives the same one. What is no file has no tag.

use rustix::fs::{FileType, Stat};

use super::path::RelPath;
use crate::{
    domain::obstacle::Obstacle,
    error::{Error, Result},
};

/// What a request expects of the thing that it changes; `Default` expects nothing.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// It is there, and its tag among these.
    pub if_match: Option<Tags>,
    /// It is not there, or its tag not among these.
    pub if_none_match: Option<Tags>,
}

/// Entity tags as a header names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: whatever it is.
    Any,
    /// Without their quotes.
    These(Vec<String>),
}

impl Tags {
    /// Whether what is there is meant.
    fn have(&self, there: Option<&Stat>) -> bool {
        match self {
            Self::Any => there.is_some(),
            Self::These(tags) => there.and_then(tag).is_some_and(|tag| tags.contains(&tag)),
        }
    }
}

impl Condition {
    /// That nothing may be there.
    pub(super) fn is_new_only(&self) -> bool {
        self.if_none_match == Some(Tags::Any)
    }

    /// That what is at `path`, or that nothing is, is what is expected.
    pub(super) fn check(&self, path: &RelPath, there: Option<&Stat>) -> Result<()> {
        let header = if self.if_match.as_ref().is_some_and(|tags| !tags.have(there)) {
            "If-Match"
        } else if self.if_none_match.as_ref().is_some_and(|tags| tags.have(there)) {
            "If-None-Match"
        } else {
            return Ok(());
        };
        Err(unexpected(path, header, there))
    }
}

pub(super) fn unexpected(path: &RelPath, header: &'static str, there: Option<&Stat>) -> Error {
    Error::Obstacle(Obstacle::Unexpected { path: path.as_str().to_owned(), header, etag: there.and_then(etag) })
}

/// A file's entity tag, in its quotes.
pub(super) fn etag(stat: &Stat) -> Option<String> {
    tag(stat).map(|tag| format!("\"{tag}\""))
}

/// As `actix_files` makes it of a file that it sends.
fn tag(stat: &Stat) -> Option<String> {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    is_file.then(|| format!("{:x}:{:x}:{:x}:{:x}", stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_for_what_it_names_and_for_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let stat = |path| rustix::fs::stat(path).unwrap();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        let (file, dir) = (stat(folder.path().join("file")), stat(folder.path().to_owned()));
        let its = |stat| Tags::These(vec!["other".into(), tag(stat).unwrap()]);
        let other = || Tags::These(vec!["other".into()]);
        let holds =
            |if_match, if_none_match, there| Condition { if_match, if_none_match }.check(&RelPath::default(), there).is_ok();
        assert!(holds(None, None, None) && holds(None, None, Some(&dir)));
        assert!(holds(Some(Tags::Any), None, Some(&file)) && holds(Some(Tags::Any), None, Some(&dir)));
        assert!(!holds(Some(Tags::Any), None, None) && !holds(Some(its(&file)), None, None));
        assert!(holds(Some(its(&file)), None, Some(&file)) && !holds(Some(other()), None, Some(&file)));
        assert!(!holds(Some(other()), None, Some(&dir)), "a folder has no tag");
        assert!(holds(None, Some(Tags::Any), None) && !holds(None, Some(Tags::Any), Some(&dir)));
        assert!(!holds(None, Some(its(&file)), Some(&file)) && holds(None, Some(other()), Some(&file)));
    }
}
