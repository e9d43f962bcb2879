//! The terminal's WebSocket: frames between a connection and its session. What they mean is `terminal`'s.
//!
//! A connection that closes, breaks or is dead leaves its session to whoever comes back to it: a ping goes out every 20 seconds, and a
//! peer from which nothing is heard for a minute, and that takes nothing either, is given up. While a mebibyte of its input waits for a
//! program that reads slowly, nothing is read from it, so its silence means nothing; pings go out more often then, and it is the kernel
//! that tells of a peer that is no more. Once the program has read nothing for five seconds, frames are read on: input is answered with
//! `STDIN_FULL` and dropped until the program reads again, so that a signal or a close behind it is heard.
//!
//! Close codes: 1000 after `exit` or an `error` that ends the session, 1001 when the server goes down, 1002 for a broken protocol, 1007 for
//! text that is not UTF-8, 1008 after 32 frames in a row that can't be understood, 1009 for a message over 1 MiB, 1011 where the engine is
//! silent or the way to the program broke off.

use std::{cell::Cell, io, time::Duration};

use actix_http::ws::HandshakeError;
use actix_web::{HttpRequest, HttpResponse, error::PayloadError, http::header, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session as Socket};
use serde_json::Value;
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::{
    error::Error,
    terminal::{
        Close, Event, Speaker, Viewer,
        framing::BINARY,
        protocol::{ClientFrame, ServerFrame},
    },
};

/// The largest message taken, in bytes.
const MESSAGE: usize = 1 << 20;
const PING: Duration = Duration::from_secs(20);
/// While nothing is read from the peer.
const PING_WHILE_STUCK: Duration = Duration::from_secs(5);
/// How long a peer may be silent.
const DEAD: Duration = Duration::from_secs(60);
/// How many frames in a row that can't be understood are answered.
const WRONG: u32 = 32;
/// What the ping behind a session's end carries, and how long its answer is waited for.
const END: &[u8] = b"end";
const HEARD: Duration = Duration::from_secs(1);
/// How long a peer has to answer a close.
const GOODBYE: Duration = Duration::from_secs(5);

/// A peer's connection.
pub(super) struct Connection<B> {
    socket: Socket,
    messages: AggregatedMessageStream,
    /// Whether the peer takes output as binary messages.
    pub binary: bool,
    peer: Peer,
    /// Makes the contract's error body.
    body: B,
}

/// What is known of a peer.
struct Peer {
    /// When it last sent or took something.
    heard: Cell<Instant>,
    /// Whether the session takes no more input, and nothing is read from it.
    stuck: Cell<bool>,
    /// Told when it has answered the ping behind the session's end.
    heard_all: Notify,
}

impl<B: Fn(&Error) -> Value> Connection<B> {
    /// Answers an upgrade whose request is authenticated.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the header that keeps the request from being a proper upgrade.
    pub(super) fn accept(request: &HttpRequest, payload: web::Payload, body: B) -> Result<(HttpResponse, Self), Error> {
        let upgrade = actix_ws::handle_with_protocols(request, payload, &[BINARY]);
        let (response, socket, messages) = upgrade.map_err(|error| no_upgrade(&error))?;
        let messages = messages.max_frame_size(MESSAGE).aggregate_continuations().max_continuation_size(MESSAGE);
        let binary = response.headers().contains_key(header::SEC_WEBSOCKET_PROTOCOL);
        let peer = Peer { heard: Cell::new(Instant::now()), stuck: Cell::new(false), heard_all: Notify::new() };
        Ok((response, Self { socket, messages, binary, peer, body }))
    }

