//! A container's log, followed across its runs: past its end and its next start, also where it is made anew in between.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Containers;
use crate::{
    domain::id::Cuid,
    engine::{
        log_lines::{Line, Stamp},
        log_reader::{Log, Run, Wanted},
    },
    error::{Error, Result},
};

/// How long to wait before the engine is asked again for a log that it ended while the container still ran, or seemed to.
const PAUSE: Duration = Duration::from_millis(100);
/// How long nothing has to come, once the end is past, for it to be seen that nothing more will: a line is stamped before it is written.
const GRACE: Duration = Duration::from_secs(1);

/// A log that is being read, and maybe followed.
pub struct Logs {
    containers: Containers,
    cuid: Cuid,
    wanted: Wanted,
    follow: bool,
    /// When what is printed is not wanted any more.
    ends: Option<Instant>,
    /// The run whose log is read, or was.
    run: Option<Run>,
    log: Option<Log>,
    /// The youngest line that was given.
    last: Option<Stamp>,
}

impl Containers {
    /// The container's log, or what is wanted of it. One that the engine has lost, or that never ran, has none yet.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`], [`Error::LogUnreadable`], [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn logs(&self, cuid: Cuid, mut wanted: Wanted, follow: bool) -> Result<Logs> {
        let left = wanted.until.map(Stamp::from_now);
        // What ends in the past is all there already.
        let follow = follow && left.is_none_or(|left| !left.is_zero());
        self.0.index.get(cuid)?;
        let engine = &self.0.engine;
        let run = engine.run(cuid).await?;
        let none = wanted.tail == Some(0);
        if none && follow {
            wanted.after = wanted.after.max(engine.now().await?.map(Stamp::from));
            wanted.tail = None;
        }
        let log = match &run {
            Some(run) if !none || follow => Some(engine.log(&run.container, &wanted, follow).await?),
            _ => None,
        };
        let ends = left.map(|left| Instant::now() + left);
        Ok(Logs { containers: self.clone(), cuid, wanted, follow, ends, run, log, last: wanted.after })
    }
}

impl Logs {
    /// Gives the next lines, of which there may be none; false where there will be no more: at the end of the log, or, followed, with the
    /// container. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`], [`Error::LogUnreadable`].
    pub async fn next(&mut self, mut each: impl FnMut(&Line<'_>)) -> Result<bool> {
        let patience = self.ends.filter(|_| self.follow).map(|ends| ends.max(Instant::now()) + GRACE);
        let read = self.read(&mut each);
        let Some(patience) = patience else { return read.await };
        match timeout_at(patience, read).await {
            Ok(next) => next,
            Err(_) => self.read_the_rest().await,
        }
    }

    async fn read(&mut self, mut each: impl FnMut(&Line<'_>)) -> Result<bool> {
        if let Some(log) = &mut self.log {
            let last = &mut self.last;
            let more = log.read(|line| {
                *last = (*last).max(Some(line.stamp));
                each(line);
            });
            if !more.await? {
                self.log = None;
            }
            return Ok(true);
        }
        if !self.follow {
            return Ok(false);
        }
        if self.ends.is_some_and(|ends| ends <= Instant::now()) {
            return self.read_the_rest().await;
        }
        match self.next_run().await {
            Ok(run) => self.go_on(run, true).await?,
            Err(Error::ContainerNotFound(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Goes on without following: whatever the reason that nothing comes any more, what there is up to the end is in the log by now.
    async fn read_the_rest(&mut self) -> Result<bool> {
        let Some(run) = self.containers.0.engine.run(self.cuid).await? else { return Ok(false) };
        self.go_on(run, false).await?;
        self.follow = false;
        Ok(true)
    }

    /// Waits until there is something to read again.
    async fn next_run(&self) -> Result<Run> {
        let engine = &self.containers.0.engine;
        loop {
            if let Some(run) = engine.run(self.cuid).await? {
                let same = self.run.as_ref().is_some_and(|known| known.is(&run));
                if same && run.running {
                    sleep(PAUSE).await;
                    return Ok(run);
                }
                if !same && run.started.is_some() {
                    return Ok(run);
                }
            }
            // What is known here may be a little older than what the engine said just now.
            sleep(PAUSE).await;
            let known = self.run.as_ref().and_then(|run| run.started);
            self.containers.wait_for(self.cuid, |container| container.state.started_at.map(|at| at.to_utc()) > known).await?;
        }
    }

    /// Reads on where the last run ended, or all that a container made anew has written.
    async fn go_on(&mut self, run: Run, follow: bool) -> Result<()> {
        let same = self.run.as_ref().is_some_and(|known| known.container == run.container);
        let after = if same { self.last } else { None };
        let wanted = Wanted { tail: None, after, ..self.wanted };
        match self.containers.0.engine.log(&run.container, &wanted, follow).await {
            // It is gone again already.
            Err(Error::EngineRefused(_)) => sleep(PAUSE).await,
            log => {
                self.log = Some(log?);
                self.run = Some(run);
            }
        }
        Ok(())
    }
}
