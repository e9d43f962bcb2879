//! What one client says to its session.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    error::{Error, Result},
    terminal::{
        protocol::{ClientFrame, invalid},
        room::{Room, Taken},
    },
};

/// A client's frame on its way.
pub(super) struct Said {
    pub frame: ClientFrame,
    /// Who said it.
    pub viewer: u64,
    /// For the frame's bytes, given back as the program takes them.
    pub room: Option<Taken>,
}

/// Gives a session what one client says.
pub struct Speaker {
    /// `None` for one that only watches.
    said: Option<mpsc::Sender<Said>>,
    viewer: u64,
    room: Arc<Room>,
    /// Where input was refused: how often room had become free then.
    full: Option<u64>,
}

impl Speaker {
    pub(super) fn new(said: Option<mpsc::Sender<Said>>, viewer: u64, room: Arc<Room>) -> Self {
        Self { said, viewer, room, full: None }
    }

    /// Hands a frame over. False when the session is over.
    ///
    /// It waits while a mebibyte of input waits for a program that reads slowly: frames behind are not seen then, so whoever calls
    /// this must notice by other means that the client is gone. Once the program has read nothing for five seconds, input is refused
    /// until it reads on, and all other frames get through.
    ///
    /// # Errors
    /// [`Error::Invalid`] with `STDIN_FULL`, or with `INVALID_FRAME` for one that only watches: nothing of this frame is taken.
    pub async fn say(&mut self, frame: ClientFrame) -> Result<bool> {
        let Some(said) = self.said.clone() else {
            let message = "who watches a session says nothing: open it without watch".to_owned();
            return Err(invalid("type", message, Value::Null));
        };
        let room = match &frame {
            ClientFrame::Stdin(bytes) => Some(self.make_room(bytes.len()).await?),
            _ => None,
        };
        Ok(said.send(Said { frame, viewer: self.viewer, room }).await.is_ok())
    }

    async fn make_room(&mut self, bytes: usize) -> Result<Taken> {
        // A small frame may still have room, but must not arrive where one before it did not.
        let stuck = self.full.is_some_and(|moves| moves == self.room.moves());
        let taken = if stuck { None } else { self.room.take(bytes).await };
        self.full = taken.is_none().then(|| self.room.moves());
        taken.ok_or_else(|| {
            let message = "the program reads no input, and no more can wait for it: nothing of this frame was taken";
            Error::invalid("STDIN_FULL", "data", message, Value::Null)
        })
    }
}
