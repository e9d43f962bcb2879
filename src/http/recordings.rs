//! `/containers/{cuid}/recordings`: what was recorded of a container's terminals. They are there whether or not the engine is.

use actix_files::NamedFile;
use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Json as Answer},
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    App,
    containers::NoQuery,
    error::ApiResult,
    files::{Content, Ranges, off_worker, sent},
    request::{CuidPath, Query},
    sessions::id,
};
use crate::{
    domain::id::Cuid,
    error::Error,
    terminal::{Document, Recording},
};

/// A recording as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Recording)]
struct RecordingView {
    #[serde(flatten)]
    document: Document,
    /// Null where there is nothing to download.
    cast_bytes: Option<u64>,
}

/// What was recorded of a container's terminals.
#[derive(Serialize, ToSchema)]
#[schema(as = Recordings, example = json!({"cuid": "c123e4567-e89b-42d3-a456-426614174000", "recordings": [{
    "session": "7d444840-9dc0-41d1-b245-5ffdce74fad2", "state": "complete", "mode": "shell", "tty": true, "user": "admin",
    "remote": "127.0.0.1", "started_at": "2024-01-20T15:30:00+01:00", "ended_at": "2024-01-20T15:31:00+01:00",
    "duration_ms": 60000, "exit_code": 0, "bytes": 512, "cols": 80, "rows": 24, "truncated": false, "missed_bytes": 0,
    "cast_bytes": 900,
}]}))]
pub(crate) struct RecordingsView {
    cuid: Cuid,
    recordings: Vec<RecordingView>,
}

/// A recording that was removed.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordingDeleted, example = json!({"session": "7d444840-9dc0-41d1-b245-5ffdce74fad2", "status": "deleted"}))]
pub(crate) struct RemovedView {
    session: Uuid,
    status: &'static str,
}

/// Lists what was recorded of a container's terminals
#[utoipa::path(
    get,
    path = "/containers/{cuid}/recordings",
    tag = "terminals",
    responses((status = 200, description = "Those that are kept", body = RecordingsView)),
)]
pub(crate) async fn list(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<RecordingsView>> {
    let (folder, recordings) = (app.containers.folder(path.0)?, app.sessions.recordings().clone());
    let list = off_worker(move || recordings.list(&folder)).await?;
    Ok(Answer(RecordingsView { cuid: path.0, recordings: list.into_iter().map(RecordingView::from).collect() }))
}

/// Downloads a terminal's output as an asciicast
#[utoipa::path(
    get,
    path = "/containers/{cuid}/recordings/{session}",
    tag = "terminals",
    params(Ranges),
    responses(
        (status = 200, description = "The recording", body = Content, content_type = "application/x-asciicast", headers(
            ("ETag" = String, description = "For If-None-Match"),
            ("Accept-Ranges" = String, description = "bytes"),
            ("Content-Disposition" = String, description = "The name to keep it under"),
        )),
        (status = 206, description = "The part that was wanted", body = Content, content_type = "application/x-asciicast", headers(
            ("Content-Range" = String, description = "Which part it is"),
        )),
        (status = 304, description = "The recording is the one that the client has"),
    ),
)]
pub(crate) async fn download(app: Data<App>, path: CuidPath, _: Query<NoQuery>, request: HttpRequest) -> ApiResult<HttpResponse> {
    let (folder, recordings, session) = (app.containers.folder(path.0)?, app.sessions.recordings().clone(), id(&request)?);
    let look = |file, name: &str| {
        let file = NamedFile::from_file(file, name).map_err(Error::io("look at the recording"))?;
        Ok((file, name.to_owned()))
    };
    let (file, name) = off_worker(move || recordings.open(&folder, session, look)).await?;
    let mut response = sent(file, &name, &request);
    if response.status().is_success() {
        let kind = header::HeaderValue::from_static("application/x-asciicast");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// Removes a recording
#[utoipa::path(
    delete,
    path = "/containers/{cuid}/recordings/{session}",
    tag = "terminals",
    responses((status = 200, description = "It is gone", body = RemovedView)),
)]
pub(crate) async fn remove(
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    request: HttpRequest,
) -> ApiResult<Answer<RemovedView>> {
    let (folder, recordings, session) = (app.containers.folder(path.0)?, app.sessions.recordings().clone(), id(&request)?);
    off_worker(move || recordings.remove(&folder, session)).await?;
    Ok(Answer(RemovedView { session, status: "deleted" }))
}

impl From<Recording> for RecordingView {
    fn from(Recording { document, cast_bytes }: Recording) -> Self {
        Self { document, cast_bytes }
    }
}
