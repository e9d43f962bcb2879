//! What tells one request from another: a SHA-256 over its method, its path with the query, and its body, which is hashed
//! as it passes by and is never held.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{
    HttpMessage,
    dev::{Payload, ServiceRequest},
    error::PayloadError,
    web::Bytes,
};
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

/// A request's body on its way to the handler. Clones are the same body.
#[derive(Clone)]
pub(crate) struct Tap(Rc<RefCell<Body>>);

struct Body {
    rest: Payload,
    hash: Sha256,
    read: u64,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Whole,
    Broken,
}

/// Why a request has no fingerprint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The body is longer than was to be read.
    TooLong,
    /// The body did not come to its end.
    Broken,
}

impl Tap {
    /// Takes the request's body.
    pub(crate) fn on(request: &mut ServiceRequest) -> Self {
        let mut hash = Sha256::new();
        for part in [request.method().as_str(), request.path(), request.query_string()] {
            feed(&mut hash, part.as_bytes());
        }
        Self(Rc::new(RefCell::new(Body { rest: request.take_payload(), hash, read: 0, end: End::NotYet })))
    }

    /// The body, for the handler.
    pub(crate) fn payload(&self) -> Payload {
        Payload::from(Box::pin(self.clone()) as Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>)
    }

    /// The request's fingerprint, once its body is read; of what was left unread, up to `most` bytes are read on, none of
    /// which may take longer than `patience` to come.
    pub(crate) async fn fingerprint(&self, most: u64, patience: Duration) -> Result<String, Unknown> {
        let start = self.0.borrow().read;
        let mut body = self.clone();
        while self.0.borrow().end == End::NotYet {
            timeout(patience, body.next()).await.map_err(|_| Unknown::Broken)?;
            if self.0.borrow().read - start > most {
                return Err(Unknown::TooLong);
            }
        }
        let body = self.0.borrow();
        if body.end == End::Whole { Ok(hex(body.hash.clone())) } else { Err(Unknown::Broken) }
    }
}

impl Stream for Tap {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self.0.borrow_mut();
        if body.end != End::NotYet {
            return Poll::Ready(None);
        }
        let chunk = ready!(Pin::new(&mut body.rest).poll_next(cx));
        match &chunk {
            Some(Ok(bytes)) => {
                body.hash.update(bytes);
                body.read += bytes.len() as u64;
            }
            Some(Err(_)) => body.end = End::Broken,
            None => body.end = End::Whole,
        }
        Poll::Ready(chunk)
    }
}

/// A digest of several words, in hex; no other words have it.
pub(crate) fn digest(words: &[&str]) -> String {
    let mut hash = Sha256::new();
    for word in words {
        feed(&mut hash, word.as_bytes());
    }
    hex(hash)
}

/// With its length before it, so that nothing moves from one part into the next.
fn feed(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

fn hex(hash: Sha256) -> String {
    format!("{:x}", Bytes::copy_from_slice(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[actix_web::test]
    async fn method_path_query_and_body_each_make_another_fingerprint() {
        let of =
            async |request: TestRequest| Tap::on(&mut request.to_srv_request()).fingerprint(1 << 20, PATIENCE).await.unwrap();
        let first = of(TestRequest::post().uri("/a?b").set_payload("{}")).await;
        assert_eq!(first.len(), 64);
        assert_eq!(of(TestRequest::post().uri("/a?b").set_payload("{}")).await, first);
        for other in [
            TestRequest::patch().uri("/a?b").set_payload("{}"),
            TestRequest::post().uri("/a").set_payload("{}"),
            TestRequest::post().uri("/a?b=").set_payload("{}"),
            TestRequest::post().uri("/a?b").set_payload("{ }"),
            TestRequest::post().uri("/a?b"),
        ] {
            assert_ne!(of(other).await, first);
        }
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }

    #[actix_web::test]
    async fn what_a_handler_left_unread_is_read_up_to_a_bound() {
        let tap = || Tap::on(&mut TestRequest::post().set_payload("0123456789").to_srv_request());
        assert_eq!(tap().fingerprint(9, PATIENCE).await, Err(Unknown::TooLong));
        let (whole, unread) = (tap(), tap().fingerprint(10, PATIENCE).await);
        whole.payload().for_each(|_| std::future::ready(())).await;
        assert_eq!(whole.fingerprint(0, PATIENCE).await, unread);
        assert!(unread.is_ok());
    }
}
