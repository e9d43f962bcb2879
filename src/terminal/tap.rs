//! Where a session's output comes from, on its way into what the session shows.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    engine::{
        exec::{PIECE, Piece},
        logs::RunOutput,
    },
    error::Result,
    terminal::{history::KEPT, hub::Hub, transport::Output},
};

/// How far the session's own client may be behind before its program is not read any more, in bytes.
const BEHIND: u64 = 128 << 10;
/// The same for what a program has still on the way when it has ended: all that is kept, but for the next piece.
const LAST: u64 = (KEPT - 2 * PIECE) as u64;

/// Where output comes from.
pub(super) enum Source {
    Program(Output),
    Run(RunOutput),
}

/// Moves output to a hub. Dropping any of its calls half-way loses nothing.
pub(super) struct Tap<'a> {
    source: Source,
    hub: &'a Hub,
    ended: bool,
}

impl<'a> Tap<'a> {
    pub(super) fn new(source: Source, hub: &'a Hub) -> Self {
        Self { source, hub, ended: false }
    }

    /// Runs to the end of the output, no faster than the session's own client takes it.
    ///
    /// # Errors
    /// What the engine said instead of giving the output.
    pub(super) async fn run(&mut self) -> Result<()> {
        while !self.ended {
            self.hub.room(BEHIND).await;
            match self.next().await? {
                Some(piece) => self.hub.push(piece),
                None => self.ended = true,
            }
        }
        Ok(())
    }

    /// Takes what is left of a program that has ended, until there is no more or none came for as long as `patience`. The engine keeps
    /// it for two seconds, and drops it then, so the history has room for it: what the pipes on the way hold is some hundred KiB.
    pub(super) async fn drain(&mut self, patience: Duration) {
        while !self.ended {
            let hub = self.hub;
            let next = async {
                hub.room(LAST).await;
                self.next().await
            };
            match timeout(patience, next).await {
                Ok(Ok(Some(piece))) => self.hub.push(piece),
                _ => self.ended = true,
            }
        }
    }

    /// How the run ended whose output has; a program is asked after elsewhere.
    pub(super) async fn exit_code(&mut self) -> Option<i64> {
        match &mut self.source {
            Source::Program(_) => None,
            Source::Run(output) => Some(output.exit_code().await),
        }
    }

    async fn next(&mut self) -> Result<Option<Piece>> {
        match &mut self.source {
            Source::Program(output) => output.next().await,
            Source::Run(output) => output.next().await,
        }
    }
}