    /// Serves the peer to its end, or the session's.
    pub(super) async fn serve(mut self, speaker: Speaker, mut viewer: Viewer) {
        let (socket, mut pings) = (self.socket.clone(), self.socket.clone());
        let ear = Ear { socket: self.socket.clone(), peer: &self.peer, body: &self.body, binary: self.binary, wrong: 0 };
        let reason = select! {
            reason = ear.listen(&mut self.messages, speaker) => reason,
            reason = tell(socket, &mut viewer, &self.peer, &self.body) => reason,
            () = self.peer.watch(async || pings.ping(b"").await.is_ok()) => None,
        };
        let Some(reason) = reason else { return };
        let goodbye = async {
            if self.socket.close(Some(reason)).await.is_ok() {
                // A connection that is closed with something unread is reset, and the peer may lose what was sent last.
                while let Some(Ok(_)) = self.messages.recv().await {}
            }
        };
        // It also bounds the close itself, which waits behind all that a peer doesn't read. Such a peer's connection is the
        // kernel's to end then, after the minute that the listener set.
        select! { () = goodbye => {} () = sleep(GOODBYE) => {} }
    }
}

/// Hears what a peer says.
struct Ear<'a, B> {
    socket: Socket,
    peer: &'a Peer,
    body: &'a B,
    binary: bool,
    /// How many frames in a row could not be understood.
    wrong: u32,
}

impl<B: Fn(&Error) -> Value> Ear<'_, B> {
    /// Hands what the peer says to the session, until it is gone or says nonsense.
    async fn listen(mut self, messages: &mut AggregatedMessageStream, mut speaker: Speaker) -> Option<CloseReason> {
        loop {
            let message = messages.recv().await;
            self.peer.heard.set(Instant::now());
            let frame = match message? {
                Ok(AggregatedMessage::Text(text)) => ClientFrame::parse(&text),
                Ok(AggregatedMessage::Binary(bytes)) if self.binary => Ok(ClientFrame::Stdin(bytes.into())),
                Ok(AggregatedMessage::Binary(_)) => Err(invalid(&format!("frames are text, without the subprotocol {BINARY}"))),
                Ok(AggregatedMessage::Ping(bytes)) => {
                    self.socket.pong(&bytes).await.ok()?;
                    continue;
                }
                Ok(AggregatedMessage::Pong(bytes)) => {
                    if bytes == END {
                        self.peer.heard_all.notify_one();
                    }
                    continue;
                }
                Ok(AggregatedMessage::Close(reason)) => return Some(reason.unwrap_or_else(|| CloseCode::Normal.into())),
                // What it said before it broke off comes behind.
                Err(ProtocolError::Io(error)) if error.get_ref().is_some_and(|error| error.is::<PayloadError>()) => continue,
                Err(error) => return self.misspoken(&error).await,
            };
            self.wrong = if frame.is_ok() { 0 } else { self.wrong + 1 };
            let said = match frame {
                Ok(frame) => self.peer.while_stuck(speaker.say(frame)).await,
                Err(error) => Err(error),
            };
            match said {
                // Where the session is over, what it has still to tell ends the connection.
                Ok(_) => {}
                Err(error) => self.socket.text(error_frame(&error, self.body)).await.ok()?,
            }
            if self.wrong == WRONG {
                return Some((CloseCode::Policy, "too many frames that can't be understood").into());
            }
        }
    }

    /// Tells a peer that broke the protocol why it is left.
    async fn misspoken(&mut self, error: &ProtocolError) -> Option<CloseReason> {
        let reason = misspoken(error);
        let said = invalid(reason.description.as_deref().unwrap_or_default());
        self.socket.text(error_frame(&said, self.body)).await.ok()?;
        Some(reason)
    }
}

/// Tells the peer what the session has to tell, to its end.
async fn tell(mut socket: Socket, viewer: &mut Viewer, peer: &Peer, body: &impl Fn(&Error) -> Value) -> Option<CloseReason> {
    loop {
        let sent = match viewer.next().await {
            Event::Text(text) => socket.text(text).await,
            Event::Binary(bytes) => socket.binary(bytes).await,
            Event::Failed(error) => socket.text(error_frame(&error, body)).await,
            Event::Closed(close) => {
                // A session that was heard to its end need not wait for anybody to come back to it.
                if socket.ping(END).await.is_ok() && timeout(HEARD, peer.heard_all.notified()).await.is_ok() {
                    viewer.collected();
                }
                return Some(code(close).into());
            }
        };
        if sent.is_err() {
            // What the peer said before it went is still listened to.
            sleep(GOODBYE).await;
            return None;
        }
        peer.heard.set(Instant::now());
    }
}

