//! From a specification to `compose.yaml`: pure, and the same bytes for the same input.

use std::{collections::BTreeSet, os::unix::ffi::OsStrExt as _, path::Path};

use serde_yaml::{Mapping, Value};
use uuid::Uuid;

use super::{
    file::{Template, literal, meaning, write},
    launcher::python,
};
use crate::{
    config::Defaults,
    domain::{
        health::{HealthCheck, Probe},
        id::Cuid,
        log::Log,
        network::Network,
        port::PortMapping,
        spec::Spec,
        user::User,
        volume::{Mode, Source, Volume},
    },
};

/// The label by which a container is known as one of berth's; its value is the cuid.
pub const LABEL: &str = "berth.cuid";

/// The label that says which project a container was made from; its value is the project's [`Rendered::digest`].
pub const PROJECT_LABEL: &str = "berth.project";

/// Asks the URL that is its argument, with whatever the image has for that; any answer but an error's is a healthy one. It is
/// never taken for part of the script.
const ASK: &str = r#"if command -v curl; then exec curl -fs -o /dev/null -- "$1"
elif command -v wget; then
  said=$(wget -S -O /dev/null "$1" 2>&1)
  case $said in *"  HTTP/"*) said=${said#*"  HTTP/"}; said=${said#* };; *) exit 1;; esac
  case $said in [23]*) exit 0;; *) exit 1;; esac
else exec python3 -c 'import sys, urllib.request as r
class Stay(r.HTTPRedirectHandler):
    def redirect_request(self, *_): return None
try: r.build_opener(Stay).open(sys.argv[1])
except r.HTTPError as e: sys.exit(e.code >= 400)' "$1"
fi >/dev/null 2>&1"#;

/// Docker's own network, which only a whole service can be put on.
const BRIDGE: &str = "bridge";

/// What a project is rendered from.
pub struct Project<'a> {
    pub cuid: Cuid,
    /// Its host paths are rendered as they are. With a volume for packages, these are installed before `boot.py` is run.
    pub spec: &'a Spec,
    /// Whether the mount holds a `boot.py`.
    pub boot: bool,
    pub defaults: &'a Defaults,
    /// The existing network that the container joins where its specification names none.
    pub network: &'a str,
    /// The folder that the project is in.
    pub folder: &'a Path,
    /// The id of the image to take instead of the one that the specification's reference leads to now.
    pub image: Option<&'a str>,
}

/// A project, written.
pub struct Rendered {
    /// `compose.yaml`.
    pub text: String,
    /// Tells this project from every other, so that a container that was made from another is known by its label. Projects
    /// that differ in nothing but limits have the same: those can be changed on a container as it is.
    pub digest: String,
    /// Whether limits are the server's to move on a container as it is.
    pub movable: bool,
    document: Mapping,
}

impl Rendered {
    /// What the project means, as Compose takes it.
    pub fn meaning(&self) -> serde_json::Value {
        meaning(&Value::Mapping(self.document.clone()))
    }
}

