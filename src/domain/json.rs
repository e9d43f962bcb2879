//! Reading a client's JSON into a type, with the path of the field that can't be taken in the error.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};

/// Reads `document` as a `T`; `code_of` gives the contract's code for a mistake below a top-level field.
///
/// # Errors
/// [`Error::Invalid`]: `UNKNOWN_FIELD`, the code of the field, or `INVALID_JSON` where the whole is of the wrong type.
pub fn read<T: DeserializeOwned>(document: &Value, code_of: impl Fn(&str) -> &'static str) -> Result<T> {
    serde_path_to_error::deserialize(document).map_err(|error| {
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
    let secret = top == "env" || path.starts_with("log.options");
    let message =
        if secret && message.starts_with("invalid ") { "it maps names to strings, numbers and booleans" } else { message };
    let provided =
        if secret || field == "body" { Value::Null } else { document.pointer(&pointer(&field)).cloned().unwrap_or(Value::Null) };
    Error::invalid(code, &field, format!("{field}: {message}"), provided)
}

/// `ports[0].host` as a JSON pointer.
fn pointer(path: &str) -> String {
    format!("/{}", path.replace(['.', '['], "/").replace(']', ""))
}
