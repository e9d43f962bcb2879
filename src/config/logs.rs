//! The settings of the two logs: the action log's folder and size, and what goes to stderr.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::{ConfigError, reader::Reader};

/// How is logged.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The action log's folder.
    pub dir: PathBuf,
    /// How large a file of the action log may become.
    pub file_bytes: u64,
    /// How many files of it are kept besides the one that is written.
    pub files: u32,
    /// A filter of the log on stderr, in `tracing`'s syntax.
    pub filter: String,
    pub format: LogFormat,
}

/// How the log on stderr is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object of JSON a line.
    Json,
}

impl Reader<'_> {
    pub(super) fn log_dir(&self) -> PathBuf {
        self.text("LOG_DIR", "./logs").into()
    }

    pub(super) fn logs(&self) -> Result<LogConfig, ConfigError> {
        Ok(LogConfig {
            dir: self.log_dir(),
            file_bytes: self.with("ACTION_LOG_BYTES", "67108864", "a number of bytes from 65536", |value| {
                value.parse().ok().filter(|bytes| *bytes >= 65_536)
            })?,
            files: self.with("ACTION_LOG_FILES", "5", "a count from 1 to 100", |value| {
                value.parse().ok().filter(|count| (1..=100).contains(count))
            })?,
            filter: self.with("RUST_LOG", "info", "a level such as debug, or a filter by module", |filter| {
                EnvFilter::try_new(filter).is_ok().then(|| filter.to_owned())
            })?,
            format: self.with("LOG_FORMAT", "text", "text or json", |word| match word {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            })?,
        })
    }
}
