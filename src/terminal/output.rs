//! From what a program writes to frames in a viewer's queue. The queue is short and nothing is read while it is full: so a slow
//! viewer slows its program down, and a session holds a few pieces of output, whatever the program does.

use std::{collections::VecDeque, time::Duration};

use tokio::{
    select,
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{
        exec::{Piece, Source},
        logs::RunOutput,
    },
    error::Result,
    terminal::{
        Event,
        protocol::ServerFrame,
        transport::Output,
        utf8::{Chunk, Splitter},
    },
};

/// How long a viewer has to take the last words when the server goes down.
const FAREWELL: Duration = Duration::from_secs(3);

/// Where output comes from.
pub(super) enum Tap {
    Program(Output),
    Run(RunOutput),
}

impl Tap {
    async fn next(&mut self) -> Result<Option<Piece>> {
        match self {
            Self::Program(output) => output.next().await,
            Self::Run(output) => output.next().await,
        }
    }

    /// How the run ended whose output has; a program is asked after elsewhere.
    pub(super) async fn exit_code(&mut self) -> Option<i64> {
        match self {
            Self::Program(_) => None,
            Self::Run(output) => Some(output.exit_code().await),
        }
    }
}

/// How much of a program's last output is taken in at most before its viewer has room, in bytes.
const RESCUED: u64 = 1 << 20;

/// Who looks at a session.
#[derive(Clone)]
pub(super) struct Viewer {
    events: mpsc::Sender<Event>,
    /// Set when nobody looks any more, or the server goes down.
    gone: CancellationToken,
}

impl Viewer {
    pub(super) fn new(events: mpsc::Sender<Event>, gone: CancellationToken) -> Self {
        Self { events, gone }
    }

    /// Tells something, behind all that was told before. Where nobody listens it is lost.
    pub(super) async fn tell(&self, event: Event) {
        select! {
            _ = self.events.send(event) => {}
            () = self.farewell() => {}
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Waits until nobody looks any more, or the server goes down.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Waits until that is so long ago that even the last words are not waited for any more.
    pub(super) async fn farewell(&self) {
        self.gone().await;
        sleep(FAREWELL).await;
    }
}

/// How a [`Pump`] came to rest.
pub(super) enum Rest {
    /// All output went out, or as much as came in time.
    Done,
    /// Nobody looks any more.
    Unseen,
}

/// Moves output into the viewer's queue. Dropping [`Pump::run`] half-way loses nothing; calling it again goes on.
pub(super) struct Pump {
    pub tap: Tap,
    viewer: Viewer,
    stdout: Splitter,
    stderr: Splitter,
    /// Frames that the queue had no room for yet: two at the most, but for what was rescued.
    frames: VecDeque<String>,
    ended: bool,
    /// How many bytes of output were framed.
    pub bytes: u64,
}

impl Pump {
    pub(super) fn new(tap: Tap, viewer: Viewer) -> Self {
        let (stdout, stderr) = (Splitter::default(), Splitter::default());
        Self { tap, viewer, stdout, stderr, frames: VecDeque::new(), ended: false, bytes: 0 }
    }

    /// Runs to the end of the output, or until none came for as long as `patience`, if that is given.
    ///
    /// # Errors
    /// What the engine said instead of giving the output.
    pub(super) async fn run(&mut self, patience: Option<Duration>) -> Result<Rest> {
        loop {
            while !self.frames.is_empty() {
                let Ok(room) = self.viewer.events.reserve().await else { return Ok(Rest::Unseen) };
                // Taken only now that there is room, so that being dropped while waiting loses none.
                if let Some(frame) = self.frames.pop_front() {
                    room.send(Event::Frame(frame));
                }
            }
            if self.ended {
                return Ok(Rest::Done);
            }
            let next = async {
                match patience {
                    Some(patience) => timeout(patience, self.tap.next()).await.unwrap_or(Ok(None)),
                    None => self.tap.next().await,
                }
            };
            match next.await? {
                Some(piece) => self.frame(piece),
                None => self.finish(),
            }
        }
    }

    /// Takes in what is left of the output of a program that has ended, whether or not the viewer has room: the engine keeps
    /// it for two seconds, and drops it then. What the pipes on the way hold is some hundred KiB.
    pub(super) async fn rescue(&mut self, patience: Duration) {
        let before = self.bytes;
        while !self.ended && self.bytes - before < RESCUED {
            match timeout(patience, self.tap.next()).await {
                Ok(Ok(Some(piece))) => self.frame(piece),
                // The rest is `run`'s to tell.
                Ok(Err(_)) => return,
                Ok(Ok(None)) | Err(_) => self.finish(),
            }
        }
    }

    fn frame(&mut self, Piece { source, bytes }: Piece) {
        self.bytes += bytes.len() as u64;
        let chunk = match source {
            Source::Stdout => self.stdout.push(bytes),
            Source::Stderr => self.stderr.push(bytes),
        };
        self.push(source, chunk);
    }

    fn finish(&mut self) {
        self.ended = true;
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        self.push(Source::Stdout, stdout);
        self.push(Source::Stderr, stderr);
    }

    fn push(&mut self, source: Source, chunk: Option<Chunk>) {
        self.frames.extend(chunk.map(|chunk| ServerFrame::output(source, chunk).to_json()));
    }
}
