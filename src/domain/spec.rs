//! [`Spec`]: what a container is asked to be. Read from JSON in one place, with the offending field's path in the error;
//! a PATCH is merged into the JSON of the old specification and read through the same door.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    health::HealthCheck,
    json,
    log::Log,
    network::Network,
    owner::Owner,
    port::PortMapping,
    resources::Resources,
    restart::{RestartPolicy, Retries},
    text::{Command, EnvName, EnvValue, Image, LabelKey, Name, Tag, Text, WorkingDir},
    user::User,
    volume::{Source, Volume},
};
use crate::error::{Error, Result};

/// Linux's bound on one string of a program's arguments or environment (`MAX_ARG_STRLEN`), but for its NUL.
pub(super) const STRING_BYTES: usize = 128 * 1024 - 1;

/// How many ports one container may publish: each costs the engine tens of milliseconds at every start.
const PORTS: usize = 100;

/// How many volumes one container may have.
const VOLUMES: usize = 50;

/// The specification of a container, as in the body of a creation and in every answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with an image")]
#[schema(example = json!({"image": "python:3.12-slim", "name": "web-1", "env": {"PORT": 8000}, "ports": [{"container": 8000}]}))]
pub struct Spec {
    pub image: Image,
    #[serde(default)]
    pub name: Option<Name>,
    /// Absent: `/app/boot.py` where it exists when the container is started, else the image's own command.
    #[serde(default)]
    pub command: Option<Command>,
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(nullable)]
    pub env: BTreeMap<EnvName, EnvValue>,
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(nullable)]
    pub tags: Vec<Tag>,
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(nullable)]
    pub labels: BTreeMap<LabelKey, Text>,
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(nullable)]
    pub resources: Resources,
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(nullable, max_items = 100)]
    pub ports: Vec<PortMapping>,
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(nullable, max_items = 50)]
    pub volumes: Vec<Volume>,
    /// Absent: the network that all containers of the server share.
    #[serde(default)]
    pub network: Option<Network>,
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    #[serde(default)]
    pub restart_policy: Option<RestartPolicy>,
    /// Absent: the server's default.
    #[serde(default)]
    pub user: Option<User>,
    /// Absent: `/app`.
    #[serde(default)]
    pub working_dir: Option<WorkingDir>,
    /// Absent: the site's own.
    #[serde(default)]
    pub log: Option<Log>,
}

impl Spec {
    /// Reads a specification.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the path of the first field that can't be taken.
    pub fn from_json(document: &Value) -> Result<Self> {
        if document.get("image").is_none_or(Value::is_null) && document.is_object() {
            return Err(Error::invalid("MISSING_IMAGE", "image", "Image is required", Value::Null));
        }
        let spec: Self = json::read(document, code_of)?;
        spec.check_ports()?;
        spec.check_volumes()?;
        spec.check_pairs()?;
        spec.check_sizes()?;
        Ok(spec)
    }

    /// The specification after a PATCH: `env` and `resources` merge, with null removing a name; the rest replaces, with
    /// null as good as never given.
    ///
    /// # Errors
    /// As [`Spec::from_json`].
    pub fn patched(&self, patch: &Value) -> Result<Self> {
        let Some(changes) = patch.as_object() else {
            return Err(Error::invalid("INVALID_JSON", "body", "the body is a JSON object", Value::Null));
        };
        let mut document = self.to_json();
        for (field, change) in changes {
            match (document.get_mut(field), change) {
                (Some(Value::Object(old)), Value::Object(change)) if matches!(field.as_str(), "env" | "resources") => {
                    merge(old, change);
                }
                (Some(_), Value::Null) if field != "image" => drop(document.remove(field)),
                _ => drop(document.insert(field.clone(), change.clone())),
            }
        }
        Self::from_json(&Value::Object(document))
    }

