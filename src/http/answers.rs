//! Answers kept for a day in a folder, a file a key, so that a request that is repeated gets the first answer again; and the
//! turn in which requests with the same key are looked at. What is the same request is `idempotency`'s to say.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex as Turns, OwnedMutexGuard},
    task::spawn_blocking,
    time::interval,
};

use crate::{
    containers::terms::REMEMBERED,
    error::{Error, Result},
    files::durable::write,
};

/// How often answers that are old enough are forgotten.
const SWEEP: Duration = Duration::from_secs(3600);

/// An answer, and which request it is to.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) fingerprint: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// The first line of a file; the rest is the body.
#[derive(Serialize, Deserialize)]
struct Head {
    fingerprint: String,
    status: u16,
    headers: Vec<(String, String)>,
    length: usize,
}

/// All kept answers.
pub(crate) struct Answers(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    turns: Mutex<HashMap<String, Weak<Slot>>>,
}

/// What those who wait for one key wait for.
type Slot = Turns<Option<Arc<Kept>>>;

/// A key that nobody else looks at meanwhile.
pub(crate) struct Turn {
    path: PathBuf,
    /// The answer, for those who wait; it is theirs also where the disk did not take it.
    answer: OwnedMutexGuard<Option<Arc<Kept>>>,
}

impl Answers {
    /// Answers are in `folder`, which is made for the first of them; old ones are forgotten now and every hour.
    pub(crate) fn open(folder: PathBuf) -> Self {
        let this = Self(Arc::new(Inner { folder, turns: Mutex::default() }));
        let inner = Arc::downgrade(&this.0);
        tokio::spawn(async move {
            let mut hours = interval(SWEEP);
            loop {
                hours.tick().await;
                let Some(folder) = inner.upgrade().map(|inner| inner.folder.clone()) else { return };
                if let Ok(Err(error)) = spawn_blocking(move || sweep(&folder)).await {
                    tracing::error!(%error, "old answers could not be forgotten");
                }
            }
        });
        this
    }

    /// Waits for the turn of `key`, a digest that is safe as a file's name.
    pub(crate) async fn turn(&self, key: &str) -> Turn {
        let turn = {
            let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let waiting = turns.get(key).and_then(Weak::upgrade);
            waiting.unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(key.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        Turn { path: self.0.folder.join(key), answer: turn.lock_owned().await }
    }
}

impl Turn {
    /// The answer that was kept, if one was.
    ///
    /// # Errors
    /// [`Error::Io`] where there is one that can't be read: its request was done, and must not be done again.
    pub(crate) async fn kept(&self) -> Result<Option<Arc<Kept>>> {
        if let Some(kept) = &*self.answer {
            return Ok(Some(kept.clone()));
        }
        let path = self.path.clone();
        let read = spawn_blocking(move || read(&path)).await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        read.map(|kept| kept.map(Arc::new)).map_err(Error::io("read the answer that is kept for this Idempotency-Key"))
    }

    /// Keeps the answer. A disk that does not take it fails no request: a repetition is then taken for a new one.
    pub(crate) async fn keep(&mut self, kept: Kept) {
        let kept = Arc::new(kept);
        *self.answer = Some(kept.clone());
        let path = self.path.clone();
        let written = spawn_blocking(move || store(&path, &kept)).await;
        if let Err(error) = written.unwrap_or_else(|panic| Err(Error::io("keep an answer")(io::Error::other(panic)))) {
            tracing::error!(%error, "an answer could not be kept");
        }
    }
}

fn store(path: &Path, kept: &Kept) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if !folder.exists() {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(folder);
        made.and_then(|()| File::open(folder.parent().unwrap_or(Path::new(".")))?.sync_all())
            .map_err(Error::io("make the folder of kept answers"))?;
    }
    let Kept { fingerprint, status, headers, body } = kept;
    let head = Head { fingerprint: fingerprint.clone(), status: *status, headers: headers.clone(), length: body.len() };
    let mut bytes = serde_json::to_vec(&head).map_err(|error| Error::io("write an answer")(error.into()))?;
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    write(folder, &path.file_name().unwrap_or_default().to_string_lossy(), &bytes)
}

fn read(path: &Path) -> io::Result<Option<Kept>> {
    // A FIFO would be waited for, and a link may lead anywhere.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let mut file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if is_old(&metadata)? {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let spoilt = || io::Error::other("it is not what the server wrote");
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(spoilt)?;
    let Head { fingerprint, status, headers, length } = serde_json::from_slice(&bytes[..end]).map_err(|_| spoilt())?;
    let body = Bytes::from(bytes).slice(end + 1..);
    if body.len() == length { Ok(Some(Kept { fingerprint, status, headers, body })) } else { Err(spoilt()) }
}

/// Forgets what was kept long enough ago, and what a crash left of a writing; what can't be removed keeps nothing else.
fn sweep(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        if let Err(error) = entry.and_then(|entry| forget_if_old(&entry)) {
            tracing::error!(%error, "an old answer could not be forgotten");
        }
    }
    Ok(())
}

