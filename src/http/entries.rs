//! `/containers/{cuid}/files`: single files and folders of a container's mount, listed, written, made, deleted and moved.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Json as Answer, Payload},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    App,
    containers::NoQuery,
    envelope::to_the_end,
    error::ApiResult,
    files::{off_worker, required},
    request::{CuidPath, Json, Query},
    terms::condition,
    uploads::STALL,
};
use crate::{
    domain::{json as document, obstacle::Obstacle},
    error::{Error, Result, TooLarge},
    files::{
        edit::{self, Made, Writing},
        list::{self, Entry},
        path::RelPath,
        root::Mount,
        upload::Upload,
    },
};

/// How many entries a page has at the most, and without being told.
const PAGE: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    #[serde(default)]
    path: String,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteQuery {
    path: Option<String>,
    /// Permission bits in octal.
    mode: Option<String>,
    #[serde(default)]
    parents: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FolderQuery {
    path: Option<String>,
    #[serde(default)]
    parents: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    path: Option<String>,
    #[serde(default)]
    recursive: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    from: String,
    to: String,
    #[serde(default)]
    overwrite: bool,
}

#[derive(Serialize)]
pub(crate) struct ListView {
    path: String,
    #[serde(rename = "type")]
    kind: &'static str,
    entries: Vec<EntryView>,
    total: u64,
    limit: usize,
    next_cursor: Option<String>,
}

/// An entry. What is no UTF-8 is shown as far as it is, with all of its bytes beside it.
#[derive(Serialize)]
struct EntryView {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_base64: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    size: u64,
    mode: String,
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// `GET /containers/{cuid}/files`
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

/// `PUT /containers/{cuid}/files`
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
    Ok(response.json(json!({
        "cuid": path.0, "path": name, "type": "file", "size": written.size, "mode": octal(written.mode),
        "modified": written.modified.map(|time| time.to_rfc3339()), "etag": written.etag,
    })))
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

/// `DELETE /containers/{cuid}/files`
pub(crate) async fn delete(
    app: Data<App>,
    path: CuidPath,
    query: Query<DeleteQuery>,
    request: HttpRequest,
) -> ApiResult<Answer<Value>> {
    let DeleteQuery { path: wanted, recursive } = query.0;
    let (wanted, only) = (required(wanted)?, condition(request.headers())?);
    let name = wanted.as_str().to_owned();
    let deletion = async move { app.containers.delete_file(path.0, wanted, recursive, only).await };
    let kind = to_the_end(&request, deletion).await?;
    Ok(Answer(json!({"cuid": path.0, "path": name, "type": kind, "status": "deleted"})))
}

/// `POST /containers/{cuid}/files/mkdir`
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
    Ok(HttpResponse::build(status).json(json!({"cuid": path.0, "path": name, "type": "folder", "changed": changed})))
}

/// `POST /containers/{cuid}/files/move`
pub(crate) async fn rename(
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    request: HttpRequest,
    body: Json,
) -> ApiResult<Answer<Value>> {
    let Move { from, to, overwrite } =
        document::read(&body.0, |field| if field == "overwrite" { "INVALID_JSON" } else { "INVALID_PATH" })?;
    let (from, to, only) = (RelPath::parse("from", &from)?, RelPath::parse("to", &to)?, condition(request.headers())?);
    let names = (from.as_str().to_owned(), to.as_str().to_owned());
    let moved = to_the_end(&request, async move { app.containers.move_file(path.0, from, to, overwrite, only).await }).await?;
    Ok(Answer(json!({
        "cuid": path.0, "from": names.0, "to": names.1, "type": moved.kind, "etag": moved.etag, "changed": moved.changed,
    })))
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

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let (name, name_base64) = text(entry.name);
        let (target, target_base64) = entry.target.map(text).map_or((None, None), |(text, bytes)| (Some(text), bytes));
        Self {
            name,
            name_base64,
            kind: entry.kind,
            size: entry.size,
            mode: octal(entry.mode),
            modified: entry.modified.map(|time| time.to_rfc3339()),
            target,
            target_base64,
            etag: entry.etag,
        }
    }
}

/// Bytes as text; with the bytes themselves in base64, where that is not all of them.
fn text(bytes: Vec<u8>) -> (String, Option<String>) {
    String::from_utf8(bytes).map_or_else(
        |error| (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(STANDARD.encode(error.as_bytes()))),
        |text| (text, None),
    )
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
