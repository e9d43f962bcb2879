//! Requests whose answers are bytes: those after which the connection belongs to a program, where the engine answers once and then both
//! sides speak, and those that go on for as long as they are read.
//!
//! bollard has such a call too, but it looks for stream headers in the output of a TTY, where there are none: output that begins
//! with a byte below 3 would be taken for one and the terminal would wait for gigabytes. So the bytes are taken from here as they are.

use std::{io::Cursor, time::Duration};

use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode, Version,
    body::Incoming,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE},
    upgrade::Parts,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, split},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    engine::unavailable,
    error::{Error, Result},
};

/// How long the engine may take to hand a connection over; it does so before it starts the program.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the engine sends once the connection is ours.
pub(super) type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// What the engine gets.
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection to the engine.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}
type Socket = Box<dyn Wire>;

/// An answer's bytes. The connection is its own, and closed with it: so the engine stops, too, also where it had nothing to say.
pub(super) struct Bytes {
    body: Incoming,
    endless: bool,
    _connection: AbortOnDropHandle<()>,
}

impl Bytes {
    /// The next bytes; `None` at the end. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] where the connection broke off, or the engine hangs in an answer that has an end.
    pub(super) async fn next(&mut self) -> Result<Option<bytes::Bytes>> {
        let patience = if self.endless { Duration::MAX } else { PATIENCE };
        while let Some(frame) = timeout(patience, self.body.frame()).await.map_err(unavailable)? {
            if let Ok(bytes) = frame.map_err(unavailable)?.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// Gets what is at `path` of the engine at `host`. What goes on, `endless`, is asked for in the old version of HTTP, in which every line that
/// the engine has is no chunk of its own to take apart; but there, an end is not told from a connection that broke off.
pub(super) async fn get(host: &str, path: &str, endless: bool) -> Result<Bytes> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(connect(host).await?)).await.map_err(unavailable)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
    let version = if endless { Version::HTTP_10 } else { Version::HTTP_11 };
    let request = Request::get(path).version(version).header(HOST, "docker").body(String::new()).map_err(unavailable)?;
    let response = timeout(PATIENCE, sender.send_request(request)).await.map_err(unavailable)?.map_err(unavailable)?;
    if response.status() != StatusCode::OK {
        return Err(refusal(response).await);
    }
    Ok(Bytes { body: response.into_body(), endless, _connection: connection })
}

/// Posts `body` to `path` of the engine at `host` (`unix://` or `tcp://`), and takes the connection over.
pub(super) async fn post(host: &str, path: &str, body: &Value) -> Result<(Reader, Writer)> {
    let response = ask(connect(host).await?, path, body).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(unavailable)?;
    let lost = |_| Error::EngineUnavailable("its connection could not be taken over".to_owned());
    // From here on every byte goes between the socket and the program's session, with nothing of HTTP's in between.
    let Parts { io, read_buf, .. } = upgraded.downcast::<TokioIo<Socket>>().map_err(lost)?;
    let (reader, writer) = split(io.into_inner());
    // What came with the answer, in a copy, because it keeps all of the buffer that it was read into.
    let early = Cursor::new(read_buf.to_vec());
    Ok((Box::new(early.chain(reader)), Box::new(writer)))
}

async fn connect(host: &str) -> Result<Socket> {
    Ok(match host.split_once("://") {
        Some(("unix", socket)) => Box::new(UnixStream::connect(socket).await.map_err(unavailable)?),
        Some((_, address)) => {
            let stream = TcpStream::connect(address.trim_end_matches('/')).await.map_err(unavailable)?;
            stream.set_nodelay(true).map_err(unavailable)?;
            Box::new(stream)
        }
        None => Box::new(UnixStream::connect(host).await.map_err(unavailable)?),
    })
}

async fn ask(stream: Socket, path: &str, body: &Value) -> Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unavailable)?;
    // It ends by itself: when the connection is handed over, or with the answer that refuses to.
    tokio::spawn(connection.with_upgrades());
    let request = Request::post(path)
        .header(HOST, "docker")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "tcp")
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_string())
        .map_err(unavailable)?;
    timeout(PATIENCE, sender.send_request(request)).await.map_err(unavailable)?.map_err(unavailable)
}

/// The engine's own words, out of an answer that is not the expected one.
async fn refusal(response: Response<Incoming>) -> Error {
    let status = response.status();
    match response.into_body().collect().await {
        Err(failure) => unavailable(failure),
        Ok(body) => {
            let said: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
            Error::EngineRefused(said["message"].as_str().map_or_else(|| status.to_string(), str::to_owned))
        }
    }
}
