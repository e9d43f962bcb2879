//! What a container's main process has printed in its current run (the last one, where it has ended), and how that run ended.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use bollard::{
    container::LogOutput,
    models::ContainerState,
    query_parameters::{LogsOptionsBuilder, WaitContainerOptionsBuilder},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, StreamExt};

use crate::{
    domain::id::Cuid,
    engine::{
        Engine, Failure,
        exec::{Piece, Source, append},
        failed,
    },
    error::Result,
};

/// How many of the engine's messages are joined at most, if they are there already.
const JOINED: usize = 64;
/// How long after its last output a run may take to be over.
const EXIT_PATIENCE: Duration = Duration::from_secs(10);
/// A run's first line may be this much older than what the engine says of its start, on a busy machine above all. The end of the run
/// before is older: starting a container takes longer than this.
const EARLY: TimeDelta = TimeDelta::milliseconds(150);

type Messages = Pin<Box<dyn Stream<Item = Vec<std::result::Result<LogOutput, Failure>>> + Send>>;

/// The output of one run, from its start, followed until it ends.
pub struct RunOutput {
    messages: Messages,
    /// Where the log holds an earlier run too: the moment between the two, until the first later line was seen.
    border: Border,
    ready: VecDeque<Piece>,
    exit: tokio::task::JoinHandle<Option<i64>>,
}

enum Border {
    /// Nothing was printed before this run, and messages carry no time.
    None,
    /// Older messages are to be dropped.
    Ahead(DateTime<Utc>),
    /// All that comes is of this run; the times are to be cut off.
    Passed,
}

impl Engine {
    /// The output of the container's current or last run.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`](crate::error::Error::EngineUnavailable), or `EngineRefused` where there is no such container.
    pub async fn run_output(&self, container: Cuid) -> Result<RunOutput> {
        let name = container.to_string();
        let inspected = self.docker()?.inspect_container(&name, None).await.map_err(failed)?;
        let border = inspected.state.as_ref().and_then(border);
        let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).timestamps(border.is_some());
        let options = match border {
            // Whole seconds are all that it takes, so this only spares the engine some reading.
            Some(border) => options.since(i32::try_from(border.timestamp()).unwrap_or_default()),
            None => options,
        };
        let messages = self.docker()?.logs(&name, Some(options.build())).ready_chunks(JOINED);
        // Asked now, because a restart policy may have begun the next run by the time the output ends.
        let docker = self.docker()?.clone();
        let exit = tokio::spawn(async move {
            let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
            match docker.wait_container(&name, Some(options)).next().await? {
                Ok(answer) => Some(answer.status_code),
                Err(Failure::DockerContainerWaitError { code, .. }) => Some(code),
                Err(_) => None,
            }
        });
        let border = border.map_or(Border::None, Border::Ahead);
        Ok(RunOutput { messages: Box::pin(messages), border, ready: VecDeque::new(), exit })
    }
}

/// The moment between this run's lines and those of the one before, if there was one.
///
/// A line's time is when the engine read it, so the earlier run's last lines may be a little younger than its end. And a
/// run that was over at once may have ended, by the engine's account, some milliseconds before it started.
fn border(state: &ContainerState) -> Option<DateTime<Utc>> {
    let time = |text: &Option<String>| {
        let time = DateTime::parse_from_rfc3339(text.as_deref()?).ok()?.to_utc();
        Some(time).filter(|time| time.timestamp() > 0)
    };
    let (started, finished) = (time(&state.started_at)?, time(&state.finished_at)?);
    // Of a container that runs, the end is that of the run before; else it is this run's own, and nothing tells whether
    // there was an earlier one.
    let runs = state.running == Some(true) && state.restarting != Some(true);
    Some(if runs { finished + (started - finished) / 2 } else { started.min(finished) - EARLY })
}

impl RunOutput {
    /// The next output, as much as has already arrived; `None` when the run has ended and all was told. Cancelling it loses nothing.
    ///
    /// # Errors
    /// `EngineRefused` where the container's log driver can't be read, `EngineUnavailable`.
    pub async fn next(&mut self) -> Result<Option<Piece>> {
        while self.ready.is_empty() {
            let Some(messages) = self.messages.next().await else { return Ok(None) };
            for message in messages {
                let message = message.map_err(failed)?;
                let source = if matches!(message, LogOutput::StdErr { .. }) { Source::Stderr } else { Source::Stdout };
                let bytes = message.into_bytes();
                if let Some(bytes) = self.border.of_this_run(&bytes) {
                    append(&mut self.ready, source, bytes);
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    /// The exit code of the run whose output has ended: 128 + its number for a signal. 137 where the engine can't tell, as the
    /// container was removed.
    pub async fn exit_code(&mut self) -> i64 {
        tokio::time::timeout(EXIT_PATIENCE, &mut self.exit).await.ok().and_then(|ended| ended.ok().flatten()).unwrap_or(137)
    }
}

impl Drop for RunOutput {
    fn drop(&mut self) {
        self.exit.abort();
    }
}

impl Border {
    /// What was printed, without its time, if this run printed it.
    fn of_this_run<'a>(&mut self, message: &'a [u8]) -> Option<&'a [u8]> {
        if matches!(self, Self::None) {
            return Some(message);
        }
        let end = message.iter().position(|byte| *byte == b' ')?;
        if let Self::Ahead(border) = self {
            let time = DateTime::parse_from_rfc3339(std::str::from_utf8(&message[..end]).ok()?).ok()?;
            if time < *border {
                return None;
            }
            *self = Self::Passed;
        }
        Some(&message[end + 1..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_behind_the_border_are_of_this_run() {
        let state = |started: &str, finished: &str| ContainerState {
            running: Some(true),
            started_at: Some(started.to_owned()),
            finished_at: Some(finished.to_owned()),
            ..ContainerState::default()
        };
        assert_eq!(border(&state("2026-01-01T00:00:01Z", "0001-01-01T00:00:00Z")), None);
        assert_eq!(border(&state("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z")), None);
        let between = border(&state("2026-01-01T00:00:02Z", "2026-01-01T00:00:01Z")).unwrap();
        assert_eq!(between.to_rfc3339(), "2026-01-01T00:00:01.500+00:00");
        let quick = ContainerState { running: Some(false), ..state("2026-01-01T00:00:02.003Z", "2026-01-01T00:00:02Z") };
        let mut ended_at_once = Border::Ahead(border(&quick).unwrap());
        assert_eq!(ended_at_once.of_this_run(b"2026-01-01T00:00:02Z early\n"), Some(&b"early\n"[..]));
        let mut border = Border::Ahead(between);
        assert_eq!(border.of_this_run(b"2026-01-01T00:00:01.000000001Z late line\n"), None);
        assert_eq!(border.of_this_run(b"2026-01-01T00:00:01.99Z a line\n"), Some(&b"a line\n"[..]));
        assert_eq!(border.of_this_run(b"2026-01-01T00:00:03Z \n"), Some(&b"\n"[..]));
        assert_eq!(Border::None.of_this_run(b"as it is"), Some(&b"as it is"[..]));
    }
}
