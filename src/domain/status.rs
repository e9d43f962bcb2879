//! What may be done to a container when: one table, as a pure function.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Error;

/// A container's status, in Docker's words; `missing` is ours, for one that the engine has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
    Dead,
    Missing,
}

use Status::{Created, Dead, Exited, Missing, Paused, Restarting, Running};

impl Status {
    /// Every status, in the order of a container's life.
    pub const ALL: [Self; 7] = [Created, Running, Paused, Restarting, Exited, Dead, Missing];

    /// The word that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Created => "created",
            Running => "running",
            Paused => "paused",
            Restarting => "restarting",
            Exited => "exited",
            Dead => "dead",
            Missing => "missing",
        }
    }

    /// Reads a client's word for a status; `stopped` is a synonym of `exited`.
    pub fn parse(word: &str) -> Option<Self> {
        let word = if word == "stopped" { "exited" } else { word };
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether its main process is there: running, paused, or about to be started again by its restart policy.
    pub fn is_up(self) -> bool {
        matches!(self, Running | Paused | Restarting)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that a client asks to be done with a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Start,
    Stop,
    Restart,
    Pause,
    Unpause,
    Patch,
    Delete {
        force: bool,
    },
    /// A program beside the main one: a terminal's shell.
    Exec,
    /// The output of the main process.
    Attach,
    /// What it uses.
    Stats,
}

/// What the table says to an action that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Go,
    /// It is so already: answer with `changed: false`.
    Already,
}

impl Action {
    /// The verb, as it completes "a container that is exited can't …".
    fn verb(self) -> &'static str {
        match self {
            Self::Start => "be started",
            Self::Stop => "be stopped",
            Self::Restart => "be restarted",
            Self::Pause => "be paused",
            Self::Unpause => "be unpaused",
            Self::Patch => "be changed",
            Self::Delete { .. } => "be deleted",
            Self::Exec => "run anything",
            Self::Attach => "show its output",
            Self::Stats => "show what it uses",
        }
    }

    /// The statuses in which the action makes sense, also where it changes nothing.
    fn allowed(self) -> &'static [Status] {
        match self {
            Self::Start => &[Created, Running, Restarting, Exited, Dead, Missing],
            Self::Stop | Self::Restart | Self::Delete { force: true } => &Status::ALL,
            Self::Pause | Self::Exec => &[Running],
            Self::Unpause => &[Paused],
            Self::Stats => &[Running, Paused],
            Self::Patch => &[Created, Running, Restarting, Exited, Dead, Missing],
            Self::Delete { force: false } => &[Created, Exited, Dead, Missing],
            Self::Attach => &[Running, Paused, Restarting, Exited, Dead],
        }
    }

    /// May this be done to a container that is `status` now?
    ///
    /// # Errors
    /// [`Error::InvalidState`], or [`Error::StillRunning`] for a deletion that only force allows.
    pub fn check(self, status: Status) -> Result<Verdict, Error> {
        let allowed = self.allowed();
        match self {
            Self::Delete { .. } if !allowed.contains(&status) => Err(Error::StillRunning { status }),
            _ if !allowed.contains(&status) => Err(Error::InvalidState { action: self.verb(), status, allowed }),
            Self::Start if status.is_up() => Ok(Verdict::Already),
            Self::Stop if !status.is_up() => Ok(Verdict::Already),
            _ => Ok(Verdict::Go),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row an action, a letter a status in the order of [`Status::ALL`]: `g`o, `a`lready, `-` refused.
    #[test]
    fn every_action_in_every_status_is_decided() {
        let table = [
            //                              crPRxdm
            (Action::Start, "ga-aggg"),
            (Action::Stop, "agggaaa"),
            (Action::Restart, "ggggggg"),
            (Action::Pause, "-g-----"),
            (Action::Unpause, "--g----"),
            (Action::Patch, "gg-gggg"),
            (Action::Delete { force: false }, "g---ggg"),
            (Action::Delete { force: true }, "ggggggg"),
            (Action::Exec, "-g-----"),
            (Action::Attach, "-ggggg-"),
            (Action::Stats, "-gg----"),
        ];
        for (action, row) in table {
            for (status, expected) in Status::ALL.into_iter().zip(row.chars()) {
                let got = match action.check(status) {
                    Ok(Verdict::Go) => 'g',
                    Ok(Verdict::Already) => 'a',
                    Err(_) => '-',
                };
                assert_eq!(got, expected, "{action:?} when {status}");
            }
        }
    }

    #[test]
    fn a_word_for_every_status_is_read_back_and_stopped_means_exited() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        assert_eq!(Status::parse("stopped"), Some(Exited));
        assert_eq!(Status::parse("Running"), None);
    }
}
