//! The texts of a specification, each checked once: an image's reference, a name, env names and values, tags, labels, a
//! command, a working directory; and how such a text is made. Whatever passes here can be written into a project and arrives in the container unchanged.

use std::str::FromStr;

use oci_spec::distribution::Reference;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::{schema::described, volume::CONTAINER_PATH};

/// Makes a newtype around a checked `String` that reads from and writes to JSON as a string. The second argument is what the
/// check takes in JSON Schema, as far as that can tell it.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $schema:tt, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(&text).map(|()| Self(text))
            }
        }

        $crate::domain::schema::described!($name: $schema);
    };
}
pub(super) use text;

text!(
    /// A folder of the container.
    WorkingDir,
    {"type": "string", "maxLength": 2048, "pattern": r"^(?:/(?!\.{1,2}(?:/|$))[^/\x00]{0,255})+$", "examples": ["/app"]},
    |text| {
        let plain = !text.split('/').any(|part| part == "." || part == ".." || part.len() > 255);
        if text.starts_with('/') && plain && !text.contains('\0') && text.len() <= CONTAINER_PATH {
            Ok(())
        } else {
            Err("a working directory is an absolute path of at most 2048 bytes, without . and .. and NUL".into())
        }
    }
);

text!(
    /// An OCI image reference, such as `python:3.12-slim`, as it was asked for.
    Image,
    {"type": "string", "pattern": IMAGE, "examples": ["python:3.12-slim"]},
    |text| match Reference::from_str(text) {
        // The engine takes no digest in capitals.
        Ok(_) if !text.starts_with('-') && text.is_ascii() && !text.split('@').skip(1).any(has_capitals) => Ok(()),
        _ => Err("an image reference is [registry/]name[:tag][@digest] in lower case, such as python:3.12-slim".into()),
    }
);

text!(
    /// A name that no other container of this server has.
    Name,
    {"type": "string", "pattern": "^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$", "examples": ["web-1"]},
    |text| {
        let mut chars = text.chars();
        let fits = chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
            && text.len() <= 63
            && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if fits { Ok(()) } else { Err("a name is 1 to 63 of a-z, A-Z, 0-9, _, . and -, the first a letter or digit".into()) }
    }
);

text!(
    /// The name of an environment variable: anything that an environment can hold, but for the two that berth sets.
    EnvName,
    {"type": "string", "pattern": r"^(?!(?:CONTAINER_UID|TAGS)$)[^=\x00]+$", "examples": ["PORT"]},
    |text| match text {
        "CONTAINER_UID" | "TAGS" => Err(format!("{text} is set by the server in every container")),
        _ if text.is_empty() || text.contains(['=', '\0']) => Err("a variable's name is not empty and has no = and no NUL".into()),
        _ => Ok(()),
    }
);

text!(
    /// A tag; a container's tags are joined with commas in its `TAGS`.
    Tag,
    {"type": "string", "pattern": r"^[^,\x00]+$", "examples": ["web"]},
    |text| match text {
        _ if text.is_empty() || text.contains([',', '\0']) => Err("a tag is not empty and has no comma and no NUL".into()),
        _ => Ok(()),
    }
);

text!(
    /// The key of a label; those of berth and Compose themselves can't be set.
    LabelKey,
    {"type": "string", "pattern": r"^(?!berth\.|com\.docker\.)[^=\x00]+$", "examples": ["team"]},
    |text| match text {
        _ if text.is_empty() || text.contains(['=', '\0']) => Err("a label's key is not empty and has no = and no NUL".into()),
        _ if text.starts_with("berth.") || text.starts_with("com.docker.") => {
            Err("labels that start with berth. or com.docker. are set by the server and by Docker".into())
        }
        _ => Ok(()),
    }
);

text!(
    /// The value of a label, or one word of a command: any text without NUL.
    Text,
    {"type": "string", "pattern": r"^[^\x00]*$"},
    |text| if text.contains('\0') { Err("a text here has no NUL".into()) } else { Ok(()) }
);

fn has_capitals(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// An image's reference, as the distribution's own grammar has it.
const IMAGE: &str = concat!(
    r"^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]+)?/)?",
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*",
    r"(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?",
    r"(?:@(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}))?$",
);

/// The value of an environment variable or of a log driver's option; a number or a boolean is taken as its JSON text.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct EnvValue(String);

impl EnvValue {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Values may be secrets: no log shows them.
impl std::fmt::Debug for EnvValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(env value)")
    }
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) if !text.contains('\0') => Ok(Self(text)),
            // Beyond this JSON's numbers have lost digits by the time they are read.
            Value::Number(number)
                if number.is_f64() && number.as_f64().is_none_or(|value| value.abs() >= 9_007_199_254_740_992.0) =>
            {
                Err(de::Error::custom("a number this large is sent as a string"))
            }
            Value::Number(number) => Ok(Self(number.to_string())),
            Value::Bool(flag) => Ok(Self(flag.to_string())),
            _ => Err(de::Error::custom("a value is a string without NUL, a number or a boolean")),
        }
    }
}

/// What runs in a container instead of its default: at least one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command(Vec<Text>);

