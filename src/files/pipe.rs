//! A blocking writer at one end and a stream of bytes at the other, with little between them. It does not know what flows.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::error::{Error, Result};

/// The bytes of one chunk, and how many chunks may wait: with the one being filled and the one being sent, 640 KiB.
const CHUNK: usize = 64 * 1024;
const WAITING: usize = 8;

/// Runs `produce` on a thread of its own and streams what it writes. It is a thread of its own, as it waits for as long
/// as a client takes to read.
///
/// A producer that fails, or panics, ends the stream with an error: what was sent must not look like the whole. It fails
/// itself, with `BrokenPipe`, at its next write after the stream was dropped.
///
/// # Errors
/// [`Error::Io`] where no thread can be had.
pub fn stream(produce: impl FnOnce(&mut Writer) -> Result<()> + Send + 'static) -> Result<Reader> {
    let (sender, receiver) = channel(WAITING);
    let run = move || {
        let mut writer = Writer { sender, chunk: Vec::new() };
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
    sender: Sender<Message>,
    chunk: Vec<u8>,
}

impl Writer {
    fn send_chunk(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.send(Message::Chunk(chunk.into()))
    }

    fn send(&self, message: Message) -> io::Result<()> {
        self.sender.blocking_send(message).map_err(|_| io::ErrorKind::BrokenPipe.into())
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
        let chunks = stream(move |writer| writer.write_all(&written).map_err(Error::io("write"))).unwrap();
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
            .unwrap();
            assert_eq!(chunks.next().await.unwrap().unwrap(), "half");
            assert!(chunks.next().await.unwrap().is_err());
            assert!(chunks.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_producer_is_held_back_below_a_mebibyte_and_fails_when_its_reader_goes() {
        let (report, written) = mpsc::channel();
        let chunks = stream(move |writer| {
            let mut total = 0_usize;
            let failure = loop {
                match writer.write_all(&[0; 1024]) {
                    Ok(()) => total += 1024,
                    Err(error) => break error,
                }
            };
            report.send((total, failure.kind())).unwrap();
            Ok(())
        })
        .unwrap();
        // The channel is full once the writer has filled it, which needs no reader.
        while chunks.receiver.len() < WAITING {
            tokio::task::yield_now().await;
        }
        drop(chunks);
        let (total, kind) = tokio::task::spawn_blocking(move || written.recv().unwrap()).await.unwrap();
        assert_eq!(kind, io::ErrorKind::BrokenPipe);
        assert!(total < 1024 * 1024, "{total}");
    }
}
