//! `/ws/{cuid}`: which terminal is asked for, and whether the container may have it now. The connection is `socket`'s.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use chrono::Local;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    App,
    envelope::{RequestId, User},
    error::{ApiError, ApiResult},
    request::{CuidPath, Query},
    socket,
};
use crate::{
    action_log::{Entry, Terminal},
    domain::status::Action,
    error::Error,
    terminal::{Mode, Open, SessionEnd},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TerminalQuery {
    mode: Option<Mode>,
    cols: Option<u16>,
    rows: Option<u16>,
    shell: Option<String>,
    user: Option<String>,
    cwd: Option<String>,
}

/// `GET /ws/{cuid}`
pub(crate) async fn open(
    app: Data<App>,
    path: CuidPath,
    query: Query<TerminalQuery>,
    request: HttpRequest,
    body: Payload,
) -> ApiResult<HttpResponse> {
    let TerminalQuery { mode, cols, rows, shell, user, cwd } = query.0;
    let open = Open { cuid: path.0, mode, cols, rows, shell, user, cwd };
    open.check()?;
    // Without a mode the client's first half second decides; what only listens may have what attach may.
    let needs_program = matches!(open.settled_mode(), Some(Mode::Shell | Mode::Exec));
    app.containers.check(path.0, if needs_program { Action::Exec } else { Action::Attach }).await?;
    let id = request.extensions().get::<RequestId>().map_or_else(Uuid::new_v4, |id| id.0);
    let development = app.development;
    let error_body =
        move |error: &Error| serde_json::to_value(ApiError::from(error).body(id, development)).unwrap_or(Value::Null);
    let (log, line) = (app.log.clone(), line(&request, id));
    let on_end = move |end: SessionEnd| log.record(&ended(line, &end));
    Ok(socket::serve(&request, body, &app.sessions, open, error_body, on_end)?)
}

/// What the action log's line of the session will have of its request.
fn line(request: &HttpRequest, request_id: Uuid) -> Entry {
    Entry {
        timestamp: Local::now(),
        request_id,
        user: request.extensions().get::<User>().map(|user| user.0.clone()),
        remote: request.peer_addr().map(|peer| peer.ip().to_string()),
        method: request.method().to_string(),
        path: request.path().to_owned(),
        action: "terminal-end".to_owned(),
        cuid: None,
        status: StatusCode::SWITCHING_PROTOCOLS.as_u16(),
        duration_ms: 0,
        bytes_in: 0,
        bytes_out: 0,
        replayed: false,
        failure: None,
        terminal: None,
    }
}

fn ended(line: Entry, end: &SessionEnd) -> Entry {
    let mode = match end.mode {
        Some(Mode::Shell) => "shell",
        Some(Mode::Attach) => "attach",
        Some(Mode::Exec) => "exec",
        None => "none",
    };
    Entry {
        timestamp: Local::now(),
        cuid: Some(end.cuid),
        duration_ms: u64::try_from(end.duration.as_millis()).unwrap_or(u64::MAX),
        bytes_in: end.bytes_in,
        bytes_out: end.bytes_out,
        terminal: Some(Terminal { session: end.session.to_string(), mode, exit_code: end.exit_code }),
        ..line
    }
}
