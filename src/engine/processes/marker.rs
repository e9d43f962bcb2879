//! The variable that everything of a session has in its environment.

use std::fmt;

use uuid::Uuid;

use crate::domain::id::Cuid;

/// The marker's variable.
pub const VARIABLE: &str = "BERTH_SESSION";

/// What everything carries that one session started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    pub cuid: Cuid,
    pub session: Uuid,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VARIABLE}={}/{}", self.cuid, self.session)
    }
}
