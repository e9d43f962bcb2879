//! [`HealthCheck`]: how the engine finds out whether a container does its work.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};
use url::Url;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    restart::Retries,
    schema::{self, described},
    text::{Text, text},
};

/// What is asked, how often, and when the answer counts; what is absent is Docker's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct HealthCheck {
    pub probe: Probe,
    pub interval: Option<Span>,
    pub timeout: Option<Span>,
    /// How many failures in a row make it unhealthy.
    pub retries: Option<Retries>,
    /// How long after its start failures don't count.
    pub start_period: Option<Span>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    Test(Test),
    Endpoint(Endpoint),
}

/// A health check as clients write it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object of test or endpoint, interval, timeout, retries and start_period")]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test: Option<Test>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interval: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retries: Option<Retries>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_period: Option<Span>,
}

impl TryFrom<Fields> for HealthCheck {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let Fields { test, endpoint, interval, timeout, retries, start_period } = fields;
        let probe = match (test, endpoint) {
            (Some(test), None) => Probe::Test(test),
            (None, Some(endpoint)) => Probe::Endpoint(endpoint),
            _ => return Err("a health check has either a test or an endpoint"),
        };
        Ok(Self { probe, interval, timeout, retries, start_period })
    }
}

impl From<HealthCheck> for Fields {
    fn from(HealthCheck { probe, interval, timeout, retries, start_period }: HealthCheck) -> Self {
        let (test, endpoint) = match probe {
            Probe::Test(test) => (Some(test), None),
            Probe::Endpoint(endpoint) => (None, Some(endpoint)),
        };
        Self { test, endpoint, interval, timeout, retries, start_period }
    }
}

/// A test in Docker's words: `CMD` and a program with its arguments, `CMD-SHELL` and a line for the shell, or `NONE`
/// for no check at all, also where the image has one. One string is a line for the shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Test(Vec<Text>);

impl Test {
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Text::as_str)
    }
}

impl<'de> Deserialize<'de> for Test {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const TAKES: &str = "a test is a line for the shell, [\"CMD\", program, arguments], [\"CMD-SHELL\", line] or [\"NONE\"]";
        let words = match Value::deserialize(deserializer)? {
            Value::String(line) => vec!["CMD-SHELL".to_owned(), line],
            list => serde_json::from_value(list).map_err(|_| de::Error::custom(TAKES))?,
        };
        let is_test = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["NONE"] => true,
            ["CMD-SHELL", line] => !line.trim().is_empty(),
            ["CMD", program, ..] => !program.is_empty(),
            _ => false,
        };
        if !is_test {
            return Err(de::Error::custom(TAKES));
        }
        words.into_iter().map(|word| Text::try_from(word).map_err(de::Error::custom)).collect::<Result<_, _>>().map(Self)
    }
}

text!(
    /// A URL that is asked from inside the container.
    Endpoint,
    {"type": "string", "format": "uri", "pattern": "^https?://[!-~]+$", "examples": ["http://localhost:8000/health"]},
    |text| match Url::parse(text) {
        // The URL standard takes "http:host" and "HTTP://host", too, which the programs that ask need not.
        Ok(_) if ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
            && text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(()),
        _ => Err("an endpoint is an http or https URL, such as http://localhost:8000/health".into()),
    }
);

text!(
    /// A time in Docker's grammar, of at least a millisecond, as it was written.
    Span,
    {
        "type": "string",
        "description": "A time of at least 1ms in Docker's grammar.",
        "pattern": r"^(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+$",
        "examples": ["1m30s"],
    },
    |text| match nanoseconds(text) {
        Some(1e6..=9e18) => Ok(()),
        _ => Err("a time is of at least 1ms, such as 500ms, 30s or 1m30s".into()),
    }
);

impl Span {
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(nanoseconds(self.as_str()).unwrap_or_default() / 1e9)
    }
}

/// The grammar of Go's `ParseDuration`, without signs: no kept-up crate reads it.
pub(crate) fn nanoseconds(text: &str) -> Option<f64> {
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len()));
        let scale = match unit {
            "ns" => 1.0,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Some(total)
}

