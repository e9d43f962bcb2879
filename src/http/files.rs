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
    domain::schema::described,
    error::{Error, Result},
    files::{archive::Packer, path::RelPath, pipe, root::Mount},
};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    /// Which file.
    #[param(value_type = Option<FilePath>, inline, required = true, example = "boot.py")]
    path: Option<String>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FolderQuery {
    /// Which folder or file; the mount itself where nothing is said.
    #[param(value_type = Option<MountPath>, inline, example = "static")]
    path: Option<String>,
}

/// The headers of a download that need not be whole.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes the headers, which the library reads")]
pub(crate) struct Ranges {
    /// The part that is wanted.
    #[param(rename = "Range", example = "bytes=0-1023")]
    range: Option<String>,
    /// Give it only if its `ETag` is none of these; else the answer is 304.
    #[param(rename = "If-None-Match", example = "\"a1:78:5f\"")]
    if_none_match: Option<String>,
    /// Give it only if its `ETag` is one of these; else the answer is 412.
    #[param(rename = "If-Match", example = "*")]
    if_match: Option<String>,
}

/// The bytes of a file.
pub(crate) struct Content;

/// A path below a container's mount, or the mount itself.
pub(crate) struct MountPath;

/// A path below a container's mount.
pub(crate) struct FilePath;

described! {
    MountPath: {
        "type": "string",
        "description": "A path below the mount, or the mount itself; a leading / or /app/ is the mount.",
        "pattern": r"^(?!\.\.(?:/|$))[^/\x00]{0,255}(?:/(?!\.\.(?:/|$))[^/\x00]{0,255})*$",
        "maxLength": 4095,
    }
    FilePath: {
        "type": "string",
        "description": "A path below the mount; a leading / or /app/ is the mount.",
        "pattern": r"^(?!(?:/app(?=/|$))?(?:\.?(?:/|$))*$)(?!\.\.(?:/|$))[^/\x00]{0,255}(?:/(?!\.\.(?:/|$))[^/\x00]{0,255})*$",
        "maxLength": 4095,
    }
    Content: {"type": "string", "format": "binary", "description": "The bytes of a file."}
}

/// Downloads a file
#[utoipa::path(
    get,
    path = "/containers/{cuid}/download",
    tag = "files",
    params(FileQuery, Ranges),
    responses(
        (status = 200, description = "The file; its type goes by its name", body = Content, content_type = "*/*", headers(
            ("ETag" = String, description = "The file's, for If-None-Match"),
            ("Accept-Ranges" = String, description = "bytes"),
            ("Content-Disposition" = String, description = "The name to keep it under"),
        )),
        (status = 206, description = "The part that was wanted", body = Content, content_type = "*/*", headers(
            ("Content-Range" = String, description = "Which part it is"),
        )),
        (status = 304, description = "The file is the one that the client has"),
    ),
)]
pub(crate) async fn download(
    app: Data<App>,
    path: CuidPath,
    query: Query<FileQuery>,
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

/// Downloads a folder as an archive
///
/// It is made while it is sent.
#[utoipa::path(
    get,
    path = "/containers/{cuid}/download-zip",
    tag = "files",
    params(FolderQuery),
    responses((status = 200, description = "The archive", body = Content, content_type = "application/zip", headers(
        ("Content-Disposition" = String, description = "The name to keep it under"),
    ))),
)]
pub(crate) async fn download_zip(
    app: Data<App>,
    path: CuidPath,
    query: Query<FolderQuery>,
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
