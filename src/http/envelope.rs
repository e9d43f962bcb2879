//! What every answer has, whoever made it: a request id, the contract's body where it is an error, and a line in the
//! action log once it is sent.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use actix_web::{
    HttpMessage, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderName, HeaderValue},
    middleware::Next,
    web::{Bytes, Data},
};
use chrono::Local;
use uuid::Uuid;

use super::{App, error::ApiError};
use crate::action_log::{ActionLog, Entry, Failure};

/// The id of a request, in its extensions.
#[derive(Clone, Copy)]
pub(crate) struct RequestId(pub(crate) Uuid);

/// The user that a request was authenticated as, in its extensions.
#[derive(Clone)]
pub(crate) struct User(pub(crate) String);

/// The outermost middleware.
pub(crate) async fn envelope(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Logged>, actix_web::Error> {
    let id = Uuid::new_v4();
    request.extensions_mut().insert(RequestId(id));
    let app = request.app_data::<Data<App>>().cloned();
    let (mut entry, started) = (begin(&request, id), Instant::now());
    let response = next.call(request).await?.map_into_boxed_body();
    let (request, mut response) = response.into_parts();

    let development = app.as_ref().is_some_and(|app| app.development);
    if let Some((failure, body)) = rendered(&response, id, development) {
        entry.failure = Some(failure);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response = response.set_body(BoxBody::new(body));
    }
    entry.action = action(request.method().as_str(), request.match_pattern().as_deref());
    entry.cuid = request.match_info().get("cuid").and_then(|cuid| cuid.parse().ok());
    entry.user = request.extensions().get::<User>().map(|user| user.0.clone());
    entry.status = response.status().as_u16();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    let line = Line { entry, started, log: app.map(|app| app.log.clone()) };
    Ok(ServiceResponse::new(request, response.map_body(|_, body| Logged { body, line })))
}

fn begin(request: &ServiceRequest, id: Uuid) -> Entry {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    Entry {
        timestamp: Local::now(),
        request_id: id,
        user: None,
        remote: request.peer_addr().map(|address| address.ip().to_string()),
        method: request.method().to_string(),
        path: request.path().to_owned(),
        action: String::new(),
        cuid: None,
        status: 0,
        duration_ms: 0,
        bytes_in: length.unwrap_or_default(),
        bytes_out: 0,
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

/// A request's name in the action log: the last word of its route, or what its method does to the noun.
fn action(method: &str, route: Option<&str>) -> String {
    let Some(route) = route else { return "none".into() };
    let verb = match (method, route) {
        (_, "/ws/{cuid}") => "terminal",
        ("GET", "/containers") => "list",
        ("POST", "/containers") => "create",
        ("GET", "/containers/{cuid}") => "show",
        ("PATCH", "/containers/{cuid}") => "patch",
        ("DELETE", "/containers/{cuid}") => "delete",
        (_, route) => route.rsplit('/').next().unwrap_or_default(),
    };
    verb.to_owned()
}

/// A body that counts what is sent, and writes the request's line once it is sent or given up.
pub(crate) struct Logged {
    body: BoxBody,
    line: Line,
}

struct Line {
    entry: Entry,
    started: Instant,
    log: Option<ActionLog>,
}

impl MessageBody for Logged {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            self.line.entry.bytes_out += bytes.len() as u64;
        }
        polled
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.entry.duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(log) = &self.log {
            log.record(&self.entry);
        }
    }
}
