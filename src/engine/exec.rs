//! Programs beside a container's main one: starting, feeding, sizing and asking after them. Ending one is not here, because the
//! engine can't: see [`processes`](super::processes).

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bollard::{ClientVersion, exec::ResizeExecOptions, models::ExecConfig};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use crate::{
    domain::id::Cuid,
    engine::{Engine, Failure, failed, hijack, unavailable},
    error::Result,
};

/// The most bytes in one [`Piece`]: as much as the engine moves at once.
pub const PIECE: usize = 32 * 1024;
/// Typed at a TTY, these keys have the engine let go of the program, and each is held back until the next one is seen. Its own
/// are ^P and ^Q, and ^P is a key that people use. There is no way to have none, so these are the least likely: a lone ^^ waits for
/// the key behind it.
pub(super) const DETACH_KEYS: &str = "ctrl-^,ctrl-@,ctrl-^,ctrl-@,ctrl-^,ctrl-@,ctrl-^,ctrl-@";
/// The exit code of a program that went with its container: killed, by 128 + 9.
pub const KILLED: i64 = 137;
/// How long the engine may take to learn that a program ended.
const EXIT_PATIENCE: Duration = Duration::from_secs(10);

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// The program and its arguments; no shell looks at them.
    pub argv: Vec<String>,
    /// `NAME=value`, on top of the container's own.
    pub env: Vec<String>,
    /// `uid[:gid]` or names; absent: the container's user.
    pub user: Option<String>,
    /// Absent: the container's working directory.
    pub cwd: Option<String>,
    /// With a size the program gets a TTY of it, without one it gets pipes.
    pub size: Option<Size>,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub cols: u16,
    pub rows: u16,
}

/// Where output was written to; with a TTY all of it is `Stdout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Stdout,
    Stderr,
}

/// Some output, of up to [`PIECE`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub source: Source,
    pub bytes: Vec<u8>,
}

/// A started program with its streams. Dropping it does **not** end the program.
pub struct Exec {
    /// The engine's id.
    pub id: String,
    pub output: Output,
    pub input: Input,
}

/// What the engine knows of a program.
#[derive(Clone, Debug)]
pub struct State {
    /// The container's id at the engine.
    pub container: String,
    /// Whether it was asked to start and has not ended.
    pub running: bool,
    /// In the engine's own process namespace; absent while it is being started, and for ever if that failed.
    pub pid: Option<i32>,
    /// Present once it ended, or failed to start (126 or 127, without a pid).
    pub exit_code: Option<i64>,
}

impl Engine {
    /// Starts `command` in the container. A program that the container doesn't have is no error here: the engine writes so to
    /// the output, and [`Engine::exec_state`] never shows a pid.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`](crate::error::Error::EngineUnavailable); `EngineRefused`, as where the container does not run.
    pub async fn exec(&self, container: Cuid, command: &Command) -> Result<Exec> {
        let tty = command.size.is_some();
        let config = ExecConfig {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(tty),
            detach_keys: Some(DETACH_KEYS.to_owned()),
            console_size: command.size.map(|size| vec![size.rows.into(), size.cols.into()]),
            cmd: Some(command.argv.clone()),
            env: Some(command.env.clone()),
            user: command.user.clone(),
            working_dir: command.cwd.clone(),
            ..ExecConfig::default()
        };
        let id = self.docker()?.create_exec(&container.to_string(), config).await.map_err(failed)?.id;
        let ClientVersion { major_version, minor_version } = self.docker()?.client_version();
        let path = format!("/v{major_version}.{minor_version}/exec/{id}/start");
        let (reader, writer) = hijack::post(&self.host, &path, &json!({ "Detach": false, "Tty": tty })).await?;
        // Engines before API 1.42 don't take the size with the program.
        if let (Some(size), (1, ..42)) = (command.size, (major_version, minor_version)) {
            self.resize_exec(&id, size).await?;
        }
        let demux = (!tty).then(Demux::default);
        Ok(Exec { id, output: Output { reader, demux, ready: VecDeque::new() }, input: Input(writer) })
    }

    /// Gives a program's TTY another size.
    ///
    /// # Errors
    /// `EngineUnavailable`, or `EngineRefused` where the program has ended.
    pub async fn resize_exec(&self, id: &str, size: Size) -> Result<()> {
        self.docker()?.resize_exec(id, ResizeExecOptions { height: size.rows, width: size.cols }).await.map_err(failed)
    }

    /// How a program is; `None` where the engine has forgotten it, as it does when the container goes.
    ///
    /// # Errors
    /// `EngineUnavailable`, `EngineRefused`.
    pub async fn exec_state(&self, id: &str) -> Result<Option<State>> {
        match self.docker()?.inspect_exec(id).await {
            Ok(exec) => Ok(Some(State {
                container: exec.container_id.unwrap_or_default(),
                running: exec.running == Some(true),
                pid: exec.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0),
                exit_code: exec.exit_code.filter(|_| exec.running != Some(true)),
            })),
            Err(Failure::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(failure) => Err(failed(failure)),
        }
    }

