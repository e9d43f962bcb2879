//! The domain's error: what went wrong, as facts. It knows no HTTP status; `http::error` gives each fact its answer.

use std::{io, time::Duration};

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{id::Cuid, obstacle::Obstacle, output::Printed, port::Holder, status::Status};

/// Result of everything below `http`.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure, told with the facts that its reader needs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller sent something that can't be taken.
    #[error("{}", .0.message)]
    Invalid(Box<Invalid>),
    #[error("container {0} does not exist")]
    ContainerNotFound(Cuid),
    /// It has its folder, and nothing at the engine.
    #[error("the engine has lost container {0}: start it, and it is made anew")]
    ContainerMissing(Cuid),
    #[error("{0:?} does not exist in the container's mount")]
    FileNotFound(String),
    #[error("deploy {0} is not there to go back to")]
    DeployNotFound(u64),
    /// Something in the container's mount stands in the way.
    #[error("{0}")]
    Obstacle(Obstacle),
    #[error("image {image:?} can't be had: {reason}")]
    ImageNotFound { image: String, reason: String },
    /// The server's owner has not allowed that this part of the host be mounted.
    #[error("{field}: {provided:?} is not at or below an allowed host path")]
    HostPathNotAllowed { field: String, provided: String },
    #[error("network {0:?} does not exist")]
    NetworkNotFound(String),
    #[error("the name {name:?} is taken by {holder}")]
    NameTaken { name: String, holder: Cuid },
    #[error("port {port}/{protocol} on the host is in use{}", holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default())]
    PortConflict { port: u16, protocol: &'static str, holder: Option<Holder> },
    /// A change failed after it had begun; `back`: what was before is again.
    #[error("{cause}. {}", if *back { "What was before is back" } else { "What was before could not be put back yet; it is tried again" })]
    TakenBack { cause: Box<Error>, back: bool },
    /// A deploy was started, and did not come up.
    #[error("the deploy did not come up: {reason}")]
    DeployFailed {
        reason: String,
        exit_code: Option<i64>,
        /// The last lines of its output, the oldest first.
        log: Vec<String>,
    },
    /// Somebody edited the container's project by hand.
    #[error("compose.yaml was edited by hand: drift shows how, and overwrite=true writes it anew")]
    Drifted,
    /// The container's configuration is not the one that the caller knows.
    #[error("the container is at revision {revision} now")]
    RevisionMismatch { revision: u64 },
    #[error("the container has no session {0}: it may have ended")]
    SessionNotFound(Uuid),
    #[error("the container has no recording of session {0}'s output")]
    RecordingNotFound(Uuid),
    /// Only the recording of a session that is over is removed.
    #[error("session {0} goes on, and so does its recording: end it first")]
    RecordingGoesOn(Uuid),
    #[error("there are {limit} {what}, which is all there may be")]
    TooManySessions { what: &'static str, limit: usize },
    #[error("{limit} commands run, which is all that may at once")]
    TooManyCommands { limit: usize },
    /// A command took too long; `ended`: it and all that it had started is gone.
    #[error("the command still ran after {:.1} s, and {}", after.as_secs_f64(), end_of_command(*ended))]
    ExecTimeout { after: Duration, ended: bool, printed: Box<Printed> },
    /// A command did not end by itself in the time that a server has that is to stop.
    #[error("the server stops: the command {}", end_of_command(*ended))]
    ExecStopped { ended: bool, printed: Box<Printed> },
    /// The container went while a command ran in it; `status` is what it is now.
    #[error("the container was stopped while the command ran: it is {status} now")]
    ExecCut { status: Status, printed: Box<Printed> },
    /// The container's status does not allow the action.
    #[error("a container that is {status} can't {action}")]
    InvalidState { action: &'static str, status: Status, allowed: &'static [Status] },
    /// The container's log goes somewhere from where the engine can't read it.
    #[error("the engine can't read what the container's log driver has written: give it another, such as json-file or local")]
    LogUnreadable,
    /// A running container is only deleted by force.
    #[error("the container is {status}: stop it first, or delete it with force=true")]
    StillRunning { status: Status },
    #[error("{what} over the limit of {limit}{}", if *what == TooLarge::ExtractedFiles { "" } else { " bytes" })]
    TooLarge { what: TooLarge, limit: u64 },
    #[error("docker compose {command} failed: {}", stderr.trim().lines().last().unwrap_or("it said nothing"))]
    ComposeFailed { command: String, exit_code: Option<i32>, stderr: String },
    #[error("docker compose {command} took longer than {} s", limit.as_secs())]
    ComposeTimeout { command: String, limit: Duration },
    #[error("the Docker Engine does not answer: {0}")]
    EngineUnavailable(String),
    /// The engine answered, and refused.
    #[error("the Docker Engine refused: {0}")]
    EngineRefused(String),
    /// `doing` completes "could not …" and names no path outside the data folder.
    #[error("could not {doing}: {source}")]
    Io { doing: String, source: io::Error },
}

fn end_of_command(ended: bool) -> &'static str {
    if ended { "was ended with all that it had started" } else { "could not be ended: some of what it had started may go on" }
}

/// What of the caller's input is wrong, and where.
#[derive(Debug)]
pub struct Invalid {
    /// The contract's name for this kind of mistake, such as `INVALID_ENV`.
    pub code: &'static str,
    /// The field, with its path: `ports[0].host`.
    pub field: String,
    pub message: String,
    /// What was sent there, if it may be repeated: never an env value.
    pub provided: Value,
}

/// Which limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// The request's body, where it is no archive.
    Body,
    /// An uploaded archive as sent.
    Zip,
    /// An uploaded archive, unpacked.
    Extracted,
    /// The number of files and folders in an uploaded archive.
    ExtractedFiles,
}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Body => "the body is",
            Self::Zip => "the archive is",
            Self::Extracted => "what the archive unpacks to is",
            Self::ExtractedFiles => "the number of files and folders in the archive is",
        })
    }
}

impl Error {
    /// Bad input in `field`.
    pub fn invalid(code: &'static str, field: impl Into<String>, message: impl Into<String>, provided: impl Into<Value>) -> Self {
        Self::Invalid(Box::new(Invalid { code, field: field.into(), message: message.into(), provided: provided.into() }))
    }

    /// Puts what was being done in front of an I/O failure: `.map_err(Error::io("write container.json"))`.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source }
    }
}
