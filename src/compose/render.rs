//! From a specification to `compose.yaml`: pure, and the same bytes for the same input.

use serde_yaml::{Mapping, Value};
use uuid::Uuid;

use super::file::{Template, literal};
use crate::{
    config::Defaults,
    domain::{id::Cuid, port::PortMapping, spec::Spec},
};

/// The label by which a container is known as one of berth's; its value is the cuid.
pub const LABEL: &str = "berth.cuid";

/// The label that says which project a container was made from; its value is the project's [`Rendered::digest`].
pub const PROJECT_LABEL: &str = "berth.project";

/// The script that is run where a specification has no command, as the container sees it.
const BOOT: &str = "/app/boot.py";

/// What a project is rendered from.
pub struct Project<'a> {
    pub cuid: Cuid,
    pub spec: &'a Spec,
    /// Whether the mount holds a `boot.py`.
    pub boot: bool,
    pub defaults: &'a Defaults,
    /// The existing network that the container joins.
    pub network: &'a str,
}

/// A project as text.
pub struct Rendered {
    /// `compose.yaml`.
    pub text: String,
    /// Tells this project from every other, so that a container that was made from another is known by its label. Projects
    /// that differ in nothing but limits have the same: those can be changed on a container as it is.
    pub digest: String,
}

impl Project<'_> {
    /// The project's `compose.yaml`.
    pub fn render(&self, template: &Template) -> Rendered {
        let undigested = self.text(template, None);
        let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, undigested.as_bytes()).to_string();
        Rendered { text: self.text(template, Some(&digest)), digest }
    }

    /// The text; without a digest, what the digest is made of.
    fn text(&self, template: &Template, digest: Option<&str>) -> String {
        let network = Mapping::from_iter([("name".into(), literal(self.network)), ("external".into(), true.into())]);
        let networks = Mapping::from_iter([("shared".into(), network.into())]);
        let root = Mapping::from_iter([("networks".into(), networks.into())]);
        template.project(&self.cuid.to_string(), self.service(digest), root)
    }

    fn service(&self, digest: Option<&str>) -> Mapping {
        let (spec, defaults) = (self.spec, self.defaults);
        let mut service = Mapping::new();
        let mut set = |key: &str, value: Value| drop(service.insert(key.into(), value));
        set("image", literal(spec.image.as_str()));
        set("container_name", self.cuid.to_string().into());
        match &spec.command {
            Some(command) => set("command", command.words().map(literal).collect()),
            // The entrypoint, so that an image's own one can't take the script for its argument.
            None if self.boot => set("entrypoint", ["python3", "-u", BOOT].map(Value::from).to_vec().into()),
            None => (),
        }
        set("init", true.into());
        set("security_opt", Value::Sequence(vec!["no-new-privileges:true".into()]));
        set("user", defaults.owner.to_string().into());
        set("working_dir", "/app".into());
        set("volumes", Value::Sequence(vec![mount()]));
        set("environment", self.environment());
        set("labels", self.labels(digest));
        set("networks", Value::Sequence(vec!["shared".into()]));
        if !spec.ports.is_empty() {
            set("ports", spec.ports.iter().map(port).collect());
        }
        if digest.is_some() {
            self.limits(&mut set);
        }
        service
    }

    fn limits(&self, set: &mut impl FnMut(&str, Value)) {
        let (limits, defaults) = (&self.spec.resources, self.defaults);
        if let Some(cpus) = limits.cpus.or(defaults.cpus) {
            set("cpus", cpus.get().into());
        }
        if let Some(memory) = limits.memory.as_ref().or(defaults.memory.as_ref()) {
            set("mem_limit", memory.as_str().into());
        }
        if let Some(pids) = limits.pids.or(defaults.pids) {
            set("pids_limit", pids.get().into());
        }
    }

    fn environment(&self) -> Value {
        let own = [("CONTAINER_UID", self.cuid.to_string()), ("TAGS", self.spec.joined_tags())];
        let asked = self.spec.env.iter().map(|(name, value)| (name.as_str(), value.as_str().to_owned()));
        own.into_iter().chain(asked).map(|(name, value)| literal(&format!("{name}={value}"))).collect()
    }

    fn labels(&self, digest: Option<&str>) -> Value {
        let digest = digest.map(|digest| (PROJECT_LABEL, digest));
        let name = self.spec.name.iter().map(|name| ("berth.name", name.as_str()));
        let asked = self.spec.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let cuid = self.cuid.to_string();
        std::iter::once((LABEL, cuid.as_str()))
            .chain(digest)
            .chain(name)
            .chain(asked)
            .map(|(key, value)| literal(&format!("{key}={value}")))
            .collect()
    }
}

