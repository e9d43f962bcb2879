//! [`ExecSpec`]: a command that is to be run in a container, as clients write it.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    json,
    schema::described,
    spec::STRING_BYTES,
    text::{EnvName, EnvValue, Text, WorkingDir},
    user::User,
};
use crate::error::{Error, Result};

/// How long a command may take where its caller names no time, and at the most, in seconds.
const TIMEOUT: f64 = 60.0;
const MAX_TIMEOUT: f64 = 3600.0;

/// A command for a container.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with a command")]
#[schema(as = Exec, example = json!({"command": ["ls", "-la", "/app"], "env": {"DEBUG": "true"}, "working_dir": "/app", "timeout": 10}))]
pub struct ExecSpec {
    pub command: Argv,
    #[serde(default)]
    #[schema(required = false)]
    pub env: Variables,
    /// Absent: the container's own.
    #[serde(default)]
    pub working_dir: Option<WorkingDir>,
    /// Absent: the container's own.
    #[serde(default)]
    pub user: Option<User>,
    /// Absent: nothing.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Until it is ended, in seconds.
    #[serde(default)]
    #[schema(required = false)]
    pub timeout: Seconds,
}

/// A program and its arguments; a string is a line for the container's `sh`.
#[derive(Debug)]
pub struct Argv(pub Vec<String>);

/// An environment, as a map or as a list of `name` and `value`, of which the last counts.
#[derive(Debug, Default)]
pub struct Variables(BTreeMap<EnvName, EnvValue>);

/// More than none, and at most an hour.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Option<f64>")]
pub struct Seconds(f64);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object of name and value")]
struct Variable {
    name: EnvName,
    value: EnvValue,
}

impl ExecSpec {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the path of the first field that can't be taken.
    pub fn from_json(document: &Value) -> Result<Self> {
        let spec: Self = json::read(document, code_of)?;
        let too_long = |code, field: String| {
            Err(Error::invalid(code, &field, format!("{field}: at most {STRING_BYTES} bytes, its name included"), Value::Null))
        };
        let over = |(name, value): &(&EnvName, &EnvValue)| name.as_str().len() + value.as_str().len() >= STRING_BYTES;
        if let Some((name, _)) = spec.env.0.iter().find(over) {
            return too_long("INVALID_ENV", format!("env.{}", name.as_str().chars().take(64).collect::<String>()));
        }
        match spec.command.0.iter().position(|word| word.len() > STRING_BYTES) {
            Some(index) if document["command"].is_array() => too_long("INVALID_COMMAND", format!("command[{index}]")),
            Some(_) => too_long("INVALID_COMMAND", "command".to_owned()),
            None => Ok(spec),
        }
    }
}

impl Variables {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Seconds {
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.0)
    }
}

impl Default for Seconds {
    fn default() -> Self {
        Self(TIMEOUT)
    }
}

impl TryFrom<Option<f64>> for Seconds {
    type Error = String;

    fn try_from(seconds: Option<f64>) -> std::result::Result<Self, String> {
        let seconds = seconds.unwrap_or(TIMEOUT);
        let fits = (0.001..=MAX_TIMEOUT).contains(&seconds);
        if fits { Ok(Self(seconds)) } else { Err(format!("seconds, more than 0 and up to {MAX_TIMEOUT}")) }
    }
}

impl<'de> Deserialize<'de> for Argv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = Argv;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a program and its arguments as a list of strings, or a line for the shell")
            }

            fn visit_str<E: de::Error>(self, line: &str) -> std::result::Result<Argv, E> {
                let line = Text::try_from(line.to_owned()).map_err(E::custom)?;
                if line.as_str().trim().is_empty() {
                    return Err(E::custom("the line is empty"));
                }
                Ok(Argv(["/bin/sh", "-c", line.as_str()].map(str::to_owned).to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Argv, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element::<Text>()? {
                    words.push(word.as_str().to_owned());
                }
                match words.first() {
                    Some(program) if !program.is_empty() => Ok(Argv(words)),
                    _ => Err(de::Error::custom("the first of the list is the program")),
                }
            }
        }

        deserializer.deserialize_any(Words)
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Variables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from names to values, or a list of objects of name and value")
            }

            fn visit_unit<E>(self) -> std::result::Result<Variables, E> {
                Ok(Variables::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Variables, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    all.insert(name, value);
                }
                Ok(Variables(all))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Variables, A::Error> {
                let mut all = BTreeMap::new();
                while let Some(Variable { name, value }) = list.next_element()? {
                    all.insert(name, value);
                }
                Ok(Variables(all))
            }
        }

        deserializer.deserialize_any(Pairs)
    }
}

