//! Requests after which the connection belongs to a program: the engine answers once, then both sides speak bytes.
//!
//! bollard has such a call too, but it looks for stream headers in the output of a TTY, where there are none: output that begins
//! with a byte below 3 would be taken for one and the terminal would wait for gigabytes. So the bytes are taken from here as they are.

use std::{io::Cursor, time::Duration};

use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode,
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

/// Posts `body` to `path` of the engine at `host` (`unix://` or `tcp://`), and takes the connection over.
pub(super) async fn post(host: &str, path: &str, body: &Value) -> Result<(Reader, Writer)> {
    match host.split_once("://") {
        Some(("unix", socket)) => take_over(UnixStream::connect(socket).await.map_err(unavailable)?, path, body).await,
        Some((_, address)) => {
            let stream = TcpStream::connect(address.trim_end_matches('/')).await.map_err(unavailable)?;
            stream.set_nodelay(true).map_err(unavailable)?;
            take_over(stream, path, body).await
        }
        None => take_over(UnixStream::connect(host).await.map_err(unavailable)?, path, body).await,
    }
}

async fn take_over<S>(stream: S, path: &str, body: &Value) -> Result<(Reader, Writer)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let response = ask(stream, path, body).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(unavailable)?;
    let lost = |_| Error::EngineUnavailable("its connection could not be taken over".to_owned());
    // From here on every byte goes between the socket and the program's session, with nothing of HTTP's in between.
    let Parts { io, read_buf, .. } = upgraded.downcast::<TokioIo<S>>().map_err(lost)?;
    let (reader, writer) = split(io.into_inner());
    // What came with the answer, in a copy, because it keeps all of the buffer that it was read into.
    let early = Cursor::new(read_buf.to_vec());
    Ok((Box::new(early.chain(reader)), Box::new(writer)))
}

async fn ask<S>(stream: S, path: &str, body: &Value) -> Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
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
