//! An answer that goes on, read a document at a time.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

/// How long a document may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A followed answer: server-sent events, or lines.
pub(crate) struct Stream {
    response: Response,
    text: String,
    events: bool,
}

/// A document of a stream; a line has neither name nor id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

impl Stream {
    pub(crate) async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let events = response.headers()["content-type"] == "text/event-stream";
        Self { response, text: String::new(), events }
    }

    /// The next document; `None` at the stream's orderly end.
    pub(crate) async fn next(&mut self) -> Option<Document> {
        loop {
            let end = if self.events { "\n\n" } else { "\n" };
            if let Some((block, rest)) = self.text.split_once(end) {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                // A comment keeps a silent connection open.
                if !block.starts_with(':') {
                    return Some(self.parsed(&block));
                }
                continue;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("a document within half a minute").unwrap();
            match chunk {
                Some(bytes) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => {
                    assert_eq!(self.text, "", "half a document");
                    return None;
                }
            }
        }
    }

    /// The next document for which `wanted` holds.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Document) -> bool) -> Document {
        loop {
            let document = self.next().await.unwrap_or_else(|| panic!("the stream ended before {what}"));
            if wanted(&document) {
                return document;
            }
        }
    }

    fn parsed(&self, block: &str) -> Document {
        if !self.events {
            return Document { name: String::new(), id: String::new(), data: serde_json::from_str(block).unwrap() };
        }
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        Document { name: field("event: "), id: field("id: "), data: serde_json::from_str(&field("data: ")).unwrap() }
    }
}
