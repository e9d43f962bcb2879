//! `GET /actions`: the action log, newest first, by pages.

use std::time::Duration;

use actix_web::web::{Data, Json as Answer};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, FixedOffset, Local, TimeDelta};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, error::ApiResult, files::off_worker, request::Query};
use crate::{
    action_log::{Cursor, Failed, Filter},
    domain::health::nanoseconds,
    error::Error,
};

/// How long an answer waits for what was recorded before it to be on the disk.
const FLUSH: Duration = Duration::from_millis(250);

/// The most entries of a page, and how many there are where nothing is said.
const MOST: usize = 1000;
const USUAL: usize = 100;

/// The ids of all failures; a test holds them against the description.
const FAILURES: [&str; 14] = [
    "auth_error",
    "validation_error",
    "permission_denied",
    "not_found",
    "method_not_allowed",
    "timeout",
    "conflict",
    "payload_too_large",
    "state_error",
    "rate_limited",
    "compose_error",
    "io_error",
    "unavailable",
    "precondition_failed",
];

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ActionsQuery {
    /// Only those on this container, which may be gone.
    #[param(example = "c123e4567-e89b-12d3-a456-426614174000", pattern = "^c[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    cuid: Option<String>,
    /// Only those of this name, such as `create`.
    #[param(example = "create")]
    action: Option<String>,
    /// Only failures with this error id, such as `auth_error`; `true` for any failure, `false` for none.
    #[param(
        example = "auth_error",
        pattern = "^(auth_error|validation_error|permission_denied|not_found|method_not_allowed|timeout|conflict|payload_too_large|state_error|rate_limited|compose_error|io_error|unavailable|precondition_failed|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"
    )]
    error: Option<String>,
    /// Only requests that came then or later: a time of RFC 3339, or how long ago, such as `15m`.
    #[param(
        example = "15m",
        pattern = "^((?=.*[1-9])([0-9]{1,6}(\\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h)){1,4}|[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-2]):[0-5][0-9]))$"
    )]
    since: Option<String>,
    /// How many at the most, 100 where nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `next_cursor` of an earlier answer.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// A part of the action log.
#[derive(Serialize, ToSchema)]
#[schema(as = Actions, example = json!({
    "actions": [{
        "timestamp": "2024-01-20T15:30:00.123456789+01:00", "request_id": "123e4567-e89b-12d3-a456-426614174000", "user": "admin",
        "remote": "127.0.0.1", "method": "POST", "path": "/containers", "action": "create",
        "cuid": "c123e4567-e89b-12d3-a456-426614174000", "status": 201, "duration_ms": 180, "bytes_in": 42, "bytes_out": 900,
        "seq": 1042, "prev": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    }],
    "next_cursor": "MTIzIDQ1NiAxMDQy"
}))]
pub(crate) struct ActionsView {
    /// Newest first. There may be fewer than were asked for, or none, although there are more.
    actions: Vec<ActionView>,
    /// Where the next page begins; null where there is nothing older.
    next_cursor: Option<String>,
}

/// A line of the action log. Fields that don't apply are left out.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[schema(as = Action)]
pub(crate) struct ActionView {
    /// When the request came; of a terminal's end, when that was.
    #[schema(format = DateTime, example = "2024-01-20T15:30:00+01:00")]
    #[serde(default)]
    timestamp: String,
    #[schema(example = "123e4567-e89b-12d3-a456-426614174000")]
    #[serde(default)]
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The address that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    #[serde(default)]
    method: String,
    /// Without the query, and without credentials.
    #[serde(default)]
    path: String,
    /// What the call is called, such as `create`; `none` where there is no such call.
    #[schema(example = "create")]
    #[serde(default)]
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cuid: Option<String>,
    /// The answer's; 499 where the client went away before it.
    #[serde(default)]
    status: u16,
    #[serde(default)]
    duration_ms: u64,
    /// Of the bodies.
    #[serde(default)]
    bytes_in: u64,
    #[serde(default)]
    bytes_out: u64,
    /// Nothing was done: it got the answer of an earlier request with the same idempotency key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    /// The error's id, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(flatten)]
    terminal: TerminalPart,
    /// The line's number. Lines of earlier versions have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// The SHA-256 of the line before.
    #[serde(skip_serializing_if = "Option::is_none")]
    prev: Option<String>,
}

/// What the end of a terminal's session has in addition.
#[derive(Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct TerminalPart {
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// `shell`, `attach` or `exec`; `none` where it ended before its program ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    /// `full`, `metadata` or `failed`, where sessions are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording_file: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    recording_truncated: bool,
}

