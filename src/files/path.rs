//! [`RelPath`], a client's name for something in a mount. It touches no disk.

use std::path::Path;

use crate::error::{Error, Result};

/// The longest name of a file or folder, in bytes, as file systems have it.
pub(super) const MAX_COMPONENT: usize = 255;

/// The longest path, in bytes, as the kernel has it, with its terminating NUL.
pub(super) const MAX_PATH: usize = 4096;

/// A path relative to the mount, without `.`, `..` or empty components. An empty one is the mount itself.
///
/// A backslash is an ordinary character of a name, as it is to Linux.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelPath(String);

impl RelPath {
    /// Reads a client's path. A leading `/app/` or `/` is the mount, in which a container sees it; `""`, `.`, `/` and
    /// `/app` are the mount itself. Without the slash, `app` is something in it.
    ///
    /// # Errors
    /// `INVALID_PATH` in `field`: a `..`, a NUL, a component over 255 bytes, or more than 4095 bytes in all.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let inside = text.strip_prefix("/app").filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(text);
        let components: Vec<_> = inside.split('/').filter(|component| !matches!(*component, "" | ".")).collect();
        let refusal = if components.contains(&"..") {
            "may not contain .."
        } else if inside.contains('\0') {
            "may not contain a NUL"
        } else if components.iter().any(|component| component.len() > MAX_COMPONENT) {
            "has a component of more than 255 bytes"
        } else if inside.len() >= MAX_PATH {
            "has more than 4095 bytes"
        } else {
            return Ok(Self(components.join("/")));
        };
        Err(Error::invalid("INVALID_PATH", field, format!("the path {refusal}"), text))
    }

    /// The path without a leading slash; empty for the mount.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component, or nothing for the mount.
    pub fn file_name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// The folder that it lies in, and its name there; nothing for the mount.
    pub(super) fn split(&self) -> Option<(Self, &str)> {
        let name = self.file_name()?;
        Some((Self(self.0[..self.0.len() - name.len()].trim_end_matches('/').to_owned()), name))
    }

    /// Whether it is `other`, or below it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.as_path().starts_with(&other.0)
    }

    /// How to name it to a directory handle of the mount.
    pub(super) fn as_path(&self) -> &Path {
        at(Path::new(&self.0))
    }
}

/// The path as it is given to a directory handle: never empty.
pub(super) fn at(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_relative_to_the_mount() {
        for (text, path) in [
            ("", ""),
            (".", ""),
            ("/", ""),
            ("/app", ""),
            ("/app/", ""),
            ("./", ""),
            ("boot.py", "boot.py"),
            ("/boot.py", "boot.py"),
            ("/app/boot.py", "boot.py"),
            ("app", "app"),
            ("app/boot.py", "app/boot.py"),
            ("/app/app/boot.py", "app/boot.py"),
            ("/apple/pie", "apple/pie"),
            ("lib//./deep/", "lib/deep"),
            ("...", "..."),
            ("a\\..\\b", "a\\..\\b"),
            ("ünï 😀\n?#%2e%2e", "ünï 😀\n?#%2e%2e"),
        ] {
            assert_eq!(RelPath::parse("path", text).unwrap().as_str(), path, "{text:?}");
        }
        assert_eq!(RelPath::parse("path", "a/b").unwrap().file_name(), Some("b"));
        assert_eq!(RelPath::parse("path", "/app").unwrap().file_name(), None);
    }

    #[test]
    fn a_path_knows_its_folder_and_what_lies_in_it() {
        let path = |text| RelPath::parse("path", text).unwrap();
        assert_eq!(path("a/b/c").split(), Some((path("a/b"), "c")));
        assert_eq!(path("a").split(), Some((path(""), "a")));
        assert_eq!(path("").split(), None);
        assert!(path("a/b").is_within(&path("a")) && path("a").is_within(&path("a")) && path("a").is_within(&path("")));
        assert!(!path("ab").is_within(&path("a")) && !path("a").is_within(&path("a/b")) && !path("").is_within(&path("a")));
    }

    #[test]
    fn a_path_that_could_lead_out_or_does_not_fit_is_refused_by_field() {
        let (long, deep) = ("x".repeat(256), "x/".repeat(2048));
        for text in ["..", "/..", "../etc/passwd", "/app/../etc", "a/../b", "a/..", "a\0b", &long, &deep] {
            match RelPath::parse("path", text) {
                Err(Error::Invalid(invalid)) => assert_eq!((invalid.code, invalid.field.as_str()), ("INVALID_PATH", "path")),
                other => panic!("{text:?}: {other:?}"),
            }
        }
        assert!(RelPath::parse("path", &"x".repeat(255)).is_ok());
    }
}
