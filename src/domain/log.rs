//! [`Log`]: where the engine writes what a container prints. Which drivers and options there are is the engine's to say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::{EnvValue, text};

/// A log driver and its options, instead of the site's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object of driver and options")]
pub struct Log {
    pub driver: Driver,
    /// A value may be a secret, such as a token of the log's server.
    #[serde(default)]
    pub options: BTreeMap<OptionName, EnvValue>,
}

text!(
    /// The name of a log driver.
    Driver,
    {"type": "string", "pattern": "^[a-zA-Z0-9][a-zA-Z0-9._/:-]{0,254}$", "examples": ["json-file"]},
    |text| if is_word(text, "._-/:") { Ok(()) } else { Err("a driver is a name such as json-file".into()) }
);

text!(
    /// The name of a log driver's option.
    OptionName,
    {"type": "string", "pattern": "^[a-zA-Z0-9][a-zA-Z0-9._-]{0,254}$", "examples": ["max-size"]},
    |text| if is_word(text, "._-") { Ok(()) } else { Err("an option's name is of letters, digits, ., _ and -, such as max-size".into()) }
);

fn is_word(text: &str, more: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= 255
        && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_text_a_number_or_a_boolean() {
        let log: Log =
            serde_json::from_str(r#"{"driver":"json-file","options":{"max-size":"1m","max-file":2,"compress":true}}"#).unwrap();
        let values: Vec<&str> = log.options.values().map(EnvValue::as_str).collect();
        assert_eq!(values, ["true", "2", "1m"]);
        for json in [
            "{}",
            r#"{"driver":""}"#,
            r#"{"driver":"a b"}"#,
            r#"{"driver":"local","options":{"a":null}}"#,
            r#"{"driver":"local","options":{"a":["b"]}}"#,
            r#"{"driver":"local","options":{"$a":"b"}}"#,
            r#"{"driver":"local","option":{}}"#,
        ] {
            assert!(serde_json::from_str::<Log>(json).is_err(), "{json}");
        }
    }
}