impl Project<'_> {
    /// The project's `compose.yaml`.
    pub fn render(&self, template: &Template) -> Rendered {
        let movable = !template.limits();
        let undigested = write(&self.document(template, None, !movable));
        // A container has the folder's mount, wherever the folder is by now.
        let all = [undigested.as_bytes(), self.folder.as_os_str().as_bytes()].concat();
        let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, &all).to_string();
        let document = self.document(template, Some(&digest), true);
        Rendered { text: write(&document), digest, movable, document }
    }

    /// The project; without a digest, what the digest is made of.
    fn document(&self, template: &Template, digest: Option<&str>, limits: bool) -> Mapping {
        let mut root = Mapping::new();
        if let Some(name) = self.joined() {
            let network = Mapping::from_iter([("name".into(), literal(name)), ("external".into(), true.into())]);
            root.insert("networks".into(), Mapping::from_iter([("shared".into(), network.into())]).into());
        }
        let own: BTreeSet<&str> = self.spec.own_volumes().collect();
        if !own.is_empty() {
            let volumes: Mapping = own.into_iter().map(|name| (name.into(), Mapping::new().into())).collect();
            root.insert("volumes".into(), volumes.into());
        }
        template.project(&self.cuid.to_string(), self.service(digest, limits), root)
    }

    /// The network that is there already and that the container joins by name.
    fn joined(&self) -> Option<&str> {
        match &self.spec.network {
            None => Some(self.network),
            Some(Network::Named(name)) if name != BRIDGE => Some(name),
            Some(_) => None,
        }
    }

    fn service(&self, digest: Option<&str>, limits: bool) -> Mapping {
        let (spec, defaults) = (self.spec, self.defaults);
        let mut service = Mapping::new();
        let mut set = |key: &str, value: Value| drop(service.insert(key.into(), value));
        set("image", literal(self.image.filter(|_| digest.is_some()).unwrap_or(spec.image.as_str())));
        set("container_name", self.cuid.to_string().into());
        match &spec.command {
            Some(command) => set("command", command.words().map(literal).collect()),
            // The entrypoint, so that an image's own one can't take the script for its argument.
            None if self.boot => set("entrypoint", python(spec.volumes.iter().any(Volume::is_packages))),
            None => (),
        }
        set("init", true.into());
        set("security_opt", Value::Sequence(vec!["no-new-privileges:true".into()]));
        set("user", user(spec.user.as_ref(), defaults));
        set("working_dir", spec.working_dir.as_ref().map_or("/app".into(), |path| literal(path.as_str())));
        set("volumes", std::iter::once(mount()).chain(spec.volumes.iter().map(volume)).collect());
        set("environment", self.environment());
        set("labels", self.labels(digest));
        service.extend(self.networks());
        if limits {
            service.extend(self.limits());
        }
        service.extend(spec.health_check.iter().map(|check| ("healthcheck".into(), health(check))));
        service.extend(spec.restart_policy.map(|policy| ("restart".into(), policy.to_compose().into())));
        service.extend(spec.log.iter().map(|log| ("logging".into(), logging(log))));
        service
    }

    fn networks(&self) -> Mapping {
        let by_mode = |mode: &str| (mode.into(), Value::Null);
        let by_name = |name: &str| (Value::Null, Value::Sequence(vec![name.into()]));
        let (mode, networks) = match &self.spec.network {
            None => by_name("shared"),
            // Compose makes and removes it.
            Some(Network::Own) => by_name("default"),
            Some(Network::None) => by_mode("none"),
            Some(Network::Named(name)) if name == BRIDGE => by_mode(BRIDGE),
            Some(Network::Named(_)) => by_name("shared"),
        };
        let mut entries = Mapping::from_iter([("network_mode".into(), mode), ("networks".into(), networks)]);
        if !self.spec.ports.is_empty() {
            entries.insert("ports".into(), self.spec.ports.iter().map(port).collect());
        }
        entries
    }

    fn limits(&self) -> Mapping {
        let (limits, defaults) = (&self.spec.resources, self.defaults);
        let mut entries = Mapping::new();
        let mut set = |key: &str, value: Value| drop(entries.insert(key.into(), value));
        if let Some(cpus) = limits.cpus.or(defaults.cpus) {
            set("cpus", cpus.get().into());
        }
        if let Some(memory) = limits.memory.as_ref().or(defaults.memory.as_ref()) {
            set("mem_limit", memory.as_str().into());
        }
        if let Some(pids) = limits.pids.or(defaults.pids) {
            set("pids_limit", pids.get().into());
        }
        if let Some(shares) = limits.cpu_shares {
            set("cpu_shares", shares.get().into());
        }
        entries
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
    write(&Template::default().project(name, service, Mapping::new()))
}

