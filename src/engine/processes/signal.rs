//! The signals that a client may send, and their names.

use std::str::FromStr;

/// A signal that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Int,
    Term,
    Kill,
    Hup,
    Quit,
    Usr1,
    Usr2,
}

impl Signal {
    const ALL: [Self; 7] = [Self::Int, Self::Term, Self::Kill, Self::Hup, Self::Quit, Self::Usr1, Self::Usr2];

    /// Its name without `SIG`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Term => "TERM",
            Self::Kill => "KILL",
            Self::Hup => "HUP",
            Self::Quit => "QUIT",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
        }
    }
}

impl FromStr for Signal {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let bare = name.strip_prefix("SIG").unwrap_or(name);
        Self::ALL.into_iter().find(|signal| signal.name() == bare).ok_or(())
    }
}
