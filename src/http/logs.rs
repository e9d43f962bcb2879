//! `/containers/{cuid}/logs`: what a container has printed, as one document or, followed, line by line.

use std::borrow::Cow;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web::{Bytes, Data},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    error::ApiResult,
    request::{CuidPath, Flag, Query},
    stream::{Batch, Format, answer},
};
use crate::{
    containers::Logs,
    domain::{id::Cuid, moment},
    engine::{
        exec::Source,
        log_lines::{Line, Stamp},
        log_reader::Wanted,
    },
    error::{Error, Result},
};

/// How many lines are given unless told otherwise, and how many may be asked for by number.
const TAIL: usize = 100;
const MAX_TAIL: usize = 100_000;

/// The header with which a browser's `EventSource` comes back.
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    /// How many lines at the most, the last of those that the other parameters leave in: a number from 0 to 100000, or `all`.
    #[param(default = "100", example = "100", pattern = "^(all|[0-9]{1,5}|100000)$")]
    tail: Option<String>,
    /// From then on: a time in RFC 3339, seconds since 1970 with or without a fraction, or a time back from now such as `10m`.
    #[param(
        example = "10m",
        pattern = r"^((19[7-9][0-9]|2[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])|[0-9]{1,11}(\.[0-9]{1,9})?|([0-9]{1,5}(ms|s|m|h))+)$"
    )]
    since: Option<String>,
    /// Up to then, as in `since`. A followed log ends then.
    #[param(
        example = "2026-01-02T03:04:05.000000006Z",
        pattern = r"^((19[7-9][0-9]|2[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])|[0-9]{1,11}(\.[0-9]{1,9})?|([0-9]{1,5}(ms|s|m|h))+)$"
    )]
    until: Option<String>,
    /// Whether to go on with what is printed from now on, over stops and starts, until the container is deleted.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    follow: Flag,
    /// Only what was printed there: `stdout` or `stderr`.
    #[param(example = "stderr", pattern = "^(stdout|stderr)$")]
    stream: Option<String>,
}

#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what a browser sends by itself")]
struct LastEventId {
    /// Followed: the id of the last event that the client has got. What comes behind it is given, whatever `tail` says.
    #[param(
        rename = "Last-Event-ID",
        example = "2026-01-02T03:04:05.000000006Z",
        pattern = r"^((19[7-9][0-9]|2[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]{1,9})?Z)?$"
    )]
    id: Option<String>,
}

/// A line of a log.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLine, example = json!({"timestamp": "2026-01-02T03:04:05.000000006Z", "stream": "stdout", "message": "Server started"}))]
pub(crate) struct LogLine<'a> {
    /// When the engine read it, to the nanosecond.
    timestamp: &'a str,
    /// `stdout` or `stderr`.
    stream: &'static str,
    /// The line without its line break.
    message: Cow<'a, str>,
    /// `base64` where the line is no UTF-8, and so written in that.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    /// True where the line was longer than a mebibyte, and is given up to there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// What was printed, the oldest line first.
#[derive(ToSchema)]
#[schema(as = Logs, example = json!({"cuid": "c123e4567-e89b-42d3-a456-426614174000", "logs": []}))]
#[expect(dead_code, reason = "it is written piece by piece, so that no log has to fit into memory")]
pub(crate) struct LogsView<'a> {
    cuid: Cuid,
    logs: Vec<LogLine<'a>>,
}

impl<'a> From<&'a Line<'a>> for LogLine<'a> {
    fn from(line: &'a Line<'a>) -> Self {
        let (message, encoding) = match std::str::from_utf8(line.bytes) {
            Ok(text) => (Cow::Borrowed(text), None),
            Err(error) => {
                let cut_there = line.cut && error.error_len().is_none();
                let text = if cut_there { std::str::from_utf8(&line.bytes[..error.valid_up_to()]).ok() } else { None };
                match text {
                    // A character that the bound went through.
                    Some(text) => (Cow::Borrowed(text), None),
                    None => (Cow::Owned(BASE64_STANDARD.encode(line.bytes)), Some("base64")),
                }
            }
        };
        let stream = if line.source == Source::Stderr { "stderr" } else { "stdout" };
        Self { timestamp: line.stamp.as_str(), stream, message, encoding, truncated: line.cut }
    }
}

