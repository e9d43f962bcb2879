//! `/containers/{cuid}/exec`: a command that is run in a container, and what it printed.

use std::{convert::Infallible, iter, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    web::{Bytes, Data},
};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    App,
    containers::NoQuery,
    envelope::to_the_end,
    error::ApiResult,
    request::{CuidPath, Json, Query},
};
use crate::{
    domain::{
        exec::ExecSpec,
        output::Printed,
        status::{Action, Status},
    },
    terminal::Ran,
};

/// A command that has ended, as the description shows it: [`answer`] writes it piece by piece, so that what was printed is not in memory twice.
#[derive(Serialize, ToSchema)]
#[schema(as = ExecResult, example = json!({"exit_code": 0, "stdout": "hello\n", "stderr": "", "encoding": "utf8", "truncated": false, "duration_ms": 61}))]
pub(crate) struct RanView {
    /// 128 + its number for a signal.
    exit_code: i64,
    #[serde(flatten)]
    printed: PrintedView,
    duration_ms: u64,
}

/// What a command has printed, up to 10 MiB of each stream.
#[derive(Serialize, ToSchema)]
#[schema(as = Printed)]
struct PrintedView {
    stdout: String,
    stderr: String,
    /// Of both: `utf8`, or `base64` where one of them is no UTF-8, or much of it would have to be escaped.
    encoding: &'static str,
    /// Whether more was printed.
    truncated: bool,
}

/// What a command had printed by the time that it was ended, for an error.
fn printed(printed: &Printed) -> Value {
    let ([stdout, stderr], encoding) = printed.texts();
    json!({"stdout": stdout, "stderr": stderr, "encoding": encoding.as_str(), "truncated": printed.truncated()})
}

/// The same of one that the server ended; `all`: nothing of it is left.
pub(crate) fn ended(before: &Printed, all: bool) -> Value {
    let mut details = printed(before);
    details["ended"] = all.into();
    details
}

/// The same of one that went with its container.
pub(crate) fn cut(before: &Printed, status: Status) -> Value {
    let mut details = printed(before);
    details["status"] = json!(status);
    details["allowed"] = json!([Status::Running]);
    details
}

/// The answer, which has its room among the large ones until it is sent, or given up.
fn answer(ran: Ran) -> HttpResponse {
    let Ran { exit_code, printed, duration, room } = ran;
    let written = printed.written();
    let (encoding, truncated, duration) = (written.encoding.as_str(), written.truncated, duration.as_millis());
    let head = format!(r#"{{"exit_code":{exit_code},"stdout":""#);
    let middle = r#"","stderr":""#;
    let tail = format!(r#"","encoding":"{encoding}","truncated":{truncated},"duration_ms":{duration}}}"#);
    let length = head.len() + middle.len() + tail.len() + written.length();
    let written = Arc::new((written, room));
    let content = |stderr| {
        let (written, mut at) = (written.clone(), 0);
        iter::from_fn(move || {
            let (piece, next) = written.0.piece(stderr, at)?;
            at = next;
            Some(piece.into())
        })
    };
    let pieces = iter::once(Bytes::from(head)).chain(content(false));
    let pieces = pieces.chain([Bytes::from_static(middle.as_bytes())]).chain(content(true)).chain([Bytes::from(tail)]);
    let body = SizedStream::new(length as u64, stream::iter(pieces.map(Ok::<_, Infallible>)));
    HttpResponse::Ok().content_type("application/json").body(body)
}

/// Runs a command in a container
///
/// A list is a program and its arguments; a string is a line for the container's `sh`. It has `timeout` seconds, then it and all that it has
/// started are ended, and the answer is 408 with what it has printed so far. What it leaves running when it ends is ended, too.
#[utoipa::path(
    post,
    path = "/containers/{cuid}/exec",
    tag = "live",
    params(("cuid" = String, Path)),
    request_body = ExecSpec,
    responses((status = 200, description = "it has ended, whatever its exit code", body = RanView))
)]
pub(crate) async fn run(
    request: HttpRequest,
    app: Data<App>,
    path: CuidPath,
    _: Query<NoQuery>,
    body: Json,
) -> ApiResult<HttpResponse> {
    let spec = ExecSpec::from_json(&body.0)?;
    app.containers.check(path.0, Action::Exec).await?;
    let ran = to_the_end(&request, async move { app.sessions.command(path.0, &spec).await });
    Ok(answer(ran.await?))
}