/// The least project that removes a container with these volumes, given by their names at the engine. Compose looks only at
/// volumes that a service has.
pub fn removal(name: &str, volumes: &[String]) -> String {
    let keyed = || volumes.iter().enumerate().map(|(at, volume)| (format!("v{at}"), volume));
    let mounts = keyed().map(|(key, _)| {
        let target = format!("/{key}");
        Mapping::from_iter([("type".into(), "volume".into()), ("source".into(), key.into()), ("target".into(), target.into())])
    });
    let mut service = Mapping::from_iter([("image".into(), "none".into())]);
    service.insert("volumes".into(), mounts.map(Value::from).collect());
    let named = keyed().map(|(key, volume)| (key.into(), Mapping::from_iter([("name".into(), literal(volume))]).into()));
    let root = Mapping::from_iter([("volumes".into(), named.collect::<Mapping>().into())]);
    write(&Template::default().project(name, service, root))
}

/// Null, which is the image's own, also where the template has one.
fn user(user: Option<&User>, defaults: &Defaults) -> Value {
    match user {
        None => defaults.owner.to_string().into(),
        Some(user) if user.is_of_image() => Value::Null,
        Some(user) => literal(user.as_str()),
    }
}

fn volume(volume: &Volume) -> Value {
    let (kind, source) = match &volume.source {
        Source::Volume(name) => ("volume", literal(name.as_str())),
        Source::Host(path) => ("bind", literal(path.as_str())),
    };
    let target = literal(volume.container_path.as_str());
    let mut entry = Mapping::from_iter([("type".into(), kind.into()), ("source".into(), source), ("target".into(), target)]);
    if kind == "bind" {
        entry.insert("bind".into(), Mapping::from_iter([("create_host_path".into(), false.into())]).into());
    }
    if volume.is_packages() {
        // Nothing of the image is ever in it.
        entry.insert("volume".into(), Mapping::from_iter([("nocopy".into(), true.into())]).into());
    }
    if volume.mode == Mode::ReadOnly {
        entry.insert("read_only".into(), true.into());
    }
    entry.into()
}

fn health(check: &HealthCheck) -> Value {
    let test = match &check.probe {
        Probe::Test(test) => test.words().map(literal).collect(),
        Probe::Endpoint(url) => ["CMD", "sh", "-c", ASK, "sh", url.as_str()].map(literal).to_vec().into(),
    };
    let mut entry = Mapping::from_iter([("test".into(), test)]);
    for (key, span) in [("interval", &check.interval), ("timeout", &check.timeout), ("start_period", &check.start_period)] {
        entry.extend(span.iter().map(|span| (key.into(), literal(span.as_str()))));
    }
    entry.extend(check.retries.map(|retries| ("retries".into(), retries.get().into())));
    entry.into()
}

