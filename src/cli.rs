//! The command line: what berth can be told to do, and how it ends.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0  it ended as it should: stopped, nothing wrong, or help shown
  1  it could not start or go on; doctor found something that fails; verify-log found something
  2  the command line can't be understood

Settings come from .env in the working directory and from the environment, which wins; .env.example shows them all.";

/// Turns one machine with Docker into a place where programs put programs: containers, files and terminals over REST and WebSocket.
#[derive(Debug, Parser)]
#[command(name = "berth", version, about, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Default, Subcommand)]
pub enum Command {
    /// Serves the API until it is told to stop by SIGINT or SIGTERM, and ends at once when told again; without a command, that is what berth does
    #[default]
    Serve,
    /// Looks at the settings, the engine, Compose, the folders, the port and the machine, and says what is wrong and what to do
    Doctor,
    /// Reads the action log, and says what was changed, inserted, removed or cut; also while the server writes it
    VerifyLog {
        /// The log's folder; `LOG_DIR` where it is not given
        folder: Option<PathBuf>,
    },
}
