//! Every frame of a terminal's WebSocket, in both directions, as JSON. Pure.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    engine::{
        exec::{Size, Source},
        processes::Signal,
    },
    error::{Error, Result},
    terminal::{MAX_SIZE, Mode},
};

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// Bytes for the program, in any number.
    Stdin(Vec<u8>),
    Resize(Size),
    Signal(Signal),
    /// End the session and everything it started.
    Close,
}

impl ClientFrame {
    /// Reads a frame. Members that it doesn't know are passed over.
    ///
    /// # Errors
    /// [`Error::Invalid`] with `INVALID_FRAME` and the member that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let frame: Value =
            serde_json::from_str(text).map_err(|error| invalid("frame", format!("not JSON: {error}"), Value::Null))?;
        let Value::Object(mut frame) = frame else {
            return Err(invalid("frame", "a frame is a JSON object".to_owned(), Value::Null));
        };
        match frame.get("type").and_then(Value::as_str) {
            Some("stdin") => stdin(&mut frame).map(Self::Stdin),
            Some("resize") => Ok(Self::Resize(Size { cols: side(&frame, "cols")?, rows: side(&frame, "rows")? })),
            Some("signal") => frame.get("name").and_then(Value::as_str).and_then(|name| name.parse().ok()).map_or_else(
                || Err(wrong(&frame, "name", "a signal is INT, TERM, KILL, HUP, QUIT, USR1 or USR2, with or without SIG")),
                |signal| Ok(Self::Signal(signal)),
            ),
            Some("close") => Ok(Self::Close),
            _ => Err(wrong(&frame, "type", "a frame's type is stdin, resize, signal or close")),
        }
    }
}

/// The bytes of a frame with input. Its data is never repeated in an error: it may be a password.
fn stdin(frame: &mut Map<String, Value>) -> Result<Vec<u8>> {
    let encoding = match frame.get("encoding") {
        None => Encoding::Utf8,
        Some(encoding) => Encoding::deserialize(encoding).map_err(|_| wrong(frame, "encoding", "encoding is utf8 or base64"))?,
    };
    let Some(Value::String(data)) = frame.remove("data") else {
        return Err(invalid("data", "data is a text".to_owned(), Value::Null));
    };
    match encoding {
        Encoding::Utf8 => Ok(data.into_bytes()),
        Encoding::Base64 => {
            BASE64_STANDARD.decode(data).map_err(|error| invalid("data", format!("data is not base64: {error}"), Value::Null))
        }
    }
}

/// One side of a terminal.
fn side(frame: &Map<String, Value>, field: &str) -> Result<u16> {
    let number = frame.get(field).and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
    number
        .filter(|number| (1..=MAX_SIZE).contains(number))
        .ok_or_else(|| wrong(frame, field, &format!("{field} is a number from 1 to {MAX_SIZE}")))
}

fn wrong(frame: &Map<String, Value>, field: &str, message: &str) -> Error {
    invalid(field, message.to_owned(), frame.get(field).cloned().unwrap_or(Value::Null))
}

/// A frame that makes no sense, or not here.
pub(super) fn invalid(field: &str, message: String, provided: Value) -> Error {
    Error::invalid("INVALID_FRAME", field, message, provided)
}

/// How bytes are written into a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Utf8,
    Base64,
}

/// What the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerFrame {
    /// First, and again when an attached session becomes an exec.
    Ready {
        session: Uuid,
        mode: Mode,
        tty: bool,
        /// That of the first byte of output that will come.
        offset: u64,
        /// Whether bytes that were asked for are gone.
        lost: bool,
    },
    /// Output from one offset up to another is gone.
    Gap {
        from: u64,
        to: u64,
    },
    Stdout(Data),
    Stderr(Data),
    /// The last one. A signal's death is 128 + its number.
    Exit {
        code: i64,
    },
    /// With the same body as a failed request.
    Error {
        error: Value,
    },
}

/// A stretch of output, as it is written into a frame.
#[derive(Debug, Serialize)]
pub struct Data {
    data: String,
    encoding: Encoding,
    /// That of the first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

impl ServerFrame {
    /// A frame with output: as text, or in base64 where not all of it is UTF-8.
    pub fn output(source: Source, bytes: Vec<u8>, offset: Option<u64>) -> Self {
        let data = match String::from_utf8(bytes) {
            Ok(data) => Data { data, encoding: Encoding::Utf8, offset },
            Err(error) => Data { data: BASE64_STANDARD.encode(error.as_bytes()), encoding: Encoding::Base64, offset },
        };
        match source {
            Source::Stdout => Self::Stdout(data),
            Source::Stderr => Self::Stderr(data),
        }
    }

