//! `/containers/{cuid}/recordings`: what was recorded of a container's terminals. They are there whether or not the engine is.

use actix_files::NamedFile;
use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::Serialize;
use serde_json::json;

use super::{
    App,
    containers::NoQuery,
    error::ApiResult,
    files::{off_worker, sent},
    request::{CuidPath, Query},
    sessions::id,
};
use crate::{
    error::Error,
    terminal::{Document, Recording},
};

/// A recording as it is shown.
#[derive(Serialize)]
struct RecordingView {
    #[serde(flatten)]
    document: Document,
    /// Null where there is nothing to download.
    cast_bytes: Option<u64>,
}

/// `GET /containers/{cuid}/recordings`
pub(crate) async fn list(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<HttpResponse> {
    let (folder, recordings) = (app.containers.folder(path.0)?, app.sessions.recordings().clone());
    let list = off_worker(move || recordings.list(&folder)).await?;
    let list: Vec<_> = list.into_iter().map(RecordingView::from).collect();
    Ok(HttpResponse::Ok().json(json!({"cuid": path.0, "recordings": list})))
}

/// `GET /containers/{cuid}/recordings/{session}`
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

/// `DELETE /containers/{cuid}/recordings/{session}`
pub(crate) async fn remove(app: Data<App>, path: CuidPath, _: Query<NoQuery>, request: HttpRequest) -> ApiResult<HttpResponse> {
    let (folder, recordings, session) = (app.containers.folder(path.0)?, app.sessions.recordings().clone(), id(&request)?);
    off_worker(move || recordings.remove(&folder, session)).await?;
    Ok(HttpResponse::Ok().json(json!({"session": session, "status": "deleted"})))
}

impl From<Recording> for RecordingView {
    fn from(Recording { document, cast_bytes }: Recording) -> Self {
        Self { document, cast_bytes }
    }
}
