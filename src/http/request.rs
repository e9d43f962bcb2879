//! What handlers take from a request, each parsed once, with the contract's error where it can't be: the cuid of the path,
//! the query, and a JSON body.

use std::{future::Ready, pin::Pin, time::Duration};

use actix_web::{FromRequest, HttpRequest, dev::Payload, error::PayloadError, web::Bytes};
use futures_util::FutureExt;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::timeout;

use super::error::ApiError;
use crate::{
    domain::{id::Cuid, schema::described},
    error::{Error, TooLarge},
};

/// The largest JSON body, in bytes.
pub(crate) const JSON_BYTES: usize = 1 << 20;

/// How long a JSON body may take to arrive.
const BODY: Duration = Duration::from_secs(30);

/// The cuid in the path.
pub(crate) struct CuidPath(pub(crate) Cuid);

/// The query as a `T`, none of whose parameters is unknown.
pub(crate) struct Query<T>(pub(crate) T);

/// A switch in a query: 1 or true, 0 or false.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Flag(pub(crate) bool);

impl TryFrom<String> for Flag {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "1" | "true" => Ok(Self(true)),
            "0" | "false" => Ok(Self(false)),
            _ => Err("expected 1, true, 0 or false"),
        }
    }
}

described! {
    Flag: {"type": "string", "enum": ["1", "true", "0", "false"]}
}

/// The body, where it is not a file's.
pub(crate) struct Body(pub(crate) Bytes);

/// The body as JSON, whatever its content type says.
pub(crate) struct Json(pub(crate) Value);

impl FromRequest for CuidPath {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(request.match_info().query("cuid").parse().map(Self).map_err(ApiError::from))
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(query(request.query_string()).map(Self).map_err(ApiError::from))
    }
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Bytes::from_request(request, payload);
        Box::pin(timeout(BODY, body).map(|body| {
            let late = || {
                Error::invalid(
                    "INVALID_JSON",
                    "body",
                    format!("the body did not arrive within {} s", BODY.as_secs()),
                    Value::Null,
                )
            };
            let body = body.map_err(|_| late())?.map_err(|error| match error.as_error::<PayloadError>() {
                Some(PayloadError::Overflow) => Error::TooLarge { what: TooLarge::Body, limit: JSON_BYTES as u64 },
                _ => Error::invalid("INVALID_JSON", "body", format!("the body could not be read: {error}"), Value::Null),
            })?;
            Ok(Self(body))
        }))
    }
}

impl FromRequest for Json {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Body::from_request(request, payload);
        Box::pin(body.map(|body| {
            let malformed = |error: serde_json::Error| {
                Error::invalid("INVALID_JSON", "body", format!("the body is not JSON: {error}"), Value::Null)
            };
            Ok(Self(serde_json::from_slice(&body?.0).map_err(malformed)?))
        }))
    }
}

fn query<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    if let Some(field) = not_utf8(text) {
        let code = if field == "path" { "INVALID_PATH" } else { "INVALID_QUERY" };
        return Err(Error::invalid(code, &field, format!("{field} is not UTF-8"), Value::Null));
    }
    let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let quoted = message.split('`').nth(1).filter(|_| path == "." || path == "?");
        let field = quoted.unwrap_or(&path).to_owned();
        let provided =
            form_urlencoded::parse(text.as_bytes()).find(|(name, _)| *name == field).map(|(_, value)| value.into_owned());
        Error::invalid("INVALID_QUERY", &field, format!("{field}: {message}"), provided)
    })
}

/// The first parameter whose name or value is no text, which would be read as if it had other characters in it.
fn not_utf8(query: &str) -> Option<String> {
    let wrong = |part: &&str| percent_decode_str(part).decode_utf8().is_err();
    let parameter = query.split('&').find(wrong)?;
    let name = parameter.split('=').next().unwrap_or_default();
    Some(percent_decode_str(name).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Paging {
        #[serde(default)]
        limit: Option<u8>,
        #[serde(default)]
        tag: Option<String>,
    }

    #[test]
    fn a_query_that_can_t_be_taken_names_its_parameter() {
        for (text, field) in [("limit=abc", "limit"), ("limit=300", "limit"), ("lmit=3", "lmit"), ("tag=a&tag=b", "tag")] {
            match query::<Paging>(text) {
                Err(Error::Invalid(invalid)) => {
                    assert_eq!((invalid.code, invalid.field.as_str()), ("INVALID_QUERY", field), "{text}: {}", invalid.message);
                }
                other => panic!("{text} gave {other:?}"),
            }
        }
        for (text, code, field) in [
            ("limit=1&tag=a%FFb", "INVALID_QUERY", "tag"),
            ("path=%ff", "INVALID_PATH", "path"),
            ("%C3=1", "INVALID_QUERY", "\u{FFFD}"),
        ] {
            match query::<Paging>(text) {
                Err(Error::Invalid(invalid)) => assert_eq!((invalid.code, invalid.field.as_str()), (code, field), "{text}"),
                other => panic!("{text} gave {other:?}"),
            }
        }
        let taken: Paging = query("tag=a%20b%2Cc&limit=5").unwrap();
        assert_eq!((taken.tag.as_deref(), taken.limit), (Some("a b,c"), Some(5)));
    }
}