/// `GET /actions`
#[utoipa::path(
    get,
    path = "/actions",
    tag = "server",
    summary = "The action log, newest first",
    description = "A line for every request, every container of a batch, and every terminal's session, over the current file and those that \
                   rotation put aside. A page looks at a bounded part of the log, so that a filter that leaves little in gives short \
                   pages: go on while there is a `next_cursor`. A cursor stays good while lines are added; where rotation has taken its \
                   place away, the page is empty, and the last.",
    params(ActionsQuery),
    responses((status = 200, description = "a part of the log", body = ActionsView))
)]
pub(crate) async fn list(app: Data<App>, query: Query<ActionsQuery>) -> ApiResult<Answer<ActionsView>> {
    let (filter, after, limit) = query.0.parse()?;
    app.log.flush(FLUSH).await;
    let log = app.log.clone();
    let shown = off_worker(move || {
        let page = log.page(&filter, after, limit)?;
        let actions = page.lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
        Ok(ActionsView { actions, next_cursor: page.next.map(|next| URL_SAFE_NO_PAD.encode(next.to_string())) })
    });
    Ok(Answer(shown.await?))
}

impl ActionsQuery {
    /// What is left in, where the page begins, and how long it may be.
    fn parse(self) -> Result<(Filter, Option<Cursor>, usize), Error> {
        let refuse = |field: &'static str, takes: &str, given: &str| {
            Error::invalid("INVALID_QUERY", field, format!("{field}: {takes}"), given)
        };
        let since = self
            .since
            .map(|text| since(&text).ok_or_else(|| refuse("since", "a time of RFC 3339, or how long ago, such as 15m", &text)));
        let after =
            self.cursor.map(|text| place(&text).ok_or_else(|| refuse("cursor", "a next_cursor of an earlier answer", &text)));
        let failed = self.error.map(|text| failed(&text).ok_or_else(|| refuse("error", "an error's id, true or false", &text)));
        let limit = self.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(refuse("limit", "a number from 1 to 1000", &limit.to_string()));
        }
        let filter = Filter {
            cuid: self.cuid.map(|cuid| cuid.parse()).transpose()?,
            action: self.action,
            failed: failed.transpose()?,
            since: since.transpose()?,
        };
        Ok((filter, after.transpose()?, limit))
    }
}

/// Which failures; some languages write `True`.
fn failed(text: &str) -> Option<Failed> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(Failed::Any),
        "false" => Some(Failed::None),
        _ => FAILURES.contains(&text).then(|| Failed::As(text.to_owned())),
    }
}

/// A time, or how long ago it was.
fn since(text: &str) -> Option<DateTime<FixedOffset>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time);
    }
    let seconds = nanoseconds(text).filter(|nanoseconds| *nanoseconds > 0.0)? / 1e9;
    let back = TimeDelta::from_std(Duration::try_from_secs_f64(seconds).ok()?).ok()?;
    Local::now().fixed_offset().checked_sub_signed(back)
}

fn place(cursor: &str) -> Option<Cursor> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_error_of_the_description_can_be_asked_for_and_nothing_else() {
        let parameters = serde_json::to_value(<ActionsQuery as utoipa::IntoParams>::into_params(|| None)).unwrap();
        let error = parameters.as_array().unwrap().iter().find(|one| one["name"] == "error").unwrap();
        let pattern = error["schema"]["pattern"].as_str().unwrap();
        let described = include_str!("openapi/codes.rs").split("ids: &[").skip(1).flat_map(|rest| {
            let ids = rest.split(']').next().unwrap_or_default();
            ids.split('"').skip(1).step_by(2).collect::<Vec<_>>()
        });
        assert_eq!(described.collect::<BTreeSet<_>>(), FAILURES.into_iter().collect());
        for id in FAILURES {
            assert_eq!(failed(id), Some(Failed::As(id.to_owned())));
            assert!(pattern.contains(id), "{id}");
        }
        assert_eq!((failed("TRUE"), failed("False")), (Some(Failed::Any), Some(Failed::None)));
        assert_eq!((failed(""), failed("create"), failed("Not_Found")), (None, None, None));
    }

    #[test]
    fn a_time_is_one_or_how_long_ago_one_was() {
        assert!(since("2024-01-20T15:30:00+01:00").is_some_and(|time| time.timestamp() == 1_705_761_000));
        assert!(since("1h30m").is_some_and(|time| (Local::now().fixed_offset() - time).num_minutes() == 90));
        for wrong in ["", "yesterday", "-1h", "1d", "0s", "99999999999999999999h", "2024-01-20"] {
            assert_eq!(since(wrong), None, "{wrong}");
        }
    }
}
