//! The log's files: `actions.jsonl`, and what rotation put aside, `actions.jsonl.1`, the newest, and so on. `actions.jsonl.0` is there
//! only between two steps of a rotation.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno};

use super::{backwards::Backwards, chain::Place};

const NAME: &str = "actions.jsonl";

/// Files with a higher number, such as a date, are none of ours.
const HIGHEST: u32 = 9_999;

/// Who may do what with a file of the log: only its owner, as it tells who did what.
pub(super) const MODE: u32 = 0o600;

/// A file of the log, opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) file: File,
    pub(super) inode: u64,
}

/// The file that is written.
pub(super) fn current(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// A file put aside.
pub(super) fn aside(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{NAME}.{number}"))
}

/// The numbers of the files put aside, in order. What only looks like one is none of ours, and left alone.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number: Option<u32> = name.to_str().and_then(|name| name.strip_prefix(NAME)?.strip_prefix('.')?.parse().ok());
        let own = number.filter(|number| *number <= HIGHEST && aside(folder, *number).file_name() == Some(&name));
        numbers.extend(own.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_file())));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The first so many numbers that a file can be put aside under: not where something stands that is no file of the log.
pub(super) fn slots(folder: &Path, count: u32) -> Vec<u32> {
    let is_free = |number: &u32| fs::symlink_metadata(aside(folder, *number)).map_or(true, |there| there.is_file());
    (1..=HIGHEST).filter(is_free).take(count.try_into().unwrap_or(usize::MAX)).collect()
}

/// A regular file, opened to be read; `None` where there is none of this name. Nothing else can keep its reader waiting.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    match File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        // A socket can't be opened at all.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) || error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes every right to a file from others than its owner.
pub(super) fn keep_private(file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { file.set_permissions(Permissions::from_mode(MODE)) }
}

/// All files, newest first. As a rotation only ever gives a file a higher number, none is missed that is there throughout.
pub(super) fn all(folder: &Path) -> io::Result<Vec<Opened>> {
    let numbers = numbers(folder)?;
    let next = numbers.last().map_or(1, |last| last.saturating_add(1));
    let paths = [current(folder), aside(folder, 0)].into_iter();
    let paths = paths.chain(numbers.into_iter().chain([next]).filter(|number| *number > 0).map(|number| aside(folder, number)));
    let mut files: Vec<Opened> = Vec::new();
    for path in paths {
        let Some(file) = open(&path)? else { continue };
        let inode = file.metadata()?.ino();
        // Put aside between two looks, it is there under two names.
        if files.iter().all(|known| known.inode != inode) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push(Opened { name, file, inode });
        }
    }
    Ok(files)
}

/// The length of the file up to its last newline.
pub(super) fn whole_lines(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..usize::try_from(end - start).unwrap_or_default()];
        file.read_exact_at(part, start)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The place of the last line in a file; `None` in an empty one.
pub(super) fn last(file: &File) -> io::Result<Option<Place>> {
    let mut lines = Backwards::new(file, whole_lines(file)?);
    Ok(lines.next()?.map(|line| Place::of(&line.bytes)))
}
