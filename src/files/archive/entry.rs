//! [`Entry`], one entry of an archive, read from its headers and found acceptable by itself. What entries are to each other
//! is [`super::check`]'s.

use std::{
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use chrono::{Local, NaiveDateTime, TimeZone};
use zip::{
    CompressionMethod, ExtraField,
    read::{ZipFile, ZipFileEntry},
    result::ZipError,
};

use crate::{
    error::{Error, Result},
    files::path::{MAX_COMPONENT, MAX_PATH},
};

/// How many folders deep an entry may lie in the mount; more than anyone needs, and few enough for any program to walk.
pub(super) const MAX_DEPTH: usize = 128;

/// Why an encrypted entry is refused.
pub(super) const ENCRYPTED: &str = "it is encrypted, which is not supported";

/// The general purpose flag that says that a name is UTF-8.
const UTF8: u16 = 1 << 11;

/// What an entry becomes on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File { executable: bool },
    Folder,
    Link,
}

/// An entry whose headers are right.
#[derive(Debug)]
pub(super) struct Entry {
    /// As the archive has it, for messages.
    pub(super) name: String,
    /// Relative to where the archive is unpacked, of ordinary components only. Empty for the entry `./`.
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// The declared size of the content, in bytes.
    pub(super) size: u64,
}

impl Entry {
    /// Reads the headers of an entry that will be unpacked below `at`.
    pub(super) fn read(raw: &ZipFileEntry<'_>, at: &Path) -> Result<Self> {
        let name = raw.name().map(|name| name.into_owned()).unwrap_or_default();
        let read = || {
            // The rest of an encrypted entry may look wrong only because it is.
            if raw.encrypted() {
                return Err(ENCRYPTED.to_owned());
            }
            if raw.flags().as_u16() & UTF8 != 0 && std::str::from_utf8(raw.name_raw()).is_err() {
                return Err("its name is not the UTF-8 that it claims to be".to_owned());
            }
            let path = path_of(&name, at)?;
            let kind = kind_of(raw, &name)?;
            supported(raw)?;
            if kind == Kind::Folder && raw.size() > 0 {
                return Err("it is a folder with content".to_owned());
            }
            Ok((path, kind))
        };
        let (path, kind) = read().map_err(|why| refused(&name, &why))?;
        Ok(Self { path, kind, size: raw.size(), name })
    }
}

/// `INVALID_ZIP` for an entry.
pub(in crate::files) fn refused(name: &str, why: &str) -> Error {
    Error::invalid("INVALID_ZIP", "body", format!("entry {name:?}: {why}"), name)
}

/// What it means that an archive, or the entry of that name, can't be read: it is malformed, unless the disk fails.
pub(super) fn unreadable(name: Option<&str>, error: ZipError) -> Error {
    let why = match error {
        ZipError::Io(error) if error.raw_os_error().is_some() => return Error::io("read the archive")(error),
        ZipError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "it is cut short".to_owned(),
        ZipError::Io(error) => error.to_string(),
        ZipError::InvalidArchive(why) => why.into_owned(),
        error => error.to_string(),
    };
    match name {
        Some(name) => refused(name, &why),
        None => Error::invalid("INVALID_ZIP", "body", format!("the archive can't be read: {why}"), serde_json::Value::Null),
    }
}

/// When an entry was modified, in seconds since 1970, where it has a time that exists: its exact time, else the local time of
/// its headers.
pub(super) fn modified<R: Read>(entry: &ZipFile<'_, R>) -> Option<i64> {
    let exact = entry.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(times) => times.mod_time(),
        _ => None,
    });
    let local = || Local.from_local_datetime(&NaiveDateTime::try_from(entry.last_modified()?).ok()?).earliest();
    exact.map(i64::from).or_else(|| local().map(|time| time.timestamp()))
}

/// Where a link that lies at `path` in the mount leads to, if that is inside the mount by its words.
pub(super) fn link_stays_inside(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count() - 1;
    let mut inside = !target.as_os_str().is_empty();
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => inside = false,
        }
    }
    inside
}

/// What a link at `path` in the mount that leads to `target` is packed with: that, but relative also where it is the
/// container's name for something in the mount, which only there begins with `/app`. Nothing where it leads out of the
/// mount, as it would not be unpacked again.
pub(super) fn portable_target(path: &Path, target: &Path) -> Option<PathBuf> {
    let relative = target.strip_prefix("/app").map(|inside| {
        let up = path.components().skip(1).map(|_| Component::ParentDir);
        let relative: PathBuf = up.chain(inside.components()).collect();
        if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative }
    });
    let target = relative.unwrap_or_else(|_| target.to_owned());
    link_stays_inside(path, &target).then_some(target)
}

