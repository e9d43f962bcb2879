//! From the domain's facts to HTTP: each error's status, id, code and details, in one match. The body is rendered by
//! `http::envelope`, which knows the request.

use std::{backtrace::Backtrace, io::ErrorKind};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use chrono::{Local, SecondsFormat};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    action_log::Failure,
    domain::port::Holder,
    error::{Error, TooLarge},
};

/// Result of a handler.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

/// A failure as clients see it, but for what it takes of the request.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) error: &'static str,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    more: Box<More>,
}

/// What is large and seldom looked at.
#[derive(Debug)]
struct More {
    details: Value,
    header: Option<(HeaderName, HeaderValue)>,
    /// The error below and the calls that led here, for development.
    cause: String,
    backtrace: Backtrace,
}

/// The contract's error body. The description's part of it stands with the codes, in `openapi::codes`.
#[derive(Serialize)]
pub(crate) struct ErrorBody<'a> {
    error: &'static str,
    code: &'static str,
    message: &'a str,
    status: u16,
    request_id: Uuid,
    timestamp: String,
    details: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    stacktrace: Option<String>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        error: &'static str,
        code: &'static str,
        message: impl Into<String>,
        details: Value,
    ) -> Self {
        // Captured only with RUST_BACKTRACE=1.
        let backtrace = Backtrace::capture();
        let more = Box::new(More { details, header: None, cause: String::new(), backtrace });
        Self { status, error, code, message: message.into(), more }
    }

    /// With a header on the answer.
    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.more.header = Some((name, value.into()));
        self
    }

    /// The body for one request; `development` adds the stack trace.
    pub(crate) fn body(&self, request_id: Uuid, development: bool) -> ErrorBody<'_> {
        ErrorBody {
            error: self.error,
            code: self.code,
            message: &self.message,
            status: self.status.as_u16(),
            request_id,
            timestamp: Local::now().to_rfc3339_opts(SecondsFormat::Millis, false),
            details: &self.more.details,
            stacktrace: development.then(|| format!("{}\n{}", self.more.cause, self.more.backtrace)),
        }
    }

    /// What the action log says of it.
    pub(crate) fn failure(&self) -> Failure {
        Failure { error: self.error.into(), code: self.code.into(), message: self.message.clone() }
    }

    /// An answer of the framework's own, such as a body that it could not read, in our words.
    pub(crate) fn from_framework(status: StatusCode, message: &str) -> Self {
        let (error, code) = match status {
            StatusCode::PAYLOAD_TOO_LARGE => ("payload_too_large", "BODY_TOO_LARGE"),
            StatusCode::NOT_FOUND => ("not_found", "ROUTE_NOT_FOUND"),
            StatusCode::RANGE_NOT_SATISFIABLE => ("validation_error", "INVALID_RANGE"),
            StatusCode::PRECONDITION_FAILED => ("precondition_failed", "PRECONDITION_FAILED"),
            status if status.is_client_error() => ("validation_error", "INVALID_REQUEST"),
            _ => ("io_error", "IO_FAILED"),
        };
        let message = if message.is_empty() { status.canonical_reason().unwrap_or("the request failed") } else { message };
        Self::new(status, error, code, message, json!({}))
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// The headers; `http::envelope` adds the body.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(header) = self.more.header.clone() {
            response.insert_header(header);
        }
        response.finish()
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for ApiError {
    fn from(error: &Error) -> Self {
        let (status, id, code, details) = facts(error);
        let first = if let Error::TakenBack { cause, .. } = error { cause } else { error };
        let message = match first {
            // It begins with the field's name, or is the contract's own sentence.
            Error::Invalid(_) | Error::HostPathNotAllowed { .. } => error.to_string(),
            _ => capitalized(&error.to_string()),
        };
        let mut this = Self::new(status, id, code, message, details);
        this.more.cause = format!("{error:?}");
        let later = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        if later { this.with_header(header::RETRY_AFTER, 1) } else { this }
    }
}

