//! A request's line in the action log: begun when the request comes, filled in on the way, and handed over once the answer is sent.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use actix_web::{HttpMessage, HttpRequest, dev::ServiceRequest, http::StatusCode, web::Data};
use chrono::Local;
use serde::Deserialize;
use uuid::Uuid;

use super::{App, envelope::User, error::ApiError};
use crate::{
    action_log::{Entry, Failure},
    domain::id::Cuid,
    metrics::Request,
};

/// A request's line, in its extensions. It is written when the last who has it lets go: the envelope, once the answer is sent, or a
/// change that goes on after its client went away.
#[derive(Clone)]
pub(super) struct SharedLine(Rc<RefCell<Line>>);

struct Line {
    entry: Entry,
    /// The matched route, such as `/containers/{cuid}`.
    route: Option<String>,
    started: Instant,
    received: Rc<Cell<u64>>,
    /// The container that the request made, which its path does not name.
    created: Option<Cuid>,
    app: Option<Data<App>>,
}

/// The status in the log of a request whose client went away before its answer; other servers use it, too.
const CLIENT_GONE: u16 = 499;

/// The longest path that is logged whole, in bytes: nobody fills the log by asking for nonsense.
const PATH_BYTES: usize = 1024;

impl SharedLine {
    /// The line of a request that has just come; `received` counts the bytes of its body.
    pub(super) fn begin(request: &ServiceRequest, id: Uuid, received: Rc<Cell<u64>>, app: Option<Data<App>>) -> Self {
        let (path, route) = (request.path(), request.match_pattern());
        let end = (0..=PATH_BYTES.min(path.len())).rev().find(|end| path.is_char_boundary(*end)).unwrap_or_default();
        let entry = Entry {
            timestamp: Local::now(),
            request_id: id,
            user: None,
            remote: request.peer_addr().map(|address| address.ip().to_string()),
            method: request.method().as_str().chars().take(32).collect(),
            path: path[..end].to_owned(),
            action: action(request.method().as_str(), route.as_deref()),
            // Nearly all routes that have one have it there.
            cuid: path.split('/').nth(2).and_then(|cuid| cuid.parse().ok()),
            status: CLIENT_GONE,
            duration_ms: 0,
            bytes_in: 0,
            bytes_out: 0,
            replayed: false,
            failure: None,
            terminal: None,
        };
        let line = Line { entry, route, started: Instant::now(), received, created: None, app };
        Self(Rc::new(RefCell::new(line)))
    }

    /// The request's own.
    pub(super) fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// Notes whose request it is.
    pub(super) fn admitted(&self, user: &str) {
        self.0.borrow_mut().entry.user = Some(user.to_owned());
    }

    /// Counts bytes of the answer.
    pub(super) fn sent(&self, bytes: usize) {
        self.0.borrow_mut().entry.bytes_out += bytes as u64;
    }

    /// Notes what is known once there is an answer. A failure that was noted before stays.
    pub(super) fn answered(&self, request: &HttpRequest, status: StatusCode, failure: Option<Failure>) {
        let Line { entry, created, .. } = &mut *self.0.borrow_mut();
        let cuid = request.match_info().get("cuid").and_then(|cuid| cuid.parse().ok());
        entry.cuid = cuid.or(entry.cuid).or(*created);
        entry.status = status.as_u16();
        entry.failure = entry.failure.take().or(failure);
    }

    /// Notes the outcome of the request's change.
    pub(super) fn changed(&self, request: &HttpRequest, error: Option<&ApiError>) {
        let success = if self.0.borrow().created.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        self.0.borrow_mut().entry.failure = None;
        self.answered(request, error.map_or(success, |error| error.status), error.map(ApiError::failure));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Self { entry, route, started, received, app, .. } = self;
        let duration = started.elapsed();
        entry.duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        entry.bytes_in = received.get();
        if let Some(app) = app {
            let Entry { method, status, bytes_in, bytes_out, .. } = &*entry;
            let (status, bytes_in, bytes_out) = (*status, *bytes_in, *bytes_out);
            app.metrics.request(&Request { method, route: route.as_deref(), status, duration, bytes_in, bytes_out });
            app.log.record(entry);
        }
    }
}