    /// About how long it will be, in bytes, so that a long one is not copied again and again as it grows.
    fn size_hint(&self) -> usize {
        match self {
            Self::Stdout(data) | Self::Stderr(data) => 128 + data.data.len() + data.data.len() / 4,
            _ => 128,
        }
    }

    /// The frame as it is sent.
    pub fn to_json(&self) -> String {
        let mut json = Vec::with_capacity(self.size_hint());
        // Strings, numbers and values that were JSON already always become JSON.
        let _ = serde_json::to_writer(&mut json, self);
        String::from_utf8(json).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_clients_frames_are_read() {
        for (text, expected) in [
            (r#"{"type":"stdin","data":"ls\n","encoding":"utf8"}"#, ClientFrame::Stdin(b"ls\n".to_vec())),
            (r#"{"data":"é","type":"stdin","more":[1]}"#, ClientFrame::Stdin("é".as_bytes().to_vec())),
            (r#"{"type":"stdin","data":"","encoding":"base64"}"#, ClientFrame::Stdin(Vec::new())),
            (r#"{"type":"stdin","data":"AP8=","encoding":"base64"}"#, ClientFrame::Stdin(vec![0, 255])),
            (r#"{"type":"resize","cols":132,"rows":1000}"#, ClientFrame::Resize(Size { cols: 132, rows: 1000 })),
            (r#"{"type":"signal","name":"INT"}"#, ClientFrame::Signal(Signal::Int)),
            (r#"{"type":"signal","name":"SIGUSR2"}"#, ClientFrame::Signal(Signal::Usr2)),
            (r#"{"type":"close"}"#, ClientFrame::Close),
        ] {
            assert_eq!(ClientFrame::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_frame_that_makes_no_sense_names_what_is_wrong() {
        for (text, field) in [
            ("", "frame"),
            ("[]", "frame"),
            ("{}", "type"),
            (r#"{"type":"dance"}"#, "type"),
            (r#"{"type":7}"#, "type"),
            (r#"{"type":"stdin"}"#, "data"),
            (r#"{"type":"stdin","data":5}"#, "data"),
            (r#"{"type":"stdin","data":"x","encoding":"latin1"}"#, "encoding"),
            (r#"{"type":"resize","cols":"80","rows":24}"#, "cols"),
            (r#"{"type":"resize","cols":80}"#, "rows"),
            (r#"{"type":"resize","cols":80,"rows":24.5}"#, "rows"),
            (r#"{"type":"signal"}"#, "name"),
            (r#"{"type":"stdin","data":"AP8","encoding":"base64"}"#, "data"),
            (r#"{"type":"resize","cols":0,"rows":24}"#, "cols"),
            (r#"{"type":"resize","cols":80,"rows":-1}"#, "rows"),
            (r#"{"type":"resize","cols":80,"rows":99999}"#, "rows"),
            (r#"{"type":"signal","name":"STOP"}"#, "name"),
            (r#"{"type":"signal","name":"int"}"#, "name"),
        ] {
            match ClientFrame::parse(text) {
                Err(Error::Invalid(invalid)) => {
                    assert_eq!((invalid.code, invalid.field.as_str()), ("INVALID_FRAME", field), "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_servers_frames_are_the_contracts() {
        let session = Uuid::nil();
        let ready = ServerFrame::Ready { session, mode: Mode::Shell, tty: true, offset: 7, lost: true };
        let ready_json = json!({ "type": "ready", "session": session, "mode": "shell", "tty": true, "offset": 7, "lost": true });
        let text = ServerFrame::output(Source::Stdout, b"a\n".to_vec(), None);
        let bytes = ServerFrame::output(Source::Stderr, vec![0, 255], Some(5));
        for (frame, expected) in [
            (ready, ready_json),
            (ServerFrame::Gap { from: 1, to: 5 }, json!({ "type": "gap", "from": 1, "to": 5 })),
            (text, json!({ "type": "stdout", "data": "a\n", "encoding": "utf8" })),
            (bytes, json!({ "type": "stderr", "data": "AP8=", "encoding": "base64", "offset": 5 })),
            (ServerFrame::Exit { code: 137 }, json!({ "type": "exit", "code": 137 })),
            (ServerFrame::Error { error: json!({ "code": "X" }) }, json!({ "type": "error", "error": { "code": "X" } })),
        ] {
            assert_eq!(serde_json::from_str::<Value>(&frame.to_json()).unwrap(), expected);
        }
    }
}
