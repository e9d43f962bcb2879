//! What a program's clients say, on its way to the program.

use std::{collections::VecDeque, time::Duration};

use futures_util::future::OptionFuture;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    engine::exec::Size,
    error::{Error, Result},
    terminal::{
        hub::Hub,
        protocol::ClientFrame,
        speaker::Said,
        transport::{Input, Program},
    },
};

/// How long the engine may take to set a size.
const RESIZE: Duration = Duration::from_secs(1);

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
    /// [`Error::EngineUnavailable`] once nobody takes the input any more: the program doesn't, or the connection broke off.
    pub(super) async fn run(&mut self, program: &Program, said: &mut mpsc::Receiver<Said>, hub: &Hub) -> Result<()> {
        let (mut wanted, mut sizing, resizing) = (None, false, OptionFuture::from(None));
        tokio::pin!(resizing);
        loop {
            // Bytes go first, behind the size that they were typed at. Only where the program doesn't take them does a later frame
            // overtake: a signal or a close must get through.
            let next = tokio::select! {
                biased;
                Some((viewer, done)) = &mut resizing, if sizing => {
                    let done: Result<()> = done;
                    done.err().into_iter().for_each(|error| hub.fail(viewer, error));
                    sizing = wanted.is_some();
                    resizing.set(wanted.take().map(|(viewer, size)| resize(program, viewer, size)).into());
                    continue;
                }
                written = self.write(), if !self.waiting.is_empty() && !sizing => {
                    written?;
                    continue;
                }
                next = said.recv() => next,
            };
            let Some(said) = next else { return Ok(()) };
            let viewer = said.viewer;
            let size = match said.frame {
                ClientFrame::Close => return Ok(()),
                ClientFrame::Signal(signal) => {
                    program.signal(signal).await.err().into_iter().for_each(|error| hub.fail(viewer, error));
                    None
                }
                ClientFrame::Resize(size) => hub.resized(viewer, size),
                ClientFrame::Stdin(_) => {
                    self.take(said);
                    hub.typed(viewer)
                }
            };
            // Of sizes that come while another is being set, only the newest matters.
            match size {
                Some(size) if sizing => wanted = Some((viewer, size)),
                Some(size) => {
                    sizing = true;
                    resizing.set(Some(resize(program, viewer, size)).into());
                }
                None => {}
            }
        }
    }
}

/// Sets a size for who asked for it, in a second at the most: input waits for it.
async fn resize(program: &Program, viewer: u64, size: Size) -> (u64, Result<()>) {
    let late = |_| Err(Error::EngineUnavailable("it did not set the terminal's size in time".to_owned()));
    (viewer, timeout(RESIZE, program.resize(size)).await.unwrap_or_else(late))
}
