//! Reading a client's JSON into a type, with the path of the field that can't be taken in the error.

use std::borrow::Cow;

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, Error as _, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use crate::error::{Error, Result};

/// Reads `document` as a `T`; `code_of` gives the contract's code for a mistake below a top-level field.
///
/// # Errors
/// [`Error::Invalid`]: `UNKNOWN_FIELD`, the code of the field, or `INVALID_JSON` where the whole is of the wrong type.
pub fn read<T: DeserializeOwned>(document: &Value, code_of: impl Fn(&str) -> &'static str) -> Result<T> {
    serde_path_to_error::deserialize(Strict(document)).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        refused(document, &path, &message, code_of)
    })
}

fn refused(document: &Value, path: &str, message: &str, code_of: impl Fn(&str) -> &'static str) -> Error {
    let quoted = |start| message.strip_prefix(start).and_then(|rest: &str| rest.split('`').next());
    let below = |name: &str| if path == "." || path == name { name.to_owned() } else { format!("{path}.{name}") };
    if let Some(name) = quoted("unknown field `") {
        // The path ends with the unknown field itself where the format told it, as JSON does.
        let field = if path.ends_with(name) { path.to_owned() } else { below(name) };
        return Error::invalid("UNKNOWN_FIELD", &field, format!("there is no field {field}"), Value::Null);
    }
    let field = match quoted("missing field `") {
        Some(name) => below(name),
        None if path == "." => "body".to_owned(),
        None => path.to_owned(),
    };
    let top = path.split(['.', '[']).next().unwrap_or_default();
    let code = if field == "body" { "INVALID_JSON" } else { code_of(if top.is_empty() { &field } else { top }) };
    // What was sent in env or to a log driver may be a secret, and the type errors of serde repeat it.
    let secret = matches!(top, "env" | "log") || field == "body";
    let provided = if secret { Value::Null } else { document.pointer(&pointer(&field)).cloned().unwrap_or(Value::Null) };
    // Somebody who wrote `NAME=value` for a name has a value in it.
    let field = if top == "env" { field.split('=').next().unwrap_or_default() } else { &field };
    Error::invalid(code, field, format!("{field}: {}", without_value(message)), provided)
}

/// A type error of serde's without what was sent, which may be a secret: `details.provided` has it where it is none.
fn without_value(message: &str) -> Cow<'_, str> {
    match message.split_once(", expected ").filter(|_| message.starts_with("invalid ")) {
        // What was sent may have the words in it, too.
        Some(_) => format!("expected {}", message.rsplit(", expected ").next().unwrap_or_default()).into(),
        None => message.into(),
    }
}

/// A document in which only an object is read as a struct, and a whole number is one however it is written. What serde derives
/// takes a list of the fields' values as well, which nobody who sends one means, and no `1.0` for 1, which are the same to JSON.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a Value);

impl Strict<'_> {
    /// A number that is whole and was written with a fraction or an exponent, as far as such are exact.
    fn whole(self) -> Option<i64> {
        let number = self.0.as_f64().filter(|number| self.0.is_f64() && number.fract() == 0.0 && number.abs() < EXACT)?;
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
        Some(number as i64)
    }
}

/// From here on not every whole number is a floating-point number.
const EXACT: f64 = 9_007_199_254_740_992.0;

macro_rules! whole_numbers {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Self::Error> {
            match self.whole() {
                Some(number) => visitor.visit_i64(number),
                None => self.deserialize_any(visitor),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for Strict<'de> {
    type Error = serde_json::Error;

    whole_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Self::Error> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Strict))),
            Value::Object(fields) => {
                visitor.visit_map(MapDeserializer::new(fields.iter().map(|(name, value)| (name.as_str(), Strict(value)))))
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Self::Error> {
        match self.0 {
            Value::Array(_) => Err(Self::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> std::result::Result<V::Value, Self::Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> std::result::Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Self::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for Strict<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// `ports[0].host` as a JSON pointer.
fn pointer(path: &str) -> String {
    format!("/{}", path.replace(['.', '['], "/").replace(']', ""))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        count: u16,
        inner: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        text: String,
    }

    #[test]
    fn a_struct_is_an_object_and_a_whole_number_is_one_however_it_is_written() {
        let outer = |document: Value| read::<Outer>(&document, |_| "INVALID_OUTER");
        let whole = Outer { count: 3, inner: Some(Inner { text: "a".to_owned() }) };
        for count in [json!(3), json!(3.0), json!(0.3e1)] {
            assert_eq!(outer(json!({"count": count, "inner": {"text": "a"}})).unwrap(), whole);
        }
        for (document, field) in [
            (json!([3]), "body"),
            (json!([3, {"text": "a"}]), "body"),
            (json!({"count": 3, "inner": ["a"]}), "inner"),
            (json!({"count": 3.5}), "count"),
            (json!({"count": 1e300}), "count"),
            (json!({"count": -3.0}), "count"),
            (json!({"count": 65536.0}), "count"),
            (json!({"count": [3]}), "count"),
        ] {
            match outer(document.clone()) {
                Err(Error::Invalid(invalid)) => assert_eq!(invalid.field, field, "{document}"),
                other => panic!("{document} gave {other:?}"),
            }
        }
    }

    #[test]
    fn what_may_be_a_secret_is_repeated_neither_in_the_message_nor_beside_it() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "it is never read")]
        struct Spec {
            env: std::collections::BTreeMap<String, String>,
        }

        for document in [
            json!("hunter, expected nothing"),
            json!({"env": "hunter"}),
            json!({"env": {"A": ["hunter"]}}),
            json!({"env": {"A=hunter": 1}}),
            json!({"env": ["hunter"]}),
        ] {
            let refused = format!("{:?}", read::<Spec>(&document, |_| "INVALID_ENV").unwrap_err());
            assert!(!refused.contains("hunter"), "{refused}");
        }
    }
}