/// What a container has printed
///
/// Lines are joined again where the engine keeps them in parts. Followed, there is one line's object after the other: as
/// NDJSON, or as server-sent events named `log` for a client that accepts these; it goes on over stops, starts and changes of the container, and
/// ends when that is deleted. A client that comes back with the id of the last event it had misses none and gets none twice.
#[utoipa::path(
    get,
    path = "/containers/{cuid}/logs",
    tag = "live",
    params(("cuid" = String, Path), LogsQuery, LastEventId),
    responses((status = 200, description = "the log", content((LogsView = "application/json"), (LogLine = "application/x-ndjson"), (super::stream::ServerSentEvent = "text/event-stream"))))
)]
pub(crate) async fn show(
    app: Data<App>,
    path: CuidPath,
    query: Query<LogsQuery>,
    format: Format,
    request: HttpRequest,
) -> ApiResult<HttpResponse> {
    let follow = query.0.follow.0;
    let mut wanted = query.0.wanted()?;
    let id = request.headers().get(LAST_EVENT_ID).filter(|id| !id.is_empty());
    let after = id.map(|id| behind(&String::from_utf8_lossy(id.as_bytes()))).transpose()?;
    if follow && after.is_some() {
        (wanted.after, wanted.tail) = (after, None);
    }
    let logs = app.containers.logs(path.0, wanted, follow).await?;
    if follow {
        return Ok(answer(&app, &request, format, batches(logs, format)));
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store")).content_type("application/json");
    Ok(if *request.method() == Method::HEAD { response.finish() } else { response.streaming(document(path.0, logs)) })
}

impl LogsQuery {
    fn wanted(self) -> Result<Wanted> {
        let refuse = |field: &'static str, takes: &str, given: String| {
            Err(Error::invalid("INVALID_QUERY", field, format!("{field}: {takes}"), given))
        };
        let tail = match self.tail.as_deref() {
            None => Some(TAIL),
            Some("all") => None,
            Some(text) => {
                match text.parse().ok().filter(|lines| *lines <= MAX_TAIL && text.bytes().all(|b| b.is_ascii_digit())) {
                    Some(lines) => Some(lines),
                    None => return refuse("tail", &format!("a number from 0 to {MAX_TAIL}, or all"), text.to_owned()),
                }
            }
        };
        let source = match self.stream.as_deref() {
            None => None,
            Some("stdout") => Some(Source::Stdout),
            Some("stderr") => Some(Source::Stderr),
            Some(other) => return refuse("stream", "stdout or stderr, or nothing for both", other.to_owned()),
        };
        let since = self.since.as_deref().map(|text| moment_in("since", text)).transpose()?;
        let until = self.until.as_deref().map(|text| moment_in("until", text)).transpose()?;
        Ok(Wanted { tail, since, until, source, after: None })
    }
}

/// The line that a client had last, by its event's id.
fn behind(id: &str) -> Result<Stamp> {
    let stamp = DateTime::parse_from_rfc3339(id).map(|moment| Stamp::from(moment.to_utc()));
    stamp.map_err(|_| Error::invalid("INVALID_QUERY", "Last-Event-ID", "Last-Event-ID: the id of an event of this log", id))
}

fn moment_in(field: &'static str, text: &str) -> Result<Stamp> {
    let takes = "a time in RFC 3339 (with %2B for +), seconds since 1970, or a time back from now such as 10m";
    let moment = moment::parse(text, Utc::now()).map(Stamp::from);
    moment.ok_or_else(|| Error::invalid("INVALID_QUERY", field, format!("{field}: {takes}"), text))
}

/// The log in batches of as much as came at once.
fn batches(logs: Logs, format: Format) -> impl Stream<Item = Result<Batch>> {
    stream::try_unfold((logs, None::<Stamp>), move |(mut logs, mut last)| async move {
        let mut batch = Batch::new(format);
        let more = logs.next(|line| {
            // The youngest so far, where the two streams are not quite in order: nobody comes back to get a line twice.
            last = last.max(Some(line.stamp));
            batch.push(Some("log"), last.as_ref().map(Stamp::as_str), &LogLine::from(line));
        });
        Ok(more.await?.then_some((batch, (logs, last))))
    })
}

/// One document of all lines.
fn document(cuid: Cuid, logs: Logs) -> impl Stream<Item = Result<Bytes>> {
    let head = format!("{{\"cuid\":\"{cuid}\",\"logs\":[").into_bytes();
    stream::try_unfold(Some((logs, head, true)), |state| async move {
        let Some((mut logs, mut bytes, mut first)) = state else { return Ok(None) };
        let more = logs.next(|line| {
            if !std::mem::take(&mut first) {
                bytes.push(b',');
            }
            // What can't be rendered would be a mistake of ours.
            let _ = serde_json::to_writer(&mut bytes, &LogLine::from(line));
        });
        // Too late for another status: what breaks off is no document.
        if more.await? {
            return Ok(Some((Bytes::from(bytes), Some((logs, Vec::new(), first)))));
        }
        bytes.extend(b"]}");
        Ok(Some((Bytes::from(bytes), None)))
    })
}
