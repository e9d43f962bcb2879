//! What every answer has, whoever made it: a request id, the contract's body where it is an error, and a line in the
//! action log once it is sent.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::{Bytes, Data},
};
use chrono::Local;
use futures_util::{Stream, TryStreamExt};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    App,
    error::{ApiError, ApiResult},
};
use crate::{
    action_log::{Entry, Failure},
    domain::id::Cuid,
    error::Error,
    metrics::Request,
};

/// The id of a request, in its extensions.
#[derive(Clone, Copy)]
pub(crate) struct RequestId(pub(crate) Uuid);

/// The request's id.
pub(crate) fn request_id(request: &HttpRequest) -> Uuid {
    request.extensions().get::<RequestId>().map_or_else(Uuid::new_v4, |id| id.0)
}

/// The user that a request was authenticated as, in its extensions.
#[derive(Clone)]
pub(crate) struct User(pub(crate) String);

/// A request's line in the action log, in its extensions. It is written when the last who has it lets go: the envelope,
/// once the answer is sent, or a change that goes on after its client went away.
#[derive(Clone)]
pub(crate) struct SharedLine(Rc<RefCell<Line>>);

struct Line {
    entry: Entry,
    started: Instant,
    received: Rc<Cell<u64>>,
    /// The container that the request made, which its path does not name.
    created: Option<Cuid>,
    /// The pattern of its route.
    route: Option<String>,
    app: Option<Data<App>>,
}

/// The status in the log of a request whose client went away before its answer; other servers use it, too.
const CLIENT_GONE: u16 = 499;

/// The longest path that is logged whole, in bytes: nobody fills the log by asking for nonsense.
const PATH_BYTES: usize = 1024;

