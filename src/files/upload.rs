//! [`Spool`], which takes a request's body to the disk, and [`Upload`], a body that is there. It does not look at what is in
//! it.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use tempfile::{NamedTempFile, TempPath};

use crate::error::{Error, Result, TooLarge};

/// How many bytes are gathered before they are written; what a body holds of memory.
const BUFFER: usize = 256 * 1024;

/// How the names of temporary files begin.
const PREFIX: &str = ".upload-";

/// A body on its way into a temporary file, of which nothing is left however the request ends, but where the server dies:
/// then `sweep` finds it.
///
/// A future of it that is dropped half-way loses bytes: the spool must be dropped then, too.
pub struct Spool {
    /// Away while a write is under way.
    file: Option<NamedTempFile>,
    buffer: Vec<u8>,
    received: u64,
    /// In bytes.
    limit: u64,
    what: TooLarge,
}

impl Spool {
    /// Opens the temporary file of an archive of up to `limit` bytes in `folder`. That is made where it is missing, for nobody
    /// else.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn create(folder: &Path, limit: u64) -> Result<Self> {
        let made = folder.to_owned();
        aside(move || match DirBuilder::new().mode(0o700).create(made) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        })
        .await?;
        Self::create_as(folder, PREFIX, limit, TooLarge::Zip).await
    }

    /// Opens a temporary file in `folder` whose name begins with `prefix`, for up to `limit` bytes; a longer body is `what`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) async fn create_as(folder: &Path, prefix: &'static str, limit: u64, what: TooLarge) -> Result<Self> {
        let folder = folder.to_owned();
        let file = aside(move || tempfile::Builder::new().prefix(prefix).tempfile_in(folder)).await?;
        Ok(Self { file: Some(file), buffer: Vec::with_capacity(BUFFER), received: 0, limit, what })
    }

    /// Takes the next bytes of the body, and waits for the disk once in a while.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; [`Error::Io`], also where the disk is full.
    pub async fn write(&mut self, mut chunk: &[u8]) -> Result<()> {
        self.received = self.received.saturating_add(chunk.len() as u64);
        if self.received > self.limit {
            return Err(Error::TooLarge { what: self.what, limit: self.limit });
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

    /// The whole body.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn finish(mut self) -> Result<Upload> {
        self.flush().await?;
        Ok(Upload { file: self.file.take().ok_or_else(abandoned)?, bytes: self.received })
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

/// A whole body in a temporary file, which goes with it unless it is kept.
#[derive(Debug)]
pub struct Upload {
    file: NamedTempFile,
    bytes: u64,
}

impl Upload {
    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn of(body: &[u8], folder: &Path) -> Self {
        let mut file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder).unwrap();
        file.write_all(body).unwrap();
        Self { file, bytes: body.len() as u64 }
    }

    /// The file, and what removes it unless it is kept.
    pub(super) fn into_parts(self) -> (File, TempPath) {
        self.file.into_parts()
    }

    /// Another handle on the file.
    pub(super) fn open(&self) -> io::Result<File> {
        self.file.as_file().try_clone()
    }

    /// Keeps it at `path`, on the same file system.
    pub(super) fn keep(self, path: PathBuf) -> io::Result<()> {
        self.file.persist(path).map(drop).map_err(|failed| failed.error)
    }
}

/// Removes what uploads left in `folder` when the server died. To be called while there is none.
pub(super) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let _ = fs::remove_file(entry.path());
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
    use std::io::{Read, Seek};

    use super::*;

    #[tokio::test]
    async fn a_body_in_pieces_of_any_size_arrives_whole_and_is_gone_with_its_upload() {
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
            let (mut arrived, upload) = (Vec::new(), spool.finish().await.unwrap());
            let mut file = upload.open().unwrap();
            file.rewind().unwrap();
            file.read_to_end(&mut arrived).unwrap();
            assert!(arrived == body && upload.bytes() == body.len() as u64);
            drop(upload);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn an_upload_that_is_kept_stays_and_what_a_crash_left_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let spool = || async { Spool::create(&folder.path().join("deploys"), 10).await.unwrap() };
        let kept = folder.path().join("deploys/1.zip");
        spool().await.finish().await.unwrap().keep(kept.clone()).unwrap();
        spool().await.finish().await.unwrap().file.keep().unwrap();
        sweep(&folder.path().join("deploys"));
        assert!(kept.exists() && fs::read_dir(folder.path().join("deploys")).unwrap().count() == 1);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path(), 10).await.unwrap();
        spool.write(b"12345678").await.unwrap();
        assert!(matches!(spool.write(b"901").await, Err(Error::TooLarge { what: TooLarge::Zip, limit: 10 })));
    }
}
