//! `DATA_DIR`: a folder a container, and what its files mean.
//!
//! ```text
//! data/<cuid>/
//!   creating         the folder is a creation's that is not over
//!   container.json   the specification; its presence is what makes the container exist
//!   compose.yaml     the project generated from it
//!   change.json      a change is under way: whether the container was up before it
//!   deleted.json     container.json's name once a deletion is decided; deleted-with-volumes.json if those go, too
//!   app/             the mount; see `files` for what stands beside it during a change of it
//!   deploys/         what was deployed into it
//!   recordings/      `terminal::recording`'s
//! ```
//! A folder with neither of the two `.json` files is a creation that a crash cut short if it says so, or is empty, and is taken
//! away; else nobody knows what it is, and it is left alone. `.answers` is `http::answers`'.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::Serialize;

use super::record::{Change, Record};
use crate::{
    crash::point,
    domain::id::Cuid,
    error::{Error, Result},
    files::{
        durable::{optional, read_json, sweep, sync, write},
        remove::remove_tree,
    },
};

const RECORD: &str = "container.json";
const PROJECT: &str = "compose.yaml";
const CHANGE: &str = "change.json";
const CREATING: &str = "creating";
const DELETED: [&str; 2] = ["deleted.json", "deleted-with-volumes.json"];

/// What the folder of a container turns out to be when the server starts.
pub enum Found {
    Whole(Box<Record>),
    HalfMade(Cuid),
    HalfDeleted {
        cuid: Cuid,
        with_volumes: bool,
    },
    /// Its `container.json` can't be read; it is left alone.
    Broken(Cuid, Error),
}

impl Found {
    pub(super) fn cuid(&self) -> Cuid {
        match self {
            Self::Whole(record) => record.cuid,
            Self::HalfMade(cuid) | Self::HalfDeleted { cuid, .. } | Self::Broken(cuid, _) => *cuid,
        }
    }
}

/// The folder of all containers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    /// Holds the lock on `root`: two servers in one folder would take each other's work for leftovers.
    lock: Arc<fs::File>,
}

impl Store {
    /// Opens `root`, and makes it where it is missing.
    ///
    /// # Errors
    /// [`Error::Io`]; also where another server has it open.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::io("make DATA_DIR"))?;
        let root = fs::canonicalize(root).map_err(Error::io("open DATA_DIR"))?;
        let lock = fs::File::open(&root).map_err(Error::io("open DATA_DIR"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => Error::io("have DATA_DIR")(io::Error::other("another berth serves it")),
            error => Error::io("lock DATA_DIR")(error.into()),
        })?;
        Ok(Self { root, lock: Arc::new(lock) })
    }

    /// Lets another server have the folder; nothing is written to it any more.
    pub fn release(&self) {
        let _ = flock(&*self.lock, FlockOperation::Unlock);
    }

    /// `DATA_DIR`, without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a container, whether or not it is there.
    pub fn folder(&self, cuid: Cuid) -> PathBuf {
        self.root.join(cuid.to_string())
    }

    /// Makes the folder of a new container.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(&self, cuid: Cuid) -> Result<()> {
        // Others on the host may pass through to the mount, as a remapped engine does, and see nothing.
        fs::DirBuilder::new().mode(0o711).create(self.folder(cuid)).map_err(Error::io("make the container's folder"))?;
        point("after the folder is made");
        let marked = fs::File::create_new(self.folder(cuid).join(CREATING)).map_err(Error::io("mark the container's folder"));
        marked.and_then(|_| sync(&self.root))
    }

    /// Removes the folder and all that is in it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&self, cuid: Cuid) -> Result<()> {
        point("before the folder is removed");
        remove_tree(&self.folder(cuid)).map_err(Error::io("remove the container's folder"))?;
        point("after the folder is removed");
        sync(&self.root)
    }

    /// Writes `container.json`: from here on the container exists, or has this specification.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn commit(&self, record: &Record) -> Result<()> {
        self.write_json(record.cuid, RECORD, record)?;
        // One that stays means nothing beside a record.
        let _ = fs::remove_file(self.folder(record.cuid).join(CREATING));
        Ok(())
    }

    /// Removes what a crash left of files that were being written. To be called while nobody writes.
    pub fn sweep(&self, cuid: Cuid) {
        for name in [RECORD, PROJECT, CHANGE] {
            sweep(&self.folder(cuid), name);
        }
        let _ = fs::remove_file(self.folder(cuid).join(CREATING));
    }

    /// The project as it stands on the disk; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn project(&self, cuid: Cuid) -> Result<Option<String>> {
        optional(fs::read_to_string(self.folder(cuid).join(PROJECT))).map_err(Error::io("read compose.yaml"))
    }

    /// Writes the project.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_project(&self, cuid: Cuid, text: &str) -> Result<()> {
        write(&self.folder(cuid), PROJECT, text.as_bytes())
    }

    /// Notes that a change begins.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin_change(&self, cuid: Cuid, change: &Change) -> Result<()> {
        self.write_json(cuid, CHANGE, change)
    }

    /// Notes that the change is over, by whatever way.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn end_change(&self, cuid: Cuid) -> Result<()> {
        point("before change.json is removed");
        optional(fs::remove_file(self.folder(cuid).join(CHANGE))).map_err(Error::io("remove change.json"))?;
        point("after change.json is removed");
        sync(&self.folder(cuid))
    }

    /// The change that a crash cut short, if one was.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn interrupted_change(&self, cuid: Cuid) -> Result<Option<Change>> {
        read_json(&self.folder(cuid).join(CHANGE), "change.json")
    }

    /// Decides a deletion: the container does not exist from here on.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin_deletion(&self, cuid: Cuid, with_volumes: bool) -> Result<()> {
        self.rename(cuid, RECORD, DELETED[usize::from(with_volumes)])
    }

    /// Takes a decided deletion back.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn undo_deletion(&self, cuid: Cuid, with_volumes: bool) -> Result<()> {
        self.rename(cuid, DELETED[usize::from(with_volumes)], RECORD)
    }

    /// All containers' folders, and what they turn out to be.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn scan(&self) -> Result<Vec<Found>> {
        scan(&self.root)
    }

    fn rename(&self, cuid: Cuid, from: &str, to: &str) -> Result<()> {
        let folder = self.folder(cuid);
        let renamed = optional(fs::rename(folder.join(from), folder.join(to))).map_err(Error::io(format!("rename {from}")))?;
        // Somebody may have taken the whole folder away.
        if renamed.is_none() && !folder.exists() {
            return Ok(());
        }
        point(&format!("after {from} is renamed to {to}"));
        sync(&folder)
    }

    fn write_json(&self, cuid: Cuid, name: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec_pretty(value).map_err(|error| Error::io(format!("write {name}"))(error.into()))?;
        write(&self.folder(cuid), name, &text)
    }
}

