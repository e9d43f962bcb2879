//! `/containers/{cuid}/sessions`: a container's terminals, and the end of one.

use actix_web::{
    HttpRequest,
    web::{Data, Json as Answer},
};
use chrono::{DateTime, Local};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    App,
    containers::NoQuery,
    error::ApiResult,
    request::{CuidPath, Query},
};
use crate::{
    domain::id::Cuid,
    error::Error,
    terminal::{Listed, Mode},
};

/// A session as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
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

/// A container's terminals.
#[derive(Serialize, ToSchema)]
#[schema(as = Sessions, example = json!({"cuid": "c123e4567-e89b-42d3-a456-426614174000", "sessions": [{
    "session": "7d444840-9dc0-41d1-b245-5ffdce74fad2", "mode": "shell", "tty": true, "state": "attached",
    "started_at": "2024-01-20T15:30:00+01:00", "clients": 1, "watchers": 0, "cols": 80, "rows": 24, "first_offset": 0,
    "next_offset": 512, "exit_code": null,
}]}))]
pub(crate) struct SessionsView {
    cuid: Cuid,
    sessions: Vec<SessionView>,
}

/// A terminal that was ended.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionEnded, example = json!({
    "session": "7d444840-9dc0-41d1-b245-5ffdce74fad2", "status": "ended", "exit_code": 129,
}))]
pub(crate) struct EndedView {
    session: Uuid,
    status: &'static str,
    /// Null where nothing ran.
    exit_code: Option<i64>,
}

/// Lists a container's terminals
#[utoipa::path(
    get,
    path = "/containers/{cuid}/sessions",
    tag = "terminals",
    responses((status = 200, description = "Those that there are", body = SessionsView)),
)]
pub(crate) async fn list(app: Data<App>, path: CuidPath, _: Query<NoQuery>) -> ApiResult<Answer<SessionsView>> {
    app.containers.get(path.0).await?;
    let sessions = app.sessions.list(path.0).into_iter().map(SessionView::from).collect();
    Ok(Answer(SessionsView { cuid: path.0, sessions }))
}

/// Ends a terminal, and all that it started
#[utoipa::path(
    delete,
    path = "/containers/{cuid}/sessions/{session}",
    tag = "terminals",
    responses((status = 200, description = "It has ended", body = EndedView)),
)]
pub(crate) async fn end(app: Data<App>, path: CuidPath, _: Query<NoQuery>, request: HttpRequest) -> ApiResult<Answer<EndedView>> {
    app.containers.get(path.0).await?;
    let session = id(&request)?;
    let exit_code = app.sessions.end(path.0, session).await?;
    Ok(Answer(EndedView { session, status: "ended", exit_code }))
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
