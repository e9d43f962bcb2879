//! One session, from its opening to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Local;
use serde_json::Value;
use tokio::{select, sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    compose::cli::Compose,
    engine::{Engine, processes::Marker},
    error::{Error, Result},
    terminal::{
        Close, Mode, Open, SessionEnd,
        feed::Feed,
        hub::Hub,
        protocol::{ClientFrame, invalid},
        refusal::explained,
        speaker::Said,
        tap::{Source, Tap},
        transport::{Program, command},
        views::Outcome,
    },
};

/// How long a client that names no mode has to speak.
const SPEAK_FIRST: Duration = Duration::from_millis(500);
/// How long output may stay away once nothing is left that could write any: on a busy machine the engine is slow to hand
/// over the last of it.
const SILENCE: Duration = Duration::from_secs(10);
/// The same when the server goes down.
const FAREWELL: Duration = Duration::from_secs(3);

pub(super) struct Session {
    pub engine: Engine,
    /// By which its program is started, if not by the engine itself.
    pub compose: Option<Compose>,
    pub open: Open,
    pub said: mpsc::Receiver<Said>,
    pub hub: Arc<Hub>,
    /// How long it goes on without a client.
    pub grace: Duration,
    /// Cancelled to end it.
    pub stop: CancellationToken,
    /// Cancelled, and `stop` with it, when the server goes down.
    pub shutdown: CancellationToken,
    pub end: SessionEnd,
}

/// How being attached came to its end.
enum Attached {
    /// The container's main process ended, with this exit code.
    Ended(Option<i64>),
    /// A client spoke.
    Spoke(Said),
    /// Clients want no more, or are gone.
    Left,
}

impl SessionEnd {
    /// What is known of a session's end when it begins.
    pub(super) fn new(session: Uuid, open: &Open) -> Self {
        Self {
            cuid: open.cuid,
            session,
            mode: open.settled_mode(),
            started: Local::now(),
            duration: Duration::ZERO,
            exit_code: None,
            bytes_in: 0,
            bytes_out: 0,
            recorded: None,
        }
    }
}

impl Session {
    /// Lives the session to its end, which always comes with everything cleaned up.
    pub(super) async fn run(mut self) -> SessionEnd {
        let began = Instant::now();
        let lived = match self.live().await {
            Err(Error::EngineRefused(words)) => Err(explained(&self.engine, &self.open, self.end.mode, words).await),
            lived => lived,
        };
        let close = match &lived {
            _ if self.shutdown.is_cancelled() => Close::GoingAway,
            Err(Error::EngineUnavailable(_)) => Close::Broken,
            _ => Close::Normal,
        };
        let outcome = match lived {
            // Nothing ended that had a code, and an invented one would tell that the container's program had.
            Ok(None) if self.shutdown.is_cancelled() => Outcome::Nothing,
            Ok(code) => {
                self.end.exit_code = code;
                // Who closes a session without a program of its own gets an end all the same.
                Outcome::Exit(code.unwrap_or(0))
            }
            Err(error) => Outcome::Failed(Arc::new(error)),
        };
        self.hub.finish(outcome, close);
        self.end.bytes_out = self.hub.figures().end;
        self.end.duration = began.elapsed();
        self.end
    }

    async fn live(&mut self) -> Result<Option<i64>> {
        let mut first = None;
        if self.end.mode.is_none() {
            first = self.listen().await;
            match &first {
                Some(Said { frame: ClientFrame::Close, .. }) => return Ok(None),
                Some(_) => self.end.mode = Some(Mode::Exec),
                None => {}
            }
        }
        if self.stop.is_cancelled() {
            return Ok(None);
        }
        match self.end.mode {
            Some(mode @ (Mode::Shell | Mode::Exec)) => self.run_program(mode, first).await.map(Some),
            named => {
                self.end.mode = Some(Mode::Attach);
                match self.attach(named.is_none()).await? {
                    Attached::Ended(code) => Ok(code),
                    Attached::Left => Ok(None),
                    Attached::Spoke(first) => {
                        self.end.mode = Some(Mode::Exec);
                        self.run_program(Mode::Exec, Some(first)).await.map(Some)
                    }
                }
            }
        }
    }

    /// Waits until the session is to end: it is told to, or nobody came back to it in time.
    async fn dismissed(hub: &Hub, stop: &CancellationToken, grace: Duration) {
        select! {
            () = stop.cancelled() => {}
            () = hub.deserted(grace) => {}
        }
    }

