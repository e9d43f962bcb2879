//! Terminal sessions: programs in containers, looked at through frames. It knows no WebSocket.
//!
//! A session owns its program, everything that the program starts, and the last of its output; whoever holds a [`Speaker`] and a
//! [`Viewer`] only looks at it, and may go and come back. The life of one:
//!
//! ```text
//! open ─► (no mode named: half a second to speak) ─► attach ──spoke──► program ─► ended ─► exit, closed
//! ```
//!
//! It ends when the program does (or, attached, the container's main process), by a `close`, with its container or the server, where
//! nobody comes back to it in time, or where the engine can't be reached any more. By whatever way: everything it started is killed, all output goes out, then `exit`, then the close.
//!
//! A `oneshot` is a program that nobody looks at while it runs, and ends as thoroughly.

pub mod framing;
pub mod history;
pub mod protocol;
pub mod utf8;

mod feed;
mod gate;
mod hub;
mod notes;
mod oneshot;
mod recording;
mod refusal;
mod registry;
mod room;
mod session;
mod speaker;
mod tap;
mod transport;
mod views;

pub use hub::{Figures, View, Viewer};
pub use oneshot::Ran;
pub use recording::{Document, Origin, Recorded, Recording, Recordings, State};
pub use registry::{Listed, Sessions};
pub use speaker::Speaker;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Local};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::id::Cuid,
    engine::exec::Size,
    error::{Error, Result},
};

/// The largest number of columns and of rows.
pub const MAX_SIZE: u16 = 1000;

/// What a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TerminalMode)]
pub enum Mode {
    /// An interactive shell on a TTY.
    Shell,
    /// The output of the container's main process.
    Attach,
    /// A shell that reads its commands from a pipe.
    Exec,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Open {
    pub cuid: Cuid,
    pub mode: Option<Mode>,
    /// 1 to [`MAX_SIZE`], as are the rows.
    pub cols: Option<u16>,
    pub rows: Option<u16>,
    /// The program to run in place of bash or sh.
    pub shell: Option<String>,
    /// Absent: the container's user.
    pub user: Option<String>,
    /// Absent: `/app`.
    pub cwd: Option<String>,
}

impl Open {
    /// Looks at the values as a client sent them.
    ///
    /// # Errors
    /// [`Error::Invalid`] with `INVALID_QUERY` and the name of the parameter.
    pub fn check(&self) -> Result<()> {
        for (field, size) in [("cols", self.cols), ("rows", self.rows)] {
            if size.is_some_and(|size| !(1..=MAX_SIZE).contains(&size)) {
                return Err(Error::invalid("INVALID_QUERY", field, format!("{field} is a number from 1 to {MAX_SIZE}"), size));
            }
        }
        for (field, text) in [("shell", &self.shell), ("user", &self.user), ("cwd", &self.cwd)] {
            if let Some(text) = text.as_ref().filter(|text| text.is_empty() || text.contains('\0')) {
                let is = if text.is_empty() { "empty" } else { "with a NUL" };
                let message = format!("{field} is {is}: give a text without, or leave it out");
                return Err(Error::invalid("INVALID_QUERY", field, message, text.as_str()));
            }
        }
        match &self.cwd {
            Some(cwd) if !cwd.starts_with('/') => {
                Err(Error::invalid("INVALID_QUERY", "cwd", "cwd is an absolute path", Value::from(cwd.as_str())))
            }
            _ => Ok(()),
        }
    }

    /// Whether a size was given.
    pub fn is_sized(&self) -> bool {
        self.cols.is_some() || self.rows.is_some()
    }

    /// The mode, named or implied by a size. Without either the client's first half second decides between exec and attach.
    pub fn settled_mode(&self) -> Option<Mode> {
        self.mode.or_else(|| self.is_sized().then_some(Mode::Shell))
    }

    /// The size of the terminal, 80 by 24 where it isn't said.
    pub fn size(&self) -> Size {
        Size { cols: self.cols.unwrap_or(80), rows: self.rows.unwrap_or(24) }
    }
}

/// What a [`Viewer`] is given; after [`Event::Closed`] nothing comes.
#[derive(Debug)]
pub enum Event {
    /// A message, as it is sent.
    Text(String),
    Binary(Vec<u8>),
    /// Something failed; the frame for it is the viewer's to make, since the error's body is not known here.
    Failed(Arc<Error>),
    /// The session is over.
    Closed(Close),
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Its program ended, or it was closed.
    Normal,
    /// The server goes down.
    GoingAway,
    /// The engine is silent, or the way to the program broke off.
    Broken,
}

/// A session that is over, for the record.
#[derive(Clone, Debug)]
pub struct SessionEnd {
    pub cuid: Cuid,
    pub session: Uuid,
    /// The last mode it had; `None` where it ended before it was settled.
    pub mode: Option<Mode>,
    pub started: DateTime<Local>,
    pub duration: Duration,
    /// `None` where nothing ran, or could not be started.
    pub exit_code: Option<i64>,
    /// What it was sent for its program, and what was sent of its output.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// What was kept of it, where sessions are recorded.
    pub recorded: Option<Recorded>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_asks_for_is_bounded() {
        let plain = Open { cuid: Cuid::new(), mode: None, cols: None, rows: None, shell: None, user: None, cwd: None };
        assert!(plain.check().is_ok());
        assert_eq!(plain.settled_mode(), None);
        let rows = Open { rows: Some(1000), ..plain.clone() };
        assert!(rows.check().is_ok());
        assert_eq!(rows.settled_mode(), Some(Mode::Shell));
        assert_eq!(Open { mode: Some(Mode::Exec), ..rows }.settled_mode(), Some(Mode::Exec));
        for (bad, field) in [
            (Open { cols: Some(0), ..plain.clone() }, "cols"),
            (Open { rows: Some(1001), ..plain.clone() }, "rows"),
            (Open { shell: Some(String::new()), ..plain.clone() }, "shell"),
            (Open { user: Some("a\0b".to_owned()), ..plain.clone() }, "user"),
            (Open { cwd: Some("app".to_owned()), ..plain.clone() }, "cwd"),
        ] {
            assert!(matches!(bad.check(), Err(Error::Invalid(invalid)) if invalid.field == field), "{field}");
        }
    }
}
