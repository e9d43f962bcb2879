//! How many compose processes may run at once, of each kind.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Error, Result};

/// Who waits long must not keep the others from running: a stop for a container's grace, a pull for a registry. Each kind
/// has places of its own, taken in the order of arrival.
pub(super) struct Places {
    working: Semaphore,
    waiting: Semaphore,
    patient: Semaphore,
    pulling: Semaphore,
}

/// What a command spends its time with.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Work,
    Wait,
    WaitLong,
    Pull,
}

impl Places {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            working: Semaphore::new(concurrency),
            waiting: Semaphore::new(4 * concurrency),
            patient: Semaphore::new(4 * concurrency),
            pulling: Semaphore::new(2),
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`Error::Io`], which doesn't happen: no place is ever closed.
    pub(super) async fn take(&self, kind: Kind) -> Result<SemaphorePermit<'_>> {
        let places = match kind {
            Kind::Work => &self.working,
            Kind::Wait => &self.waiting,
            Kind::WaitLong => &self.patient,
            Kind::Pull => &self.pulling,
        };
        places.acquire().await.map_err(|error| Error::io("wait for a turn")(std::io::Error::other(error)))
    }
}

impl Kind {
    /// That of a command which may wait so long for a container to stop: who waits for an hour keeps nobody from waiting ten
    /// seconds.
    pub(super) fn of(grace: Duration) -> Self {
        match grace.as_secs() {
            0 => Self::Work,
            1..=10 => Self::Wait,
            _ => Self::WaitLong,
        }
    }
}
