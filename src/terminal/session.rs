//! One session, from its opening to its end.

use std::time::{Duration, Instant};

use chrono::Local;
use serde_json::Value;
use tokio::{select, sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    engine::{Engine, processes::Marker},
    error::{Error, Result},
    terminal::{
        Close, Event, Mode, Open, SessionEnd,
        feed::Feed,
        output::{Pump, Rest, Tap, Viewer},
        protocol::{ClientFrame, ServerFrame, invalid},
        refusal::explained,
        registry::Said,
        transport::Program,
    },
};

/// How long a client that names no mode has to speak.
const SPEAK_FIRST: Duration = Duration::from_millis(500);
/// How long output may stay away once nothing is left that could write any: on a busy machine the engine is slow to hand
/// over the last of it.
const SILENCE: Duration = Duration::from_secs(10);

pub(super) struct Session {
    engine: Engine,
    open: Open,
    frames: mpsc::Receiver<Said>,
    viewer: Viewer,
    shutdown: CancellationToken,
    end: SessionEnd,
    began: Instant,
}

/// How being attached came to its end.
enum Attached {
    /// The container's main process ended, with this exit code.
    Ended(Option<i64>),
    /// The client spoke.
    Spoke(Said),
    /// The client wants no more, or is gone.
    Left,
}

impl Session {
    pub(super) fn new(
        id: Uuid,
        open: Open,
        engine: Engine,
        frames: mpsc::Receiver<Said>,
        viewer: Viewer,
        shutdown: CancellationToken,
    ) -> Self {
        let end = SessionEnd {
            cuid: open.cuid,
            session: id,
            mode: open.settled_mode(),
            started: Local::now(),
            duration: Duration::ZERO,
            exit_code: None,
            bytes_in: 0,
            bytes_out: 0,
        };
        Self { engine, open, frames, viewer, shutdown, end, began: Instant::now() }
    }

    /// Lives the session to its end, which always comes with everything cleaned up.
    pub(super) async fn run(mut self) -> SessionEnd {
        let lived = match self.live().await {
            Err(Error::EngineRefused(words)) => Err(explained(&self.engine, &self.open, self.end.mode, words).await),
            lived => lived,
        };
        let close = match &lived {
            _ if self.shutdown.is_cancelled() => Close::GoingAway,
            Err(Error::EngineUnavailable(_)) => Close::Broken,
            _ => Close::Normal,
        };
        match lived {
            // Nothing ended that had a code, and an invented one would tell that the container's program had.
            Ok(None) if self.shutdown.is_cancelled() => {}
            Ok(code) => {
                self.end.exit_code = code;
                // Who closes a session without a program of its own gets an end all the same.
                self.viewer.tell(Event::Frame(ServerFrame::Exit { code: code.unwrap_or(0) }.to_json())).await;
            }
            Err(error) => self.viewer.tell(Event::Failed(error)).await,
        }
        self.viewer.tell(Event::Closed(close)).await;
        self.end.duration = self.began.elapsed();
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
        if self.viewer.is_gone() {
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

    /// What the client says in its first half second, if it does: input, or a close. A size makes no sense yet, nor does a signal.
    async fn listen(&mut self) -> Option<Said> {
        let first = async {
            loop {
                match self.frames.recv().await {
                    Some(Said { frame: ClientFrame::Resize(_), .. }) => {}
                    Some(Said { frame: ClientFrame::Signal(_), .. }) => self.viewer.tell(Event::Failed(no_program())).await,
                    frame => return frame,
                }
            }
        };
        select! {
            frame = timeout(SPEAK_FIRST, first) => frame.ok().flatten(),
            () = self.viewer.gone() => None,
        }
    }

    /// Shows the output of the container's main process, until it ends or the client speaks, where it may.
    async fn attach(&mut self, may_speak: bool) -> Result<Attached> {
        let output = self.engine.run_output(self.open.cuid).await?;
        self.ready(Mode::Attach).await;
        let mut pump = Pump::new(Tap::Run(output), self.viewer.clone());
        let attached = loop {
            let frame = select! {
                rest = pump.run(None) => match rest? {
                    Rest::Unseen => break Attached::Left,
                    Rest::Done => break Attached::Ended(pump.tap.exit_code().await),
                },
                frame = self.frames.recv() => frame,
                () = self.viewer.gone() => None,
            };
            match frame {
                None | Some(Said { frame: ClientFrame::Close, .. }) => break Attached::Left,
                Some(Said { frame: ClientFrame::Resize(_), .. }) => {}
                Some(input @ Said { frame: ClientFrame::Stdin(_), .. }) if may_speak => break Attached::Spoke(input),
                Some(_) => self.viewer.tell(Event::Failed(no_program())).await,
            }
        };
        self.end.bytes_out += pump.bytes;
        Ok(attached)
    }

    /// Runs the session's program to its end, and ends all that it started.
    async fn run_program(&mut self, mode: Mode, first: Option<Said>) -> Result<i64> {
        let marker = Marker { cuid: self.open.cuid, session: self.end.session };
        let (program, input, output) = Program::start(&self.engine, marker, &self.open, mode).await?;
        self.ready(mode).await;
        let mut feed = Feed::new(input, mode == Mode::Shell);
        first.into_iter().for_each(|first| feed.take(first));
        let mut pump = Pump::new(Tap::Program(output), self.viewer.clone());
        let broken = self.see_through(&program, &mut feed, &mut pump).await.err();
        let rescue = async {
            select! {
                () = pump.rescue(SILENCE) => {}
                () = self.viewer.farewell() => {}
            }
        };
        tokio::join!(program.end(), rescue);
        select! {
            // What was written goes out before the end is told. Nobody is left who could write more.
            _ = pump.run(Some(SILENCE)) => {}
            () = self.viewer.farewell() => {}
        }
        self.end.bytes_in += feed.bytes;
        self.end.bytes_out += pump.bytes;
        match broken {
            Some(error) => Err(error),
            None => program.exit_code().await,
        }
    }

    /// Moves bytes both ways, until the program ends or nobody looks any more.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] where the way to the program broke off while it goes on.
    async fn see_through(&mut self, program: &Program, feed: &mut Feed, pump: &mut Pump) -> Result<()> {
        let mut streaming = true;
        loop {
            let broken = select! {
                // The program's end also ends its streams, and is to be seen first.
                biased;
                () = self.viewer.gone() => return Ok(()),
                () = program.exited() => return Ok(()),
                rest = pump.run(None), if streaming => match rest {
                    Ok(Rest::Unseen) => return Ok(()),
                    // The program closed its output, and may go on without, unless it was on a terminal.
                    Ok(Rest::Done) => {
                        streaming = false;
                        feed.tty || feed.deaf
                    }
                    Err(_) => true,
                },
                fed = feed.run(program, &mut self.frames, &self.viewer) => match fed {
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

    async fn ready(&self, mode: Mode) {
        let ready = ServerFrame::Ready { session: self.end.session, mode, tty: mode == Mode::Shell };
        self.viewer.tell(Event::Frame(ready.to_json())).await;
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
