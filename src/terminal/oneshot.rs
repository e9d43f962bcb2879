//! A command that is run in a container to its end: what it prints is collected, and what it leaves running is ended.
//!
//! Before it is executed it waits, in the container's own shell, until everything that it will start can be found again; else a program that
//! starts others at once and cleans up behind itself would be quicker than we are. Where there is no shell it is executed as it is.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::{
    select,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Sessions,
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

/// How many may run at once, as each may fill twenty megabytes.
pub(super) const COMMANDS: usize = 64;
/// How long one may go on when the server is to stop.
const FAREWELL: Duration = Duration::from_secs(20);
/// How long the last of its output may take to arrive once nothing is left that could write more.
const REST: Duration = Duration::from_secs(10);
/// How often, and after which pauses, it is looked whether a command that was killed was killed with its container.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(50);
/// Waits for a line, and becomes the program: `$1` is told where there is none.
const GATE: &str = r#"read -r _ || exit 127; command -v "$2" >/dev/null 2>&1 || { echo "$1" >&2; exit 127; }; shift; exec "$@""#;

/// A command that has ended.
pub struct Ran {
    /// 128 + its number for a signal.
    pub exit_code: i64,
    pub printed: Printed,
    pub duration: Duration,
}

/// What ended the wait for a command.
enum End {
    Itself,
    Late,
}

/// A command that runs.
struct Running {
    program: Program,
    input: Option<Input>,
    output: Output,
    /// What is still to be written to it.
    stdin: Vec<u8>,
    printed: Printed,
}

impl Sessions {
    /// Runs a command in the container, and ends all that it leaves.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the program, the user or the folder is not there; [`Error::ExecTimeout`]; [`Error::ExecCut`];
    /// [`Error::TooManyCommands`]; `ContainerNotFound`, `InvalidState`, `EngineUnavailable`, `EngineRefused`.
    pub async fn command(&self, cuid: Cuid, spec: &ExecSpec) -> Result<Ran> {
        let _room = self.commands.try_acquire().map_err(|_| Error::TooManyCommands { limit: COMMANDS })?;
        if spec.env.iter().any(|(name, _)| name == VARIABLE) {
            let field = format!("env.{VARIABLE}");
            return Err(Error::invalid("INVALID_ENV", &field, format!("{field} is set by the server"), Value::Null));
        }
        let _ = self.swept.subscribe().wait_for(|swept| *swept).await;
        let before = self.engine.run(cuid).await?;
        let marker = Marker { cuid, session: Uuid::new_v4() };
        let began = Instant::now();
        let mut running = match self.started(marker, spec).await {
            Err(Error::EngineRefused(words)) => return Err(self.explained(cuid, spec, words).await),
            started => started?,
        };
        let ended = running.see_through(spec.timeout.duration(), &self.shutdown).await;
        let after = began.elapsed();
        // Nobody is left to write more once all has ended.
        let Running { program, output, printed, .. } = &mut running;
        let rest = timeout(REST, collect(output, printed));
        let (_, _) = tokio::join!(program.end(), rest);
        if let End::Late = ended? {
            return Err(Error::ExecTimeout { after, printed: Box::new(running.printed) });
        }
        let exit_code = running.program.exit_code().await?;
        self.finished(cuid, marker, spec, before, Ran { exit_code, printed: running.printed, duration: began.elapsed() }).await
    }

    /// Starts it behind the gate, or, where the container has no shell, as it is.
    async fn started(&self, marker: Marker, spec: &ExecSpec) -> Result<Running> {
        let mut env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        env.push(marker.to_string());
        let gate = [SH, "-c", GATE, "sh", &marker.session.to_string()].map(str::to_owned);
        let mut command = Command {
            argv: gate.into_iter().chain(spec.command.0.iter().cloned()).collect(),
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
            started => (started?, ["\n", stdin].concat().into_bytes()),
        };
        let (program, input, output) = started;
        Ok(Running { program, input: Some(input), output, stdin, printed: Printed::default() })
    }

    /// What a command's end means, that ended by itself.
    async fn finished(&self, cuid: Cuid, marker: Marker, spec: &ExecSpec, before: Option<Run>, ran: Ran) -> Result<Ran> {
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
            match (&before, self.engine.run(cuid).await?) {
                (_, None) => return Err(Error::ContainerNotFound(cuid)),
                (Some(before), Some(now)) if now.running && now.is(before) => sleep(LOOK).await,
                _ => {
                    let status = self.engine.state(&cuid.to_string()).await?.status;
                    return Err(Error::ExecCut { status, printed: Box::new(ran.printed) });
                }
            }
        }
        Ok(ran)
    }

    /// What the engine's refusal means.
    async fn explained(&self, cuid: Cuid, spec: &ExecSpec, words: String) -> Error {
        match self.engine.state(&cuid.to_string()).await.map(|state| state.status) {
            Ok(Status::Missing) => return Error::ContainerNotFound(cuid),
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
                () = sleep(limit) => {}
                () = async { shutdown.cancelled().await; sleep(FAREWELL).await } => {}
            }
        };
        tokio::pin!(late);
        let Self { program, input, output, stdin, printed } = self;
        let feeding = feed(input, stdin);
        tokio::pin!(feeding);
        let (mut reads, mut writes) = (true, true);
        loop {
            let broken = select! {
                biased;
                () = program.exited() => return Ok(End::Itself),
                () = &mut late => return Ok(End::Late),
                collected = collect(output, printed), if reads => {
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
async fn collect(output: &mut Output, printed: &mut Printed) -> Result<()> {
    while let Some(Piece { source, bytes }) = output.next().await? {
        match source {
            Source::Stdout => printed.stdout.push(&bytes),
            Source::Stderr => printed.stderr.push(&bytes),
        }
    }
    Ok(())
}
