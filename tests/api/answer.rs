//! An answer, and what every answer has.

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::harness::PASSWORD;

/// An answer with what tests look at.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// That it is the error `code` of `status`, about `field`.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str, field: &str) {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{body}");
        if !field.is_empty() {
            assert_eq!(body["details"]["field"], field, "{body}");
        }
    }

    /// Whether it is the answer of an earlier request with the same idempotency key.
    pub(crate) fn is_replayed(&self) -> bool {
        self.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
    }

    /// That it is the answer that `first` was, given again.
    #[track_caller]
    pub(crate) fn repeats(&self, first: &Self) {
        assert!(self.is_replayed() && !first.is_replayed(), "{first:?} {self:?}");
        assert_eq!((self.status, &self.bytes), (first.status, &first.bytes));
        for name in ["content-type", "location", "etag", "allow"] {
            assert_eq!(self.headers.get(name), first.headers.get(name), "{name}");
        }
        assert_ne!(self.headers["x-request-id"], first.headers["x-request-id"]);
    }

    /// The answer, if it has what every answer has, and every error.
    #[track_caller]
    pub(crate) fn checked(self) -> Self {
        let id = self.headers.get("x-request-id").expect("a request id").to_str().unwrap();
        assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
        let is_error = self.status.as_u16() >= 400 && !self.bytes.starts_with(br#"{"status":"unavailable""#);
        if is_error {
            let body = self.json();
            assert_eq!(body["status"], self.status.as_u16(), "{body}");
            // An answer that is given again has the first request's id.
            assert_eq!(body["request_id"] == id, !self.is_replayed(), "{body}");
            assert!(body["error"].is_string() && body["code"].is_string() && body["details"].is_object(), "{body}");
            assert!(!body["message"].as_str().unwrap().is_empty(), "{body}");
            chrono::DateTime::parse_from_rfc3339(body["timestamp"].as_str().unwrap()).unwrap();
            assert!(!self.text().contains(PASSWORD), "{body}");
        }
        self
    }
}
