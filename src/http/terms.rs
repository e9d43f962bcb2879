//! On what terms a request wants a change: its `If-Match`, and the mark of its `Idempotency-Key`. What they mean is
//! `containers::terms`' to say.

use std::future::Ready;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    http::header::{self, HeaderMap},
};
use serde_json::Value;

use super::error::ApiError;
use crate::{
    containers::terms::{Mark, Terms},
    error::Error,
};

/// The terms that stand in a request's headers.
pub(crate) struct OnTerms(pub(crate) Terms);

impl FromRequest for OnTerms {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mark = request.extensions().get::<Mark>().cloned();
        let terms = if_match(request.headers()).map(|if_match| Self(Terms { if_match, mark, ..Terms::default() }));
        std::future::ready(terms.map_err(ApiError::from))
    }
}

impl OnTerms {
    /// With what the query says of a project that someone edited.
    pub(crate) fn overwriting(self, overwrite: bool) -> Terms {
        Terms { overwrite, ..self.0 }
    }
}

/// That no revision is expected of `what`, which has none.
pub(crate) fn unconditional(headers: &HeaderMap, what: &str) -> Result<(), Error> {
    let Some(expected) = headers.get(header::IF_MATCH) else { return Ok(()) };
    let provided = String::from_utf8_lossy(expected.as_bytes()).into_owned();
    Err(Error::invalid("INVALID_IF_MATCH", "If-Match", format!("If-Match: {what} has no revision"), provided))
}

/// The entity tag of a revision.
pub(crate) fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// The revisions that `If-Match` names. A weak tag, and a tag that this server never gave, are none of a container's and
/// so match nothing (RFC 9110, 13.1.1). What is no tag at all, such as a number without its quotes, is refused: a client
/// that was told of a conflict instead would look for one.
fn if_match(headers: &HeaderMap) -> Result<Option<Vec<u64>>, Error> {
    let lines: Vec<&[u8]> = headers.get_all(header::IF_MATCH).map(header::HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let all = lines.join(&b","[..]);
    if all.trim_ascii() == b"*" {
        return Ok(None);
    }
    tags(&all).map(Some).ok_or_else(|| {
        let message = "If-Match is * or a list of entity tags in their quotes, such as \"3\"";
        Error::invalid("INVALID_IF_MATCH", "If-Match", message, Value::from(String::from_utf8_lossy(&all)))
    })
}

/// The revisions among a list of entity tags; `None` where it is none.
fn tags(mut list: &[u8]) -> Option<Vec<u64>> {
    let mut revisions = Vec::new();
    let mut any = false;
    loop {
        let start = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','));
        let Some(start) = start else { return any.then_some(revisions) };
        let (weak, quoted) = match list[start..].strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, &list[start..]),
        };
        let opaque = quoted.strip_prefix(b"\"")?;
        let end = opaque.iter().position(|byte| *byte == b'"')?;
        if opaque[..end].iter().any(|byte| matches!(byte, 0..=b' ' | 0x7F)) {
            return None;
        }
        list = opaque[end + 1..].trim_ascii_start();
        if !list.is_empty() && !list.starts_with(b",") {
            return None;
        }
        any = true;
        // Tags are the same when their characters are: "03" is not "3".
        let revision = std::str::from_utf8(&opaque[..end]).ok().and_then(|text| Some((text, text.parse::<u64>().ok()?)));
        revisions.extend(revision.filter(|(text, number)| !weak && *text == number.to_string()).map(|(_, number)| number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strong_tags_are_revisions_and_what_is_no_list_of_tags_is_refused() {
        let read = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_MATCH, header::HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            if_match(&headers)
        };
        for (lines, revisions) in [
            (&[][..], None),
            (&["*"], None),
            (&[" * "], None),
            (&["\"3\""], Some(vec![3])),
            (&["\"3\", \"4\""], Some(vec![3, 4])),
            (&["\"3\"", "\"4\""], Some(vec![3, 4])),
            (&[", \"3\" ,, "], Some(vec![3])),
            (&["W/\"3\""], Some(vec![])),
            (&["W/\"3\",\"4\""], Some(vec![4])),
            (&["\"03\", \"+3\", \"\", \"a,b\", \"é\""], Some(vec![])),
            (&["\"99999999999999999999\""], Some(vec![])),
        ] {
            assert_eq!(read(lines).unwrap(), revisions, "{lines:?}");
        }
        for bad in ["3", "", ",", "\"3", "3\"", "*, \"3\"", "\"3\" \"4\"", "\"3\"4", "w/\"3\"", "\"a b\"", "'3'"] {
            match read(&[bad]) {
                Err(Error::Invalid(invalid)) => assert_eq!((invalid.code, &*invalid.field), ("INVALID_IF_MATCH", "If-Match")),
                other => panic!("{bad} gave {other:?}"),
            }
        }
    }
}