    fn check_ports(&self) -> Result<()> {
        if self.ports.len() > PORTS {
            return Err(Error::invalid("INVALID_PORT", "ports", format!("ports: at most {PORTS}"), self.ports.len()));
        }
        for (index, port) in self.ports.iter().enumerate() {
            if self.ports[..index].iter().any(|other| other.collides_with(port)) {
                let message = format!("port {}/{} of the host is asked for twice", port.host, port.protocol.as_str());
                return Err(Error::invalid("INVALID_PORT", format!("ports[{index}].host"), message, port.host));
            }
        }
        Ok(())
    }

    fn check_volumes(&self) -> Result<()> {
        if self.volumes.len() > VOLUMES {
            let message = format!("volumes: at most {VOLUMES}");
            return Err(Error::invalid("INVALID_VOLUME", "volumes", message, self.volumes.len()));
        }
        for (index, volume) in self.volumes.iter().enumerate() {
            let path = &volume.container_path;
            if self.volumes[..index].iter().any(|other| other.container_path == *path) {
                let field = format!("volumes[{index}].container_path");
                let message = format!("{field}: two volumes can't stand at the same path");
                return Err(Error::invalid("INVALID_VOLUME", field, message, path.as_str()));
            }
        }
        Ok(())
    }

    /// What can't go together.
    fn check_pairs(&self) -> Result<()> {
        if self.network == Some(Network::None) && !self.ports.is_empty() {
            return Err(Error::invalid("INVALID_NETWORK", "network", "network: without a network no port is published", "none"));
        }
        match self.restart_policy {
            Some(policy) if !policy.is_consistent() => {
                let (field, retries) = ("restart_policy.max_retries", policy.max_retries.map(Retries::get));
                Err(Error::invalid("INVALID_RESTART_POLICY", field, format!("{field}: it goes only with on-failure"), retries))
            }
            _ => Ok(()),
        }
    }

    /// That the kernel can start a program with it: one string of an environment or a command is bounded there.
    fn check_sizes(&self) -> Result<()> {
        let too_long = |code, field: String| {
            Err(Error::invalid(code, &field, format!("{field}: at most {STRING_BYTES} bytes, its name included"), Value::Null))
        };
        if let Some((name, _)) = self.env.iter().find(|(name, value)| name.as_str().len() + value.as_str().len() >= STRING_BYTES)
        {
            return too_long("INVALID_ENV", format!("env.{}", name.as_str().chars().take(64).collect::<String>()));
        }
        if self.joined_tags().len() + "TAGS=".len() > STRING_BYTES {
            return too_long("INVALID_TAGS", "tags".to_owned());
        }
        match self.command.iter().flat_map(Command::words).position(|word| word.len() > STRING_BYTES) {
            Some(index) => too_long("INVALID_COMMAND", format!("command[{index}]")),
            None => Ok(()),
        }
    }

    fn to_json(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(document)) => document,
            // A struct of strings, numbers and maps with string keys is always a JSON object.
            _ => Map::new(),
        }
    }

    /// The container's own volumes, each as often as it is mounted.
    pub fn own_volumes(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().filter_map(|volume| match &volume.source {
            Source::Volume(name) => Some(name.as_str()),
            Source::Host(_) => None,
        })
    }

    /// Whose the mount and the files in it are: the container's user where that is known by number, else `default`.
    pub fn owner(&self, default: Owner) -> Owner {
        self.user.as_ref().and_then(User::owner).unwrap_or(default)
    }

    /// Tags joined as the container sees them in `TAGS`.
    pub fn joined_tags(&self) -> String {
        self.tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(",")
    }
}