fn logging(log: &Log) -> Value {
    let options: Mapping = log.options.iter().map(|(name, value)| (name.as_str().into(), literal(value.as_str()))).collect();
    Mapping::from_iter([("driver".into(), literal(log.driver.as_str())), ("options".into(), options.into())]).into()
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
        Project { cuid, spec: &spec, boot, defaults, network: "berth", folder: Path::new("/data/c1"), image: None }
            .render(&template)
            .text
    }

    fn defaults() -> Defaults {
        Defaults { owner: "1000:1000".parse().unwrap(), cpus: None, memory: None, pids: None, network_containers: 1 }
    }

    #[test]
    fn the_guide_s_container_is_rendered_whole() {
        let spec = json!({"image": "python:3.12-slim", "env": {"APP_ENV": "production"}, "tags": ["web", "production"],
            "resources": {"cpus": 1.0, "memory": "4096m", "pids": 2048}, "ports": [{"host": 8080, "container": 80, "protocol": "tcp"}]});
        let expected = r#"name: "c123e4567-e89b-12d3-a456-426614174000"
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
        assert_eq!(&text[text.find("name:").unwrap()..], expected.replace("DIGEST", digest));
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
    fn everything_that_may_be_asked_for_is_written() {
        let spec = json!({"image": "a", "user": "app$1:5", "working_dir": "/w $X", "network": "own", "restart_policy": {"type": "on-failure",
            "max_retries": 2}, "log": {"driver": "local", "options": {"max-file": 2, "tag": "$t"}}, "resources": {"cpu_shares": 9},
            "health_check": {"test": "echo $X", "interval": "1m30s", "retries": 2}, "volumes": [
            {"volume": "data", "container_path": "/d$"}, {"volume": "data", "container_path": "/e", "mode": "ro"},
            {"host_path": "/srv/$x", "container_path": "/f"}]});
        let text = render(&spec, false, &defaults());
        for part in [
            "    user: \"app$$1:5\"\n    working_dir: \"/w $$X\"\n",
            "      - type: \"volume\"\n        source: \"data\"\n        target: \"/d$$\"\n",
            "        target: \"/e\"\n        read_only: true\n",
            "        source: \"/srv/$$x\"\n        target: \"/f\"\n        bind:\n          create_host_path: false\n",
            "    networks:\n      - \"default\"\n",
            "    cpu_shares: 9\n",
            "    healthcheck:\n      test:\n        - \"CMD-SHELL\"\n        - \"echo $$X\"\n      interval: \"1m30s\"\n      retries: 2\n",
            "    restart: \"on-failure:2\"\n",
            "    logging:\n      driver: \"local\"\n      options:\n        max-file: \"2\"\n        \"tag\": \"$$t\"\n",
            "volumes:\n  data: {}\n",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("external") && !text.contains("json-file"), "{text}");
    }

    #[test]
    fn packages_have_a_volume_and_are_installed_before_boot_py_runs() {
        let cuid = "c123e4567-e89b-12d3-a456-426614174000".parse().unwrap();
        let (defaults, folder) = (defaults(), Path::new("/data/c1"));
        let mut spec = Spec::from_json(&json!({"image": "a"})).unwrap();
        spec.volumes.push(Volume::packages(Some(defaults.owner)));
        let project = Project { cuid, spec: &spec, boot: true, defaults: &defaults, network: "berth", folder, image: None };
        let rendered = project.render(&Template::default());
        let service = rendered.meaning()["services"][cuid.to_string()].clone();
        let words = service["entrypoint"].as_array().unwrap();
        assert_eq!(words[3], include_str!("launcher.py"));
        assert_eq!((&words[4], &words[5]), (&"/berth-packages".into(), &"/app/boot.py".into()));
        assert_eq!(service["volumes"][1]["source"], "_packages.1000.1000");
        let part = "        target: \"/berth-packages\"\n        volume:\n          nocopy: true\n";
        assert!(
            rendered.text.contains(part) && rendered.text.contains("volumes:\n  \"_packages.1000.1000\": {}\n"),
            "{}",
            rendered.text
        );
    }

    #[test]
    fn a_network_is_joined_by_its_name_or_by_its_mode() {
        let with = |network: &str| render(&json!({"image": "a", "network": network}), false, &defaults());
        assert!(with("web").contains("    name: \"web\"\n    external: true\n"));
        for mode in ["none", "bridge"] {
            let text = with(mode);
            assert!(text.contains(&format!("    network_mode: \"{mode}\"\n")) && !text.contains("networks"), "{text}");
        }
        assert!(!render(&json!({"image": "a", "user": "image"}), false, &defaults()).contains("user:"));
    }

    #[test]
    fn a_url_is_never_part_of_the_script_that_asks_it() {
        let url = "http://localhost/';reboot;$(reboot)";
        let text = render(&json!({"image": "a", "health_check": {"endpoint": url}}), false, &defaults());
        assert!(text.contains("        - \"http://localhost/';reboot;$$(reboot)\"\n"), "{text}");
        assert_eq!(text.matches("reboot").count(), 2);
    }

    #[test]
    fn the_server_s_defaults_stand_in_for_limits_that_are_not_asked_for() {
        let defaults = Defaults { memory: "512m".to_owned().try_into().ok(), pids: 100.try_into().ok(), ..defaults() };
        let text = render(&json!({"image": "a", "resources": {"pids": 7}}), false, &defaults);
        assert!(text.contains("mem_limit: \"512m\"") && text.contains("pids_limit: 7\n"), "{text}");
    }
}
