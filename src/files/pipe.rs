//! A blocking writer at one end and a stream of bytes at the other, with little between them. It does not know what flows.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::{
    runtime::Handle,
    sync::{
        Semaphore,
        mpsc::{Receiver, Sender, channel, error::SendTimeoutError},
    },
};

use crate::error::{Error, Result};

/// The bytes of one chunk, and how many chunks may wait: with the one being filled and the one being sent, 640 KiB.
const CHUNK: usize = 64 * 1024;
const WAITING: usize = 8;

/// How many streams are produced at once, each by a thread of its own; further ones wait their turn.
const STREAMS: usize = 16;
static TURNS: Semaphore = Semaphore::const_new(STREAMS);

/// How long a reader may take nothing before it is given up, so that it keeps nobody from their turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits its turn, in the order of calls, then runs `produce` on a thread of its own and streams what it writes. It is a
/// thread of its own, as it waits for as long as a client takes to read.
///
/// A producer that fails, or panics, ends the stream with an error: what was sent must not look like the whole. It fails
/// itself at its next write after the stream was dropped, with `BrokenPipe`, and with `TimedOut` when nothing was read for
/// a minute.
///
/// # Errors
/// [`Error::Io`] where no thread can be had.
pub async fn stream(produce: impl FnOnce(&mut Writer) -> Result<()> + Send + 'static) -> Result<Reader> {
    start(&TURNS, PATIENCE, produce).await
}

async fn start(
    turns: &'static Semaphore,
    patience: Duration,
    produce: impl FnOnce(&mut Writer) -> Result<()> + Send + 'static,
) -> Result<Reader> {
    let turn = turns.acquire().await.map_err(|closed| Error::io("start a stream")(io::Error::other(closed)))?;
    let (sender, receiver) = channel(WAITING);
    let runtime = Handle::current();
    let run = move || {
        let _turn = turn;
        let mut writer = Writer { runtime, patience, sender, chunk: Vec::new() };
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
}

impl Writer {
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
        if self.chunk.len() == CHUNK {
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
        let chunks = stream(move |writer| writer.write_all(&written).map_err(Error::io("write"))).await.unwrap();
        let chunks: Vec<_> = chunks.map(|chunk| chunk.unwrap()).collect().await;
        assert!(chunks.concat() == body);
    }

    #[tokio::test]
    async fn a_producer_that_fails_or_panics_ends_the_stream_with_an_error() {
        for panics in [false, true] {
            let mut chunks = stream(move |writer| {
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
        let chunks = stream(endless(report)).await.unwrap();
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
        static ONE: Semaphore = Semaphore::const_new(1);
        let (report, written) = mpsc::channel();
        let stalled = start(&ONE, Duration::from_millis(100), endless(report)).await.unwrap();
        assert_eq!(ONE.available_permits(), 0);
        let next = start(&ONE, PATIENCE, |writer| writer.write_all(b"next").map_err(Error::io("write"))).await.unwrap();
        assert_eq!(written.recv().unwrap().1, io::ErrorKind::TimedOut);
        let next: Vec<_> = next.map(|chunk| chunk.unwrap()).collect().await;
        assert_eq!(next.concat(), b"next");
        assert!(stalled.map(|chunk| chunk.is_err()).collect::<Vec<_>>().await.ends_with(&[false, true]));
    }
}