/// Notes that the request gets the answer of an earlier one, whose failure is its own, too.
pub(super) fn note_replay(request: &ServiceRequest, status: u16, body: &[u8]) {
    if let Some(line) = request.extensions().get::<SharedLine>() {
        let line = &mut *line.0.borrow_mut();
        line.entry.replayed = true;
        line.entry.failure = if status >= 400 { serde_json::from_slice(body).ok() } else { None };
        line.created = serde_json::from_slice(body).ok().map(|Created { cuid }| cuid);
    }
}

/// What the log takes of the answer to a creation.
#[derive(Deserialize)]
struct Created {
    cuid: Cuid,
}

/// Notes which container the request made.
pub(super) fn note_created(request: &HttpRequest, cuid: Cuid) {
    if let Some(line) = request.extensions().get::<SharedLine>() {
        line.0.borrow_mut().created = Some(cuid);
    }
}

/// Logs one of the changes that the request is made of in a line of its own, by the name that it has alone.
pub(super) fn log_part(request: &HttpRequest, action: &str, cuid: Option<Cuid>, began: Instant, error: Option<&ApiError>) {
    let extensions = request.extensions();
    let Some(line) = extensions.get::<SharedLine>() else { return };
    let line = line.0.borrow();
    let entry = Entry {
        user: extensions.get::<User>().map(|user| user.0.clone()),
        action: action.to_owned(),
        cuid,
        status: error.map_or(200, |error| error.status.as_u16()),
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        failure: error.map(ApiError::failure),
        ..line.entry.clone()
    };
    if let Some(app) = &line.app {
        app.log.record(&entry);
    }
}

/// A request's name in the action log: what its method does to the noun, or the last word of its route that stands for itself.
fn action(method: &str, route: Option<&str>) -> String {
    let Some(route) = route else { return "none".into() };
    let method = if method == "HEAD" { "GET" } else { method };
    let verb = match (method, route) {
        (_, "/ws/{cuid}") => "terminal",
        ("GET", "/containers") => "list",
        ("POST", "/containers") => "create",
        ("GET", "/containers/{cuid}") => "show",
        ("PATCH", "/containers/{cuid}") => "patch",
        ("DELETE", "/containers/{cuid}") => "delete",
        ("PATCH", "/containers/{cuid}/ports") => "patch_ports",
        ("GET", "/stats") => "stats_of_all",
        ("GET", "/containers/{cuid}/files") => "list_files",
        ("PUT", "/containers/{cuid}/files") => "write_file",
        ("DELETE", "/containers/{cuid}/files") => "delete_file",
        ("GET", "/containers/{cuid}/sessions") => "list_sessions",
        ("DELETE", "/containers/{cuid}/sessions/{session}") => "end_session",
        ("GET", "/containers/{cuid}/recordings") => "list_recordings",
        ("GET", "/containers/{cuid}/recordings/{session}") => "download_recording",
        ("DELETE", "/containers/{cuid}/recordings/{session}") => "delete_recording",
        (_, route) => match route.strip_prefix("/containers/batch/") {
            Some(verb) => return format!("batch_{verb}"),
            None => route.rsplit('/').find(|word| !word.starts_with('{')).unwrap_or_default(),
        },
    };
    verb.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_name_of_its_own() {
        for (method, route, name) in [
            ("HEAD", "/containers", "list"),
            ("DELETE", "/containers/{cuid}/files", "delete_file"),
            ("GET", "/containers/{cuid}/files", "list_files"),
            ("POST", "/containers/{cuid}/files/mkdir", "mkdir"),
            ("POST", "/containers/{cuid}/files/move", "move"),
            ("POST", "/containers/batch/stop", "batch_stop"),
            ("GET", "/containers/{cuid}/download-zip", "download-zip"),
            ("PUT", "/containers", "containers"),
        ] {
            assert_eq!(action(method, Some(route)), name);
        }
        assert_eq!(action("GET", None), "none");
    }
}
