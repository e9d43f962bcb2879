//! [`Owner`]: whose a file or a process is, by number.

use std::{fmt, str::FromStr};

/// A user and a group by number, as in `1000:1000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (uid, gid) = text.split_once(':').ok_or(())?;
        // The largest number is the kernel's word for "nobody in particular".
        let number = |text: &str| text.parse().ok().filter(|number| *number != u32::MAX).ok_or(());
        Ok(Self { uid: number(uid)?, gid: number(gid)? })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}
