//! [`Spool`], which takes a request's body to the disk. It does not look at what is in it.

use std::{
    fs::File,
    io::{self, Seek, Write},
    path::Path,
};

use crate::error::{Error, Result, TooLarge};

/// How many bytes are gathered before they are written; what a body holds of memory.
const BUFFER: usize = 256 * 1024;

/// A body on its way into a temporary file without a name, so that nothing is left of it however the request ends.
///
/// A future of it that is dropped half-way loses bytes: the spool must be dropped then, too.
pub struct Spool {
    /// Away while a write is under way.
    file: Option<File>,
    buffer: Vec<u8>,
    received: u64,
    /// In bytes.
    limit: u64,
}

impl Spool {
    /// Opens the temporary file in a container's folder, for up to `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn create(folder: &Path, limit: u64) -> Result<Self> {
        let folder = folder.to_owned();
        let file = aside(move || tempfile::tempfile_in(folder)).await?;
        Ok(Self { file: Some(file), buffer: Vec::with_capacity(BUFFER), received: 0, limit })
    }

    /// Takes the next bytes of the body, and waits for the disk once in a while.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; [`Error::Io`], also where the disk is full.
    pub async fn write(&mut self, mut chunk: &[u8]) -> Result<()> {
        self.received = self.received.saturating_add(chunk.len() as u64);
        if self.received > self.limit {
            return Err(Error::TooLarge { what: TooLarge::Zip, limit: self.limit });
        }
        while !chunk.is_empty() {
            let (now, later) = chunk.split_at(chunk.len().min(BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            chunk = later;
            if self.buffer.len() == BUFFER {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// The whole body, read from its start.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn finish(mut self) -> Result<File> {
        self.flush().await?;
        let mut file = self.file.take().ok_or_else(abandoned)?;
        aside(move || file.rewind().map(|()| file)).await
    }

    async fn flush(&mut self) -> Result<()> {
        let mut file = self.file.take().ok_or_else(abandoned)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let (file, buffer) = aside(move || {
            file.write_all(&buffer)?;
            buffer.clear();
            Ok((file, buffer))
        })
        .await?;
        (self.file, self.buffer) = (Some(file), buffer);
        Ok(())
    }
}

/// Runs what touches the disk where it holds nobody up.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
    done.map_err(Error::io("store the upload"))
}

/// For a spool that is used on after a failure, or after one of its futures was dropped.
fn abandoned() -> Error {
    Error::io("store the upload")(io::Error::other("it was abandoned"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn a_body_in_pieces_of_any_size_arrives_whole_and_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        for pieces in [vec![], vec![1, 2], vec![BUFFER], vec![BUFFER - 1, 1, 3 * BUFFER + 7, 5]] {
            let body: Vec<u8> = (0..pieces.iter().sum()).map(|i: usize| (i % 251) as u8).collect();
            let mut spool = Spool::create(folder.path(), body.len() as u64).await.unwrap();
            let mut rest = &body[..];
            for piece in pieces {
                let (now, later) = rest.split_at(piece);
                spool.write(now).await.unwrap();
                rest = later;
            }
            let mut arrived = Vec::new();
            spool.finish().await.unwrap().read_to_end(&mut arrived).unwrap();
            assert!(arrived == body);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path(), 10).await.unwrap();
        spool.write(b"12345678").await.unwrap();
        assert!(matches!(spool.write(b"901").await, Err(Error::TooLarge { what: TooLarge::Zip, limit: 10 })));
    }
}
