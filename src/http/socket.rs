//! The terminal's WebSocket: frames between a connection and its session. What they mean is `terminal`'s.
//!
//! The connection ends the session when it closes, breaks, or is dead: a ping goes out every 20 seconds, and a peer from which
//! nothing is heard for a minute, and that takes nothing either, is given up. While a mebibyte of its input waits for a program that reads slowly,
//! nothing is read from it, so its silence means nothing; pings go out more often then, and it is the kernel that tells of a peer that is no more.
//! Once the program has read nothing for five seconds, frames are read on: input is answered with `STDIN_FULL` and dropped until the program
//! reads again, so that a signal or a close behind it is heard.
//!
//! Close codes: 1000 after `exit` or an `error` that ends the session, 1001 when the server goes down, 1002 for a broken protocol, 1007 for
//! text that is not UTF-8, 1009 for a message over 1 MiB, 1011 where the engine is silent or the way to the program broke off.

use std::{
    cell::Cell,
    io,
    time::{Duration, Instant},
};

use actix_http::ws::HandshakeError;
use actix_web::{HttpRequest, HttpResponse, rt, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session as Socket};
use serde_json::Value;
use tokio::{select, time::sleep};

use crate::{
    error::Error,
    terminal::{
        Close, Event, Listener, Open, SessionEnd, Sessions, Speaker,
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
/// How long a peer has to answer a close.
const GOODBYE: Duration = Duration::from_secs(5);

/// Answers an upgrade whose request is authenticated and whose container may have such a session ([`Open::check`] passed), and serves
/// it. `body` makes the contract's error body, and `on_end` is told of the session's end.
///
/// # Errors
/// [`Error::Invalid`] with the header that keeps the request from being a proper upgrade.
pub(super) fn serve<B>(
    request: &HttpRequest,
    payload: web::Payload,
    sessions: &Sessions,
    open: Open,
    body: B,
    on_end: impl FnOnce(SessionEnd) + Send + 'static,
) -> Result<HttpResponse, Error>
where
    B: Fn(&Error) -> Value + 'static,
{
    let (response, socket, messages) = actix_ws::handle(request, payload).map_err(|error| no_upgrade(&error))?;
    let messages = messages.max_frame_size(MESSAGE).aggregate_continuations().max_continuation_size(MESSAGE);
    let (speaker, listener) = sessions.open(open, on_end);
    let connection = Connection { socket, body, heard: Cell::new(Instant::now()), stuck: Cell::new(false) };
    rt::spawn(connection.serve(messages, speaker, listener));
    Ok(response)
}

struct Connection<B> {
    socket: Socket,
    body: B,
    /// When the peer last sent or took something.
    heard: Cell<Instant>,
    /// Whether the session takes no more input, and nothing is read from the peer.
    stuck: Cell<bool>,
}

impl<B: Fn(&Error) -> Value> Connection<B> {
    async fn serve(self, mut messages: AggregatedMessageStream, speaker: Speaker, listener: Listener) {
        let reason = select! {
            reason = self.listen(&mut messages, speaker) => reason,
            reason = self.tell(listener) => reason,
            () = self.watch() => None,
        };
        if let Some(reason) = reason {
            let goodbye = async {
                if self.socket.close(Some(reason)).await.is_ok() {
                    // A connection that is closed with something unread is reset, and the peer may lose what was sent last.
                    while let Some(Ok(_)) = messages.recv().await {}
                }
            };
            // It also bounds the close itself, which waits behind all that a peer doesn't read. Such a peer's connection is the
            // kernel's to end then, after the minute that the listener set.
            select! { () = goodbye => {} () = sleep(GOODBYE) => {} }
        }
    }

    /// Hands what the peer says to the session, until it is gone or says nonsense.
    async fn listen(&self, messages: &mut AggregatedMessageStream, mut speaker: Speaker) -> Option<CloseReason> {
        let mut socket = self.socket.clone();
        loop {
            let message = messages.recv().await;
            self.heard.set(Instant::now());
            let frame = match message? {
                Ok(AggregatedMessage::Text(text)) => ClientFrame::parse(&text),
                Ok(AggregatedMessage::Binary(_)) => Err(Error::invalid("INVALID_FRAME", "frame", "frames are text", Value::Null)),
                Ok(AggregatedMessage::Ping(bytes)) => {
                    socket.pong(&bytes).await.ok()?;
                    continue;
                }
                Ok(AggregatedMessage::Pong(_)) => continue,
                Ok(AggregatedMessage::Close(reason)) => return Some(reason.unwrap_or_else(|| CloseCode::Normal.into())),
                Err(error) => return Some(misspoken(&error)),
            };
            let said = match frame {
                Ok(frame) => {
                    self.stuck.set(true);
                    let said = speaker.say(frame).await;
                    self.stuck.set(false);
                    self.heard.set(Instant::now());
                    said
                }
                Err(error) => Err(error),
            };
            match said {
                Ok(true) => {}
                // The session is over, and what it has still to tell ends the connection.
                Ok(false) => std::future::pending().await,
                Err(error) => socket.text(self.error_frame(&error)).await.ok()?,
            }
        }
    }

    /// Tells the peer what the session has to tell, to its end.
    async fn tell(&self, mut listener: Listener) -> Option<CloseReason> {
        let mut socket = self.socket.clone();
        while let Some(event) = listener.next().await {
            let frame = match event {
                Event::Frame(frame) => frame,
                Event::Failed(error) => self.error_frame(&error),
                Event::Closed(Close::Normal) => return Some(CloseCode::Normal.into()),
                Event::Closed(Close::GoingAway) => return Some(CloseCode::Away.into()),
                Event::Closed(Close::Broken) => return Some(CloseCode::Error.into()),
            };
            socket.text(frame).await.ok()?;
            self.heard.set(Instant::now());
        }
        Some(CloseCode::Error.into())
    }

    /// Pings the peer, and returns when it is dead.
    async fn watch(&self) {
        let pings = async {
            let mut socket = self.socket.clone();
            let mut pinged = Instant::now();
            loop {
                sleep(PING_WHILE_STUCK).await;
                if pinged.elapsed() >= PING || self.stuck.get() {
                    if socket.ping(b"").await.is_err() {
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

    fn error_frame(&self, error: &Error) -> String {
        ServerFrame::Error { error: (self.body)(error) }.to_json()
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