fn null_is_absent<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The contract's code for a mistake in a field of the specification.
fn code_of(field: &str) -> &'static str {
    match field {
        "image" => "INVALID_IMAGE",
        "name" => "INVALID_NAME",
        "command" => "INVALID_COMMAND",
        "env" => "INVALID_ENV",
        "tags" => "INVALID_TAGS",
        "labels" => "INVALID_LABELS",
        "resources" => "INVALID_RESOURCES",
        "ports" => "INVALID_PORT",
        "volumes" => "INVALID_VOLUME",
        "network" => "INVALID_NETWORK",
        "health_check" => "INVALID_HEALTH_CHECK",
        "restart_policy" => "INVALID_RESTART_POLICY",
        "user" => "INVALID_USER",
        "working_dir" => "INVALID_WORKING_DIR",
        "log" => "INVALID_LOG",
        _ => "INVALID_JSON",
    }
}

fn merge(old: &mut Map<String, Value>, change: &Map<String, Value>) {
    for (name, value) in change {
        if value.is_null() {
            old.remove(name);
        } else {
            old.insert(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Invalid;

    fn refusal(document: &Value) -> Invalid {
        match Spec::from_json(document) {
            Err(Error::Invalid(invalid)) => *invalid,
            other => panic!("{document} gave {other:?}"),
        }
    }

    #[track_caller]
    fn check_refusal(document: &Value, code: &str, field: &str) {
        let invalid = refusal(document);
        assert_eq!((invalid.code, invalid.field.as_str()), (code, field), "{document}: {}", invalid.message);
    }

    fn volume(path: &str) -> Value {
        json!({"volume": "v", "container_path": path})
    }

    #[test]
    fn every_mistake_is_told_with_its_code_and_field() {
        for (document, code, field) in [
            (json!({}), "MISSING_IMAGE", "image"),
            (json!({"image": null}), "MISSING_IMAGE", "image"),
            (json!({"image": 5}), "INVALID_IMAGE", "image"),
            (json!({"image": "A B"}), "INVALID_IMAGE", "image"),
            (json!([]), "INVALID_JSON", "body"),
            (json!(["a"]), "INVALID_JSON", "body"),
            (json!({"image": "a", "resources": [1]}), "INVALID_RESOURCES", "resources"),
            (json!({"image": "a", "ports": [[80]]}), "INVALID_PORT", "ports[0]"),
            (json!({"image": "a", "volumes": [["v", null, "/data"]]}), "INVALID_VOLUME", "volumes[0]"),
            (json!({"image": "a", "log": ["local"]}), "INVALID_LOG", "log"),
            (json!({"image": "a", "imagee": "b"}), "UNKNOWN_FIELD", "imagee"),
            (json!({"image": "a", "resources": {"cpu": 1}}), "UNKNOWN_FIELD", "resources.cpu"),
            (json!({"image": "a", "resources": {"cpus": 0}}), "INVALID_RESOURCES", "resources.cpus"),
            (json!({"image": "a", "resources": 1}), "INVALID_RESOURCES", "resources"),
            (json!({"image": "a", "env": {"A": null}}), "INVALID_ENV", "env.A"),
            (json!({"image": "a", "env": {"": "x"}}), "INVALID_ENV", "env."),
            (json!({"image": "a", "env": {"TAGS": "x"}}), "INVALID_ENV", "env.TAGS"),
            (json!({"image": "a", "env": ["A=b"]}), "INVALID_ENV", "env"),
            (json!({"image": "a", "ports": [{"container": 1}, {"host": 2}]}), "INVALID_PORT", "ports[1].container"),
            (json!({"image": "a", "ports": [{"container": 80, "host": 70000}]}), "INVALID_PORT", "ports[0].host"),
            (json!({"image": "a", "ports": [{"container": 80, "x": 1}]}), "UNKNOWN_FIELD", "ports[0].x"),
            (
                json!({"image": "a", "ports": [{"container": 1, "host": 9}, {"container": 2, "host": 9}]}),
                "INVALID_PORT",
                "ports[1].host",
            ),
            (json!({"image": "a", "tags": ["x", "a,b"]}), "INVALID_TAGS", "tags[1]"),
            (json!({"image": "a", "labels": {"berth.cuid": "x"}}), "INVALID_LABELS", "labels.berth.cuid"),
            (json!({"image": "a", "command": []}), "INVALID_COMMAND", "command"),
            (json!({"image": "a", "name": "-x"}), "INVALID_NAME", "name"),
            (json!({"image": "a", "env": {"A": "x".repeat(STRING_BYTES)}}), "INVALID_ENV", "env.A"),
            (json!({"image": "a", "command": ["a", "x".repeat(STRING_BYTES + 1)]}), "INVALID_COMMAND", "command[1]"),
            (json!({"image": "a", "tags": ["x".repeat(STRING_BYTES)]}), "INVALID_TAGS", "tags"),
            (json!({"image": "a", "ports": vec![json!({"container": 1}); PORTS + 1]}), "INVALID_PORT", "ports"),
        ] {
            check_refusal(&document, code, field);
        }
    }

    #[test]
    fn every_mistake_in_how_it_runs_is_told_with_its_code_and_field() {
        for (document, code, field) in [
            (json!({"image": "a", "volumes": [volume("/a"), {"volume": "v"}]}), "INVALID_VOLUME", "volumes[1].container_path"),
            (
                json!({"image": "a", "volumes": [{"host_path": "x", "container_path": "/a"}]}),
                "INVALID_VOLUME",
                "volumes[0].host_path",
            ),
            (json!({"image": "a", "volumes": [{"container_path": "/a"}]}), "INVALID_VOLUME", "volumes[0]"),
            (json!({"image": "a", "volumes": [volume("/a"), volume("/a")]}), "INVALID_VOLUME", "volumes[1].container_path"),
            (
                json!({"image": "a", "volumes": (0..=VOLUMES).map(|at| volume(&format!("/{at}"))).collect::<Vec<_>>()}),
                "INVALID_VOLUME",
                "volumes",
            ),
            (
                json!({"image": "a", "volumes": [{"volume": "v", "container_path": "/a", "ro": true}]}),
                "UNKNOWN_FIELD",
                "volumes[0].ro",
            ),
            (json!({"image": "a", "network": "host"}), "INVALID_NETWORK", "network"),
            (json!({"image": "a", "network": "none", "ports": [{"container": 1}]}), "INVALID_NETWORK", "network"),
            (json!({"image": "a", "health_check": {}}), "INVALID_HEALTH_CHECK", "health_check"),
            (
                json!({"image": "a", "health_check": {"test": "x", "interval": "1"}}),
                "INVALID_HEALTH_CHECK",
                "health_check.interval",
            ),
            (json!({"image": "a", "restart_policy": {"type": "x"}}), "INVALID_RESTART_POLICY", "restart_policy.type"),
            (
                json!({"image": "a", "restart_policy": {"type": "no", "max_retries": 1}}),
                "INVALID_RESTART_POLICY",
                "restart_policy.max_retries",
            ),
            (json!({"image": "a", "user": "a b"}), "INVALID_USER", "user"),
            (json!({"image": "a", "working_dir": "app"}), "INVALID_WORKING_DIR", "working_dir"),
            (json!({"image": "a", "log": {"driver": 1}}), "INVALID_LOG", "log.driver"),
            (json!({"image": "a", "log": {"driver": "x", "options": {"a": null}}}), "INVALID_LOG", "log.options.a"),
            (json!({"image": "a", "resources": {"cpu_shares": 1}}), "INVALID_RESOURCES", "resources.cpu_shares"),
        ] {
            check_refusal(&document, code, field);
        }
    }

    #[test]
    fn null_is_as_good_as_absent_but_for_the_image() {
        let nulls = json!({"image": "a", "name": null, "command": null, "env": null, "tags": null, "labels": null, "resources": null, "ports": null,
            "volumes": null, "network": null, "health_check": null, "restart_policy": null, "user": null, "working_dir": null, "log": null});
        assert_eq!(Spec::from_json(&nulls).unwrap(), Spec::from_json(&json!({"image": "a"})).unwrap());
    }

    #[test]
    fn what_is_shown_can_be_sent_again_and_every_field_taken_back() {
        let whole = json!({"image": "a", "name": "n", "command": "b c", "env": {"A": 1}, "tags": ["t"], "labels": {"k": "v"},
            "resources": {"cpu_shares": 2}, "ports": [{"container": 1}], "volumes": [{"host_path": "/h", "container_path": "/c"}],
            "network": "own", "health_check": {"test": "x", "retries": 1}, "restart_policy": {"type": "on-failure", "max_retries": 1},
            "user": "1:1", "working_dir": "/w", "log": {"driver": "d", "options": {"o": true}}});
        let spec = Spec::from_json(&whole).unwrap();
        let shown = Value::Object(spec.to_json());
        assert_eq!(Spec::from_json(&shown).unwrap(), spec);
        let fields: Vec<&String> = shown.as_object().unwrap().keys().filter(|field| *field != "image").collect();
        assert_eq!(fields.len() + 1, whole.as_object().unwrap().len(), "a field is missing here");
        let nulls = fields.into_iter().map(|field| (field.clone(), Value::Null)).collect();
        assert_eq!(spec.patched(&Value::Object(nulls)).unwrap(), Spec::from_json(&json!({"image": "a"})).unwrap());
    }

    #[test]
    fn what_was_sent_is_repeated_but_never_an_env_value() {
        assert_eq!(refusal(&json!({"image": "a", "ports": [{"container": 80, "host": 70000}]})).provided, json!(70000));
        for env in [json!("hunter2"), json!({"A": ["hunter2"]}), json!({"A=B": "hunter2"}), json!(["hunter2"])] {
            let invalid = refusal(&json!({"image": "a", "env": env}));
            assert!(invalid.provided.is_null() && !invalid.message.contains("hunter2"), "{}", invalid.message);
            let invalid = refusal(&json!({"image": "a", "log": {"driver": "splunk", "options": {"splunk-token": [env]}}}));
            assert!(invalid.provided.is_null() && !invalid.message.contains("hunter2"), "{}", invalid.message);
        }
    }

    #[test]
    fn a_patch_merges_env_and_resources_and_replaces_the_rest() {
        let old = Spec::from_json(&json!({"image": "a", "name": "n", "env": {"A": "1", "B": "2"}, "tags": ["x"],
            "labels": {"k": "v"}, "resources": {"cpus": 1.0, "memory": "64m"}, "command": "sleep 1"}))
        .unwrap();
        let patch = json!({"env": {"B": null, "C": 3}, "tags": ["y", "z"], "labels": {}, "resources": {"memory": "128m", "cpus": null},
            "command": null});
        let expected =
            json!({"image": "a", "name": "n", "env": {"A": "1", "C": "3"}, "tags": ["y", "z"], "resources": {"memory": "128m"}});
        assert_eq!(old.patched(&patch).unwrap(), Spec::from_json(&expected).unwrap());
        assert_eq!(old.patched(&json!({})).unwrap(), old);
    }

    #[test]
    fn a_patch_is_checked_as_a_specification_is() {
        let old = Spec::from_json(&json!({"image": "a"})).unwrap();
        for (patch, code) in [
            (json!({"image": null}), "MISSING_IMAGE"),
            (json!({"imag": "b"}), "UNKNOWN_FIELD"),
            (json!({"imag": null}), "UNKNOWN_FIELD"),
            (json!({"env": {"TAGS": "x"}}), "INVALID_ENV"),
            (json!({"resources": {"pids": 0}}), "INVALID_RESOURCES"),
            (json!([]), "INVALID_JSON"),
            (json!({"env": "x"}), "INVALID_ENV"),
        ] {
            match old.patched(&patch) {
                Err(Error::Invalid(invalid)) => assert_eq!(invalid.code, code, "{patch}"),
                other => panic!("{patch} gave {other:?}"),
            }
        }
    }
}