/// The one match from facts to status, id, code and details.
fn facts(error: &Error) -> (StatusCode, &'static str, &'static str, Value) {
    match error {
        Error::TakenBack { cause, back } => {
            let (status, id, code, mut details) = facts(cause);
            details["restored"] = (*back).into();
            (status, id, code, details)
        }
        Error::Invalid(invalid) => {
            let details = json!({"field": invalid.field, "provided": invalid.provided});
            (StatusCode::BAD_REQUEST, "validation_error", invalid.code, details)
        }
        Error::ContainerNotFound(cuid) => (StatusCode::NOT_FOUND, "not_found", "CONTAINER_NOT_FOUND", json!({"cuid": cuid})),
        Error::ContainerMissing(cuid) => (StatusCode::NOT_FOUND, "not_found", "CONTAINER_MISSING", json!({"cuid": cuid})),
        Error::FileNotFound(path) => (StatusCode::NOT_FOUND, "not_found", "FILE_NOT_FOUND", json!({"path": path})),
        Error::ImageNotFound { image, reason } => (
            StatusCode::NOT_FOUND,
            "not_found",
            "IMAGE_NOT_FOUND",
            json!({"field": "image", "provided": image, "reason": reason}),
        ),
        Error::HostPathNotAllowed { field, provided } => {
            let details = json!({"field": field, "provided": provided});
            (StatusCode::FORBIDDEN, "permission_denied", "HOST_PATH_NOT_ALLOWED", details)
        }
        Error::NetworkNotFound(name) => {
            (StatusCode::NOT_FOUND, "not_found", "NETWORK_NOT_FOUND", json!({"field": "network", "provided": name}))
        }
        Error::SessionNotFound(id) => (StatusCode::NOT_FOUND, "not_found", "SESSION_NOT_FOUND", json!({"session": id})),
        Error::RecordingNotFound(id) => (StatusCode::NOT_FOUND, "not_found", "RECORDING_NOT_FOUND", json!({"session": id})),
        Error::Obstacle(obstacle) => super::entries::facts(obstacle),
        Error::NameTaken { .. }
        | Error::DeployNotFound(_)
        | Error::RecordingGoesOn(_)
        | Error::TooManySessions { .. }
        | Error::PortConflict { .. }
        | Error::DeployFailed { .. }
        | Error::Drifted
        | Error::RevisionMismatch { .. }
        | Error::InvalidState { .. }
        | Error::TooManyCommands { .. }
        | Error::ExecCut { .. }
        | Error::LogUnreadable
        | Error::StillRunning { .. } => hindrance(error),
        Error::TooLarge { what, limit } => {
            let code = match what {
                TooLarge::Body => "BODY_TOO_LARGE",
                TooLarge::Zip => "ZIP_TOO_LARGE",
                TooLarge::Extracted | TooLarge::ExtractedFiles => "ZIP_BOMB",
            };
            (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", code, json!({"field": "body", "limit": limit}))
        }
        Error::ComposeFailed { .. }
        | Error::ComposeTimeout { .. }
        | Error::ExecTimeout { .. }
        | Error::ExecStopped { .. }
        | Error::EngineUnavailable(_)
        | Error::EngineRefused(_)
        | Error::Io { .. } => failure(error),
    }
}

/// What stands in the way as things are now.
fn hindrance(error: &Error) -> (StatusCode, &'static str, &'static str, Value) {
    match error {
        Error::NameTaken { name, holder } => {
            let details = json!({"field": "name", "provided": name, "cuid": holder});
            (StatusCode::CONFLICT, "conflict", "CONTAINER_ALREADY_EXISTS", details)
        }
        Error::PortConflict { port, protocol, holder } => {
            let cuid = if let Some(Holder::Ours(cuid)) = holder { Some(cuid) } else { None };
            let holder = holder.as_ref().map(ToString::to_string);
            let details = json!({"field": "ports", "port": port, "protocol": protocol, "cuid": cuid, "holder": holder});
            (StatusCode::CONFLICT, "conflict", "PORT_CONFLICT", details)
        }
        Error::DeployNotFound(number) => {
            (StatusCode::NOT_FOUND, "not_found", "DEPLOY_NOT_FOUND", json!({"field": "deploy", "provided": number}))
        }
        Error::TooManySessions { what, limit } => {
            let details = json!({"what": what, "limit": limit});
            (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "TOO_MANY_SESSIONS", details)
        }
        Error::RecordingGoesOn(id) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "state_error", "SESSION_RUNNING", json!({"session": id}))
        }
        Error::DeployFailed { reason, exit_code, log } => {
            let details = json!({"reason": reason, "exit_code": exit_code, "log": log});
            (StatusCode::UNPROCESSABLE_ENTITY, "state_error", "DEPLOY_FAILED", details)
        }
        Error::Drifted => (StatusCode::CONFLICT, "conflict", "DRIFTED", json!({"field": "overwrite"})),
        Error::RevisionMismatch { revision } => {
            let details = json!({"field": "If-Match", "revision": revision});
            (StatusCode::PRECONDITION_FAILED, "precondition_failed", "REVISION_MISMATCH", details)
        }
        Error::InvalidState { status, allowed, .. } => {
            let details = json!({"status": status, "allowed": allowed});
            (StatusCode::UNPROCESSABLE_ENTITY, "state_error", "INVALID_STATE", details)
        }
        Error::TooManyCommands { limit } => {
            (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "TOO_MANY_COMMANDS", json!({"limit": limit}))
        }
        Error::ExecCut { status, printed } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "state_error", "INVALID_STATE", super::exec::cut(printed, *status))
        }
        Error::LogUnreadable => (StatusCode::UNPROCESSABLE_ENTITY, "state_error", "LOG_UNREADABLE", json!({"field": "log"})),
        Error::StillRunning { status } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "state_error", "CONTAINER_RUNNING", json!({"status": status}))
        }
        error => failure(error),
    }
}

/// What is not the caller's doing.
fn failure(error: &Error) -> (StatusCode, &'static str, &'static str, Value) {
    match error {
        Error::ComposeFailed { command, exit_code, stderr } => {
            let details = json!({"command": command, "exit_code": exit_code, "stderr": stderr});
            (StatusCode::INTERNAL_SERVER_ERROR, "compose_error", "COMPOSE_FAILED", details)
        }
        Error::ComposeTimeout { command, limit } => {
            let details = json!({"command": command, "limit_ms": u64::try_from(limit.as_millis()).ok()});
            (StatusCode::REQUEST_TIMEOUT, "timeout", "COMPOSE_TIMEOUT", details)
        }
        Error::ExecTimeout { ended, printed, .. } => {
            (StatusCode::REQUEST_TIMEOUT, "timeout", "EXEC_TIMEOUT", super::exec::ended(printed, *ended))
        }
        Error::ExecStopped { ended, printed } => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "SERVER_STOPPING", super::exec::ended(printed, *ended))
        }
        Error::EngineUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "ENGINE_UNAVAILABLE", json!({})),
        Error::EngineRefused(_) => (StatusCode::INTERNAL_SERVER_ERROR, "compose_error", "ENGINE_REFUSED", json!({})),
        Error::Io { source, .. } if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            (StatusCode::INSUFFICIENT_STORAGE, "io_error", "STORAGE_FULL", json!({}))
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "io_error", "IO_FAILED", json!({})),
    }
}

/// The domain's messages are clauses; clients get sentences.
fn capitalized(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