described! {
    Test: {"oneOf": [
        {"type": "string", "pattern": r"^(?=[\s\S]*\S)[^\x00]*$"},
        {"type": "array", "prefixItems": [{"const": "NONE"}], "minItems": 1, "maxItems": 1},
        {
            "type": "array",
            "prefixItems": [{"const": "CMD-SHELL"}, {"type": "string", "pattern": r"^(?=[\s\S]*\S)[^\x00]*$"}],
            "minItems": 2,
            "maxItems": 2,
        },
        {
            "type": "array",
            "prefixItems": [{"const": "CMD"}, {"type": "string", "pattern": r"^[^\x00]+$"}],
            "items": {"type": "string", "pattern": r"^[^\x00]*$"},
            "minItems": 2,
        },
    ], "examples": ["wget -q localhost:8000"]}
}

/// Described with the one question that it has.
impl PartialSchema for HealthCheck {
    fn schema() -> RefOr<Schema> {
        let with = |question: &str, other: &str| {
            let span = json!({"oneOf": [{"type": "null"}, Span::schema()]});
            json!({
                "type": "object",
                "required": [question],
                "properties": {
                    question: if question == "test" { Test::schema() } else { Endpoint::schema() },
                    other: {"type": "null"},
                    "interval": span,
                    "timeout": span,
                    "start_period": span,
                    "retries": {"oneOf": [{"type": "null"}, Retries::schema()]},
                },
                "additionalProperties": false,
            })
        };
        let example = json!({"test": "wget -q localhost:8000", "interval": "5s", "retries": 3});
        schema::of(json!({"oneOf": [with("test", "endpoint"), with("endpoint", "test")], "examples": [example]}))
    }
}

impl ToSchema for HealthCheck {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_docker_reads_them() {
        for (text, expected) in
            [("30s", 30e9), ("1m30s", 90e9), ("500ms", 5e8), ("1.5h", 5.4e12), ("1500us", 1.5e6), ("2h45m.5s", 9.9005e12)]
        {
            assert_eq!(nanoseconds(text), Some(expected), "{text}");
            assert!(Span::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in
            ["", "0", "0s", "999us", "30", "-1s", "+1s", "1 s", "1d", "s", ".s", "1..5s", "1s ", "1e3s", "1S", "9999999h", "$S"]
        {
            assert!(Span::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_check_has_one_question() {
        for json in [
            r#"{"test":"true"}"#,
            r#"{"test":["NONE"]}"#,
            r#"{"test":["CMD","a","","$b"],"retries":3}"#,
            r#"{"test":["CMD-SHELL","a || b"],"interval":"1s","timeout":"1s","start_period":"1s"}"#,
            r#"{"endpoint":"http://localhost:8000/health?a='$b'"}"#,
            r#"{"endpoint":"https://[::1]/"}"#,
        ] {
            assert!(serde_json::from_str::<HealthCheck>(json).is_ok(), "{json}");
        }
        for json in [
            "{}",
            r#"{"interval":"1s"}"#,
            r#"{"test":"true","endpoint":"http://localhost"}"#,
            r#"{"test":""}"#,
            r#"{"test":[]}"#,
            r#"{"test":["true"]}"#,
            r#"{"test":["CMD"]}"#,
            r#"{"test":["CMD-SHELL","a","b"]}"#,
            r#"{"test":["NONE","a"]}"#,
            r#"{"test":["CMD",1]}"#,
            r#"{"test":"a\u0000"}"#,
            r#"{"test":"true","retries":0}"#,
            r#"{"test":"true","intervall":"1s"}"#,
            r#"{"endpoint":"ftp://localhost"}"#,
            r#"{"endpoint":"localhost:8000"}"#,
            r#"{"endpoint":"http://a b"}"#,
            r#"{"endpoint":"http://"}"#,
            r#"{"endpoint":" http://localhost"}"#,
        ] {
            assert!(serde_json::from_str::<HealthCheck>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_line_is_shown_as_docker_s_list() {
        let check: HealthCheck = serde_json::from_str(r#"{"test":"a b","interval":"1m30s"}"#).unwrap();
        assert_eq!(serde_json::to_string(&check).unwrap(), r#"{"test":["CMD-SHELL","a b"],"interval":"1m30s"}"#);
    }
}
