//! How much input may wait for one program, and what is done when it takes none.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

/// How many bytes of input wait for a program that doesn't read. More is not taken until it does.
const BYTES: usize = 1 << 20;
/// What a frame of input counts at least, so that empty ones are bounded too.
const LEAST: usize = 256;
/// How long a program may take nothing before what has no room is refused.
const STUCK: Duration = Duration::from_secs(5);

/// The room of one session, which all of its clients share.
pub(super) struct Room {
    used: Mutex<usize>,
    /// How often some became free.
    freed: watch::Sender<u64>,
}

impl Default for Room {
    fn default() -> Self {
        Self { used: Mutex::new(0), freed: watch::Sender::new(0) }
    }
}

impl Room {
    /// Room for so many bytes, up to 1 MiB. It waits for a program that reads, however slowly; `None` after five seconds in which
    /// the program took nothing at all.
    pub(super) async fn take(self: &Arc<Self>, bytes: usize) -> Option<Taken> {
        let size = bytes.clamp(LEAST, BYTES);
        let mut freed = self.freed.subscribe();
        loop {
            {
                let mut used = self.used();
                if *used + size <= BYTES {
                    *used += size;
                    return Some(Taken { room: self.clone(), size });
                }
            }
            timeout(STUCK, freed.changed()).await.ok()?.ok()?;
        }
    }

    /// How often some became free so far.
    pub(super) fn moves(&self) -> u64 {
        *self.freed.borrow()
    }

    fn used(&self) -> MutexGuard<'_, usize> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that is taken until it is given back, or dropped.
pub(super) struct Taken {
    room: Arc<Room>,
    size: usize,
}

impl Taken {
    /// Gives some of it back.
    pub(super) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.size);
        self.size -= bytes;
        *self.room.used() -= bytes;
        self.room.freed.send_modify(|moves| *moves += 1);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back(self.size);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_has_no_room_waits_until_enough_is_given_back() {
        let room = Arc::new(Room::default());
        let mut first = room.take(BYTES - LEAST).await.unwrap();
        let last = room.take(0).await.unwrap();
        assert!(room.take(2 * LEAST).now_or_never().is_none(), "it is full");
        first.give_back(LEAST);
        assert!(room.take(2 * LEAST).now_or_never().is_none(), "it is not enough");
        drop(last);
        let more = room.take(2 * LEAST).now_or_never().flatten().unwrap();
        drop((first, more));
        assert_eq!(room.moves(), 4);
        assert!(room.take(5 * BYTES).now_or_never().flatten().is_some(), "what is too much for any room gets all of it");
        assert_eq!(*room.used(), 0);
    }
}