impl Command {
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Text::as_str)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const TAKES: &str = "a command is a list of strings, or one string that is split as a shell would split it";
        let words: Vec<String> = match Value::deserialize(deserializer)? {
            Value::String(line) => shell_words::split(&line).map_err(|error| de::Error::custom(format!("{TAKES}: {error}")))?,
            list @ Value::Array(_) => serde_json::from_value(list).map_err(|_| de::Error::custom(TAKES))?,
            _ => return Err(de::Error::custom(TAKES)),
        };
        if words.first().is_none_or(String::is_empty) {
            return Err(de::Error::custom("a command names a program"));
        }
        words.into_iter().map(|word| Text::try_from(word).map_err(de::Error::custom)).collect::<Result<_, _>>().map(Self)
    }
}

described! {
    EnvValue: {"anyOf": [
        {"type": "string", "pattern": r"^[^\x00]*$"},
        {"type": "integer", "minimum": i64::MIN, "maximum": u64::MAX},
        {"type": "number", "exclusiveMinimum": -9_007_199_254_740_992_i64, "exclusiveMaximum": 9_007_199_254_740_992_i64},
        {"type": "boolean"},
    ], "examples": ["8000"]}
    Command: {"oneOf": [
        {
            "type": "array",
            "minItems": 1,
            "prefixItems": [{"type": "string", "pattern": r"^[^\x00]+$"}],
            "items": {"type": "string", "pattern": r"^[^\x00]*$"},
        },
        {"type": "string", "pattern": LINE},
    ], "examples": [["python3", "-u", "boot.py"]]}
}

/// A line of words and quotes that end, the first word not empty, as `shell_words` splits it. Comments are among them.
const LINE: &str = concat!(
    r"^(?![\s\S]*\x00)",
    r"(?:[ \t\n]|\\\n|#[^\n]*\n)*",
    r#"(?:\\$|(?:(?:[^'"\\ \t\n#]|\\[^\n]|'[^']+'|"(?:[^"\\]|\\[^\n])(?:[^"\\]|\\[\s\S])*"|(?:''|"")+[^'"\\ \t\n])"#,
    r#"(?:[^'"\\ \t\n]|\\[\s\S]|'[^']*'|"(?:[^"\\]|\\[\s\S])*")*"#,
    r#"(?:[ \t\n](?:#[^\n]*(?:\n|$)|\\\n)*(?:(?:[^'"\\ \t\n#]|\\[\s\S]|'[^']*'|"(?:[^"\\]|\\[\s\S])*")"#,
    r#"(?:[^'"\\ \t\n]|\\[\s\S]|'[^']*'|"(?:[^"\\]|\\[\s\S])*")*)?)*\\?))$"#,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: for<'de> Deserialize<'de>>(taken: &[&str], refused: &[&str]) {
        for text in taken {
            assert!(serde_json::from_str::<T>(text).is_ok(), "{text} should be taken");
        }
        for text in refused {
            assert!(serde_json::from_str::<T>(text).is_err(), "{text} should be refused");
        }
    }

    #[test]
    fn images_are_oci_references() {
        check::<Image>(
            &[
                r#""nginx""#,
                r#""python:3.12-slim""#,
                r#""localhost:5000/a/b:1""#,
                r#""ghcr.io/a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef""#,
            ],
            &[
                r#""""#,
                r#""Nginx""#,
                r#""a b""#,
                r#""a:b:c:d e""#,
                r#""../x""#,
                r#""-nginx""#,
                r#""$IMAGE""#,
                r#""a\n""#,
                r#""a:\u00e9""#,
                r#""a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef""#,
                "1",
                "null",
                "[]",
            ],
        );
    }

    #[test]
    fn names_tags_and_labels_are_checked() {
        check::<Name>(&[r#""a""#, r#""web-1.x_Y""#], &[r#""""#, r#""-a""#, r#""a b""#, r#""é""#, r#""a/b""#]);
        check::<Name>(&[&format!("{:?}", "a".repeat(63))], &[&format!("{:?}", "a".repeat(64))]);
        check::<Tag>(&[r#""a b $x # : ' \n 😀""#], &[r#""""#, r#""a,b""#, r#""a\u0000""#]);
        check::<LabelKey>(&[r#""com.example/x""#], &[r#""""#, r#""a=b""#, r#""berth.cuid""#, r#""com.docker.compose.project""#]);
        check::<EnvName>(&[r#""PATH""#, r#""a.b-c d""#, r#""-x""#], &[r#""""#, r#""A=B""#, r#""TAGS""#, r#""CONTAINER_UID""#]);
    }

    #[test]
    fn a_command_is_a_list_or_split_as_a_shell_would() {
        let words = |json: &str| {
            serde_json::from_str::<Command>(json).map(|command| command.words().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(words(r#""sh -c 'echo \"a  b\"' x\\ y""#).unwrap(), ["sh", "-c", "echo \"a  b\"", "x y"]);
        assert_eq!(words(r#"["a b", "", "$X"]"#).unwrap(), ["a b", "", "$X"]);
        for bad in [r#""""#, r#"" ""#, r#""'open""#, "[]", r#"[""]"#, r#"["a",1]"#, "1", "{}", r#"["a\u0000"]"#] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn env_values_are_text_and_numbers_and_booleans_become_text() {
        let value = |json: &str| serde_json::from_str::<EnvValue>(json).map(|value| value.as_str().to_owned());
        for (json, expected) in [
            (r#""$x""#, "$x"),
            ("1", "1"),
            ("-1.5", "-1.5"),
            ("1.0", "1.0"),
            ("true", "true"),
            (r#""""#, ""),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(value(json).unwrap(), expected);
        }
        for bad in ["null", "[]", "{}", r#""a\u0000b""#, "12345678901234567890123", "1e300"] {
            assert!(value(bad).is_err(), "{bad}");
        }
    }
}
