//! A session's program by `docker compose exec`: on a pseudo-terminal of ours, or on pipes, with the docker CLI between the two. What it
//! starts is an exec of the engine's as any other, once its id is known. The CLI is here for the bytes alone: the rest is asked of the engine
//! and done to the program itself, since nothing that befalls the CLI reaches the program, and a size that is told to it may be lost.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, Read, Write},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    pin::Pin,
    process::Stdio,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use portable_pty::{MasterPty, PtySize, native_pty_system};
use rustix::{
    fs::{Mode, OFlags},
    termios::{OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::unix::pipe,
    select,
    sync::Mutex,
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    compose::{
        cli::{Compose, tail, while_nothing_starts},
        exec::{Exec, refusal},
        group::Group,
    },
    engine::{
        Engine,
        exec::{Command, PIECE, Piece, Source},
        foreign,
        processes::Marker,
    },
    error::{Error, Result},
};

/// How long the CLI may take to have the engine start a program.
const START: Duration = Duration::from_secs(60);
/// How long the engine may take to tell of a program that was started.
const NEWS: Duration = Duration::from_secs(3);
/// How long the CLI may take to end after its output did.
const END: Duration = Duration::from_secs(1);
/// The stack of a thread that does nothing but copy, in bytes.
const STACK: usize = 128 << 10;

type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// The CLI, as long as its program needs it. It is killed when this is dropped.
pub(super) struct Line {
    cli: Mutex<Group>,
    /// What the CLI itself says, where that doesn't come with the program's output.
    said: Option<JoinHandle<Vec<u8>>>,
}

impl Line {
    /// Starts `command` in the container, and gives the engine's id of it as soon as there is one: the program may not run yet, or never.
    ///
    /// # Errors
    /// [`Error::EngineRefused`] in the CLI's words where it started nothing, [`Error::EngineUnavailable`], [`Error::Io`].
    pub(super) async fn open(
        engine: &Engine,
        compose: &Compose,
        marker: Marker,
        command: &Command,
    ) -> Result<(String, Self, Writer, Output)> {
        let keys = foreign::keys(marker.session);
        let (settings, terminal) = prepare(keys.clone(), command.size.is_some()).await?;
        let since = engine.clock().await?;
        let name = marker.cuid.to_string();
        let exec = Exec {
            name: &name,
            argv: &command.argv,
            env: &command.env,
            user: command.user.as_deref(),
            cwd: command.cwd.as_deref(),
            tty: terminal.is_some(),
            settings: settings.path(),
        };
        let (mut line, writer, mut output) = match terminal {
            Some(terminal) => terminal.line(compose, &exec)?,
            None => Self::on_pipes(compose, &exec)?,
        };
        let started = select! {
            id = engine.foreign_exec(marker.cuid, &keys, since.clone()) => id.map(Some),
            _ = line.cli.get_mut().wait() => Ok(None),
            () = sleep(START) => Err(Error::EngineUnavailable("docker compose exec did not have it start the program".to_owned())),
        };
        if let Ok(Some(id)) = started {
            return Ok((id, line, writer, output));
        }
        // The CLI may have ended before the news of what it started, or is ended now while that still starts.
        line.cli.get_mut().end_group();
        match (timeout(NEWS, engine.foreign_exec(marker.cuid, &keys, since)).await, started) {
            (Ok(Ok(id)), _) => Ok((id, line, writer, output)),
            (_, Err(error)) => Err(error),
            _ => Err(line.refusal(&mut output).await),
        }
    }

    /// With the standard streams apart.
    fn on_pipes(compose: &Compose, exec: &Exec<'_>) -> Result<(Self, Writer, Output)> {
        let mut cli = compose.exec(exec, [Stdio::piped(), Stdio::piped(), Stdio::piped()])?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (cli.stdin.take(), cli.stdout.take(), cli.stderr.take()) else {
            return Err(Error::io("start docker compose exec")(io::ErrorKind::BrokenPipe.into()));
        };
        let pipes: [(Source, Reader); 2] = [(Source::Stdout, Box::new(stdout)), (Source::Stderr, Box::new(stderr))];
        Ok((Self { cli: cli.into(), said: None }, Box::new(stdin), Output { pipes: pipes.into() }))
    }

    /// Waits until the CLI has ended.
    pub(super) async fn ended(&self) {
        // That it can't be waited for doesn't happen, and would be no reason to wait on.
        let _ = self.cli.lock().await.wait().await;
    }

    /// Whether the CLI has failed, or was ended by somebody. It also ends so after a program that did, and with success after one that
    /// closed its output: so whether the program goes on is to be asked afterwards.
    pub(super) async fn is_lost(&self) -> bool {
        let mut cli = self.cli.lock().await;
        matches!(timeout(END, cli.wait()).await, Ok(Ok(status)) if !status.success())
    }

    /// What the CLI said in place of a program's output.
    async fn refusal(mut self, output: &mut Output) -> Error {
        let mut words = Vec::new();
        while let Ok(Some(piece)) = timeout(END, output.next()).await {
            words.extend(piece.bytes);
        }
        if let Some(said) = self.said.take() {
            words.extend(timeout(END, said).await.ok().and_then(std::result::Result::ok).unwrap_or_default());
        }
        refusal(&String::from_utf8_lossy(&words))
    }
}

/// A program's output, as the CLI hands it on.
pub(in crate::terminal) struct Output {
    /// Those that have not ended, the one to be looked at first in front.
    pipes: VecDeque<(Source, Reader)>,
}

impl Output {
    /// The next piece, as large as what has already arrived makes it; `None` at the end. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        let mut space = [MaybeUninit::uninit(); PIECE];
        for _ in 0..self.pipes.len() {
            let Some((source, mut reader)) = self.pipes.pop_front() else { break };
            let mut bytes = ReadBuf::uninit(&mut space);
            let read = Pin::new(&mut reader).poll_read(context, &mut bytes);
            if read.is_pending() || !bytes.filled().is_empty() {
                // To the back, so that neither of two that always have some keeps the other waiting.
                self.pipes.push_back((source, reader));
            }
            if !bytes.filled().is_empty() {
                return Poll::Ready(Some(Piece { source, bytes: bytes.filled().to_vec() }));
            }
        }
        if self.pipes.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// A pseudo-terminal with nobody on it yet.
struct Terminal {
    master: Box<dyn MasterPty + Send>,
    /// The CLI's end.
    slave: OwnedFd,
}

impl Terminal {
    /// One that hands on every byte as it is: echo, line ends and the meaning of keys are the business of the program's own.
    ///
    /// It has no size, so that the CLI gives the program's none: it does so at a moment of its own, when there may be a newer one.
    fn open() -> Result<Self> {
        let size = PtySize { rows: 0, cols: 0, pixel_width: 0, pixel_height: 0 };
        // For some microseconds both ends would be inherited, and a terminal that somebody else holds open doesn't end.
        let pair = while_nothing_starts(|| native_pty_system().openpty(size)).map_err(failed)?;
        let path = pair.master.tty_name().ok_or_else(|| failed("it has no name"))?;
        let slave = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let mut modes = tcgetattr(&slave).map_err(failed)?;
        modes.make_raw();
        // Else the crate would type it when we stop writing.
        modes.special_codes[SpecialCodeIndex::VEOF] = 0;
        tcsetattr(&slave, OptionalActions::Now, &modes).map_err(failed)?;
        Ok(Self { master: pair.master, slave })
    }

    /// Starts the CLI on it, with two threads that wait for what can only be waited for by blocking: they end with the CLI.
    fn line(self, compose: &Compose, exec: &Exec<'_>) -> Result<(Line, Writer, Output)> {
        let (output, from_terminal) = io::pipe().map_err(failed)?;
        let (to_terminal, input) = io::pipe().map_err(failed)?;
        copy(self.master.try_clone_reader().map_err(failed)?, from_terminal)?;
        copy(to_terminal, self.master.take_writer().map_err(failed)?)?;
        let output = pipe::Receiver::from_owned_fd(output.into()).map_err(failed)?;
        let input = pipe::Sender::from_owned_fd(input.into()).map_err(failed)?;
        let (stdin, stdout) = (self.slave.try_clone().map_err(failed)?, self.slave);
        let mut cli = compose.exec(exec, [stdin.into(), stdout.into(), Stdio::piped()])?;
        let said = cli.stderr.take().map(|stderr| tokio::spawn(tail(stderr)));
        let pipes: [(Source, Reader); 1] = [(Source::Stdout, Box::new(output))];
        let line = Line { cli: cli.into(), said };
        Ok((line, Box::new(input), Output { pipes: pipes.into() }))
    }
}

/// Makes a folder with settings of the docker CLI's that have these detach keys, and a terminal if there is to be one.
async fn prepare(keys: String, tty: bool) -> Result<(TempDir, Option<Terminal>)> {
    let prepare = move || {
        let settings = TempDir::with_prefix("berth-terminal-").map_err(Error::io("make a folder for docker compose exec"))?;
        let text = serde_json::json!({ "detachKeys": keys }).to_string();
        std::fs::write(settings.path().join("config.json"), text).map_err(Error::io("write settings for docker compose exec"))?;
        Ok((settings, tty.then(Terminal::open).transpose()?))
    };
    spawn_blocking(prepare).await.unwrap_or_else(|error| Err(failed(error)))
}

/// Copies in a thread of its own until one of the two ends.
fn copy(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) -> Result<()> {
    let copying = move || drop(io::copy(&mut from, &mut to));
    thread::Builder::new().name("terminal".to_owned()).stack_size(STACK).spawn(copying).map_err(failed)?;
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::io("use a pseudo-terminal")(io::Error::other(error.to_string()))
}
