//! `/containers/{cuid}/files`: single files and folders of a container's mount, listed, written, made, deleted and moved.

mod shape;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Json as Answer, Payload},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    App,
    containers::NoQuery,
    envelope::to_the_end,
    error::ApiResult,
    files::{Content, off_worker, required},
    request::{CuidPath, Json, Query},
    terms::{FileCondition, condition},
    uploads::STALL,
};
use crate::{
    domain::{json as document, obstacle::Obstacle},
    error::{Error, Result, TooLarge},
    files::{
        edit::{self, Made, Writing},
        list,
        path::RelPath,
        root::Mount,
        upload::Upload,
    },
};

use shape::{
    DeleteQuery, EntryView, FolderQuery, FolderView, ListQuery, ListView, Move, MovedView, RemovedView, WriteQuery, WrittenView,
};

/// How many entries a page has at the most, and without being told.
const PAGE: usize = 1000;

/// Lists a folder of a container's mount
#[utoipa::path(
    get,
    path = "/containers/{cuid}/files",
    tag = "files",
    params(ListQuery),
    responses((status = 200, description = "A page of it", body = ListView)),
)]
pub(crate) async fn list(app: Data<App>, path: CuidPath, query: Query<ListQuery>) -> ApiResult<Answer<ListView>> {
    let ListQuery { path: wanted, limit, cursor } = query.0;
    let wanted = RelPath::parse("path", &wanted)?;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(Error::invalid("INVALID_QUERY", "limit", format!("limit: a number from 1 to {PAGE}"), limit).into());
    }
    let after = cursor.map_or(Ok(Vec::new()), |cursor| {
        let refusal = "cursor: a next_cursor of an earlier answer";
        URL_SAFE_NO_PAD.decode(&cursor).map_err(|_| Error::invalid("INVALID_QUERY", "cursor", refusal, cursor))
    })?;
    let (folder, at) = (app.containers.folder(path.0)?, wanted.clone());
    let listed = off_worker(move || list::list(&Mount::open(&folder)?, &at, &after, limit)).await?;
    let last = listed.entries.last().filter(|_| listed.more);
    Ok(Answer(ListView {
        path: wanted.as_str().to_owned(),
        kind: listed.kind,
        total: listed.total,
        limit,
        next_cursor: last.map(|last| URL_SAFE_NO_PAD.encode(&last.name)),
        entries: listed.entries.into_iter().map(EntryView::from).collect(),
    }))
}

/// Writes a file whole
///
/// The body is its content, whatever its type.
#[utoipa::path(
    put,
    path = "/containers/{cuid}/files",
    tag = "files",
    params(WriteQuery, FileCondition),
    request_body(content = Content, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The file that was there was replaced", body = WrittenView, headers(
            ("ETag" = String, description = "The file's, for If-Match; not given where it is not known"),
        )),
        (status = 201, description = "The file is there, and was not before", body = WrittenView, headers(
            ("ETag" = String, description = "The file's, for If-Match; not given where it is not known"),
        )),
    ),
)]
pub(crate) async fn write(
    app: Data<App>,
    path: CuidPath,
    query: Query<WriteQuery>,
    request: HttpRequest,
    body: Payload,
) -> ApiResult<HttpResponse> {
    let WriteQuery { path: to, mode, parents } = query.0;
    let to = required(to)?;
    let mode = mode.as_deref().map(permissions).transpose()?;
    let how = Writing { mode, parents, condition: condition(request.headers())? };
    if request.headers().contains_key(header::CONTENT_RANGE) {
        let message = "A file is written whole: Content-Range is not taken";
        return Err(Error::invalid("INVALID_REQUEST", "Content-Range", message, Value::Null).into());
    }
    let folder = app.containers.folder(path.0)?;
    let incoming = receive(&request, body, &folder, app.upload_bytes).await?;
    let name = to.as_str().to_owned();
    let written = to_the_end(&request, async move { app.containers.write_file(path.0, to, incoming, how).await }).await?;
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = HttpResponse::build(status);
    if let Some(etag) = &written.etag {
        response.insert_header((header::ETAG, etag.as_str()));
    }
    Ok(response.json(WrittenView {
        cuid: path.0,
        path: name,
        kind: "file",
        size: written.size,
        mode: octal(written.mode),
        modified: written.modified.map(|time| time.to_rfc3339()),
        etag: written.etag,
    }))
}

/// Takes the whole body to the disk, beside the mount.
async fn receive(request: &HttpRequest, mut body: Payload, folder: &std::path::Path, limit: u64) -> Result<Upload> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(Error::TooLarge { what: TooLarge::Body, limit });
    }
    let cut = |why: String| Error::invalid("INVALID_REQUEST", "body", format!("the body was cut short: {why}"), Value::Null);
    let mut spool = edit::receive(folder, limit).await?;
    while let Some(chunk) = timeout(STALL, body.next())
        .await
        .map_err(|_| cut(format!("nothing of it came for {} s", STALL.as_secs())))?
        .transpose()
        .map_err(|error| cut(error.to_string()))?
    {
        spool.write(&chunk).await?;
    }
    spool.finish().await
}

