//! The folders: whether what the server does in them can be done, which is tried and not guessed, and how much room there is.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

use super::Report;
use crate::{compose::file::Template, config::Config, domain::owner::Owner};

/// Below these, in bytes, there is little room, and too little.
const LITTLE: u64 = 2 << 30;
const TOO_LITTLE: u64 = 100 << 20;

/// `serves` where a berth has the port, whose folders these are.
pub(super) fn check(report: &mut Report<'_>, config: &Config, serves: bool) {
    folder(report, "DATA_DIR", &config.data_dir, Some(config.defaults.owner));
    folder(report, "LOG_DIR", &config.logs.dir, None);
    for (what, path) in [("DATA_DIR", &config.data_dir), ("LOG_DIR", &config.logs.dir)] {
        if !serves && is_served(path) {
            let shown = path.display();
            report.fail(
                what,
                &format!("{shown} is served by another berth, which has another port: stop that, or set {what} to another"),
            );
        }
    }
    action_log(report, &config.logs.dir);
    template(report, &config.template_dir);
}

/// A folder that the server writes to, and gives files to `owner` in.
fn folder(report: &mut Report<'_>, what: &str, path: &Path, owner: Option<Owner>) {
    let (there, shown) = (nearest(path), path.display());
    if let Some(why) = obstacle(&there, owner) {
        return report.fail(what, &format!("{} {why}, or set {what} to another", there.display()));
    }
    let state = if there == path { "can be written to" } else { "is not there yet, and can be made" };
    match room(&there) {
        Ok(Room { bytes, .. }) if bytes < TOO_LITTLE => {
            report.fail(what, &format!("{shown} {state}, and its disk is full ({} MiB left): make room", bytes >> 20));
        }
        Ok(Room { bytes, .. }) if bytes < LITTLE => {
            report.warn(what, &format!("{shown} {state}, and its disk is almost full ({} MiB left)", bytes >> 20));
        }
        Ok(Room { files: Some(0), .. }) => {
            report.fail(what, &format!("{shown} {state}, and its disk takes no more files (df -i): make room"));
        }
        Ok(Room { bytes, .. }) => report.ok(what, &format!("{shown} {state}; {} GiB are free", bytes >> 30)),
        Err(error) => report.warn(what, &format!("{shown} {state}; how much room there is can't be told ({error})")),
    }
}

/// Whether a server has its lock on the folder. The look takes one for a moment, which other looks don't mind.
fn is_served(folder: &Path) -> bool {
    let locked = File::open(folder).map(|folder| flock(folder, FlockOperation::NonBlockingLockShared));
    matches!(locked, Ok(Err(Errno::WOULDBLOCK)))
}

/// What keeps the server from working in a folder, and what to do.
fn obstacle(there: &Path, owner: Option<Owner>) -> Option<String> {
    match fs::metadata(there) {
        Ok(found) if !found.is_dir() => return Some("is no folder: move it away".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Some("is a link to what is not there: make that folder, or remove the link".to_owned());
        }
        _ => (),
    }
    if let Err(error) = try_file(there, None) {
        let advice = match error.kind() {
            ErrorKind::StorageFull => "make room on its disk (df -h, df -i)",
            ErrorKind::QuotaExceeded => "make room, or raise the quota",
            ErrorKind::ReadOnlyFilesystem => "mount its disk to be written to (mount -o remount,rw)",
            _ => "make it writable for root",
        };
        return Some(format!("can't be written to ({error}): {advice}"));
    }
    let owner = owner?;
    let error = try_file(there, Some(owner)).err()?;
    Some(format!(
        "takes no file that belongs to {owner} ({error}): start berth with sudo, have it on a file system of Linux's own"
    ))
}

/// Writes to a file that has no name, so that nothing of it is left, whatever happens.
fn try_file(folder: &Path, owner: Option<Owner>) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(b"berth doctor")?;
    match owner {
        Some(owner) => fchown(&file, Some(owner.uid), Some(owner.gid)),
        None => Ok(()),
    }
}

/// The path, or what is there of it: the server makes the rest.
fn nearest(path: &Path) -> PathBuf {
    let path = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    let there = path.ancestors().find(|part| fs::symlink_metadata(part).is_ok());
    if fs::symlink_metadata(&path).is_ok() { path } else { there.unwrap_or(Path::new(".")).to_owned() }
}

/// What is free.
struct Room {
    bytes: u64,
    /// `None` where the file system has no such limit.
    files: Option<u64>,
}

fn room(folder: &Path) -> io::Result<Room> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(Room { bytes: found.f_bavail.saturating_mul(found.f_frsize), files: (found.f_files > 0).then_some(found.f_favail) })
}

/// A log that is there already has to be written on.
fn action_log(report: &mut Report<'_>, folder: &Path) {
    let path = folder.join("actions.jsonl");
    // A pipe of this name must not keep the doctor waiting.
    let opened = OpenOptions::new().append(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&path);
    match opened {
        Err(error) if fs::symlink_metadata(&path).is_ok() => {
            report.fail("LOG_DIR", &format!("{} can't be written on ({error}): move it away", path.display()));
        }
        _ => (),
    }
}

fn template(report: &mut Report<'_>, folder: &Path) {
    let (what, path) = ("TEMPLATE_DIR", folder.join("compose.yaml"));
    let read = fs::read_to_string(&path).map_err(|error| error.to_string());
    match read.and_then(|text| Template::parse(&text).map_err(|error| error.to_string())) {
        Ok(_) => report.ok(what, &format!("{} can be used", path.display())),
        Err(error) => report.fail(
            what,
            &format!("{} can't be used ({error}): put berth's templates/compose.yaml there, or set TEMPLATE_DIR", path.display()),
        ),
    }
}
