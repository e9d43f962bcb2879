//! A session's program: started, fed, and ended with all that it started.

use std::{collections::VecDeque, time::Duration};

use tokio::{sync::mpsc, time::timeout};

use crate::{
    engine::{
        Engine,
        exec::{self, Command, Exec},
        processes::{Marker, Processes},
    },
    error::{Error, Result},
    terminal::{Event, Mode, Open, output::Viewer, protocol::ClientFrame, refusal::SH, registry::Input},
};

/// Where a terminal begins unless told otherwise: the container's mount.
const HOME: &str = "/app";
/// Becomes bash where there is one, else sh; no other process stays behind.
const SHELL: &str = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";
/// How long the engine may take to start a program.
const START: Duration = Duration::from_secs(60);
/// How often the engine is asked whether it has; it takes some 40 ms.
const START_POLL: Duration = Duration::from_millis(2);
/// How much of the engine's words is told where it could not.
const WORDS: usize = 4096;

/// A program that runs, and the way to all that it starts.
pub(super) struct Program {
    pub processes: Processes,
    engine: Engine,
    /// The engine's id.
    id: String,
}

impl Program {
    /// Starts what `open` asks for, and waits until it runs.
    ///
    /// # Errors
    /// [`Error::EngineRefused`] in the engine's words where it can't be run, [`Error::EngineUnavailable`]. Nothing runs then.
    pub(super) async fn start(
        engine: &Engine,
        marker: Marker,
        open: &Open,
        mode: Mode,
    ) -> Result<(Self, exec::Input, exec::Output)> {
        let Exec { id, mut output, input } = engine.exec(open.cuid, &command(open, mode, marker)).await?;
        let started = timeout(START, started(engine, &id)).await.unwrap_or_else(|_| {
            Err(Error::EngineUnavailable(format!("it did not start the terminal's program within {} s", START.as_secs())))
        });
        let state = started.as_ref().ok().and_then(Option::as_ref);
        let processes = Processes::find(engine, id.clone(), marker, open.user.clone(), mode == Mode::Shell, state).await;
        let program = Self { processes, engine: engine.clone(), id };
        match started {
            Ok(Some(exec::State { pid: Some(_), .. })) => Ok((program, input, output)),
            Ok(_) => Err(refused(&mut output).await),
            Err(error) => {
                // Nobody knows whether it runs.
                program.end().await;
                Err(error)
            }
        }
    }

    /// Kills everything that the session started.
    pub(super) async fn end(&self) {
        if let Err(error) = self.processes.end_all().await {
            tracing::error!(%error, "a terminal's processes may be left running");
        }
    }

    /// The program's exit code, once it has ended.
    pub(super) async fn exit_code(&self) -> Result<i64> {
        if let Some(code) = self.engine.exec_exit_code(&self.id).await? {
            return Ok(code);
        }
        tracing::error!("a terminal's program goes on after its end");
        self.end().await;
        Ok(exec::KILLED)
    }

    /// Gives the program what its client says, until that is [`ClientFrame::Close`] or nothing more comes.
    /// What fails on the way is told to the viewer.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] once nobody takes the input any more: the program doesn't, or the connection broke off.
    pub(super) async fn feed(&self, feed: &mut Feed, frames: &mut mpsc::Receiver<Input>, viewer: &Viewer) -> Result<()> {
        loop {
            // Bytes go first. Only where the program doesn't take them does a later frame overtake: a signal or a close must get through.
            let frame = tokio::select! {
                biased;
                written = feed.write(), if !feed.waiting.is_empty() => {
                    written?;
                    continue;
                }
                frame = frames.recv() => frame,
            };
            let done = match frame {
                None | Some(Input { frame: ClientFrame::Close, .. }) => return Ok(()),
                Some(Input { frame: ClientFrame::Signal(signal), .. }) => self.processes.signal_foreground(signal).await,
                Some(Input { frame: ClientFrame::Resize(size), .. }) if feed.tty => self.engine.resize_exec(&self.id, size).await,
                Some(Input { frame: ClientFrame::Resize(_), .. }) => Ok(()),
                Some(input) => {
                    feed.take(input);
                    Ok(())
                }
            };
            if let Err(error) = done {
                viewer.tell(Event::Failed(error)).await;
            }
        }
    }
}

/// What waits to be read by the program. How much that is at most, the sender's room bounds.
pub(super) struct Feed {
    input: exec::Input,
    pub tty: bool,
    waiting: VecDeque<Input>,
    /// How much of the first one was written.
    written: usize,
    /// Set when the program doesn't listen any more; what comes then is dropped.
    pub deaf: bool,
    /// How many bytes came.
    pub bytes: u64,
}

impl Feed {
    pub(super) fn new(input: exec::Input, tty: bool) -> Self {
        Self { input, tty, waiting: VecDeque::new(), written: 0, deaf: false, bytes: 0 }
    }

    /// Takes input for the program; any other frame is passed over.
    pub(super) fn take(&mut self, input: Input) {
        if let ClientFrame::Stdin(bytes) = &input.frame {
            self.bytes += bytes.len() as u64;
            if !self.deaf && !bytes.is_empty() {
                self.waiting.push_back(input);
            }
        }
    }

    /// Writes some of what waits first. Cancelling it loses nothing.
    async fn write(&mut self) -> Result<()> {
        let Some(Input { frame: ClientFrame::Stdin(bytes), room }) = self.waiting.front_mut() else { return Ok(()) };
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
}

fn command(open: &Open, mode: Mode, marker: Marker) -> Command {
    let argv = match &open.shell {
        Some(shell) => vec![shell.clone()],
        None => [SH, "-c", SHELL].map(str::to_owned).to_vec(),
    };
    let mut env = vec![marker.to_string()];
    if mode == Mode::Shell {
        env.push("TERM=xterm-256color".to_owned());
    }
    Command {
        argv,
        env,
        user: open.user.clone(),
        cwd: Some(open.cwd.clone().unwrap_or_else(|| HOME.to_owned())),
        size: (mode == Mode::Shell).then(|| open.size()),
    }
}

/// Waits until the engine has started the program, or failed to: without a pid, or without a state where the container went.
async fn started(engine: &Engine, id: &str) -> Result<Option<exec::State>> {
    loop {
        match engine.exec_state(id).await? {
            Some(exec::State { pid: None, exit_code: None, .. }) => tokio::time::sleep(START_POLL).await,
            state => return Ok(state),
        }
    }
}

/// The engine's own words on why the program does not run: it writes them where the program's output would be.
async fn refused(output: &mut exec::Output) -> Error {
    let mut words = Vec::new();
    while let Ok(Ok(Some(piece))) = timeout(START, output.next()).await {
        if words.len() < WORDS {
            words.extend(piece.bytes);
        }
    }
    let words = String::from_utf8_lossy(&words);
    Error::EngineRefused(if words.trim().is_empty() { "it could not start the program" } else { words.trim() }.to_owned())
}