/// The path that a name stands for, without a folder's final slash.
fn path_of(name: &str, at: &Path) -> std::result::Result<PathBuf, String> {
    let drive = name.as_bytes().get(1) == Some(&b':') && name.starts_with(|first: char| first.is_ascii_alphabetic());
    let components = || name.strip_suffix('/').unwrap_or(name).split('/');
    let why = if name.is_empty() {
        "it has no name"
    } else if name.contains('\0') {
        "its name contains a NUL"
    } else if name.contains('\\') {
        "its name contains a backslash"
    } else if name.starts_with('/') || drive {
        "its name is absolute"
    } else if components().any(|component| component == "..") {
        "its name contains .."
    } else if components().any(str::is_empty) {
        "its name contains an empty component"
    } else if components().any(|component| component.len() > MAX_COMPONENT) {
        "a component of its name has more than 255 bytes"
    } else {
        let path: PathBuf = components().filter(|component| *component != ".").collect();
        let whole = at.join(&path);
        return if whole.as_os_str().len() >= MAX_PATH {
            Err("its path has more than 4095 bytes".to_owned())
        } else if whole.components().count() > MAX_DEPTH {
            Err(format!("it lies more than {MAX_DEPTH} folders deep"))
        } else {
            Ok(path)
        };
    };
    Err(why.to_owned())
}

/// What an entry is, of which a name's final slash and a Unix mode must not disagree.
fn kind_of(raw: &ZipFileEntry<'_>, name: &str) -> std::result::Result<Kind, String> {
    let folder = name.rsplit('/').next().is_some_and(|last| matches!(last, "" | "."));
    // Other systems' attributes tell neither links nor executables, and not even folders reliably.
    let mode = raw.external_attributes() >> 16;
    let mode = if raw.system() == zip::System::Dos { 0 } else { mode };
    match mode & 0o17_0000 {
        0 | 0o04_0000 if folder => Ok(Kind::Folder),
        0 | 0o10_0000 if !folder => Ok(Kind::File { executable: mode & 0o111 != 0 }),
        0o12_0000 if !folder => Ok(Kind::Link),
        0o04_0000 | 0o10_0000 | 0o12_0000 => Err("its name and its mode disagree on whether it is a folder".to_owned()),
        _ => Err("it is neither a file nor a folder nor a link".to_owned()),
    }
}

fn supported(raw: &ZipFileEntry<'_>) -> std::result::Result<(), String> {
    match raw.compression() {
        CompressionMethod::Stored | CompressionMethod::Deflated | CompressionMethod::Deflate64 | CompressionMethod::Zstd => {
            Ok(())
        }
        method => Err(format!("its compression ({method}) is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_inside_by_its_words() {
        for (path, target, inside) in [
            ("link", "file", true),
            ("link", "a/b/../c", true),
            ("a/link", "../file", true),
            ("a/link", "..", true),
            ("link", "", false),
            ("link", "..", false),
            ("link", "../app/file", false),
            ("a/link", "../../file", false),
            ("a/link", "b/../../../file", false),
            ("link", "/etc/passwd", false),
            ("link", "/app/file", false),
        ] {
            assert_eq!(link_stays_inside(Path::new(path), Path::new(target)), inside, "{path} → {target}");
        }
    }

    #[test]
    fn a_link_is_packed_relative_or_not_at_all() {
        for (path, target, packed) in [
            ("link", "file", Some("file")),
            ("a/link", ".././b//c/", Some(".././b//c/")),
            ("link", "/app", Some(".")),
            ("a/link", "/app/", Some("..")),
            ("link", "/app/file", Some("file")),
            ("a/b/link", "/app/a/c", Some("../../a/c")),
            ("a/link", "/app/b/../c", Some("../b/../c")),
            ("link", "/application", None),
            ("link", "/etc/passwd", None),
            ("a/link", "/app/../etc", None),
            ("a/link", "../../etc", None),
        ] {
            let found = portable_target(Path::new(path), Path::new(target));
            assert_eq!(found.as_ref().map(|target| target.to_str().unwrap()), packed, "{path} → {target}");
        }
    }

    #[test]
    fn a_name_is_taken_as_it_is_or_refused() {
        for (name, path) in
            [("a", "a"), ("a/b/", "a/b"), ("./a", "a"), ("./", ""), ("ab:c", "ab:c"), ("1:2", "1:2"), ("...", "...")]
        {
            assert_eq!(path_of(name, Path::new("in")).unwrap(), Path::new(path), "{name:?}");
        }
        let (long, deep, far) = ("x".repeat(256), "x/".repeat(127) + "xy", "abcdefg/".repeat(600));
        for name in
            ["", "/", "/a", "..", "../a", "a/..", "a/../b", "a//b", "a/b//", "a\\b", "C:a", "c:/a", "a\0b", &long, &deep, &far]
        {
            assert!(path_of(name, Path::new("in")).is_err(), "{name:?}");
        }
        assert!(path_of(&deep, Path::new("")).is_ok());
    }
}
