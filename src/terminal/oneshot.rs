//! A command that is run in a container to its end: what it prints is collected, and what it leaves running is ended.
//!
//! Before it is executed it waits, in the container's own shell, until everything that it will start can be found again; else a program that
//! starts others at once and cleans up behind itself would be quicker than we are. Where there is no shell it is executed as it is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Sessions,
    gate::gated,
    refusal::{SH, field},
    transport::{Input, Output, Program},
};
use crate::{
    domain::{
        exec::ExecSpec,
        id::Cuid,
        output::Printed,
        status::{Action, Status},
    },
    engine::{
        exec::{Command, KILLED, Piece, Source},
        log_reader::Run,
        processes::{Marker, VARIABLE},
    },
    error::{Error, Result},
};

/// How many may run at once.
pub(super) const COMMANDS: usize = 64;
/// How many of these may have printed more than [`SMALL`] bytes, each up to twenty megabytes; another one's output waits, and so may the command.
pub(super) const LARGE: usize = 6;
const SMALL: usize = 256 << 10;
/// How long one may go on when the server is to stop.
const FAREWELL: Duration = Duration::from_secs(20);
/// How long the last of its output may take to arrive once nothing is left that could write more.
const REST: Duration = Duration::from_secs(10);
/// How long it may then wait for its room among the large ones.
const ROOM: Duration = Duration::from_secs(60);
/// How often, and after which pauses, it is looked whether a command that was killed was killed with its container.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(50);

/// A command that has ended.
pub struct Ran {
    /// 128 + its number for a signal.
    pub exit_code: i64,
    pub printed: Printed,
    pub duration: Duration,
    /// Its place among those that printed much, to be kept for as long as that is.
    pub room: Option<OwnedSemaphorePermit>,
}

/// What ended the wait for a command.
enum End {
    Itself,
    Late,
    /// The server stops.
    Stopped,
}

/// A command that runs.
struct Running {
    program: Program,
    input: Option<Input>,
    output: Output,
    /// What is still to be written to it.
    stdin: Vec<u8>,
    printed: Printed,
    room: Room,
}

/// Where a command gets its room among the large ones.
struct Room {
    large: Arc<Semaphore>,
    got: Option<OwnedSemaphorePermit>,
}

impl Sessions {
    /// Runs a command in the container, and ends all that it leaves.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the program, the user or the folder is not there; [`Error::ExecTimeout`]; [`Error::ExecStopped`];
    /// [`Error::ExecCut`]; [`Error::TooManyCommands`]; `ContainerNotFound`, `InvalidState`, `EngineUnavailable`, `EngineRefused`.
    pub async fn command(&self, cuid: Cuid, spec: &ExecSpec) -> Result<Ran> {
        let _room = self.commands.try_acquire().map_err(|_| Error::TooManyCommands { limit: COMMANDS })?;
        if spec.env.iter().any(|(name, _)| name == VARIABLE) {
            let field = format!("env.{VARIABLE}");
            return Err(Error::invalid("INVALID_ENV", &field, format!("{field} is set by the server"), Value::Null));
        }
        let _ = self.swept.subscribe().wait_for(|swept| *swept).await;
        let (before, env) = self.engine.run_and_env(cuid).await?.unzip();
        let marker = Marker { cuid, session: Uuid::new_v4() };
        let began = Instant::now();
        let mut running = match self.started(marker, spec, &env.unwrap_or_default()).await {
            Err(Error::EngineRefused(words)) => return Err(self.explained(cuid, spec, words).await),
            started => started?,
        };
        let ended = running.see_through(spec.timeout.duration(), &self.shutdown).await;
        let after = began.elapsed();
        // Nobody is left to write more once all has ended.
        let Running { program, output, printed, room, .. } = &mut running;
        let rest = async {
            // What is large by now and has no room has not been read to its end.
            let has_room = timeout(ROOM, room.wait(printed)).await.is_ok();
            if timeout(REST, collect(output, printed, room)).await.is_err() && !has_room {
                printed.cut();
            }
        };
        let (gone, ()) = tokio::join!(program.end(), rest);
        let ended = ended?;
        let Running { program, printed, room, .. } = running;
        if let End::Itself = ended {
            let ran = Ran { exit_code: program.exit_code().await?, printed, duration: began.elapsed(), room: room.got };
            return self.finished(marker, spec, before, &program, ran).await;
        }
        let (ended_all, printed) = (gone.is_ok(), Box::new(printed));
        Err(match ended {
            End::Stopped => Error::ExecStopped { ended: ended_all, printed },
            _ => Error::ExecTimeout { after, ended: ended_all, printed },
        })
    }

    /// Starts it behind the gate, or, where the container has no shell, as it is. `own` is the container's environment.
    async fn started(&self, marker: Marker, spec: &ExecSpec, own: &[String]) -> Result<Running> {
        let mut env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        env.push(marker.to_string());
        let gated = gated(marker, &spec.command.0, own.iter().chain(&env));
        let mut command = Command {
            argv: gated.clone().unwrap_or_else(|| spec.command.0.clone()),
            env,
            user: spec.user.as_ref().map(|user| user.as_str().to_owned()),
            cwd: spec.working_dir.as_ref().map(|folder| folder.as_str().to_owned()),
            size: None,
        };
        let stdin = spec.stdin.as_deref().unwrap_or_default();
        let (started, stdin) = match Program::start(&self.engine, None, marker, &command).await {
            Err(Error::EngineRefused(words)) if field(&words, SH) == Some("shell") => {
                command.argv.clone_from(&spec.command.0);
                (Program::start(&self.engine, None, marker, &command).await?, stdin.as_bytes().to_vec())
            }
            started => (started?, [if gated.is_some() { "\n" } else { "" }, stdin].concat().into_bytes()),
        };
        let (program, input, output) = started;
        let room = Room { large: self.large.clone(), got: None };
        Ok(Running { program, input: Some(input), output, stdin, printed: Printed::default(), room })
    }

