//! Answers that go on: JSON documents one after the other, as lines or as server-sent events, until there are no more, the client goes
//! away, or the server does.

use std::{convert::Infallible, future::Ready, pin::Pin, time::Duration};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{Method, header},
    web::{Bytes, Data},
};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use tokio::{select, time::timeout};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{App, envelope::request_id, error::ApiError};
use crate::error::Error;

/// How long a stream of events says nothing: proxies close connections that are silent for longer.
const SILENCE: Duration = Duration::from_secs(15);

/// How documents follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One a line (NDJSON).
    Lines,
    /// Server-sent events, where the client accepts `text/event-stream`.
    Events,
}

/// A document as a server-sent event.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is written by hand")]
pub(crate) struct ServerSentEvent {
    /// What kind of document it is.
    event: String,
    /// What a client that comes back sends as `Last-Event-ID`.
    id: Option<String>,
    /// The document, as JSON. `end` has a `reason`, and `error` is an error's body.
    data: String,
}

/// Documents that are sent together.
pub(crate) struct Batch {
    format: Format,
    bytes: Vec<u8>,
}

impl FromRequest for Format {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let accepted = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
        let wanted = accepted.flat_map(|list| list.split(',')).any(|one| {
            let kind = one.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/event-stream")
        });
        std::future::ready(Ok(if wanted { Self::Events } else { Self::Lines }))
    }
}

impl Batch {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, bytes: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Has a client come back to this place that gets nothing of what happened before it.
    pub(crate) fn mark(&mut self, id: &str) {
        if self.format == Format::Events {
            self.bytes.extend(["id: ", id, "\n\n"].concat().as_bytes());
        }
    }

    /// Adds a document. Its name and its id, which a client comes back with, are for events; neither has a line break in it.
    pub(crate) fn push(&mut self, name: Option<&str>, id: Option<&str>, document: &impl Serialize) {
        if self.format == Format::Events {
            for (field, value) in [("event: ", name), ("id: ", id)] {
                if let Some(value) = value {
                    self.bytes.extend([field, value, "\n"].concat().as_bytes());
                }
            }
            self.bytes.extend(b"data: ");
        }
        // What can't be rendered would be a mistake of ours, and no reason to end the stream.
        let _ = serde_json::to_writer(&mut self.bytes, document);
        self.bytes.extend(if self.format == Format::Events { &b"\n\n"[..] } else { b"\n" });
    }
}

/// The answer that `batches` make. An error ends it, and is told as its last document, by the name `error`. Events end with one by the name
/// `end`, whose `reason` is `over`, or `stopping` where the server goes down.
pub(crate) fn answer(
    app: &Data<App>,
    request: &HttpRequest,
    format: Format,
    batches: impl Stream<Item = Result<Batch, Error>> + 'static,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    // Told to nginx, which would hold back what it gets until it has enough of it.
    response.insert_header(("X-Accel-Buffering", "no"));
    response.content_type(if format == Format::Events { "text/event-stream" } else { "application/x-ndjson" });
    if *request.method() == Method::HEAD {
        return response.finish();
    }
    let (id, development) = (request_id(request), app.development);
    let failed = move |error: Error| {
        let mut last = Batch::new(format);
        last.push(Some("error"), None, &ApiError::from(error).body(id, development));
        last
    };
    let run = Run { format, batches: Some(Box::pin(batches)), closing: app.closing.clone(), failed };
    response.streaming(stream::unfold(run, Run::next).map(|batch| Ok::<_, Infallible>(Bytes::from(batch.bytes))))
}

struct Run<S, F> {
    format: Format,
    /// None once the last document is sent.
    batches: Option<Pin<Box<S>>>,
    closing: CancellationToken,
    failed: F,
}

impl<S: Stream<Item = Result<Batch, Error>>, F: Fn(Error) -> Batch> Run<S, F> {
    async fn next(mut self) -> Option<(Batch, Self)> {
        loop {
            let batches = self.batches.as_mut()?;
            let next = select! {
                biased;
                () = self.closing.cancelled() => return self.end("stopping"),
                next = timeout(SILENCE, batches.next()) => next,
            };
            match next {
                Ok(Some(Ok(batch))) if batch.is_empty() => {}
                Ok(Some(Ok(batch))) => return Some((batch, self)),
                Ok(Some(Err(error))) => {
                    self.batches = None;
                    return Some(((self.failed)(error), self));
                }
                Ok(None) => return self.end("over"),
                Err(_) if self.format == Format::Events => {
                    // A comment.
                    return Some((Batch { format: self.format, bytes: b":\n\n".to_vec() }, self));
                }
                Err(_) => {}
            }
        }
    }

    fn end(mut self, reason: &str) -> Option<(Batch, Self)> {
        self.batches = None;
        let mut last = Batch::new(self.format);
        last.push(Some("end"), None, &json!({"reason": reason}));
        (self.format == Format::Events).then_some((last, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_lines_or_events() {
        let of = |format| {
            let mut batch = Batch::new(format);
            batch.push(Some("status"), Some("a-1"), &json!({"text": "two\nlines"}));
            String::from_utf8(batch.bytes).unwrap()
        };
        assert_eq!(of(Format::Lines), "{\"text\":\"two\\nlines\"}\n");
        assert_eq!(of(Format::Events), "event: status\nid: a-1\ndata: {\"text\":\"two\\nlines\"}\n\n");
    }
}