    /// What a client says in its first half second, if it does: input, or a close. A size makes no sense yet, nor does a signal.
    async fn listen(&mut self) -> Option<Said> {
        let first = async {
            loop {
                match self.said.recv().await {
                    Some(Said { frame: ClientFrame::Resize(size), viewer, .. }) => drop(self.hub.resized(viewer, size)),
                    Some(Said { frame: ClientFrame::Signal(_), viewer, .. }) => self.hub.fail(viewer, no_program()),
                    said => return said,
                }
            }
        };
        select! {
            said = timeout(SPEAK_FIRST, first) => said.ok().flatten(),
            () = self.stop.cancelled() => None,
        }
    }

    /// Shows the output of the container's main process, until it ends or a client speaks, where it may.
    async fn attach(&mut self, may_speak: bool) -> Result<Attached> {
        let output = self.engine.run_output(self.open.cuid).await?;
        self.hub.ready(Mode::Attach);
        let hub = self.hub.clone();
        let mut tap = Tap::new(Source::Run(output), &hub);
        let dismissed = Self::dismissed(&hub, &self.stop, self.grace);
        tokio::pin!(dismissed);
        loop {
            let said = select! {
                done = tap.run() => {
                    done?;
                    return Ok(Attached::Ended(tap.exit_code().await));
                }
                said = self.said.recv() => said,
                () = &mut dismissed => None,
            };
            match said {
                None | Some(Said { frame: ClientFrame::Close, .. }) => return Ok(Attached::Left),
                Some(Said { frame: ClientFrame::Resize(size), viewer, .. }) => drop(hub.resized(viewer, size)),
                Some(said @ Said { frame: ClientFrame::Stdin(_), .. }) if may_speak => return Ok(Attached::Spoke(said)),
                Some(Said { viewer, .. }) => hub.fail(viewer, no_program()),
            }
        }
    }

    /// Runs the session's program to its end, and ends all that it started.
    async fn run_program(&mut self, mode: Mode, first: Option<Said>) -> Result<i64> {
        let marker = Marker { cuid: self.open.cuid, session: self.end.session };
        let command = command(&self.open, mode, marker);
        let (program, input, output) = Program::start(&self.engine, self.compose.as_ref(), marker, &command).await?;
        let hub = self.hub.clone();
        hub.ready(mode);
        let mut feed = Feed::new(input, mode == Mode::Shell);
        first.into_iter().for_each(|first| feed.take(first));
        let mut tap = Tap::new(Source::Program(output), &hub);
        let broken = self.see_through(&program, &mut feed, &mut tap).await.err();
        let patience = if self.shutdown.is_cancelled() { FAREWELL } else { SILENCE };
        // Nobody is left to write more once all has ended, and what was written goes out before the end is told.
        let (_, ()) = tokio::join!(program.end(), tap.drain(patience));
        tap.drain(patience).await;
        self.end.bytes_in += feed.bytes;
        match broken {
            Some(error) => Err(error),
            None => program.exit_code().await,
        }
    }

    /// Moves bytes both ways, until the program ends or the session is to.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] where the way to the program broke off while it goes on.
    async fn see_through(&mut self, program: &Program, feed: &mut Feed, tap: &mut Tap<'_>) -> Result<()> {
        let hub = self.hub.clone();
        let dismissed = Self::dismissed(&hub, &self.stop, self.grace);
        tokio::pin!(dismissed);
        let mut streaming = true;
        loop {
            let broken = select! {
                // The program's end also ends its streams, and is to be seen first.
                biased;
                () = &mut dismissed => return Ok(()),
                () = program.exited() => return Ok(()),
                done = tap.run(), if streaming => {
                    // The program closed its output, and may go on without, unless it was on a terminal.
                    streaming = false;
                    done.is_err() || feed.tty || feed.deaf
                }
                fed = feed.run(program, &mut self.said, &hub) => match fed {
                    Ok(()) => return Ok(()),
                    // It may close its input, too, but one that can neither be heard nor spoken to has no terminal any more.
                    Err(_) => !streaming,
                },
            };
            let goes_on = program.go_on().await?;
            if broken {
                return if goes_on { Err(broke_off()) } else { Ok(()) };
            }
        }
    }
}

fn broke_off() -> Error {
    Error::EngineUnavailable("the connection to the terminal's program broke off".to_owned())
}

fn no_program() -> Error {
    invalid(
        "type",
        "the session has no program of its own that could take this: it shows the output of the container's main process"
            .to_owned(),
        Value::Null,
    )
}