/// Deletes a file or a folder
#[utoipa::path(
    delete,
    path = "/containers/{cuid}/files",
    tag = "files",
    params(DeleteQuery, FileCondition),
    responses((status = 200, description = "It is gone", body = RemovedView)),
)]
pub(crate) async fn delete(
    app: Data<App>,
    path: CuidPath,
    query: Query<DeleteQuery>,
    request: HttpRequest,
) -> ApiResult<Answer<RemovedView>> {
    let DeleteQuery { path: wanted, recursive } = query.0;
    let (wanted, only) = (required(wanted)?, condition(request.headers())?);
    let name = wanted.as_str().to_owned();
    let deletion = async move { app.containers.delete_file(path.0, wanted, recursive, only).await };
    let kind = to_the_end(&request, deletion).await?;
    Ok(Answer(RemovedView { cuid: path.0, path: name, kind, status: "deleted" }))
}

/// Makes a folder
#[utoipa::path(
    post,
    path = "/containers/{cuid}/files/mkdir",
    tag = "files",
    params(FolderQuery),
    responses(
        (status = 200, description = "It was there already", body = FolderView),
        (status = 201, description = "It is there, and was not before", body = FolderView),
    ),
)]
pub(crate) async fn mkdir(
    app: Data<App>,
    path: CuidPath,
    query: Query<FolderQuery>,
    request: HttpRequest,
) -> ApiResult<HttpResponse> {
    let FolderQuery { path: wanted, parents } = query.0;
    let wanted = required(wanted)?;
    let name = wanted.as_str().to_owned();
    let made = to_the_end(&request, async move { app.containers.make_folder(path.0, wanted, parents).await }).await?;
    let changed = made == Made::New;
    let status = if changed { StatusCode::CREATED } else { StatusCode::OK };
    Ok(HttpResponse::build(status).json(FolderView { cuid: path.0, path: name, kind: "folder", changed }))
}

/// Moves a file or a folder
#[utoipa::path(
    post,
    path = "/containers/{cuid}/files/move",
    tag = "files",
    params(FileCondition),
    request_body = Move,
    responses((status = 200, description = "It is where it was to be", body = MovedView)),
)]
pub(crate) async fn rename(
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    request: HttpRequest,
    body: Json,
) -> ApiResult<Answer<MovedView>> {
    let Move { from, to, overwrite } =
        document::read(&body.0, |field| if field == "overwrite" { "INVALID_JSON" } else { "INVALID_PATH" })?;
    let (from, to, only) = (RelPath::parse("from", &from)?, RelPath::parse("to", &to)?, condition(request.headers())?);
    let names = (from.as_str().to_owned(), to.as_str().to_owned());
    let moved = to_the_end(&request, async move { app.containers.move_file(path.0, from, to, overwrite, only).await }).await?;
    let (from, to) = names;
    Ok(Answer(MovedView { cuid: path.0, from, to, kind: moved.kind, etag: moved.etag, changed: moved.changed }))
}

/// What stands in the way of a change, as clients are told.
pub(crate) fn facts(obstacle: &Obstacle) -> (StatusCode, &'static str, &'static str, Value) {
    let (conflict, id) = (StatusCode::CONFLICT, "conflict");
    match obstacle {
        Obstacle::Exists { path, there } => (conflict, id, "FILE_EXISTS", json!({"path": path, "there": there})),
        Obstacle::NotEmpty { path } => (conflict, id, "FOLDER_NOT_EMPTY", json!({"path": path})),
        Obstacle::Mounted { path, volume } => (conflict, id, "VOLUME_MOUNTED", json!({"path": path, "volume": volume})),
        Obstacle::Unexpected { path, header, etag } => {
            let details = json!({"field": header, "path": path, "etag": etag});
            (StatusCode::PRECONDITION_FAILED, "precondition_failed", "PRECONDITION_FAILED", details)
        }
    }
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

/// Permission bits as a client writes them: nothing that gives a program another user's rights.
fn permissions(text: &str) -> Result<u32> {
    let digits = if text.len() == 4 { text.strip_prefix('0') } else { Some(text) };
    let mode = digits.filter(|digits| digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit()));
    mode.and_then(|digits| u32::from_str_radix(digits, 8).ok()).ok_or_else(|| {
        let message = "mode: three octal digits, such as 640, with or without a 0 before them";
        Error::invalid("INVALID_QUERY", "mode", message, text)
    })
}
