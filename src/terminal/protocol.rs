//! Every frame of a terminal's WebSocket, in both directions, as JSON. Pure.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    engine::{
        exec::{Size, Source},
        processes::Signal,
    },
    error::{Error, Result},
    terminal::{MAX_SIZE, Mode, utf8::Chunk},
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
        let wire: Wire = serde_json::from_str(text).map_err(|error| invalid("frame", error.to_string(), Value::Null))?;
        match wire {
            Wire::Stdin { data, encoding: Encoding::Utf8 } => Ok(Self::Stdin(data.into_bytes())),
            Wire::Stdin { data, encoding: Encoding::Base64 } => {
                let bytes = BASE64_STANDARD.decode(data);
                bytes.map(Self::Stdin).map_err(|error| invalid("data", format!("not base64: {error}"), Value::Null))
            }
            Wire::Resize { cols, rows } => {
                let bounded = |field: &str, number: i64| {
                    let fits = u16::try_from(number).ok().filter(|number| (1..=MAX_SIZE).contains(number));
                    fits.ok_or_else(|| invalid(field, format!("{field} is a number from 1 to {MAX_SIZE}"), number.into()))
                };
                Ok(Self::Resize(Size { cols: bounded("cols", cols)?, rows: bounded("rows", rows)? }))
            }
            Wire::Signal { name } => name.parse().map(Self::Signal).map_err(|()| {
                invalid(
                    "name",
                    "a signal is INT, TERM, KILL, HUP, QUIT, USR1 or USR2, with or without SIG".to_owned(),
                    name.into(),
                )
            }),
            Wire::Close => Ok(Self::Close),
        }
    }
}

/// A frame that makes no sense, or not here.
pub(super) fn invalid(field: &str, message: String, provided: Value) -> Error {
    Error::invalid("INVALID_FRAME", field, message, provided)
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Wire {
    Stdin {
        data: String,
        #[serde(default)]
        encoding: Encoding,
    },
    Resize {
        cols: i64,
        rows: i64,
    },
    Signal {
        name: String,
    },
    Close,
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
}

impl ServerFrame {
    /// A frame with output.
    pub fn output(source: Source, chunk: Chunk) -> Self {
        let data = match chunk {
            Chunk::Text(data) => Data { data, encoding: Encoding::Utf8 },
            Chunk::Bytes(bytes) => Data { data: BASE64_STANDARD.encode(bytes), encoding: Encoding::Base64 },
        };
        match source {
            Source::Stdout => Self::Stdout(data),
            Source::Stderr => Self::Stderr(data),
        }
    }

    /// The frame as it is sent.
    pub fn to_json(&self) -> String {
        // Strings, numbers and values that were JSON already always become JSON.
        serde_json::to_string(self).unwrap_or_default()
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
            (r#"{"type":"stdin"}"#, "frame"),
            (r#"{"type":"stdin","data":"x","encoding":"latin1"}"#, "frame"),
            (r#"{"type":"dance"}"#, "frame"),
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
        let ready = ServerFrame::Ready { session, mode: Mode::Shell, tty: true };
        let text = ServerFrame::output(Source::Stdout, Chunk::Text("a\n".to_owned()));
        let bytes = ServerFrame::output(Source::Stderr, Chunk::Bytes(vec![0, 255]));
        for (frame, expected) in [
            (ready, json!({ "type": "ready", "session": session, "mode": "shell", "tty": true })),
            (text, json!({ "type": "stdout", "data": "a\n", "encoding": "utf8" })),
            (bytes, json!({ "type": "stderr", "data": "AP8=", "encoding": "base64" })),
            (ServerFrame::Exit { code: 137 }, json!({ "type": "exit", "code": 137 })),
            (ServerFrame::Error { error: json!({ "code": "X" }) }, json!({ "type": "error", "error": { "code": "X" } })),
        ] {
            assert_eq!(serde_json::from_str::<Value>(&frame.to_json()).unwrap(), expected);
        }
    }
}
