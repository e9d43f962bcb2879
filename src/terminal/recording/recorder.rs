//! One session's recorder, from its beginning to its end. It writes batches of whole lines, and at least once a second.

use std::{
    future::pending,
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use chrono::Local;
use tokio::{
    select,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{
    CAST, Going, LIMITS, Origin, Recorded,
    cast::Cast,
    lock,
    shelf::{Document, Name, Shelf, State},
};
use crate::{
    config::Record,
    terminal::{
        Mode, Open, SessionEnd,
        hub::Hub,
        notes::{Note, Notes},
    },
};

/// How many bytes are written at once, and how long fewer may wait for more.
const BATCH: usize = 64 << 10;
const FLUSH: Duration = Duration::from_secs(1);
/// After how many bytes it is seen to it that all recordings together are not too long.
const PRUNE: u64 = 1 << 20;
/// How long the end of a session waits for the end of its recording.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to a session's recorder. Dropping it ends the recording in the middle.
pub(in crate::terminal) struct Recorder {
    ended: oneshot::Sender<SessionEnd>,
    done: JoinHandle<Recorded>,
    full: bool,
}

impl Recorder {
    pub(super) fn spawn(going: Going, hub: &Arc<Hub>, open: &Open, begun: &SessionEnd, origin: Origin) -> Self {
        let full = going.recordings.0.record == Record::Full;
        let began = Instant::now();
        let tape =
            full.then(|| Tape { notes: Notes::of(hub), cast: Cast::new(open, begun, CAST), began, due: Some(began), length: 0 });
        let shelf = Shelf::of(&origin.folder);
        let name = Name::new(begun.started, begun.session);
        let work = Work { shelf, name, document: begin(open, begun, origin), tape, file: None, going };
        let runtime = work.going.recordings.0.runtime.clone();
        let (ended, end) = oneshot::channel();
        Self { ended, done: runtime.spawn(work.run(end)), full }
    }

    /// Ends the recording of a session that has ended so, and tells what is kept of it.
    pub(in crate::terminal) async fn end(self, end: &SessionEnd) -> Recorded {
        let _ = self.ended.send(end.clone());
        // It goes on by itself where the disk takes longer.
        let late = Recorded { file: None, full: self.full, truncated: self.full };
        timeout(PATIENCE, self.done).await.ok().and_then(Result::ok).unwrap_or(late)
    }
}

struct Work {
    shelf: Shelf,
    name: Name,
    document: Document,
    /// Where the session's output goes, for as long as it is recorded.
    tape: Option<Tape>,
    /// The file to look at, once there is one.
    file: Option<String>,
    going: Going,
}

struct Tape {
    notes: Notes,
    cast: Cast,
    began: Instant,
    /// When what waits is to be written.
    due: Option<Instant>,
    /// How much is written, in bytes.
    length: u64,
}

impl Work {
    /// Runs until the session has ended, or nobody can say any more how it does.
    async fn run(mut self, mut end: oneshot::Receiver<SessionEnd>) -> Recorded {
        let full = self.tape.is_some();
        if let Err(error) = self.begin().await {
            self.stop(&error);
        }
        let end = loop {
            let note = select! {
                biased;
                end = &mut end => break end.ok(),
                note = wait(self.tape.as_ref()) => note,
            };
            self.take(note).await;
        };
        while let Some(note) = self.tape.as_ref().and_then(|tape| tape.notes.take()) {
            self.take(Some(note)).await;
        }
        self.take(None).await;
        if let Some(end) = end
            && let Err(error) = self.end(end).await
        {
            self.stop(&error);
        }
        Recorded { file: self.file, full, truncated: self.document.truncated }
    }

    async fn begin(&mut self) -> io::Result<()> {
        let (shelf, name, document, full) = (self.shelf.clone(), self.name.clone(), self.document.clone(), self.tape.is_some());
        let recordings = self.going.recordings.clone();
        let begin = move || {
            shelf.make()?;
            shelf.write(&name, &document)?;
            shelf.prune(LIMITS, |session| recordings.goes_on(session))?;
            if full { shelf.create_cast(&name) } else { Ok(()) }
        };
        self.going.recordings.at_the_disk(begin).await?;
        self.file = Some(if full { self.name.cast() } else { self.name.document() });
        Ok(())
    }

    /// Adds what is to be noted, and writes what waits where that is enough, or nothing more came.
    async fn take(&mut self, note: Option<Note>) {
        let Some(tape) = &mut self.tape else { return };
        if let Some(Note::Missed(bytes)) = note {
            self.document.missed_bytes += bytes;
        }
        let has_room = note.as_ref().is_none_or(|note| tape.cast.add(tape.began.elapsed(), note));
        if has_room && note.is_some() && tape.cast.waiting() < BATCH {
            tape.due.get_or_insert_with(|| Instant::now() + FLUSH);
            return;
        }
        match self.write().await {
            Err(error) => self.stop(&error),
            Ok(()) if has_room => {}
            Ok(()) => {
                self.document.truncated = true;
                self.tape = None;
            }
        }
    }

    async fn write(&mut self) -> io::Result<()> {
        let Some(tape) = &mut self.tape else { return Ok(()) };
        tape.due = None;
        let lines = tape.cast.take();
        if lines.is_empty() {
            return Ok(());
        }
        let before = tape.length;
        tape.length += lines.len() as u64;
        let prune = tape.length / PRUNE > before / PRUNE;
        let (shelf, name) = (self.shelf.clone(), self.name.clone());
        let (recordings, writing) = (self.going.recordings.clone(), self.going.writing.clone());
        let write = move || {
            {
                let _middle = lock(&writing);
                shelf.append(&name, before, &lines)?;
            }
            if prune { shelf.prune(LIMITS, |session| recordings.goes_on(session)) } else { Ok(()) }
        };
        self.going.recordings.at_the_disk(write).await
    }

    /// The disk takes no more of the cast.
    fn stop(&mut self, error: &io::Error) {
        // With its container, the folder is gone, and nothing is to be kept.
        if error.kind() != ErrorKind::NotFound {
            tracing::warn!(session = %self.document.session, %error, "a terminal's recording was ended by the disk");
        }
        self.document.truncated |= self.tape.take().is_some();
    }

    async fn end(&mut self, end: SessionEnd) -> io::Result<()> {
        self.document.state = State::Complete;
        self.document.mode = end.mode;
        self.document.tty = end.mode == Some(Mode::Shell);
        self.document.ended_at = Some(Local::now());
        self.document.duration_ms = u64::try_from(end.duration.as_millis()).ok();
        self.document.exit_code = end.exit_code;
        self.document.bytes = Some(end.bytes_out);
        let (shelf, name, document) = (self.shelf.clone(), self.name.clone(), self.document.clone());
        self.going.recordings.at_the_disk(move || shelf.write(&name, &document)).await?;
        self.file.get_or_insert_with(|| self.name.document());
        Ok(())
    }
}

/// Waits for something to be noted; `None` where what waits is to be written.
async fn wait(tape: Option<&Tape>) -> Option<Note> {
    match tape {
        Some(Tape { notes, due: Some(due), .. }) => timeout_at(*due, notes.next()).await.ok(),
        Some(Tape { notes, due: None, .. }) => Some(notes.next().await),
        None => pending().await,
    }
}

fn begin(open: &Open, begun: &SessionEnd, origin: Origin) -> Document {
    let size = (begun.mode == Some(Mode::Shell)).then(|| open.size());
    Document {
        session: begun.session,
        state: State::Recording,
        mode: begun.mode,
        tty: size.is_some(),
        user: origin.user,
        remote: origin.remote,
        started_at: begun.started,
        ended_at: None,
        duration_ms: None,
        exit_code: None,
        bytes: None,
        cols: size.map(|size| size.cols),
        rows: size.map(|size| size.rows),
        truncated: false,
        missed_bytes: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::runtime::Handle;
    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::id::Cuid,
        engine::exec::{Piece, Source},
        terminal::{Close, recording::Recordings, views::Outcome},
    };

    /// A recorder of a session without a program.
    fn record(recordings: &Recordings, folder: &Path) -> (Arc<Hub>, SessionEnd, Recorder) {
        let open = Open { cuid: Cuid::new(), mode: Some(Mode::Exec), cols: None, rows: None, shell: None, user: None, cwd: None };
        let session = Uuid::new_v4();
        let (hub, begun) = (Arc::new(Hub::new(session)), SessionEnd::new(session, &open));
        let origin = Origin { folder: folder.to_owned(), user: None, remote: None };
        let recorder = recordings.begin(&hub, &open, &begun, origin).unwrap();
        (hub, begun, recorder)
    }

    fn push(hub: &Hub, bytes: usize) {
        hub.push(Piece { source: Source::Stdout, bytes: vec![b'x'; bytes] });
    }

    /// The codes and data of the only cast in a container's folder.
    fn events(recordings: &Recordings, folder: &Path, session: Uuid) -> Vec<(String, String)> {
        let read = |file, _: &str| io::read_to_string(file).map_err(crate::error::Error::io("read it"));
        let cast = recordings.open(folder, session, read).unwrap();
        let lines = cast.lines().skip(1).map(|line| serde_json::from_str::<(f64, String, String)>(line).unwrap());
        lines.map(|(_, code, data)| (code, data)).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_hangs_holds_nobody_up_and_what_was_missed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(Record::Full, Handle::current());
        let (hub, begun, recorder) = record(&recordings, folder.path());
        let writing = recordings.going()[&begun.session].clone();
        {
            let _hung = lock(&writing);
            (0..300).for_each(|_| push(&hub, 16 << 10));
        }
        hub.finish(Outcome::Nothing, Close::Normal);
        let recorded = recorder.end(&begun).await;
        assert!(recorded.full && !recorded.truncated && recorded.file.unwrap().ends_with(".cast"));
        let (mut noted, mut missed) = (0, 0);
        for (code, data) in events(&recordings, folder.path(), begun.session) {
            match code.as_str() {
                "o" => noted += data.len(),
                _ => missed += data.strip_suffix(" bytes of output are missing here").unwrap().parse::<usize>().unwrap(),
            }
        }
        assert_eq!(noted + missed, 300 * (16 << 10));
        let list = recordings.list(folder.path()).unwrap();
        assert!(missed > 1 << 20 && list[0].document.missed_bytes == missed as u64, "{missed}");
        assert_eq!((list.len(), list[0].document.state), (1, State::Complete));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_recorder_of_a_session_that_vanished_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(Record::Full, Handle::current());
        let (hub, begun, Recorder { ended, done, .. }) = record(&recordings, folder.path());
        assert!(recordings.remove(folder.path(), begun.session).is_err());
        push(&hub, 1);
        drop(ended);
        done.await.unwrap();
        assert!(hub.views().recorder.is_none() && recordings.going().is_empty());
        assert_eq!(recordings.list(folder.path()).unwrap()[0].document.state, State::Interrupted);
        assert_eq!(events(&recordings, folder.path(), begun.session), [("o".to_owned(), "x".to_owned())]);
        recordings.remove(folder.path(), begun.session).unwrap();
        assert!(recordings.list(folder.path()).unwrap().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_made_where_the_container_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        for record_what in [Record::Full, Record::Metadata] {
            let recordings = Recordings::new(record_what, Handle::current());
            let (hub, begun, recorder) = record(&recordings, &gone);
            push(&hub, 1);
            hub.finish(Outcome::Nothing, Close::Normal);
            assert_eq!(recorder.end(&begun).await.file, None);
            assert!(!gone.exists() && recordings.list(&gone).unwrap().is_empty());
        }
    }
}