fn code(close: Close) -> CloseCode {
    match close {
        Close::Normal => CloseCode::Normal,
        Close::GoingAway => CloseCode::Away,
        Close::Broken => CloseCode::Error,
    }
}

fn error_frame(error: &Error, body: &impl Fn(&Error) -> Value) -> String {
    ServerFrame::Error { error: body(error) }.to_json()
}

fn invalid(message: &str) -> Error {
    Error::invalid("INVALID_FRAME", "frame", message, Value::Null)
}

impl Peer {
    /// Waits for something during which nothing is read from the peer.
    async fn while_stuck<T>(&self, waiting: impl Future<Output = T>) -> T {
        self.stuck.set(true);
        let done = waiting.await;
        self.stuck.set(false);
        self.heard.set(Instant::now());
        done
    }

    /// Has the peer pinged by `ping`, which tells whether it could be, and returns when it is dead.
    async fn watch(&self, mut ping: impl AsyncFnMut() -> bool) {
        let pings = async {
            let mut pinged = Instant::now();
            loop {
                sleep(PING_WHILE_STUCK).await;
                if pinged.elapsed() >= PING || self.stuck.get() {
                    if !ping().await {
                        return;
                    }
                    pinged = Instant::now();
                }
            }
        };
        let silence = async {
            loop {
                match DEAD.checked_sub(self.heard.get().elapsed()).filter(|left| !left.is_zero()) {
                    Some(left) => sleep(left).await,
                    None if self.stuck.get() => sleep(PING_WHILE_STUCK).await,
                    None => return,
                }
            }
        };
        select! { () = pings => {} () = silence => {} }
    }
}

/// Which header of a request keeps it from being an upgrade.
fn no_upgrade(error: &actix_web::Error) -> Error {
    let field = match error.as_error() {
        Some(HandshakeError::NoConnectionUpgrade) => "Connection",
        Some(HandshakeError::NoVersionHeader | HandshakeError::UnsupportedVersion) => "Sec-WebSocket-Version",
        Some(HandshakeError::BadWebsocketKey) => "Sec-WebSocket-Key",
        _ => "Upgrade",
    };
    Error::invalid("INVALID_REQUEST", field, error.to_string(), Value::Null)
}

/// Why a peer that broke the protocol is left.
fn misspoken(error: &ProtocolError) -> CloseReason {
    match error {
        ProtocolError::Overflow => (CloseCode::Size, "a message is at most 1 MiB").into(),
        ProtocolError::Io(error) if error.kind() == io::ErrorKind::InvalidData => (CloseCode::Invalid, "text is UTF-8").into(),
        // What the frames of one message add up to has no kind of its own.
        ProtocolError::Io(error) if error.to_string().contains("continuation size") => {
            (CloseCode::Size, "a message is at most 1 MiB").into()
        }
        _ => (CloseCode::Protocol, "not the WebSocket protocol").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(stuck: bool) -> Peer {
        Peer { heard: Cell::new(Instant::now()), stuck: Cell::new(stuck), heard_all: Notify::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_pinged_every_twenty_seconds_and_given_up_after_a_minute_of_silence() {
        let (began, peer, mut pings) = (Instant::now(), peer(false), Vec::new());
        peer.watch(async || {
            pings.push(began.elapsed().as_secs());
            // It answers the first.
            if pings.len() == 1 {
                peer.heard.set(Instant::now());
            }
            true
        })
        .await;
        assert_eq!((&pings[..3], began.elapsed().as_secs()), (&[20, 40, 60][..], 80));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_not_read_is_not_given_up_while_it_can_be_pinged() {
        let (began, peer, mut pings) = (Instant::now(), peer(true), 0);
        peer.watch(async || {
            pings += 1;
            pings < 40
        })
        .await;
        assert_eq!(began.elapsed().as_secs(), 200);
    }
}
