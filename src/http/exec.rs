//! `/containers/{cuid}/exec`: a command that is run in a container, and what it printed.

use actix_web::{
    HttpRequest,
    web::{Data, Json as Answer},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    App,
    containers::NoQuery,
    envelope::to_the_end,
    error::ApiResult,
    request::{CuidPath, Json, Query},
};
use crate::{
    domain::{exec::ExecSpec, output::Printed, status::Action},
    terminal::Ran,
};

/// A command that has ended
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
    /// Of both: `utf8`, or `base64` where one of them is no UTF-8.
    encoding: &'static str,
    /// Whether more was printed.
    truncated: bool,
}

impl From<&Printed> for PrintedView {
    fn from(printed: &Printed) -> Self {
        let (stdout, stderr, encoding) = printed.encoded();
        Self { stdout, stderr, encoding, truncated: printed.truncated() }
    }
}

/// What a command had printed by the time that it was ended, for an error.
pub(crate) fn printed(printed: &Printed) -> Value {
    serde_json::to_value(PrintedView::from(printed)).unwrap_or_default()
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
) -> ApiResult<Answer<RanView>> {
    let spec = ExecSpec::from_json(&body.0)?;
    app.containers.check(path.0, Action::Exec).await?;
    let ran = to_the_end(&request, async move {
        let Ran { exit_code, printed, duration } = app.sessions.command(path.0, &spec).await?;
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Ok(RanView { exit_code, printed: PrintedView::from(&printed), duration_ms })
    });
    Ok(Answer(ran.await?))
}
