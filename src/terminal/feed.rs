//! What a program's clients say, on its way to the program.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::{
    engine::exec::Size,
    error::Result,
    terminal::{
        hub::Hub,
        protocol::ClientFrame,
        speaker::Said,
        transport::{Input, Program},
    },
};

/// What waits to be read by the program. How much that is at most, the sender's room bounds.
pub(super) struct Feed {
    input: Input,
    pub tty: bool,
    waiting: VecDeque<Said>,
    /// How much of the first one was written.
    written: usize,
    /// Set when the program doesn't listen any more; what comes then is dropped.
    pub deaf: bool,
    /// How many bytes came.
    pub bytes: u64,
}

impl Feed {
    pub(super) fn new(input: Input, tty: bool) -> Self {
        Self { input, tty, waiting: VecDeque::new(), written: 0, deaf: false, bytes: 0 }
    }

    /// Takes input for the program; any other frame is passed over.
    pub(super) fn take(&mut self, input: Said) {
        if let ClientFrame::Stdin(bytes) = &input.frame {
            self.bytes += bytes.len() as u64;
            if !self.deaf && !bytes.is_empty() {
                self.waiting.push_back(input);
            }
        }
    }

    /// Writes some of what waits first. Cancelling it loses nothing.
    async fn write(&mut self) -> Result<()> {
        let Some(Said { frame: ClientFrame::Stdin(bytes), room, .. }) = self.waiting.front_mut() else { return Ok(()) };
        match self.input.write(&bytes[self.written..]).await {
            Ok(count) => {
                self.written += count;
                room.iter_mut().for_each(|room| room.give_back(count));
            }
            Err(error) => {
                self.deaf = true;
                self.waiting.clear();
                self.written = 0;
                return Err(error);
            }
        }
        if self.written == bytes.len() {
            self.waiting.pop_front();
            self.written = 0;
        }
        Ok(())
    }

    /// Gives the program what its clients say, until that is [`ClientFrame::Close`]. What fails on the way is told to who said it.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`](crate::error::Error::EngineUnavailable) once nobody takes the input any more: the program
    /// doesn't, or the connection broke off.
    pub(super) async fn run(&mut self, program: &Program, said: &mut mpsc::Receiver<Said>, hub: &Hub) -> Result<()> {
        loop {
            // Bytes go first. Only where the program doesn't take them does a later frame overtake: a signal or a close must get through.
            let next = tokio::select! {
                biased;
                written = self.write(), if !self.waiting.is_empty() => {
                    written?;
                    continue;
                }
                next = said.recv() => next,
            };
            let Some(said) = next else { return Ok(()) };
            let viewer = said.viewer;
            let done = match said.frame {
                ClientFrame::Close => return Ok(()),
                ClientFrame::Signal(signal) => program.signal(signal).await,
                ClientFrame::Resize(size) => resize(program, hub.resized(viewer, size)).await,
                ClientFrame::Stdin(_) => {
                    let size = hub.typed(viewer);
                    self.take(said);
                    resize(program, size).await
                }
            };
            if let Err(error) = done {
                hub.fail(viewer, error);
            }
        }
    }
}

async fn resize(program: &Program, size: Option<Size>) -> Result<()> {
    match size {
        Some(size) => program.resize(size).await,
        None => Ok(()),
    }
}