/// All containers' folders in `DATA_DIR`, and what they turn out to be, also beside a server. Whatever else lies in `DATA_DIR` is not ours.
///
/// # Errors
/// [`Error::Io`].
pub fn scan(root: &Path) -> Result<Vec<Found>> {
    let entries = fs::read_dir(root).map_err(Error::io("read DATA_DIR"))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read DATA_DIR"))?;
        let Some(cuid) = entry.file_name().to_str().and_then(|name| name.parse::<Cuid>().ok()) else { continue };
        found.push(match read_json::<Record>(&entry.path().join(RECORD), RECORD) {
            Ok(Some(record)) if record.cuid == cuid => Found::Whole(Box::new(record)),
            Ok(Some(record)) => {
                Found::Broken(cuid, Error::io("use container.json")(io::Error::other(format!("it is {}'s", record.cuid))))
            }
            Ok(None) => match DELETED.iter().position(|name| entry.path().join(name).exists()) {
                Some(kind) => Found::HalfDeleted { cuid, with_volumes: kind == 1 },
                None if is_creation(&entry.path()) => Found::HalfMade(cuid),
                None => Found::Broken(cuid, Error::io("find container.json")(io::ErrorKind::NotFound.into())),
            },
            Err(error) => Found::Broken(cuid, error),
        });
    }
    Ok(found)
}

/// Whether a folder without a record is what is left of a creation: nothing is taken away for being not where it was.
fn is_creation(folder: &Path) -> bool {
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir());
    let is_empty = || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    is_folder && (folder.join(CREATING).exists() || is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::spec::Spec;

    fn record(cuid: Cuid) -> Record {
        Record::new(cuid, Spec::from_json(&serde_json::json!({"image": "a", "env": {"A": "$x"}})).unwrap(), None)
    }

    #[test]
    fn a_folder_is_whole_with_its_record_and_half_made_or_deleted_without() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let [whole, half_made, half_deleted, broken, moved, linked] = std::array::from_fn(|_| Cuid::new());
        std::os::unix::fs::symlink("/nowhere", store.folder(linked)).unwrap();
        for cuid in [whole, half_made, half_deleted, broken, moved] {
            store.begin(cuid).unwrap();
        }
        store.commit(&record(whole)).unwrap();
        store.write_project(half_made, "x").unwrap();
        store.commit(&record(half_deleted)).unwrap();
        store.begin_deletion(half_deleted, true).unwrap();
        fs::write(store.folder(broken).join(RECORD), "{\"cuid\"").unwrap();
        store.commit(&record(moved)).unwrap();
        fs::rename(store.folder(moved).join(RECORD), store.folder(moved).join("container.json.bak")).unwrap();
        fs::create_dir(root.path().join("lost+found")).unwrap();

        let mut kinds: Vec<_> = store
            .scan()
            .unwrap()
            .into_iter()
            .map(|found| match found {
                Found::Whole(found) => {
                    assert_eq!(*found, Record { cuid: whole, ..(*found).clone() });
                    (whole, "whole")
                }
                Found::HalfMade(cuid) => (cuid, "half made"),
                Found::HalfDeleted { cuid, with_volumes } => {
                    (cuid, if with_volumes { "half deleted" } else { "without volumes" })
                }
                Found::Broken(cuid, _) => (cuid, "broken"),
            })
            .collect();
        kinds.sort_unstable();
        let mut expected = vec![(whole, "whole"), (half_made, "half made"), (half_deleted, "half deleted"), (broken, "broken")];
        expected.extend([(moved, "broken"), (linked, "broken")]);
        expected.sort_unstable();
        assert_eq!(kinds, expected);
        store.undo_deletion(half_deleted, true).unwrap();
        assert!(store.scan().unwrap().iter().any(|found| matches!(found, Found::Whole(record) if record.cuid == half_deleted)));
    }

    #[test]
    fn a_change_is_remembered_until_it_ends() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let cuid = Cuid::new();
        store.begin(cuid).unwrap();
        assert!(store.interrupted_change(cuid).unwrap().is_none());
        store.begin_change(cuid, &Change { was_up: true, ..Change::default() }).unwrap();
        assert!(store.interrupted_change(cuid).unwrap().is_some_and(|change| change.was_up));
        store.end_change(cuid).unwrap();
        store.end_change(cuid).unwrap();
        assert!(store.interrupted_change(cuid).unwrap().is_none());
    }
}
