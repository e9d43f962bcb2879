//! What a line of the log says, and how it becomes one: without credentials, and of a bounded length.

use std::borrow::Cow;

use chrono::{DateTime, Local};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{chain, redact::redact};
use crate::domain::id::Cuid;

/// The longest entry, in bytes: with what the chain adds to it and its newline it fits a page of the file.
const ENTRY_BYTES: usize = super::writer::PAGE - chain::SEAL_BYTES - 1;

/// How much of its path a refusal's line has, in bytes: whoever lacks the password is not to write the others' lines away.
const REFUSED_PATH: usize = 128;

/// One line. Fields that don't apply are left out.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub timestamp: DateTime<Local>,
    pub request_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    pub method: String,
    /// Without the query.
    pub path: String,
    pub action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuid: Option<Cuid>,
    pub status: u16,
    pub duration_ms: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Nothing was done: it is the answer of an earlier request with the same idempotency key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
}

/// What a failure's line has in addition; the names are the error body's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub error: Cow<'static, str>,
    pub code: Cow<'static, str>,
    pub message: String,
}

/// What a terminal session's line has in addition.
#[derive(Clone, Debug, Serialize)]
pub struct Terminal {
    pub session: String,
    pub mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recording>,
}

/// What a terminal session's line has where sessions are recorded.
#[derive(Clone, Debug, Serialize)]
pub struct Recording {
    /// `full` or `metadata`, or `failed` where the disk took nothing.
    pub recording: &'static str,
    /// The file's name, in the folder of the container's recordings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording_file: Option<String>,
    /// The recording ends before the session did.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recording_truncated: bool,
}

impl Entry {
    /// The entry as JSON of at most [`ENTRY_BYTES`], without the credentials of URLs. Texts that are too long for that are cut.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let clean = self.redacted();
        let mut line = serde_json::to_vec(&*clean).ok()?;
        let mut most = ENTRY_BYTES / 2;
        while line.len() > ENTRY_BYTES && most > 0 {
            line = serde_json::to_vec(&clean.with_texts(|text| cut(text, most))).ok()?;
            most /= 2;
        }
        (line.len() <= ENTRY_BYTES).then_some(line)
    }

    fn redacted(&self) -> Cow<'_, Self> {
        let is_clean = |text: &str| matches!(redact(text), Cow::Borrowed(_));
        if matches!(self.status, 401 | 429) {
            return Cow::Owned(self.with_texts(|text| cut(&redact(text), REFUSED_PATH)));
        }
        if is_clean(&self.path) && self.failure.as_ref().is_none_or(|failure| is_clean(&failure.message)) {
            return Cow::Borrowed(self);
        }
        Cow::Owned(self.with_texts(|text| redact(text).into_owned()))
    }

    /// With what may be of any length, or may hold anything, put through `change`.
    fn with_texts(&self, change: impl Fn(&str) -> String) -> Self {
        Self {
            user: self.user.as_deref().map(&change),
            method: change(&self.method),
            path: change(&self.path),
            failure: self.failure.as_ref().map(|failure| Failure { message: change(&failure.message), ..failure.clone() }),
            ..self.clone()
        }
    }
}

/// The beginning of a text that is longer than `most` bytes.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", &text[..end])
}

/// An entry for tests.
#[cfg(test)]
pub(super) fn example(path: &str, message: Option<&str>) -> Entry {
    Entry {
        timestamp: Local::now(),
        request_id: Uuid::new_v4(),
        user: Some("admin".into()),
        remote: Some("127.0.0.1".into()),
        method: "GET".into(),
        path: path.into(),
        action: "show".into(),
        cuid: None,
        status: 200,
        duration_ms: 1,
        bytes_in: 0,
        bytes_out: 10,
        replayed: false,
        failure: message.map(|message| Failure { error: "not_found".into(), code: "X".into(), message: message.into() }),
        terminal: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_whatever_length_fits_a_page_and_is_json() {
        for text in ["x".repeat(100_000), "\u{1}".repeat(9_000), "é\"".repeat(3_000), "short".into()] {
            let line = Entry { user: Some(text.clone()), method: text.clone(), ..example(&text, Some(&text)) }.encode().unwrap();
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert!(line.len() <= ENTRY_BYTES);
            assert_eq!(read["message"] == text, text == "short", "{read}");
        }
    }

    #[test]
    fn a_refusal_takes_little_room_however_much_was_asked_for() {
        let refused = Entry { status: 401, user: None, ..example(&"/x".repeat(4_000), Some("Wrong password")) };
        let line = refused.encode().unwrap();
        assert!(line.len() < 512 && String::from_utf8(line).unwrap().contains("Wrong password"));
    }

    #[test]
    fn no_credentials_of_urls_are_in_a_line() {
        let line = example("/x/https://u:hunter2@h/", Some("Image \"https://u:hunter2@h/i?token=hunter2\"")).encode().unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(!line.contains("hunter2") && line.contains("https://***@h/i?token=***"), "{line}");
    }
}