    /// Whether any program is being started in the container, by whomever.
    ///
    /// # Errors
    /// `EngineUnavailable`, `EngineRefused` where there is no such container.
    pub async fn starts_any(&self, container: Cuid) -> Result<bool> {
        let inspected = self.docker()?.inspect_container(&container.to_string(), None).await.map_err(failed)?;
        for id in inspected.exec_ids.unwrap_or_default() {
            if matches!(self.exec_state(&id).await?, Some(State { running: true, pid: None, .. })) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The exit code of a program that has ended or is about to; 137 where it went with its container, `None` where it goes on
    /// for ten seconds.
    ///
    /// # Errors
    /// `EngineUnavailable`, `EngineRefused`.
    pub async fn exec_exit_code(&self, id: &str) -> Result<Option<i64>> {
        let asking = async {
            let mut pause = Duration::from_millis(1);
            loop {
                match self.exec_state(id).await? {
                    None => return Ok(Some(KILLED)),
                    Some(State { exit_code: Some(code), .. }) => return Ok(Some(code)),
                    Some(_) => tokio::time::sleep(pause).await,
                }
                pause = (pause * 2).min(Duration::from_millis(100));
            }
        };
        tokio::time::timeout(EXIT_PATIENCE, asking).await.unwrap_or(Ok(None))
    }
}

/// A program's standard input, or its keyboard.
pub struct Input(hijack::Writer);

impl Input {
    /// Writes some of `bytes` and tells how many; it waits while the program doesn't read. Cancelling it loses nothing.
    ///
    /// # Errors
    /// `EngineUnavailable` where nobody will read any more.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write(bytes).await.map_err(unavailable)
    }

    /// Ends it: the program reads its end, if it still reads.
    pub async fn close(&mut self) {
        let _ = self.0.shutdown().await;
    }
}

/// A program's output, in order.
pub struct Output {
    reader: hijack::Reader,
    demux: Option<Demux>,
    ready: VecDeque<Piece>,
}

impl Output {
    /// The next piece, as large as what has already arrived makes it; `None` at the end, which may also be that of the connection:
    /// ask [`Engine::exec_state`]. Cancelling it loses nothing.
    ///
    /// # Errors
    /// `EngineUnavailable` where the connection broke off.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        while self.ready.is_empty() {
            let arrived = poll_fn(|context| self.poll_arrived(context)).await.map_err(unavailable)?;
            if arrived == 0 {
                return Ok(None);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Makes pieces of what has arrived, and tells how many bytes that was: none at the end.
    ///
    /// It is read into the stack, so that a program that says nothing has no buffer waiting, and one that says a byte gets a piece of a byte.
    fn poll_arrived(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); PIECE];
        let mut bytes = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.reader).poll_read(context, &mut bytes))?;
        match &mut self.demux {
            None => append(&mut self.ready, Source::Stdout, bytes.filled()),
            Some(demux) => demux.take_apart(bytes.filled(), &mut self.ready),
        }
        Poll::Ready(Ok(bytes.filled().len()))
    }
}

/// Takes apart the stream of a program without a TTY: runs of bytes, each after a header of a byte for the source, three zeros
/// and its length as four bytes, the highest first. It holds back no output, only the beginning of a header.
#[derive(Default)]
struct Demux {
    header: [u8; 8],
    /// How much of the header is there.
    filled: usize,
    /// How many bytes of the run are still to come.
    left: usize,
}

impl Demux {
    fn take_apart(&mut self, mut bytes: &[u8], ready: &mut VecDeque<Piece>) {
        while !bytes.is_empty() {
            if self.left == 0 {
                let count = (self.header.len() - self.filled).min(bytes.len());
                self.header[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
                self.filled += count;
                bytes = &bytes[count..];
                if self.filled == self.header.len() {
                    let [_, _, _, _, length @ ..] = self.header;
                    self.left = u32::from_be_bytes(length) as usize;
                    self.filled = 0;
                }
                continue;
            }
            let (run, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= run.len();
            bytes = rest;
            let source = if self.header[0] == 2 { Source::Stderr } else { Source::Stdout };
            append(ready, source, run);
        }
    }
}

/// Adds output behind what is ready, joined to the last piece where both are of one source and it has room.
pub(super) fn append(ready: &mut VecDeque<Piece>, source: Source, bytes: &[u8]) {
    match ready.back_mut() {
        Some(last) if last.source == source && last.bytes.len() + bytes.len() <= PIECE => last.bytes.extend_from_slice(bytes),
        _ => ready.extend(bytes.chunks(PIECE).map(|chunk| Piece { source, bytes: chunk.to_vec() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_taken_apart_wherever_it_is_cut() {
        let mut stream = Vec::new();
        for (source, text) in [(1, "one\n"), (1, "two\n"), (2, "oh\n"), (1, ""), (1, "\x01\x02")] {
            stream.extend([source, 0, 0, 0, 0, 0, 0, text.len() as u8]);
            stream.extend(text.as_bytes());
        }
        for cut in 0..=stream.len() {
            let (mut demux, mut ready) = (Demux::default(), VecDeque::new());
            demux.take_apart(&stream[..cut], &mut ready);
            demux.take_apart(&stream[cut..], &mut ready);
            let of = |source| -> Vec<u8> { ready.iter().filter(|p| p.source == source).flat_map(|p| p.bytes.clone()).collect() };
            assert_eq!(of(Source::Stdout), b"one\ntwo\n\x01\x02", "cut at {cut}");
            assert_eq!(of(Source::Stderr), b"oh\n", "cut at {cut}");
        }
    }
}
