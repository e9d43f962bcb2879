//! `data/<cuid>/recordings/`: the recordings of one container on the disk, two files each, of one name.
//!
//! ```text
//! 20240120T143000.123Z-<session>.json   who had the session when, and how it ended
//! 20240120T143000.123Z-<session>.cast   what it showed, where that is recorded
//! ```
//! All of it is disk work, for where that blocks nobody. A folder that is not there holds no recordings: its container may be gone.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Local, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::cast::whole_lines;
use crate::terminal::Mode;

/// How long a name's first part is, which says when the session began.
const BEGAN: usize = "20240120T143000.123Z".len();

/// What is kept of a session besides its output.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RecordingDocument)]
pub struct Document {
    pub session: Uuid,
    pub state: State,
    /// `None` where it ended before it was settled.
    pub mode: Option<Mode>,
    pub tty: bool,
    /// Who opened it, and from which address.
    pub user: Option<String>,
    pub remote: Option<String>,
    pub started_at: DateTime<Local>,
    pub ended_at: Option<DateTime<Local>>,
    pub duration_ms: Option<u64>,
    /// `None` where nothing ran, or could not be started.
    pub exit_code: Option<i64>,
    /// How much it put out, recorded or not.
    pub bytes: Option<u64>,
    /// The size of its terminal at the beginning; `None` without one.
    pub cols: Option<u16>,
    pub rows: Option<u16>,
    /// The cast ends before the session did.
    pub truncated: bool,
    /// How much output was gone before it could be recorded; a marker in the cast shows where.
    pub missed_bytes: u64,
}

/// How far a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RecordingState)]
pub enum State {
    /// The session goes on.
    Recording,
    Complete,
    /// The server ended before the session did.
    Interrupted,
}

/// How much may be kept of one container.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub count: usize,
    pub bytes: u64,
}

/// The recordings of one container.
#[derive(Clone)]
pub(super) struct Shelf(PathBuf);

/// The two files of a recording, by their common name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn new(started: DateTime<Local>, session: Uuid) -> Self {
        Self(format!("{}-{session}", started.with_timezone(&Utc).format("%Y%m%dT%H%M%S%.3fZ")))
    }

    /// The recording that a file belongs to, by what it is called up to its ending.
    fn parse(stem: &str) -> Option<Self> {
        let (began, session) = stem.split_at_checked(BEGAN)?;
        let is_time = began.bytes().all(|byte| byte.is_ascii_digit() || b"T.Z".contains(&byte));
        Uuid::try_parse(session.strip_prefix('-')?).ok().filter(|_| is_time).map(|_| Self(stem.to_owned()))
    }

    pub(super) fn session(&self) -> Uuid {
        Uuid::try_parse(&self.0[BEGAN + 1..]).unwrap_or_default()
    }

    pub(super) fn document(&self) -> String {
        format!("{}.json", self.0)
    }

    pub(super) fn cast(&self) -> String {
        format!("{}.cast", self.0)
    }
}

impl Shelf {
    /// Those below a container's folder.
    pub(super) fn of(container: &Path) -> Self {
        Self(container.join("recordings"))
    }

