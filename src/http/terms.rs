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
    domain::schema::described,
    error::Error,
    files::condition::{Condition, Tags},
};

/// A list of entity tags, or any of them.
pub(crate) struct EntityTags;

described! {
    EntityTags: {"type": "string", "pattern": r#"^(?:\*|(?:W/)?"[!#-~]*"(?: *, *(?:W/)?"[!#-~]*")*)$"#}
}

/// The header of a change to a container that is made only at a revision that its caller knows.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes the header; `OnTerms` reads it")]
pub(crate) struct IfMatch {
    /// Make the change only at one of these revisions, as answers' `ETag` has them; at any other it is 412.
    #[param(rename = "If-Match", value_type = Option<EntityTags>, inline, example = "\"3\"")]
    if_match: Option<String>,
}

/// The headers of a change to a file that is made only where the file is as its caller knows it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes the headers; `condition` reads them")]
pub(crate) struct FileCondition {
    /// Make the change only if the file's `ETag` is one of these; `*` is any file that is there. Else it is 412.
    #[param(rename = "If-Match", value_type = Option<EntityTags>, inline, example = "*")]
    if_match: Option<String>,
    /// Make the change only if the file's `ETag` is none of these; with `*`, only if nothing is there. Else it is 412.
    #[param(rename = "If-None-Match", value_type = Option<EntityTags>, inline, example = "*")]
    if_none_match: Option<String>,
}

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

/// What a request expects of a file, which has a tag and no revision.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Condition, Error> {
    let tags = |name, weak| {
        Ok(listed(headers, name)?.map(|named| match named {
            None => Tags::Any,
            Some(tags) => Tags::These(tags.into_iter().filter(|tag| weak || !tag.weak).map(|tag| tag.opaque).collect()),
        }))
    };
    // A weak tag is none of a file's that is to be changed, but names one that is not to be (RFC 9110, 8.8.3.2).
    Ok(Condition { if_match: tags(header::IF_MATCH, false)?, if_none_match: tags(header::IF_NONE_MATCH, true)? })
}

/// The revisions that `If-Match` names. A weak tag, and a tag that this server never gave, are none of a container's and
/// so match nothing (RFC 9110, 13.1.1).
fn if_match(headers: &HeaderMap) -> Result<Option<Vec<u64>>, Error> {
    let named = listed(headers, header::IF_MATCH)?.flatten();
    // Tags are the same when their characters are: "03" is not "3".
    let revision = |tag: Tag| {
        let revision: u64 = tag.opaque.parse().ok()?;
        (!tag.weak && tag.opaque == revision.to_string()).then_some(revision)
    };
    Ok(named.map(|tags| tags.into_iter().filter_map(revision).collect()))
}

/// An entity tag, without its quotes.
struct Tag {
    weak: bool,
    opaque: String,
}

/// What a header lists: `Some(None)` is `*`. What is no tag at all, such as a number without its quotes, is refused: a client
/// that was told of a conflict instead would look for one.
fn listed(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<Option<Vec<Tag>>>, Error> {
    let lines: Vec<&[u8]> = headers.get_all(&name).map(header::HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let all = lines.join(&b","[..]);
    if all.trim_ascii() == b"*" {
        return Ok(Some(None));
    }
    tags(&all).map(|tags| Some(Some(tags))).ok_or_else(|| {
        let (field, code) =
            if name == header::IF_MATCH { ("If-Match", "INVALID_IF_MATCH") } else { ("If-None-Match", "INVALID_IF_NONE_MATCH") };
        let message = format!("{field} is * or a list of entity tags in their quotes, such as \"3\"");
        Error::invalid(code, field, message, Value::from(String::from_utf8_lossy(&all)))
    })
}

/// A list of entity tags; `None` where it is none.
fn tags(mut list: &[u8]) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    loop {
        let start = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','));
        let Some(start) = start else { return (!tags.is_empty()).then_some(tags) };
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
        tags.push(Tag { weak, opaque: String::from_utf8_lossy(&opaque[..end]).into_owned() });
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
        let mut headers = HeaderMap::new();
        headers.append(header::IF_MATCH, header::HeaderValue::from_static("\"a:1\", W/\"b\""));
        headers.append(header::IF_NONE_MATCH, header::HeaderValue::from_static("W/\"c\""));
        let Condition { if_match, if_none_match } = condition(&headers).unwrap();
        assert_eq!(if_match, Some(Tags::These(vec!["a:1".into()])));
        assert_eq!(if_none_match, Some(Tags::These(vec!["c".into()])));
        for bad in ["3", "", ",", "\"3", "3\"", "*, \"3\"", "\"3\" \"4\"", "\"3\"4", "w/\"3\"", "\"a b\"", "'3'"] {
            match read(&[bad]) {
                Err(Error::Invalid(invalid)) => assert_eq!((invalid.code, &*invalid.field), ("INVALID_IF_MATCH", "If-Match")),
                other => panic!("{bad} gave {other:?}"),
            }
        }
    }
}
