//! How a session's program is started and spoken to: through the engine's API, or by `docker compose exec`. Either way it is an exec of
//! the engine's in the end, and what a [`Program`] has started is ended with it, by whatever way.

mod compose;
mod program;

pub(super) use program::{Program, command};

use tokio::io::AsyncWriteExt;

use crate::{
    engine::exec::{self, Piece},
    error::{Error, Result},
};

/// A program's standard input, or its keyboard.
pub(super) enum Input {
    Engine(exec::Input),
    Compose(compose::Writer),
}

impl Input {
    /// Writes some of `bytes` and tells how many; it waits while the program doesn't read. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] where nobody will read any more.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Engine(input) => input.write(bytes).await,
            Self::Compose(writer) => writer.write(bytes).await.map_err(|error| Error::EngineUnavailable(error.to_string())),
        }
    }

    /// Ends the input: the program reads its end.
    pub(super) async fn close(self) {
        if let Self::Engine(mut input) = self {
            input.close().await;
        }
    }
}

/// A program's output, in order.
pub(super) enum Output {
    Engine(exec::Output),
    Compose(compose::Output),
}

impl Output {
    /// The next piece, as large as what has already arrived makes it; `None` at the end, which may also be that of the way to the program:
    /// ask [`Program::go_on`]. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] where the connection broke off.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>> {
        match self {
            Self::Engine(output) => output.next().await,
            Self::Compose(output) => Ok(output.next().await),
        }
    }
}