    /// Makes the folder where it is missing; not the container's.
    pub(super) fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Every recording, oldest first.
    pub(super) fn all(&self) -> io::Result<BTreeSet<Name>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        let mut all = BTreeSet::new();
        for entry in entries {
            let name = entry?.file_name();
            all.extend(name.to_str().and_then(|name| Name::parse(name.rsplit_once('.')?.0)));
        }
        Ok(all)
    }

    /// How long a recording's cast is, in bytes; `None` where it has none.
    pub(super) fn cast_bytes(&self, name: &Name) -> Option<u64> {
        fs::metadata(self.0.join(name.cast())).ok().map(|metadata| metadata.len())
    }

    pub(super) fn find(&self, session: Uuid) -> io::Result<Option<Name>> {
        Ok(self.all()?.into_iter().find(|name| name.session() == session))
    }

    /// What is kept of the session besides its output; `None` where it can't be read.
    pub(super) fn document(&self, name: &Name) -> Option<Document> {
        serde_json::from_slice(&fs::read(self.0.join(name.document())).ok()?).ok()
    }

    /// Writes a document whole: aside, synced, then under its name.
    pub(super) fn write(&self, name: &Name, document: &Document) -> io::Result<()> {
        let aside = self.0.join(format!("{}.new", name.0));
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside).and_then(|mut file| {
            file.write_all(&serde_json::to_vec(document)?)?;
            file.sync_all()?;
            fs::rename(&aside, self.0.join(name.document()))
        });
        written.inspect_err(|_| drop(fs::remove_file(&aside)))
    }

    /// Makes a new cast, without a line.
    pub(super) fn create_cast(&self, name: &Name) -> io::Result<()> {
        OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.0.join(name.cast())).map(drop)
    }

    /// Adds whole lines to a cast of so many bytes, all of them or none. A recording that waits holds no file open.
    pub(super) fn append(&self, name: &Name, length: u64, lines: &[u8]) -> io::Result<()> {
        let mut cast = OpenOptions::new().append(true).open(self.0.join(name.cast()))?;
        cast.write_all(lines).inspect_err(|_| drop(cast.set_len(length)))
    }

    /// Opens a cast to read it.
    pub(super) fn open_cast(&self, name: &Name) -> io::Result<File> {
        File::open(self.0.join(name.cast()))
    }

    /// Notes that the server ended before the session did, and cuts off half a line that it left. To be called while nobody writes.
    pub(super) fn interrupted(&self, name: &Name, document: &mut Document) -> io::Result<()> {
        let path = self.0.join(name.cast());
        match fs::read(&path) {
            Ok(cast) => OpenOptions::new().write(true).open(&path)?.set_len(whole_lines(&cast) as u64)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        document.state = State::Interrupted;
        self.write(name, document)
    }

    /// Removes a recording.
    pub(super) fn remove(&self, name: &Name) -> io::Result<()> {
        // The document last: what is left of one that could not be removed whole is still shown.
        for file in [name.cast(), format!("{}.new", name.0), name.document()] {
            match fs::remove_file(self.0.join(file)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the oldest until what is left is within the limits. Those that go on stay, and what can't be removed keeps nothing
    /// else from being.
    pub(super) fn prune(&self, limits: Limits, goes_on: impl Fn(Uuid) -> bool) -> io::Result<()> {
        let (live, old): (Vec<_>, Vec<_>) = self.all()?.into_iter().rev().partition(|name| goes_on(name.session()));
        let mut count = live.len();
        let mut bytes: u64 = live.iter().filter_map(|name| self.cast_bytes(name)).sum();
        for name in old {
            (count, bytes) = (count + 1, bytes + self.cast_bytes(&name).unwrap_or(0));
            if (count > limits.count || bytes > limits.bytes)
                && let Err(error) = self.remove(&name)
            {
                tracing::warn!(%error, session = %name.session(), "an old recording could not be removed");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn document(session: Uuid) -> Document {
        Document {
            session,
            state: State::Recording,
            mode: Some(Mode::Shell),
            tty: true,
            user: None,
            remote: None,
            started_at: Local::now(),
            ended_at: None,
            duration_ms: None,
            exit_code: None,
            bytes: None,
            cols: Some(80),
            rows: Some(24),
            truncated: false,
            missed_bytes: 0,
        }
    }

    /// Recordings of a second each, with casts of these sizes.
    fn shelf(container: &Path, casts: &[u64]) -> (Shelf, Vec<Name>) {
        let shelf = Shelf::of(container);
        shelf.make().unwrap();
        let name = |(second, size): (usize, &u64)| {
            let name = Name::new(Local.timestamp_opt(second as i64, 0).unwrap(), Uuid::new_v4());
            shelf.write(&name, &document(name.session())).unwrap();
            shelf.create_cast(&name).unwrap();
            shelf.append(&name, 0, &vec![b'\n'; *size as usize]).unwrap();
            name
        };
        let names = casts.iter().enumerate().map(name).collect();
        (shelf, names)
    }

    #[test]
    fn a_name_is_that_of_its_time_and_session_and_nothing_else_is_one() {
        let session = Uuid::new_v4();
        let name = Name::new(Local.timestamp_millis_opt(1_705_761_000_123).unwrap(), session);
        assert_eq!(name.cast(), format!("20240120T143000.123Z-{session}.cast"));
        assert_eq!((Name::parse(&name.0), name.session()), (Some(name.clone()), session));
        for other in ["", "notes", "20240120T143000.123Z-", "20240120T143000.123Z-7", "../../../../../../../-é", &name.document()]
        {
            assert_eq!(Name::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_oldest_are_removed_first_and_those_that_go_on_are_not() {
        let temp = tempfile::tempdir().unwrap();
        let (shelf, names) = shelf(temp.path(), &[5, 1, 1, 1, 1]);
        fs::write(shelf.0.join("notes.txt"), "an operator's").unwrap();
        let left = || shelf.all().unwrap().into_iter().collect::<Vec<_>>();
        shelf.prune(Limits { count: 5, bytes: 9 }, |_| false).unwrap();
        assert_eq!(left(), names);
        shelf.prune(Limits { count: 4, bytes: 9 }, |session| session == names[0].session()).unwrap();
        assert_eq!(left(), [&names[0], &names[2], &names[3], &names[4]].map(Name::clone));
        shelf.prune(Limits { count: 4, bytes: 6 }, |session| session == names[0].session()).unwrap();
        assert_eq!(left(), [names[0].clone(), names[4].clone()]);
        shelf.prune(Limits { count: 4, bytes: 0 }, |_| false).unwrap();
        assert_eq!(fs::read_dir(&shelf.0).unwrap().count(), 1, "what is no recording stays");
    }

    #[test]
    fn a_recording_that_was_cut_short_ends_with_its_last_whole_line() {
        let temp = tempfile::tempdir().unwrap();
        let (shelf, names) = shelf(temp.path(), &[0, 0]);
        for (name, cast, left) in [(&names[0], "{}\n[1,\"o", "{}\n"), (&names[1], "{", "")] {
            shelf.create_cast(name).unwrap_err();
            fs::write(shelf.0.join(name.cast()), cast).unwrap();
            let mut document = shelf.document(name).unwrap();
            shelf.interrupted(name, &mut document).unwrap();
            assert_eq!(fs::read_to_string(shelf.0.join(name.cast())).unwrap(), left);
            assert_eq!(shelf.document(name).unwrap().state, State::Interrupted);
        }
    }

    #[test]
    fn a_container_that_is_gone_has_no_recordings_and_gets_none() {
        let temp = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(&temp.path().join("gone"));
        let name = Name::new(Local::now(), Uuid::new_v4());
        assert!(
            shelf.all().unwrap().is_empty() && shelf.document(&name).is_none() && shelf.find(name.session()).unwrap().is_none()
        );
        for failed in [shelf.make(), shelf.write(&name, &document(name.session())), shelf.create_cast(&name)] {
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::NotFound);
        }
        assert!(!temp.path().join("gone").exists());
    }
}
