//! A child process that is ended with all that it started.

/// A child with a process group of its own, which is ended with it where it is given up before its end.
pub struct Group(pub(super) tokio::process::Child);

impl Group {
    /// Kills all of the group, which changes nothing where the child has been waited for.
    pub fn end_group(&self) {
        if let Some(leader) = self.leader() {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }

    /// Known for as long as the child has not been waited for, so it can't be another's.
    pub(super) fn leader(&self) -> Option<rustix::process::Pid> {
        self.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()))
    }
}

impl std::ops::Deref for Group {
    type Target = tokio::process::Child;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl std::ops::DerefMut for Group {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end_group();
    }
}