/// The outermost middleware.
pub(crate) async fn envelope(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Logged>, actix_web::Error> {
    let id = Uuid::new_v4();
    let app = request.app_data::<Data<App>>().cloned();
    let received = count_body(&mut request);
    let entry = begin(&request, id);
    let line = Line { entry, started: Instant::now(), received, created: None, route: None, app };
    let line = SharedLine(Rc::new(RefCell::new(line)));
    request.extensions_mut().insert(RequestId(id));
    request.extensions_mut().insert(line.clone());

    let (request, mut response) = settled(next.call(request).await?.map_into_boxed_body()).into_parts();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    request.extensions_mut().remove::<SharedLine>();
    Ok(ServiceResponse::new(request, response.map_body(|_, body| Logged { body, line })))
}

/// The answer with the contract's body where it is an error, and what is known of it noted in the request's line. An answer
/// that is settled stays as it is.
pub(crate) fn settled(answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let (request, mut response) = answer.into_parts();
    let id = request_id(&request);
    let development = request.app_data::<Data<App>>().is_some_and(|app| app.development);
    let mut failure = None;
    if let Some((told, body)) = rendered(&response, id, development) {
        failure = Some(told);
        let headers = std::mem::replace(response.headers_mut(), HeaderMap::new());
        // A new one, which has its body and not the error any more.
        response = HttpResponse::with_body(response.status(), BoxBody::new(body));
        *response.headers_mut() = headers;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let message = "the health check failed".to_owned();
        failure = Some(Failure { error: "unavailable".into(), code: "ENGINE_UNAVAILABLE".into(), message });
    }
    let line = request.extensions().get::<SharedLine>().cloned();
    if let Some(line) = line {
        if let Some(failure) = failure {
            line.0.borrow_mut().entry.failure.get_or_insert(failure);
        }
        line.answered(&request, response.status().as_u16());
    }
    ServiceResponse::new(request, response)
}

/// Notes that the request gets the answer of an earlier one, whose failure is its own, too.
pub(crate) fn note_replay(request: &ServiceRequest, status: u16, body: &[u8]) {
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
pub(crate) fn note_created(request: &HttpRequest, cuid: Cuid) {
    if let Some(line) = request.extensions().get::<SharedLine>() {
        line.0.borrow_mut().created = Some(cuid);
    }
}

/// Logs one of the changes that the request is made of in a line of its own, by the name that it has alone.
pub(crate) fn log_part(request: &HttpRequest, action: &str, cuid: Option<Cuid>, began: Instant, error: Option<&ApiError>) {
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

/// Runs a change to its end, with its outcome in the request's line of the log, also when the client goes away meanwhile.
pub(crate) async fn to_the_end<T: 'static>(
    request: &HttpRequest,
    change: impl Future<Output = Result<T, Error>> + 'static,
) -> ApiResult<T> {
    let (line, request) = (request.extensions().get::<SharedLine>().cloned(), request.clone());
    let Some(app) = request.app_data::<Data<App>>().cloned() else {
        return Err(Error::io("begin the change")(std::io::Error::other("there is nobody to make it")).into());
    };
    let ran = app.run_apart(async move {
        let done = change.await.map_err(ApiError::from);
        if let Some(line) = line {
            let success = if line.0.borrow().created.is_some() { StatusCode::CREATED } else { StatusCode::OK };
            line.0.borrow_mut().entry.failure = done.as_ref().err().map(ApiError::failure);
            line.answered(&request, done.as_ref().err().map_or(success, |error| error.status).as_u16());
        }
        done
    });
    ran.await.unwrap_or_else(|panic| Err(Error::io("finish the change")(std::io::Error::other(panic)).into()))
}

impl SharedLine {
    /// Notes what is known once there is an answer.
    fn answered(&self, request: &HttpRequest, status: u16) {
        let Line { entry, created, route, .. } = &mut *self.0.borrow_mut();
        *route = request.match_pattern();
        entry.action = action(request.method().as_str(), route.as_deref());
        // What never got to its route, such as an answer that is given again, has it in its path.
        let cuid = request.match_info().get("cuid").or_else(|| request.path().split('/').nth(2));
        entry.cuid = cuid.and_then(|cuid| cuid.parse().ok()).or(*created);
        entry.user = request.extensions().get::<User>().map(|user| user.0.clone());
        entry.status = status;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        self.entry.duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.entry.bytes_in = self.received.get();
        let Entry { method, status, bytes_in, bytes_out, .. } = &self.entry;
        if let Some(app) = &self.app {
            let (status, bytes_in, bytes_out) = (*status, *bytes_in, *bytes_out);
            app.metrics.request(&Request { method, route: self.route.as_deref(), status, duration, bytes_in, bytes_out });
            app.log.record(&self.entry);
        }
    }
}

/// Counts the body's bytes as they are read.
fn count_body(request: &mut ServiceRequest) -> Rc<Cell<u64>> {
    let received = Rc::new(Cell::new(0));
    let counter = received.clone();
    match request.take_payload() {
        Payload::None => (),
        body => {
            let counted = body.inspect_ok(move |chunk| counter.set(counter.get() + chunk.len() as u64));
            request.set_payload(Payload::from(Box::pin(counted) as Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>));
        }
    }
    received
}

fn begin(request: &ServiceRequest, id: Uuid) -> Entry {
    let path = request.path();
    let end = (0..=PATH_BYTES.min(path.len())).rev().find(|end| path.is_char_boundary(*end)).unwrap_or_default();
    Entry {
        timestamp: Local::now(),
        request_id: id,
        user: None,
        remote: request.peer_addr().map(|address| address.ip().to_string()),
        method: request.method().as_str().chars().take(32).collect(),
        path: path[..end].to_owned(),
        action: "none".into(),
        cuid: None,
        status: CLIENT_GONE,
        duration_ms: 0,
        bytes_in: 0,
        bytes_out: 0,
        replayed: false,
        failure: None,
        terminal: None,
    }
}

/// The error that the response stands for, as the log and the client get it. One of the framework's own is put in our
/// words.
fn rendered(response: &HttpResponse, id: Uuid, development: bool) -> Option<(Failure, Vec<u8>)> {
    let render = |error: &ApiError| {
        if error.status.is_server_error() {
            tracing::error!(request_id = %id, code = error.code, error = error.message, "request failed");
        }
        (error.failure(), serde_json::to_vec(&error.body(id, development)).unwrap_or_default())
    };
    let status = response.status();
    match response.error() {
        Some(error) => Some(match error.as_error::<ApiError>() {
            Some(error) => render(error),
            None => render(&ApiError::from_framework(status, &error.to_string())),
        }),
        // Without a body it is the framework's; `/healthz` has its own.
        None if status.as_u16() >= 400 && matches!(response.body().size(), BodySize::None | BodySize::Sized(0)) => {
            Some(render(&ApiError::from_framework(status, "")))
        }
        None => None,
    }
}

/// A request's name in the action log: the last word of its route that stands for itself, or what its method does to the noun.
fn action(method: &str, route: Option<&str>) -> String {
    let Some(route) = route else { return "none".into() };
    let verb = match (method, route) {
        (_, "/ws/{cuid}") => "terminal",
        ("GET", "/containers") => "list",
        ("POST", "/containers") => "create",
        ("GET", "/containers/{cuid}") => "show",
        ("PATCH", "/containers/{cuid}") => "patch",
        ("DELETE", "/containers/{cuid}") => "delete",
        (_, route) => match route.strip_prefix("/containers/batch/") {
            Some(verb) => return format!("batch_{verb}"),
            None => route.rsplit('/').find(|word| !word.starts_with('{')).unwrap_or_default(),
        },
    };
    verb.to_owned()
}

/// A body that counts what is sent, and has the request's line until it is sent or given up.
pub(crate) struct Logged {
    body: BoxBody,
    line: SharedLine,
}

impl MessageBody for Logged {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            self.line.0.borrow_mut().entry.bytes_out += bytes.len() as u64;
        }
        polled
    }
}
