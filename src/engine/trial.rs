//! What there is to know of a container that was just started: how long its health check may take to decide, what that said
//! last, and the last lines of its output.

use std::time::Duration;

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;

use super::{Engine, failed};
use crate::error::Result;

/// How many lines of output are told, and how much of each, in bytes.
const LINES: usize = 50;
const LINE: usize = 1024;

/// What the engine takes where a health check names no time and no number of tries.
const INTERVAL: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;

/// How much later than it should the engine may decide, on a busy machine.
const SLACK: Duration = Duration::from_secs(10);

/// A container's health check, of its own or of its image.
#[derive(Debug, PartialEq, Eq)]
pub struct Health {
    /// How long after a start it has decided at the latest.
    pub decides_within: Duration,
    /// What its last probe said.
    pub last_said: Option<String>,
}

impl Engine {
    /// The container's health check, where it has one.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn health(&self, name: &str) -> Result<Option<Health>> {
        let found = self.docker()?.inspect_container(name, None).await.map_err(failed)?;
        let Some(check) = found.config.and_then(|config| config.healthcheck) else { return Ok(None) };
        if check.test.as_ref().is_none_or(|test| test.is_empty() || test[0] == "NONE") {
            return Ok(None);
        }
        let time = |nanos: Option<i64>, default| {
            nanos.and_then(|nanos| u64::try_from(nanos).ok()).filter(|nanos| *nanos > 0).map_or(default, Duration::from_nanos)
        };
        let once = time(check.interval, INTERVAL) + time(check.timeout, INTERVAL);
        let tries = check.retries.and_then(|tries| u32::try_from(tries).ok()).filter(|tries| *tries > 0).unwrap_or(RETRIES);
        let decides_within = time(check.start_period, Duration::ZERO) + once * (tries + 1) + SLACK;
        let log = found.state.and_then(|state| state.health?.log).unwrap_or_default();
        let last_said = log.last().and_then(|probe| probe.output.as_deref()).map(|said| shortened(said.trim().as_bytes()));
        Ok(Some(Health { decides_within, last_said: last_said.filter(|said| !said.is_empty()) }))
    }

    /// The last lines of what the container printed since `started`, in seconds since 1970, the oldest first.
    ///
    /// # Errors
    /// As [`Engine::health`], and where its log driver can't be read.
    pub async fn last_lines(&self, name: &str, started: i64) -> Result<Vec<String>> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&LINES.to_string());
        let options = options.since(i32::try_from(started).unwrap_or_default()).build();
        let mut messages = self.docker()?.logs(name, Some(options));
        let mut lines = Vec::new();
        while let Some(message) = messages.next().await {
            let bytes = message.map_err(failed)?.into_bytes();
            lines.extend(bytes.trim_ascii_end().split(|byte| *byte == b'\n').map(shortened));
        }
        Ok(lines.split_off(lines.len().saturating_sub(LINES)))
    }
}

fn shortened(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(LINE)]).into_owned()
}
