//! [`RestartPolicy`]: what the engine does when a container's main process ends.

use serde::{Deserialize, Serialize};

use super::schema::described;

/// When the main process is started again without being asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object of type and max_retries")]
pub struct RestartPolicy {
    #[serde(rename = "type")]
    pub kind: Restart,
    /// Only with `on-failure`; absent: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<Retries>,
}

/// In Docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    No,
    /// When it failed.
    OnFailure,
    /// Always, also when the engine itself is started again and it had been stopped.
    Always,
    /// Always, but for one that had been stopped.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether `max_retries` says something.
    pub fn is_consistent(self) -> bool {
        self.max_retries.is_none() || self.kind == Restart::OnFailure
    }

    /// In Compose's words, such as `on-failure:3`.
    pub fn to_compose(self) -> String {
        match (self.kind, self.max_retries) {
            (Restart::No, _) => "no".into(),
            (Restart::OnFailure, None) => "on-failure".into(),
            (Restart::OnFailure, Some(retries)) => format!("on-failure:{}", retries.get()),
            (Restart::Always, _) => "always".into(),
            (Restart::UnlessStopped, _) => "unless-stopped".into(),
        }
    }
}

/// A number of tries, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Retries(i32);

impl Retries {
    pub fn get(self) -> i32 {
        self.0
    }
}

impl TryFrom<i64> for Retries {
    type Error = &'static str;

    fn try_from(count: i64) -> Result<Self, Self::Error> {
        i32::try_from(count).ok().filter(|count| *count >= 1).map(Self).ok_or("a number of tries is from 1 to 2147483647")
    }
}

described! {
    Retries: {"type": "integer", "minimum": 1, "maximum": i32::MAX, "examples": [3]}
    RestartPolicy: {"oneOf": [
        {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {"const": "on-failure"},
                "max_retries": {
                    "description": "Absent: without end.",
                    "type": ["integer", "null"],
                    "minimum": 1,
                    "maximum": i32::MAX,
                },
            },
            "additionalProperties": false,
        },
        {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": ["no", "always", "unless-stopped"]}, "max_retries": {"type": "null"}},
            "additionalProperties": false,
        },
    ], "examples": [{"type": "on-failure", "max_retries": 3}]}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_written_as_compose_takes_it() {
        for (json, expected) in [
            (r#"{"type":"no"}"#, "no"),
            (r#"{"type":"on-failure"}"#, "on-failure"),
            (r#"{"type":"on-failure","max_retries":3}"#, "on-failure:3"),
            (r#"{"type":"always"}"#, "always"),
            (r#"{"type":"unless-stopped"}"#, "unless-stopped"),
        ] {
            let policy: RestartPolicy = serde_json::from_str(json).unwrap();
            assert_eq!((policy.to_compose().as_str(), policy.is_consistent()), (expected, true));
            assert_eq!(serde_json::to_string(&policy).unwrap(), json);
        }
        for json in
            [r#""always""#, "{}", r#"{"type":"never"}"#, r#"{"type":"on-failure","max_retries":0}"#, r#"{"type":"no","x":1}"#]
        {
            assert!(serde_json::from_str::<RestartPolicy>(json).is_err(), "{json}");
        }
        let odd: RestartPolicy = serde_json::from_str(r#"{"type":"always","max_retries":3}"#).unwrap();
        assert!(!odd.is_consistent());
    }
}
