//! `/ws/{cuid}`: which terminal is asked for, a new one or one to come back to, and whether the container may have it now. The
//! connection is `socket`'s.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::StatusCode,
    rt,
    web::{Data, Payload},
};
use chrono::Local;
use serde::Deserialize;
use serde_json::Value;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    App,
    envelope::{User, request_id},
    error::{ApiError, ApiResult},
    request::{CuidPath, Flag, Query},
    socket::Connection,
};
use crate::{
    action_log::{Entry, Recording, Terminal},
    domain::status::Action,
    error::Error,
    events::Happening,
    terminal::{Mode, Open, Origin, Recorded, SessionEnd, Speaker, View, Viewer, framing::Framing},
};

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TerminalQuery {
    /// Absent: `shell` where `cols` or `rows` is given; else a client that speaks first gets `exec`, and one that listens `attach`.
    #[param(inline)]
    mode: Option<Mode>,
    #[param(minimum = 1, maximum = 1000, example = 80)]
    cols: Option<u16>,
    #[param(minimum = 1, maximum = 1000, example = 24)]
    rows: Option<u16>,
    /// The program instead of bash or sh.
    #[param(pattern = r"^[^\x00]+$", example = "/bin/sh")]
    shell: Option<String>,
    #[param(pattern = r"^[^\x00]+$", example = "root")]
    user: Option<String>,
    /// An absolute path; `/app` where nothing is said.
    #[param(pattern = r"^/[^\x00]*$", example = "/tmp")]
    cwd: Option<String>,
    /// The session to come back to.
    session: Option<Uuid>,
    /// The first byte of its output that is wanted.
    offset: Option<u64>,
    /// Look at a session without taking part in it.
    #[param(inline)]
    watch: Option<Flag>,
    /// Whether output carries offsets; a binary message always does.
    #[serde(default)]
    #[param(inline)]
    offsets: Flag,
}

/// Opens a terminal over a WebSocket
///
/// The request is a WebSocket's handshake (RFC 6455), without which it is 400. Messages are JSON, one a text frame: a client sends `stdin`,
/// `resize`, `signal` and `close`, and gets `ready`, `stdout`, `stderr`, `exit` and `error`. With the subprotocol `berth.v1.binary`,
/// output comes as binary messages. `session` and `offset` come back to one that goes on.
#[utoipa::path(
    get,
    path = "/ws/{cuid}",
    tag = "terminals",
    params(TerminalQuery),
    responses((status = 101, description = "The connection is a WebSocket from here on", headers(
        ("Sec-WebSocket-Protocol" = String, description = "berth.v1.binary, where it was asked for"),
    ))),
)]
pub(crate) async fn open(
    app: Data<App>,
    path: CuidPath,
    query: Query<TerminalQuery>,
    request: HttpRequest,
    body: Payload,
) -> ApiResult<HttpResponse> {
    let TerminalQuery { mode, cols, rows, shell, user, cwd, session, offset, watch, offsets } = query.0;
    let is_new = |given: bool| given && session.is_none();
    refuse(&[("offset", is_new(offset.is_some())), ("watch", is_new(watch.is_some()))], "is for a session that is named")?;
    let open = Open { cuid: path.0, mode, cols, rows, shell, user, cwd };
    open.check()?;
    may_have(&app, &open, session).await?;
    let (response, connection) = Connection::accept(&request, body, error_body(&app, &request))?;
    let view = View {
        framing: if connection.binary { Framing::Binary } else { Framing::Json { offsets: offsets.0 } },
        offset: offset.unwrap_or(0),
        watches: watch.unwrap_or_default().0,
        size: open.is_sized().then(|| open.size()),
    };
    let (speaker, viewer) = match session {
        Some(session) => app.sessions.join(open.cuid, session, view)?,
        None => begin(&app, &request, open, view)?,
    };
    rt::spawn(connection.serve(speaker, viewer).in_current_span());
    Ok(response)
}

/// Whether the container may have such a terminal now. A session that is there already may be looked at whatever its container does.
async fn may_have(app: &App, open: &Open, session: Option<Uuid>) -> ApiResult<()> {
    if session.is_none() {
        // Without a mode the client's first half second decides; what only listens may have what attach may.
        let needs_program = matches!(open.settled_mode(), Some(Mode::Shell | Mode::Exec));
        app.containers.check(open.cuid, if needs_program { Action::Exec } else { Action::Attach }).await?;
        return Ok(());
    }
    let given = [
        ("mode", open.mode.is_some()),
        ("shell", open.shell.is_some()),
        ("user", open.user.is_some()),
        ("cwd", open.cwd.is_some()),
    ];
    refuse(&given, "is the session's own already")?;
    app.containers.get(open.cuid).await?;
    Ok(())
}

fn begin(app: &App, request: &HttpRequest, open: Open, view: View) -> ApiResult<(Speaker, Viewer)> {
    let (log, line) = (app.log.clone(), line(request, request_id(request)));
    let origin = Origin { folder: app.containers.folder(open.cuid)?, user: line.user.clone(), remote: line.remote.clone() };
    let (cuid, mode, events) = (open.cuid, open.settled_mode().map(word), app.events.clone());
    let on_end = move |end: SessionEnd| {
        log.record(&ended(line, &end));
        let (session, mode) = (end.session, end.mode.map(word));
        events.publish(Some(cuid), Happening::SessionEnded { session, mode, exit_code: end.exit_code });
    };
    let (speaker, viewer) = app.sessions.open(open, view, origin, on_end)?;
    app.metrics.session_opened();
    app.events.publish(Some(cuid), Happening::SessionStarted { session: viewer.session(), mode });
    Ok((speaker, viewer))
}

/// Refuses the first parameter that is given where it makes no sense.
fn refuse(given: &[(&str, bool)], why: &str) -> ApiResult<()> {
    match given.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Error::invalid("INVALID_QUERY", *field, format!("{field} {why}"), Value::Null).into()),
        None => Ok(()),
    }
}

/// Makes the contract's error body for a frame.
fn error_body(app: &App, request: &HttpRequest) -> impl Fn(&Error) -> Value + use<> {
    let (id, development) = (request_id(request), app.development);
    move |error| serde_json::to_value(ApiError::from(error).body(id, development)).unwrap_or(Value::Null)
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

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Shell => "shell",
        Mode::Attach => "attach",
        Mode::Exec => "exec",
    }
}

fn ended(line: Entry, end: &SessionEnd) -> Entry {
    Entry {
        timestamp: Local::now(),
        cuid: Some(end.cuid),
        duration_ms: u64::try_from(end.duration.as_millis()).unwrap_or(u64::MAX),
        bytes_in: end.bytes_in,
        bytes_out: end.bytes_out,
        terminal: Some(Terminal {
            session: end.session.to_string(),
            mode: end.mode.map_or("none", word),
            exit_code: end.exit_code,
            recorded: end.recorded.as_ref().map(recorded),
        }),
        ..line
    }
}

fn recorded(Recorded { file, full, truncated }: &Recorded) -> Recording {
    let recording = match file {
        None => "failed",
        Some(_) if *full => "full",
        Some(_) => "metadata",
    };
    Recording { recording, recording_file: file.clone(), recording_truncated: *truncated }
}
