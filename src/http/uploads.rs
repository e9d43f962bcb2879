//! A request's body that is one file, on its way to the disk: as it is, or as the only part of a multipart form.

use std::{cell::RefCell, rc::Rc, time::Duration};

use actix_multipart::Multipart;
use actix_web::{
    HttpMessage, HttpRequest,
    error::PayloadError,
    http::header::{self, HeaderMap},
    web::{Bytes, Payload},
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream::poll_fn};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    domain::schema::described,
    error::{Error, Result, TooLarge},
    files::upload::{Spool, Upload},
};

/// The body that is an archive.
pub(super) struct Archive;

/// The form that has one.
pub(super) struct ArchiveForm;

described! {
    Archive: {"type": "string", "format": "binary", "description": "A zip archive."}
    ArchiveForm: {
        "type": "object",
        "description": "A form with one file, by whatever name.",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary", "description": "A zip archive."}},
        "additionalProperties": false,
    }
}

/// Takes an archive of up to `limit` bytes into `folder`.
///
/// # Errors
/// `INVALID_ZIP` for another type of content, a body that is cut short or stalls; [`Error::TooLarge`]; [`Error::Io`].
pub(super) async fn archive(request: &HttpRequest, body: Payload, folder: &std::path::Path, limit: u64) -> Result<Upload> {
    let content_type = request.content_type().to_ascii_lowercase();
    let multipart = content_type == "multipart/form-data";
    if !multipart && !ARCHIVE_TYPES.contains(&content_type.as_str()) {
        let message = "Content-Type is application/zip, or multipart/form-data with one file";
        return Err(Error::invalid("INVALID_ZIP", "Content-Type", message, content_type));
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit.saturating_add(MULTIPART_BYTES)) {
        return Err(Error::TooLarge { what: TooLarge::Zip, limit });
    }
    let spool = Spool::create(folder, limit).await?;
    if multipart { only_file(spool, request.headers(), body).await } else { fill(spool, body).await }
}

/// What programs call a body that is an archive, with what curl calls any body, and no word of it.
const ARCHIVE_TYPES: [&str; 5] =
    ["application/zip", "application/x-zip-compressed", "application/octet-stream", "application/x-www-form-urlencoded", ""];

/// How long an upload may send nothing before it is given up.
pub(crate) const STALL: Duration = Duration::from_secs(60);

/// How much a multipart body may add to its file, and how much of it may follow the form, in bytes.
const MULTIPART_BYTES: u64 = 64 << 10;

/// Takes a multipart body's only file, and the body to its end: one that breaks off after the form is not the client's whole request.
async fn only_file(spool: Spool, headers: &HeaderMap, body: Payload) -> Result<Upload> {
    let wrong = |why: &str| {
        Error::invalid("INVALID_ZIP", "body", format!("the body is a multipart form with one file: {why}"), Value::Null)
    };
    let body = Rc::new(RefCell::new(body));
    let chunks = || {
        let body = body.clone();
        poll_fn(move |context| body.borrow_mut().poll_next_unpin(context))
    };
    let mut parts = Multipart::new(headers, chunks());
    let first = in_time(parts.try_next()).await?.map_err(|error| wrong(&error.to_string()))?;
    let first = first.ok_or_else(|| wrong("it is empty"))?;
    let archive =
        fill(spool, first.map(|chunk| chunk.map_err(|error| PayloadError::Io(std::io::Error::other(error.to_string()))))).await?;
    match in_time(parts.try_next()).await? {
        Ok(None) => (),
        Ok(Some(_)) => return Err(wrong("it has more parts")),
        Err(error) => return Err(wrong(&error.to_string())),
    }
    let (mut rest, mut length) = (chunks(), 0);
    while let Some(chunk) = next(&mut rest).await? {
        length += chunk.len() as u64;
        if length > MULTIPART_BYTES {
            return Err(wrong(&format!("more than {MULTIPART_BYTES} bytes follow it")));
        }
    }
    Ok(archive)
}

async fn fill(mut spool: Spool, chunks: impl Stream<Item = Chunk>) -> Result<Upload> {
    let mut chunks = std::pin::pin!(chunks);
    while let Some(chunk) = next(&mut chunks).await? {
        spool.write(&chunk).await?;
    }
    spool.finish().await
}

/// A piece of a body.
type Chunk = std::result::Result<Bytes, PayloadError>;

async fn next(chunks: &mut (impl Stream<Item = Chunk> + Unpin)) -> Result<Option<Bytes>> {
    let cut = |error| Error::invalid("INVALID_ZIP", "body", format!("the body was cut short: {error}"), Value::Null);
    in_time(chunks.next()).await?.transpose().map_err(cut)
}

/// What comes of a body before the client is given up.
async fn in_time<T>(coming: impl Future<Output = T>) -> Result<T> {
    let stalled =
        |_| Error::invalid("INVALID_ZIP", "body", format!("nothing of the body came for {} s", STALL.as_secs()), Value::Null);
    timeout(STALL, coming).await.map_err(stalled)
}