/// The least project that stands for one container: enough to pull its image, and to stop or remove the container
/// whatever became of its own project.
pub fn minimal(name: &str, image: &str) -> String {
    let service = Mapping::from_iter([("image".into(), literal(image))]);
    Template::default().project(name, service, Mapping::new())
}

fn mount() -> Value {
    let bind = [("type", "bind"), ("source", "./app"), ("target", "/app")];
    Mapping::from_iter(bind.map(|(key, value)| (key.into(), value.into()))).into()
}

fn port(port: &PortMapping) -> Value {
    let mut entry = Mapping::from_iter([("target".into(), port.container.get().into())]);
    if port.host != 0 {
        entry.insert("published".into(), port.host.to_string().into());
    }
    entry.insert("protocol".into(), port.protocol.as_str().into());
    if let Some(ip) = port.host_ip {
        entry.insert("host_ip".into(), ip.to_string().into());
    }
    entry.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(spec: &serde_json::Value, boot: bool, defaults: &Defaults) -> String {
        let cuid = "c123e4567-e89b-12d3-a456-426614174000".parse().unwrap();
        let spec = Spec::from_json(spec).unwrap();
        let template = Template::parse(include_str!("../../templates/compose.yaml")).unwrap();
        Project { cuid, spec: &spec, boot, defaults, network: "berth" }.render(&template).text
    }

    fn defaults() -> Defaults {
        Defaults { owner: "1000:1000".parse().unwrap(), cpus: None, memory: None, pids: None }
    }

    #[test]
    fn the_guide_s_container_is_rendered_whole() {
        let spec = json!({"image": "python:3.12-slim", "env": {"APP_ENV": "production"}, "tags": ["web", "production"],
            "resources": {"cpus": 1.0, "memory": "4096m", "pids": 2048}, "ports": [{"host": 8080, "container": 80, "protocol": "tcp"}]});
        let expected = r#"# Generated by berth from container.json; a change through the API writes it anew.
name: "c123e4567-e89b-12d3-a456-426614174000"
services:
  c123e4567-e89b-12d3-a456-426614174000:
    logging:
      driver: "json-file"
      options:
        max-size: "10m"
        max-file: "3"
    image: "python:3.12-slim"
    container_name: "c123e4567-e89b-12d3-a456-426614174000"
    entrypoint:
      - "python3"
      - "-u"
      - "/app/boot.py"
    init: true
    security_opt:
      - "no-new-privileges:true"
    user: "1000:1000"
    working_dir: "/app"
    volumes:
      - type: "bind"
        source: "./app"
        target: "/app"
    environment:
      - "CONTAINER_UID=c123e4567-e89b-12d3-a456-426614174000"
      - "TAGS=web,production"
      - "APP_ENV=production"
    labels:
      - "berth.cuid=c123e4567-e89b-12d3-a456-426614174000"
      - "berth.project=DIGEST"
    networks:
      - "shared"
    ports:
      - target: 80
        published: "8080"
        protocol: "tcp"
    cpus: 1.0
    mem_limit: "4096m"
    pids_limit: 2048
networks:
  shared:
    name: "berth"
    external: true
"#;
        let text = render(&spec, true, &defaults());
        let digest = text.split_once("berth.project=").unwrap().1.split('"').next().unwrap();
        assert_eq!(text, expected.replace("DIGEST", digest));
        assert_eq!(render(&spec, true, &defaults()), text, "the same bytes for the same input");
        assert!(!render(&spec, false, &defaults()).contains(digest), "another project, another digest");
        let mut limited = spec.clone();
        limited["resources"]["memory"] = json!("64m");
        assert!(render(&limited, true, &defaults()).contains(digest), "other limits, the same digest");
    }

    #[test]
    fn a_command_wins_over_boot_py_and_a_client_s_dollar_is_doubled() {
        let text = render(
            &json!({"image": "a", "command": ["echo", "$HOME"], "env": {"X": "${Y:-z}"}, "labels": {"k": "$$"}}),
            true,
            &defaults(),
        );
        assert!(text.contains(r#"- "$$HOME""#) && !text.contains("boot.py"), "{text}");
        assert!(text.contains(r#"- "X=$${Y:-z}""#) && text.contains(r#"- "k=$$$$""#), "{text}");
    }

    #[test]
    fn the_server_s_defaults_stand_in_for_limits_that_are_not_asked_for() {
        let defaults = Defaults { memory: "512m".to_owned().try_into().ok(), pids: 100.try_into().ok(), ..defaults() };
        let text = render(&json!({"image": "a", "resources": {"pids": 7}}), false, &defaults);
        assert!(text.contains("mem_limit: \"512m\"") && text.contains("pids_limit: 7\n"), "{text}");
    }
}