fn forget_if_old(entry: &fs::DirEntry) -> io::Result<()> {
    // One that is renamed meanwhile is no old one.
    let old = entry.metadata().is_ok_and(|metadata| is_old(&metadata).unwrap_or(false));
    if old { fs::remove_file(entry.path()) } else { Ok(()) }
}

/// A file is as old as its last change; none is changed after it was written.
fn is_old(metadata: &fs::Metadata) -> io::Result<bool> {
    // A time to come is a clock that was put back.
    let age = metadata.modified()?.elapsed().unwrap_or_default();
    Ok(age >= REMEMBERED.to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::SystemTime};

    use super::*;

    fn answer(body: &'static [u8]) -> Kept {
        let headers = vec![("etag".to_owned(), "\"1\"".to_owned())];
        Kept { fingerprint: "f".into(), status: 201, headers, body: Bytes::from_static(body) }
    }

    fn age(path: &Path, hours: u64) {
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    #[tokio::test]
    async fn an_answer_is_kept_byte_for_byte_for_a_day_and_for_nobody_else_to_read() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("answers");
        let answers = Answers::open(folder.clone());
        assert_eq!(answers.turn("k").await.kept().await.unwrap(), None);
        for body in [&b"{}"[..], b"", b"\n\xff\n"] {
            answers.turn("k").await.keep(answer(body)).await;
            assert_eq!(answers.turn("k").await.kept().await.unwrap().as_deref(), Some(&answer(body)));
        }
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("k"))), (0o700, 0o600));
        age(&folder.join("k"), 23);
        assert!(answers.turn("k").await.kept().await.unwrap().is_some());
        age(&folder.join("k"), 25);
        assert!(answers.turn("k").await.kept().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_answer_that_is_there_and_can_t_be_read_is_not_taken_for_none() {
        let root = tempfile::tempdir().unwrap();
        let answers = Answers::open(root.path().to_owned());
        for spoilt in ["", "{}", "{}\n", "{\"fingerprint\":\"f\",\"status\":200,\"headers\":[],\"length\":3}\nab"] {
            fs::write(root.path().join("spoilt"), spoilt).unwrap();
            assert!(answers.turn("spoilt").await.kept().await.is_err(), "{spoilt}");
        }
        fs::create_dir(root.path().join("folder")).unwrap();
        answers.turn("answer").await.keep(answer(b"x")).await;
        std::os::unix::fs::symlink("answer", root.path().join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, root.path().join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for other in ["folder", "link", "fifo"] {
            assert!(answers.turn(other).await.kept().await.is_err(), "{other}");
        }
        assert!(Answers::open(root.path().join("answer")).turn("k").await.kept().await.is_err(), "a file for the folder");
    }

    #[tokio::test]
    async fn an_answer_that_the_disk_does_not_take_is_had_by_those_who_wait() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("link")).unwrap();
        let answers = Answers::open(root.path().join("link"));
        let mut turn = answers.turn("k").await;
        turn.keep(answer(b"x")).await;
        assert!(turn.kept().await.unwrap().is_some());
        drop(turn);
        assert_eq!(answers.turn("k").await.kept().await.unwrap(), None);
    }

    #[tokio::test]
    async fn who_asks_with_the_same_key_waits_and_gets_what_the_first_got() {
        let root = tempfile::tempdir().unwrap();
        let answers = Arc::new(Answers::open(root.path().to_owned()));
        let mut first = answers.turn("k").await;
        let other = answers.clone();
        let second = tokio::spawn(async move { other.turn("k").await.kept().await.unwrap() });
        drop(answers.turn("another").await);
        first.keep(answer(b"x")).await;
        drop(first);
        assert_eq!(second.await.unwrap().as_deref(), Some(&answer(b"x")));
    }

    #[test]
    fn a_sweep_removes_only_what_is_old_and_goes_on_where_it_can_t() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("folder")).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(25 * 3600);
        File::open(root.path().join("folder")).unwrap().set_modified(long_ago).unwrap();
        for (name, hours) in [("old", 25), (".old.new", 25), ("young", 23)] {
            fs::write(root.path().join(name), "").unwrap();
            age(&root.path().join(name), hours);
        }
        sweep(root.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["folder", "young"]);
        sweep(&root.path().join("none")).unwrap();
    }
}
