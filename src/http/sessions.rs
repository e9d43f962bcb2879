//! `/containers/{cuid}/sessions`: a container's terminals, and the end of one.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Local};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{
    App,
    containers::NoQuery,
    error::ApiResult,
    request::{CuidPath, Query},
};
use crate::{
    error::Error,
    terminal::{Listed, Mode},
};

/// A session as it is shown.
#[derive(Serialize)]
struct SessionView {
    session: Uuid,
    /// Null before its program runs.
    mode: Option<Mode>,
    tty: bool,
    /// `attached`, `detached` while it waits for a client to come back, or `ended` while it waits for one to hear its end.
    state: &'static str,
    started_at: DateTime<Local>,
    clients: usize,
    watchers: usize,
    /// Of its terminal; null without one.
    cols: Option<u16>,
    rows: Option<u16>,
    /// The offsets of the first byte of output that can still be had, and of the next that will come.
    first_offset: u64,
    next_offset: u64,
    exit_code: Option<i64>,
}

/// `GET /containers/{cuid}/sessions`
pub(crate) async fn list(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<HttpResponse> {
    app.containers.get(path.0).await?;
    let sessions: Vec<SessionView> = app.sessions.list(path.0).into_iter().map(SessionView::from).collect();
    Ok(HttpResponse::Ok().json(json!({"cuid": path.0, "sessions": sessions})))
}

/// `DELETE /containers/{cuid}/sessions/{session}`
pub(crate) async fn end(app: Data<App>, path: CuidPath, _: Query<NoQuery>, request: HttpRequest) -> ApiResult<HttpResponse> {
    app.containers.get(path.0).await?;
    let session = id(&request)?;
    let exit_code = app.sessions.end(path.0, session).await?;
    Ok(HttpResponse::Ok().json(json!({"session": session, "status": "ended", "exit_code": exit_code})))
}

/// The session in the path.
pub(super) fn id(request: &HttpRequest) -> Result<Uuid, Error> {
    let text = request.match_info().query("session");
    text.parse().map_err(|_| Error::invalid("INVALID_SESSION", "session", "a session's id is a UUID", text))
}

impl From<Listed> for SessionView {
    fn from(Listed { session, started, figures }: Listed) -> Self {
        let tty = figures.mode == Some(Mode::Shell);
        let size = figures.size.filter(|_| tty);
        Self {
            session,
            mode: figures.mode,
            tty,
            state: match figures.clients {
                _ if figures.over => "ended",
                0 => "detached",
                _ => "attached",
            },
            started_at: started,
            clients: figures.clients,
            watchers: figures.watchers,
            cols: size.map(|size| size.cols),
            rows: size.map(|size| size.rows),
            first_offset: figures.start,
            next_offset: figures.end,
            exit_code: figures.exit_code,
        }
    }
}
