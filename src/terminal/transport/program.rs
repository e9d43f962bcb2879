//! A session's program: started, signalled, sized, and ended with all that it started.

use std::{future::pending, time::Duration};

use tokio::{
    select,
    time::{sleep, timeout},
};

use super::{Input, Output, compose::Line};
use crate::{
    compose::cli::Compose,
    engine::{
        Engine,
        exec::{self, Command, Exec, Size},
        processes::{Marker, Processes, Signal},
    },
    error::{Error, Result},
    terminal::{Mode, Open, refusal::SH},
};

/// Where a terminal begins unless told otherwise: the container's mount.
const HOME: &str = "/app";
/// Becomes bash where there is one, else sh; no other process stays behind.
const SHELL: &str = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";
/// How long the engine may take to start a program.
const START: Duration = Duration::from_secs(60);
/// How long a request may be on its way to the engine after whoever sent it has gone.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// How long before it is first asked whether it has, and then how often: it takes some 40 ms, and longer while it is busy with answers.
const START_FIRST: Duration = Duration::from_millis(12);
const START_POLL: Duration = Duration::from_millis(3);
/// How much of the engine's words is told where it could not.
const WORDS: usize = 4096;

/// A program that runs, and the way to all that it starts.
pub(in crate::terminal) struct Program {
    processes: Processes,
    engine: Engine,
    /// The engine's id.
    id: String,
    tty: bool,
    /// What is between it and us, if not the engine alone.
    line: Option<Line>,
}

impl Program {
    /// Starts `command`, by `compose` if it is given, else by the engine itself, and waits until it runs. It has `marker` in its environment.
    ///
    /// # Errors
    /// [`Error::EngineRefused`] in the engine's words where it can't be run, [`Error::EngineUnavailable`]. Nothing runs then.
    pub(in crate::terminal) async fn start(
        engine: &Engine,
        compose: Option<&Compose>,
        marker: Marker,
        command: &Command,
    ) -> Result<(Self, Input, Output)> {
        let (tty, user) = (command.size.is_some(), command.user.clone());
        let (id, line, input, mut output) = match Self::ask(engine, compose, marker, command).await {
            Ok(asked) => asked,
            Err(error) => {
                if let Error::EngineUnavailable(_) = error {
                    end_unheard_of(engine, marker, user).await;
                }
                return Err(error);
            }
        };
        let started = select! {
            started = started(engine, &id) => started,
            () = sleep(START) => Err(not_started(&format!("within {} s", START.as_secs()))),
            () = gone(line.as_ref()) => Err(not_started("before docker compose exec ended")),
        };
        let state = started.as_ref().ok().and_then(Option::as_ref);
        let processes = Processes::find(engine, Some(id.clone()), marker, user, tty, state).await;
        let program = Self { processes, engine: engine.clone(), id, tty, line };
        match started {
            Ok(Some(exec::State { pid: Some(_), .. })) => {
                if let (Some(_), Some(size)) = (&program.line, command.size) {
                    // It has none yet, and needs none if it has already ended.
                    let _ = program.resize(size).await;
                }
                Ok((program, input, output))
            }
            Ok(_) => Err(refused(&mut output).await),
            Err(error) => {
                // Nobody knows whether it runs.
                let _ = program.end().await;
                Err(error)
            }
        }
    }

    /// Asks for the program: the engine's id of it, and the way to it.
    async fn ask(
        engine: &Engine,
        compose: Option<&Compose>,
        marker: Marker,
        command: &Command,
    ) -> Result<(String, Option<Line>, Input, Output)> {
        let Some(compose) = compose else {
            let Exec { id, input, output } = engine.exec(marker.cuid, command).await?;
            return Ok((id, None, Input::Engine(input), Output::Engine(output)));
        };
        let (id, line, input, output) = Line::open(engine, compose, marker, command).await?;
        Ok((id, Some(line), Input::Compose(input), Output::Compose(output)))
    }

