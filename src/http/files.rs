//! Files below a container's mount: download of a file, or of a folder as an archive.

use std::convert::Infallible;

use actix_files::NamedFile;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, ContentDisposition, DispositionParam, DispositionType},
    },
    web::{Bytes, Data},
};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;

use super::{
    App,
    error::{ApiError, ApiResult},
    request::{CuidPath, Query},
};
use crate::{
    error::{Error, Result},
    files::{archive::Packer, path::RelPath, pipe, root::Mount},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathQuery {
    path: Option<String>,
}

/// `GET /containers/{cuid}/download`
pub(crate) async fn download(
    app: Data<App>,
    path: CuidPath,
    query: Query<PathQuery>,
    request: HttpRequest,
) -> ApiResult<HttpResponse> {
    let wanted = required(query.0.path)?;
    let folder = app.containers.folder(path.0)?;
    let name = wanted.file_name().unwrap_or_default().to_owned();
    let file = off_worker(move || {
        let file = Mount::open(&folder)?.open_file(&wanted)?;
        NamedFile::from_file(file, wanted.file_name().unwrap_or_default()).map_err(Error::io("look at the file"))
    })
    .await?;
    Ok(sent(file, &name, &request))
}

/// A file as it is sent, whole or in ranges, to be kept under this name.
pub(super) fn sent(file: NamedFile, name: &str, request: &HttpRequest) -> HttpResponse {
    let mut response = file.set_content_disposition(attachment(name)).into_response(request);
    if response.status().is_client_error() {
        // It carries the file's headers, and an error is no file. Only which ranges there are is of use.
        let mut refusal = HttpResponse::build(response.status());
        if let Some(range) = response.headers().get(header::CONTENT_RANGE) {
            refusal.insert_header((header::CONTENT_RANGE, range.clone()));
        }
        return refusal.finish();
    }
    // What a container wrote is never a page of this server.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

/// `GET /containers/{cuid}/download-zip`
pub(crate) async fn download_zip(
    app: Data<App>,
    path: CuidPath,
    query: Query<PathQuery>,
    request: HttpRequest,
) -> ApiResult<HttpResponse> {
    let wanted = RelPath::parse("path", query.0.path.as_deref().unwrap_or_default())?;
    let folder = app.containers.folder(path.0)?;
    let name = wanted.file_name().map_or_else(|| path.0.to_string(), str::to_owned);
    let packer = off_worker(move || Packer::open(&Mount::open(&folder)?, &wanted)).await?;
    let mut response = HttpResponse::Ok();
    response.content_type("application/zip").insert_header(attachment(&format!("{name}.zip")));
    if request.method() == Method::HEAD {
        // The headers of an archive that nobody makes.
        return Ok(response.streaming(stream::empty::<std::result::Result<Bytes, Infallible>>()));
    }
    Ok(response.streaming(pipe::stream(&path.0.to_string(), move |sink| packer.only_while(sink.is_read()).run(sink)).await?))
}

/// The path that a query has to name.
pub(super) fn required(path: Option<String>) -> Result<RelPath> {
    let path = path.ok_or_else(|| Error::invalid("INVALID_PATH", "path", "path is required", Value::Null))?;
    RelPath::parse("path", &path)
}

/// A container may give its files any name. One that can't stand in quotes as it is, is sent in its encoded form.
fn attachment(name: &str) -> ContentDisposition {
    use header::{Charset, ExtendedValue};
    let plain = name.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'%'));
    let parameter = if plain {
        DispositionParam::Filename(name.to_owned())
    } else {
        let value = name.as_bytes().to_vec();
        DispositionParam::FilenameExt(ExtendedValue { charset: Charset::Ext("UTF-8".into()), language_tag: None, value })
    };
    ContentDisposition { disposition: DispositionType::Attachment, parameters: vec![parameter] }
}

/// Runs disk work where it keeps no request waiting.
pub(super) async fn off_worker<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> ApiResult<T> {
    let span = tracing::Span::current();
    let ran = actix_web::web::block(move || span.in_scope(work)).await;
    ran.unwrap_or_else(|error| Err(Error::io("finish the disk work")(std::io::Error::other(error)))).map_err(ApiError::from)
}
