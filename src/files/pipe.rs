//! A blocking writer at one end and a stream of bytes at the other, with little between them. It does not know what flows.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::{
    runtime::Handle,
    sync::{
        OwnedSemaphorePermit, Semaphore, SemaphorePermit,
        mpsc::{Receiver, Sender, channel, error::SendTimeoutError},
    },
};

use crate::error::{Error, Result};

/// The bytes of one chunk, and how many chunks may wait: with the one being filled and the one being sent, 640 KiB.
const CHUNK: usize = 64 * 1024;
const WAITING: usize = 8;

/// How many streams are produced at once, each by a thread of its own; further ones wait their turn. Those of one group,
/// such as a container's, leave room for others: a folder without end, or a client that reads slowly, holds up only its own.
const STREAMS: usize = 16;
const STREAMS_OF_ONE: usize = 4;
static TURNS: Turns = Turns { all: Semaphore::const_new(STREAMS), of_one: STREAMS_OF_ONE, groups: Mutex::new(BTreeMap::new()) };

struct Turns {
    all: Semaphore,
    /// How many turns one group has.
    of_one: usize,
    /// Each for as long as one of its streams runs or waits.
    groups: Mutex<BTreeMap<String, Weak<Semaphore>>>,
}

/// What a stream holds while it is produced.
struct Turn {
    _among_its_own: OwnedSemaphorePermit,
    _among_all: SemaphorePermit<'static>,
}

impl Turns {
    /// Waits first among its own, so that it takes no other group's room meanwhile.
    async fn wait(&'static self, group: &str) -> Result<Turn> {
        let closed = |closed| Error::io("start a stream")(io::Error::other(closed));
        let own = self.group(group);
        let among_its_own = own.acquire_owned().await.map_err(closed)?;
        Ok(Turn { _among_its_own: among_its_own, _among_all: self.all.acquire().await.map_err(closed)? })
    }

    fn group(&self, name: &str) -> Arc<Semaphore> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, group| group.strong_count() > 0);
        if let Some(there) = groups.get(name).and_then(Weak::upgrade) {
            return there;
        }
        let new = Arc::new(Semaphore::new(self.of_one));
        groups.insert(name.to_owned(), Arc::downgrade(&new));
        new
    }
}

/// How long a reader may take nothing before it is given up, so that it keeps nobody from their turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits its turn among those of its group, in the order of calls, then runs `produce` on a thread of its own and streams what it writes. It is a
/// thread of its own, as it waits for as long as a client takes to read.
///
/// A producer that fails, or panics, ends the stream with an error: what was sent must not look like the whole. It fails
/// itself at its next write after the stream was dropped, with `BrokenPipe`, and with `TimedOut` when nothing was read for
/// a minute.
///
/// # Errors
/// [`Error::Io`] where no thread can be had.
pub async fn stream(group: &str, produce: impl FnOnce(&mut Writer) -> Result<()> + Send + 'static) -> Result<Reader> {
    start(&TURNS, group, PATIENCE, produce).await
}

async fn start(
    turns: &'static Turns,
    group: &str,
    patience: Duration,
    produce: impl FnOnce(&mut Writer) -> Result<()> + Send + 'static,
) -> Result<Reader> {
    let turn = turns.wait(group).await?;
    let (sender, receiver) = channel(WAITING);
    let runtime = Handle::current();
    let run = move || {
        let _turn = turn;
        let mut writer = Writer { runtime, patience, sender, chunk: Vec::new(), begun: false };
        let produced = produce(&mut writer).and_then(|()| writer.finish().map_err(Error::io("stream the answer")));
        if let Err(error) = produced {
            tracing::debug!(%error, "a streamed answer was cut short");
        }
    };
    thread::Builder::new().name("stream".into()).spawn(run).map_err(Error::io("start a stream"))?;
    Ok(Reader { receiver, ended: false })
}

/// What travels: bytes, or the word that all of them were sent.
enum Message {
    Chunk(Bytes),
    End,
}

/// The producer's end.
pub struct Writer {
    /// The reader's, for its clock.
    runtime: Handle,
    patience: Duration,
    sender: Sender<Message>,
    chunk: Vec<u8>,
    /// The first bytes don't wait for more: what is written may be long in the making.
    begun: bool,
}

impl Writer {
    /// Tells whether the stream's reader is still there, for a producer that has nothing to write for long.
    pub fn is_read(&self) -> impl Fn() -> bool + Send + 'static {
        let sender = self.sender.downgrade();
        move || sender.upgrade().is_some_and(|sender| !sender.is_closed())
    }

    fn send_chunk(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.send(Message::Chunk(chunk.into()))
    }

    fn send(&self, message: Message) -> io::Result<()> {
        let sent = self.runtime.block_on(self.sender.send_timeout(message, self.patience));
        sent.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => io::ErrorKind::TimedOut.into(),
            SendTimeoutError::Closed(_) => io::ErrorKind::BrokenPipe.into(),
        })
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Message::End)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK || !std::mem::replace(&mut self.begun, true) {
            self.send_chunk()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() { Ok(()) } else { self.send_chunk() }
    }
}

/// The consumer's end. It must be polled to its end to know that all has come.
pub struct Reader {
    receiver: Receiver<Message>,
    ended: bool,
}