    /// What a command's end means, that ended by itself.
    async fn finished(&self, marker: Marker, spec: &ExecSpec, before: Option<Run>, program: &Program, ran: Ran) -> Result<Ran> {
        let cuid = marker.cuid;
        let missing = format!("{}\n", marker.session);
        if ran.exit_code == 127 && ran.printed.stderr.bytes() == missing.as_bytes() {
            let program = spec.command.0.first().cloned().unwrap_or_default();
            let message = format!("command: {program:?} is not in the container, or can't be executed");
            return Err(Error::invalid("INVALID_COMMAND", "command", message, program));
        }
        if ran.exit_code != KILLED {
            return Ok(ran);
        }
        // It may have gone with its container, which the engine is a little slower to notice.
        for _ in 0..LOOKS {
            // Asked first: a run that is the same and goes on even then did so when the command ended.
            let goes_on = program.container_goes_on().await;
            match (&before, self.engine.run(cuid).await?) {
                (_, None) => return Err(Error::ContainerNotFound(cuid)),
                (Some(before), Some(now)) if now.running && now.is(before) && goes_on => return Ok(ran),
                (Some(before), Some(now)) if now.running && now.is(before) => sleep(LOOK).await,
                _ => {
                    return Err(match self.engine.state(&cuid.to_string()).await?.status {
                        // It is being deleted.
                        Status::Dead | Status::Missing => Error::ContainerNotFound(cuid),
                        status => Error::ExecCut { status, printed: Box::new(ran.printed) },
                    });
                }
            }
        }
        Ok(ran)
    }

    /// What the engine's refusal means.
    async fn explained(&self, cuid: Cuid, spec: &ExecSpec, words: String) -> Error {
        match self.engine.state(&cuid.to_string()).await.map(|state| state.status) {
            Ok(Status::Dead | Status::Missing) => return Error::ContainerNotFound(cuid),
            Ok(status) => {
                if let Err(error) = Action::Exec.check(status) {
                    return error;
                }
            }
            // Then the refusal is all that is known.
            Err(_) => {}
        }
        let program = spec.command.0.first().map_or("", String::as_str);
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let (code, field, provided) = match field(&words, program) {
            Some("user") => ("INVALID_USER", "user", text(spec.user.as_ref().map(|user| user.as_str()))),
            Some("cwd") => ("INVALID_WORKING_DIR", "working_dir", text(spec.working_dir.as_ref().map(|folder| folder.as_str()))),
            Some(_) => ("INVALID_COMMAND", "command", text(Some(program))),
            None => return Error::EngineRefused(words),
        };
        Error::invalid(code, field, format!("{field}: {words}"), provided)
    }
}

impl Running {
    /// Moves bytes both ways until the program ends, or its time is up.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] where the way to it broke off while it goes on.
    async fn see_through(&mut self, limit: Duration, shutdown: &CancellationToken) -> Result<End> {
        let late = async {
            select! {
                () = sleep(limit) => End::Late,
                () = async { shutdown.cancelled().await; sleep(FAREWELL).await } => End::Stopped,
            }
        };
        tokio::pin!(late);
        let Self { program, input, output, stdin, printed, room } = self;
        let feeding = feed(input, stdin);
        tokio::pin!(feeding);
        let (mut reads, mut writes) = (true, true);
        loop {
            let broken = select! {
                biased;
                () = program.exited() => return Ok(End::Itself),
                end = &mut late => return Ok(end),
                collected = collect(output, printed, room), if reads => {
                    reads = false;
                    collected.is_err()
                }
                () = &mut feeding, if writes => {
                    writes = false;
                    false
                }
            };
            if !reads && !program.go_on().await? {
                return Ok(End::Itself);
            }
            if broken {
                return Err(Error::EngineUnavailable("the connection to the command broke off".to_owned()));
            }
        }
    }
}

/// Writes all there is, if it is read, and ends the input.
async fn feed(input: &mut Option<Input>, stdin: &[u8]) {
    let mut at = 0;
    if let Some(input) = input {
        while at < stdin.len() {
            match input.write(&stdin[at..]).await {
                Ok(count) if count > 0 => at += count,
                _ => break,
            }
        }
    }
    if let Some(input) = input.take() {
        input.close().await;
    }
}

/// Takes output to its end. Cancelling it loses nothing.
///
/// # Errors
/// [`Error::EngineUnavailable`] where the connection broke off.
async fn collect(output: &mut Output, printed: &mut Printed, room: &mut Room) -> Result<()> {
    loop {
        room.wait(printed).await;
        let Some(Piece { source, bytes }) = output.next().await? else { return Ok(()) };
        match source {
            Source::Stdout => printed.stdout.push(&bytes),
            Source::Stderr => printed.stderr.push(&bytes),
        }
    }
}

impl Room {
    /// Waits for it, where that much takes it.
    async fn wait(&mut self, printed: &Printed) {
        if self.got.is_none() && printed.len() >= SMALL {
            self.got = self.large.clone().acquire_owned().await.ok();
        }
    }
}