described! {
    Argv: {"oneOf": [
        {
            "type": "array",
            "description": "A program and its arguments.",
            "minItems": 1,
            "prefixItems": [{"type": "string", "pattern": r"^[^\x00]+$"}],
            "items": {"type": "string", "pattern": r"^[^\x00]*$"},
        },
        {"type": "string", "description": "A line for `/bin/sh`.", "pattern": r"^[^\x00]*[^\x00\s][^\x00]*$"},
    ], "examples": [["ls", "-la", "/app"]]}
    Variables: {"oneOf": [
        {"type": "null"},
        {
            "type": "object",
            "description": "Values by their names.",
            "propertyNames": {"type": "string", "pattern": "^(?!(?:CONTAINER_UID|TAGS)$)[^=\\x00]+$"},
            "additionalProperties": {"$ref": "#/components/schemas/EnvValue"},
        },
        {
            "type": "array",
            "description": "Of those with one name the last counts.",
            "items": {
                "type": "object",
                "required": ["name", "value"],
                "additionalProperties": false,
                "properties": {
                    "name": {"type": "string", "pattern": "^(?!(?:CONTAINER_UID|TAGS)$)[^=\\x00]+$"},
                    "value": {"$ref": "#/components/schemas/EnvValue"},
                },
            },
        },
    ], "examples": [{"DEBUG": "true"}]}
    Seconds: {"type": ["number", "null"], "minimum": 0.001, "maximum": MAX_TIMEOUT, "default": TIMEOUT}
}

fn code_of(field: &str) -> &'static str {
    match field {
        "command" => "INVALID_COMMAND",
        "env" => "INVALID_ENV",
        "working_dir" => "INVALID_WORKING_DIR",
        "user" => "INVALID_USER",
        "stdin" => "INVALID_STDIN",
        "timeout" => "INVALID_TIMEOUT",
        _ => "INVALID_JSON",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_shapes_of_a_command_and_of_an_environment_are_read() {
        let env = |spec: &ExecSpec| spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let list =
            json!({"command": ["ls", "-l", ""], "env": [{"name": "A", "value": 1}, {"name": "A", "value": "$b"}], "timeout": 5});
        let spec = ExecSpec::from_json(&list).unwrap();
        assert_eq!(
            (&spec.command.0[..], env(&spec)),
            (&["ls".to_owned(), "-l".to_owned(), String::new()][..], vec!["A=$b".to_owned()])
        );
        assert_eq!(spec.timeout.duration(), Duration::from_secs(5));
        let map =
            json!({"command": "a | b", "env": {"B": true}, "working_dir": null, "user": null, "stdin": null, "timeout": null});
        let spec = ExecSpec::from_json(&map).unwrap();
        assert_eq!((spec.command.0[2].as_str(), env(&spec)), ("a | b", vec!["B=true".to_owned()]));
        assert_eq!(spec.timeout.duration(), Duration::from_secs(60));
    }

    #[test]
    fn what_can_t_be_taken_is_named_and_no_value_of_env_is_told() {
        for (body, code, field) in [
            (json!({}), "INVALID_COMMAND", "command"),
            (json!([]), "INVALID_JSON", "body"),
            (json!({"command": null}), "INVALID_COMMAND", "command"),
            (json!({"command": " "}), "INVALID_COMMAND", "command"),
            (json!({"command": []}), "INVALID_COMMAND", "command"),
            (json!({"command": [""]}), "INVALID_COMMAND", "command"),
            (json!({"command": ["a", 1]}), "INVALID_COMMAND", "command[1]"),
            (json!({"command": ["a", "\0"]}), "INVALID_COMMAND", "command[1]"),
            (json!({"command": "x".repeat(1 << 17)}), "INVALID_COMMAND", "command"),
            (json!({"command": "a", "env": {"a=hush": "hush"}}), "INVALID_ENV", "env.a"),
            (json!({"command": "a", "env": {"A": ["hush"]}}), "INVALID_ENV", "env.A"),
            (json!({"command": "a", "env": [{"name": "A"}]}), "INVALID_ENV", "env[0].value"),
            (json!({"command": "a", "env": [{"name": "A", "value": {"hush": 1}}]}), "INVALID_ENV", "env[0].value"),
            (json!({"command": "a", "env": "hush"}), "INVALID_ENV", "env"),
            (json!({"command": "a", "working_dir": "app"}), "INVALID_WORKING_DIR", "working_dir"),
            (json!({"command": "a", "user": 5}), "INVALID_USER", "user"),
            (json!({"command": "a", "stdin": 5}), "INVALID_STDIN", "stdin"),
            (json!({"command": "a", "timeout": 0}), "INVALID_TIMEOUT", "timeout"),
            (json!({"command": "a", "timeout": 3601}), "INVALID_TIMEOUT", "timeout"),
            (json!({"command": "a", "timeout": "5"}), "INVALID_TIMEOUT", "timeout"),
            (json!({"command": "a", "tty": true}), "UNKNOWN_FIELD", "tty"),
        ] {
            let Err(Error::Invalid(invalid)) = ExecSpec::from_json(&body) else { panic!("{body}") };
            assert_eq!((invalid.code, invalid.field.as_str()), (code, field), "{}", invalid.message);
            assert!(!format!("{invalid:?}").contains("hush"), "{invalid:?}");
        }
    }
}