impl Stream for Reader {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let message = ready!(self.receiver.poll_recv(context));
        self.ended = !matches!(message, Some(Message::Chunk(_)));
        Poll::Ready(match message {
            Some(Message::Chunk(bytes)) => Some(Ok(bytes)),
            Some(Message::End) => None,
            None => Some(Err(io::Error::other("the answer could not be finished"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn what_is_written_is_streamed_and_then_ends() {
        let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let written = body.clone();
        let chunks = stream("a", move |writer| writer.write_all(&written).map_err(Error::io("write"))).await.unwrap();
        let chunks: Vec<_> = chunks.map(|chunk| chunk.unwrap()).collect().await;
        assert!(chunks.concat() == body);
    }

    #[tokio::test]
    async fn a_producer_that_fails_or_panics_ends_the_stream_with_an_error() {
        for panics in [false, true] {
            let mut chunks = stream("a", move |writer| {
                writer.write_all(b"half").and_then(|()| writer.flush()).map_err(Error::io("write"))?;
                assert!(!panics, "as this test wants");
                Err(Error::FileNotFound("other half".into()))
            })
            .await
            .unwrap();
            assert_eq!(chunks.next().await.unwrap().unwrap(), "half");
            assert!(chunks.next().await.unwrap().is_err());
            assert!(chunks.next().await.is_none());
        }
    }

    /// Writes until that fails, and says how much it was and why.
    fn endless(report: mpsc::Sender<(usize, io::ErrorKind)>) -> impl FnOnce(&mut Writer) -> Result<()> + Send + 'static {
        move |writer| {
            let mut total = 0_usize;
            let failure = loop {
                match writer.write_all(&[0; 1024]) {
                    Ok(()) => total += 1024,
                    Err(error) => break error,
                }
            };
            report.send((total, failure.kind())).unwrap();
            Err(Error::io("write")(failure))
        }
    }

    #[tokio::test]
    async fn a_producer_is_held_back_below_a_mebibyte_and_fails_when_its_reader_goes() {
        let (report, written) = mpsc::channel();
        let chunks = stream("a", endless(report)).await.unwrap();
        // The channel is full once the writer has filled it, which needs no reader.
        while chunks.receiver.len() < WAITING {
            tokio::task::yield_now().await;
        }
        drop(chunks);
        let (total, kind) = tokio::task::spawn_blocking(move || written.recv().unwrap()).await.unwrap();
        assert_eq!(kind, io::ErrorKind::BrokenPipe);
        assert!(total < 1024 * 1024, "{total}");
    }

    #[tokio::test]
    async fn a_stream_waits_its_turn_which_comes_when_a_reader_that_takes_nothing_is_given_up() {
        static ONE: Turns = Turns { all: Semaphore::const_new(1), of_one: 1, groups: Mutex::new(BTreeMap::new()) };
        let (report, written) = mpsc::channel();
        let stalled = start(&ONE, "a", Duration::from_millis(100), endless(report)).await.unwrap();
        assert_eq!(ONE.all.available_permits(), 0);
        let next = start(&ONE, "b", PATIENCE, |writer| writer.write_all(b"next").map_err(Error::io("write"))).await.unwrap();
        assert_eq!(written.recv().unwrap().1, io::ErrorKind::TimedOut);
        let next: Vec<_> = next.map(|chunk| chunk.unwrap()).collect().await;
        assert_eq!(next.concat(), b"next");
        assert!(stalled.map(|chunk| chunk.is_err()).collect::<Vec<_>>().await.ends_with(&[false, true]));
    }

    #[tokio::test]
    async fn the_streams_of_one_group_leave_room_for_another_s() {
        static TURNS: Turns = Turns { all: Semaphore::const_new(3), of_one: 2, groups: Mutex::new(BTreeMap::new()) };
        let (report, _written) = mpsc::channel();
        let start_one = async |group| start(&TURNS, group, PATIENCE, endless(report.clone())).await.unwrap();
        let (first, _second) = (start_one("greedy").await, start_one("greedy").await);
        let third = start_one("greedy");
        let mut third = std::pin::pin!(third);
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        let other = start(&TURNS, "other", PATIENCE, |writer| writer.write_all(b"x").map_err(Error::io("write"))).await;
        assert_eq!(other.unwrap().map(|chunk| chunk.unwrap()).collect::<Vec<_>>().await.concat(), b"x");
        drop(first);
        drop(third.await);
        assert!(TURNS.groups.lock().unwrap().len() <= 2);
    }

    #[tokio::test]
    async fn the_first_bytes_are_sent_before_there_are_more() {
        let (more, wanted) = mpsc::channel::<()>();
        let mut chunks = stream("a", move |writer| {
            writer.write_all(b"first").map_err(Error::io("write"))?;
            let _ = wanted.recv();
            writer.write_all(b"second").map_err(Error::io("write"))
        })
        .await
        .unwrap();
        assert_eq!(chunks.next().await.unwrap().unwrap(), "first");
        more.send(()).unwrap();
        assert_eq!(chunks.next().await.unwrap().unwrap(), "second");
        assert!(chunks.next().await.is_none());
    }
}
