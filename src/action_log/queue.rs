//! The way from those who record lines to the thread that writes them, what waits there, and its end.

use std::{
    collections::VecDeque,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::writer::Writer;

/// The most messages that are looked at together.
const BATCH: usize = 1024;

/// How long lines are gathered after a batch: under load one batch of many costs a fraction of many of one.
const PACE: Duration = Duration::from_millis(5);

/// How long the writer waits before it tries a failing disk again.
const RETRY: Duration = Duration::from_secs(1);

/// What the writer is sent.
pub(super) enum Message {
    /// An entry as JSON.
    Line(Vec<u8>),
    Flush(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// What the writer and those who send it lines know of each other.
#[derive(Default)]
pub(super) struct Shared {
    /// How many lines wait for the disk.
    pub(super) waiting: AtomicUsize,
    /// How many could not wait any more, and are still to be left out of the numbers.
    pub(super) dropped: AtomicU64,
    /// Until when the disk may still take lines, once the log is closed.
    pub(super) deadline: OnceLock<Instant>,
}

/// Writes what it is sent, until it is told to close, or nobody is left who could send anything.
pub(super) fn run(mut writer: Writer, mut receiver: mpsc::UnboundedReceiver<Message>, shared: &Shared) {
    let mut messages = Vec::new();
    let (mut closed, mut lost) = (None, 0);
    while closed.is_none() && lost == 0 && receiver.blocking_recv_many(&mut messages, BATCH) > 0 {
        let is_full = messages.len() == BATCH;
        let (mut lines, mut flushes) = (VecDeque::new(), Vec::new());
        for message in messages.drain(..) {
            match message {
                Message::Line(line) => lines.push_back(line),
                Message::Flush(done) => flushes.push(done),
                Message::Close(done) => closed = Some(done),
            }
        }
        let count = lines.len();
        write(&mut writer, &mut lines, shared);
        lost = lines.len() as u64;
        shared.waiting.fetch_sub(count, Ordering::Relaxed);
        for done in flushes {
            let _ = done.send(());
        }
        if !is_full && closed.is_none() {
            thread::sleep(PACE);
        }
    }
    if lost > 0 {
        // What has come meanwhile has nowhere to go, either.
        receiver.close();
        while let Ok(message) = receiver.try_recv() {
            match message {
                Message::Line(_) => lost += 1,
                Message::Flush(_) => (),
                Message::Close(done) => closed = Some(done),
            }
        }
        tracing::error!(lines = lost, "the action log could not be written to its end: lines of it are lost");
    }
    writer.close(lost + shared.dropped.swap(0, Ordering::Relaxed));
    if let Some(done) = closed {
        let _ = done.send(());
    }
}

/// Writes the lines, however often it takes; some are left only where the log is closed and the disk has had its time.
fn write(writer: &mut Writer, lines: &mut VecDeque<Vec<u8>>, shared: &Shared) {
    loop {
        writer.leave_out(shared.dropped.swap(0, Ordering::Relaxed));
        let Err(error) = writer.append(lines) else { return };
        tracing::error!(%error, "the action log can't be written");
        if shared.deadline.get().is_some_and(|deadline| *deadline <= Instant::now() + RETRY) {
            return;
        }
        thread::sleep(RETRY);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::action_log::{ActionLog, Bounds, entry::example, head::Head, verify};

    use super::*;

    #[tokio::test]
    async fn what_a_disk_does_not_take_to_the_end_is_left_out_of_the_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let log = ActionLog::open(folder.path(), Bounds { bytes: 1 << 20, files: 1 }).unwrap();
        log.record(&example("/kept", None));
        log.flush(Duration::from_secs(5)).await;
        let path = folder.path().join("actions.jsonl");
        fs::rename(&path, folder.path().join("kept")).unwrap();
        fs::create_dir(&path).unwrap();
        for _ in 0..3 {
            log.record(&example("/lost", None));
        }
        log.close(Duration::from_millis(900)).await;
        log.record(&example("/late", None));
        assert_eq!(Head::read(folder.path()).unwrap().unwrap().last.seq, 4);
        fs::remove_dir(&path).unwrap();
        fs::rename(folder.path().join("kept"), &path).unwrap();
        let log = ActionLog::open(folder.path(), Bounds { bytes: 1 << 20, files: 1 }).unwrap();
        log.shared.dropped.store(7, Ordering::Relaxed);
        log.record(&example("/later", None));
        log.close(Duration::from_secs(5)).await;
        let mut found = Vec::new();
        verify(folder.path(), &mut |finding| found.push(finding.to_owned())).unwrap();
        assert_eq!(found, ["actions.jsonl, line 2: removed before it: numbers 2 to 11 are missing"]);
    }
}