    /// Kills everything that the session started.
    ///
    /// # Errors
    /// As [`Processes::end_all`], and the log has it, too: some of it may go on.
    pub(in crate::terminal) async fn end(&self) -> Result<()> {
        let ended = self.processes.end_all().await;
        if let Err(error) = &ended {
            tracing::error!(%error, "a terminal's processes may be left running");
        }
        ended
    }

    /// The program's exit code, once it has ended.
    pub(in crate::terminal) async fn exit_code(&self) -> Result<i64> {
        if let Some(code) = self.engine.exec_exit_code(&self.id).await? {
            return Ok(code);
        }
        tracing::error!("a terminal's program goes on after its end");
        let _ = self.end().await;
        Ok(exec::KILLED)
    }

    /// Signals what runs in its foreground; see [`Processes::signal_foreground`].
    ///
    /// # Errors
    /// As there.
    pub(in crate::terminal) async fn signal(&self, signal: Signal) -> Result<()> {
        self.processes.signal_foreground(signal).await
    }

    /// Gives its TTY another size; without one it has none.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`] where it has ended.
    pub(in crate::terminal) async fn resize(&self, size: Size) -> Result<()> {
        if self.tty { self.engine.resize_exec(&self.id, size).await } else { Ok(()) }
    }

    /// Waits until the program itself has ended; its children may still run.
    pub(in crate::terminal) async fn exited(&self) {
        self.processes.exited().await;
    }

    /// Whether its container is seen to go on; see [`Processes::container_goes_on`].
    pub(in crate::terminal) async fn container_goes_on(&self) -> bool {
        self.processes.container_goes_on().await
    }

    /// Whether it goes on, by the engine.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] where nobody can say, or the way to it is lost.
    pub(in crate::terminal) async fn go_on(&self) -> Result<bool> {
        // Looked at first, because it also ends with the program.
        let lost = match &self.line {
            Some(line) => line.is_lost().await,
            None => false,
        };
        let goes_on = self.processes.go_on().await?;
        if goes_on && lost {
            return Err(Error::EngineUnavailable("docker compose exec has ended before the terminal's program".to_owned()));
        }
        Ok(goes_on)
    }
}

/// The program that a terminal begins with.
pub(in crate::terminal) fn command(open: &Open, mode: Mode, marker: Marker) -> Command {
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

/// Ends what was started, if it was, without our hearing of it: it is known by its marker alone.
async fn end_unheard_of(engine: &Engine, marker: Marker, user: Option<String>) {
    // What was asked for last may still be on its way.
    sleep(IN_FLIGHT).await;
    let processes = Processes::find(engine, None, marker, user, false, None).await;
    if let Err(error) = processes.end_all().await {
        tracing::error!(%error, "a terminal's program may be left running that nobody heard of");
    }
}

/// Waits until the CLI has been gone for so long that the engine would have begun to start what it asked for.
async fn gone(line: Option<&Line>) {
    match line {
        Some(line) => line.ended().await,
        None => pending().await,
    }
    sleep(IN_FLIGHT).await;
}

fn not_started(when: &str) -> Error {
    Error::EngineUnavailable(format!("it did not start the terminal's program {when}"))
}

/// Waits until the engine has started the program, or failed to: without a pid, or without a state where the container went.
async fn started(engine: &Engine, id: &str) -> Result<Option<exec::State>> {
    sleep(START_FIRST).await;
    loop {
        match engine.exec_state(id).await? {
            Some(exec::State { pid: None, exit_code: None, .. }) => sleep(START_POLL).await,
            state => return Ok(state),
        }
    }
}

/// The engine's own words on why the program does not run: it writes them where the program's output would be.
async fn refused(output: &mut Output) -> Error {
    let mut words = Vec::new();
    while let Ok(Ok(Some(piece))) = timeout(START, output.next()).await {
        if words.len() < WORDS {
            words.extend(piece.bytes);
        }
    }
    let words = String::from_utf8_lossy(&words);
    Error::EngineRefused(if words.trim().is_empty() { "it could not start the program" } else { words.trim() }.to_owned())
}
