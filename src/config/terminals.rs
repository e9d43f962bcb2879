//! The settings of terminals.

use std::time::Duration;

use super::{ConfigError, reader::Reader};

/// How terminals are kept.
#[derive(Clone, Debug)]
pub struct TerminalConfig {
    pub transport: Transport,
    /// How long a session goes on without a client.
    pub grace: Duration,
    /// How many sessions there may be in all.
    pub max_sessions: usize,
    pub record: Record,
}

/// Who starts the programs of terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The engine, asked by its API.
    Engine,
    /// `docker compose exec`, a process of it for each terminal.
    Compose,
}

/// What is recorded of terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    Off,
    /// Who had which session when, and how it ended.
    Metadata,
    /// That, and all output. Input is never recorded: it holds passwords.
    Full,
}

impl Reader<'_> {
    pub(super) fn terminals(&self) -> Result<TerminalConfig, ConfigError> {
        Ok(TerminalConfig {
            transport: self.with("TERMINAL_TRANSPORT", "auto", "auto, engine or compose", |word| match word {
                "auto" | "engine" => Some(Transport::Engine),
                "compose" => Some(Transport::Compose),
                _ => None,
            })?,
            grace: self.with("SESSION_GRACE_S", "60", "seconds from 0 to 86400", |value| {
                value.parse().ok().filter(|seconds| *seconds <= 86_400).map(Duration::from_secs)
            })?,
            max_sessions: self
                .with("MAX_SESSIONS", "1024", "a count from 1", |value| value.parse().ok().filter(|count| *count > 0))?,
            record: self.with("RECORD_TERMINALS", "off", "off, metadata or full", |word| match word {
                "off" => Some(Record::Off),
                "metadata" => Some(Record::Metadata),
                "full" => Some(Record::Full),
                _ => None,
            })?,
        })
    }
}
