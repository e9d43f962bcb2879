//! What a container is, in one vocabulary for two sides: what its project asks for, and what the engine has. Pure; the
//! differences between the two are its drift.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::domain::id::Cuid;

/// What the engine has set by itself, or Compose to find its containers again.
const NOT_OURS: [&str; 2] = ["com.docker.compose.", "berth.project"];

/// A container's configuration by field, in the specification's words: `image`, `env.NAME`, `ports`.
pub(super) type Outline = BTreeMap<String, Value>;

/// What is different, by field: what was asked for, and what runs.
pub(super) fn differences(asked: &Outline, runs: &Outline) -> Vec<(String, Value, Value)> {
    let mut fields: Vec<&String> = asked.keys().chain(runs.keys()).collect();
    fields.sort();
    fields.dedup();
    let of = |outline: &Outline, field: &str| outline.get(field).cloned().unwrap_or_default();
    let both = fields.into_iter().map(|field| (field.clone(), of(asked, field), of(runs, field)));
    both.filter(|(_, asked, runs)| asked != runs).collect()
}

/// What a project in `folder` asks for: `document` is `compose.yaml` as it is meant, `image` the configuration of its image,
/// which counts where the project is silent.
pub(super) fn asked(cuid: Cuid, folder: &str, document: &Value, image: &Value) -> Outline {
    let service = &document["services"][cuid.to_string()];
    let or_image = |own: &str, images: &'static str| if service[own].is_null() { &image[images] } else { &service[own] };
    let mut outline = Outline::new();
    let mut set = |field: &str, value: Value| drop(outline.insert(field.to_owned(), value));
    set("image", service["image"].clone());
    set("entrypoint", bare(or_image("entrypoint", "Entrypoint")));
    // An entrypoint takes the place of the image's whole command line.
    set("command", bare(if service["entrypoint"].is_null() { or_image("command", "Cmd") } else { &service["command"] }));
    set("user", text(or_image("user", "User")));
    set("working_dir", path(or_image("working_dir", "WorkingDir")));
    set("init", json!(service["init"] == true));
    set("security_opt", sorted(strings(&service["security_opt"])));
    set("restart_policy", if service["restart"].is_null() { json!("no") } else { service["restart"].clone() });
    set("ports", sorted(list(&service["ports"]).map(asked_port)));
    set("volumes", sorted(list(&service["volumes"]).map(|mount| asked_mount(cuid, folder, mount))));
    set("network", asked_network(cuid, document, service));
    if !service["healthcheck"].is_null() {
        set("health_check", service["healthcheck"]["test"].clone());
    }
    if !service["logging"].is_null() {
        // A template may have numbers among them.
        let options = object(&service["logging"]["options"]).into_iter().map(|(name, value)| match value {
            Value::String(_) => (name, value),
            value => (name, json!(value.to_string())),
        });
        set("log", json!({"driver": service["logging"]["driver"], "options": options.collect::<Map<_, _>>()}));
    }
    let env = strings(&image["Env"]).chain(strings(&service["environment"]));
    outline.extend(pairs("env", env));
    let labels = image["Labels"].as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
    outline.extend(labelled(labels));
    outline.extend(labelled(strings(&service["labels"]).filter_map(pair)));
    outline
}

/// What the engine has: `container` is its own account. Fields of which `asked` says nothing are left out where they are the
/// engine's to choose.
pub(super) fn runs(container: &Value, asked: &Outline) -> Outline {
    let (config, host) = (&container["Config"], &container["HostConfig"]);
    let mut outline = Outline::new();
    let mut set = |field: &str, value: Value| drop(outline.insert(field.to_owned(), value));
    set("image", config["Image"].clone());
    set("entrypoint", bare(&config["Entrypoint"]));
    set("command", bare(&config["Cmd"]));
    set("user", text(&config["User"]));
    set("working_dir", path(&config["WorkingDir"]));
    set("init", json!(host["Init"] == true));
    set("security_opt", sorted(strings(&host["SecurityOpt"])));
    set("restart_policy", restart(&host["RestartPolicy"]));
    set("ports", sorted(object(&host["PortBindings"]).into_iter().flat_map(|(port, bindings)| bound(&port, &bindings))));
    set("volumes", sorted(list(&container["Mounts"]).filter(|mount| !is_anonymous(mount)).map(mounted)));
    set("network", sorted(object(&container["NetworkSettings"]["Networks"]).into_iter().map(|(name, _)| name)));
    if asked.contains_key("health_check") {
        set("health_check", config["Healthcheck"]["Test"].clone());
    }
    if asked.contains_key("log") {
        set("log", json!({"driver": host["LogConfig"]["Type"], "options": object(&host["LogConfig"]["Config"])}));
    }
    outline.extend(pairs("env", strings(&config["Env"])));
    outline.extend(labelled(object(&config["Labels"]).into_iter()));
    outline
}

fn asked_port(port: &Value) -> String {
    let host = port["published"].as_str().unwrap_or_default();
    format!("{}:{host}->{}/{}", text_of(&port["host_ip"]), port["target"], text_of(&port["protocol"]))
}

fn bound(port: &str, bindings: &Value) -> Vec<String> {
    // "0" is as good as no number: the engine picks one.
    let host = |binding: &Value| Some(text_of(&binding["HostPort"])).filter(|host| host != "0").unwrap_or_default();
    list(bindings).map(|binding| format!("{}:{}->{port}", text_of(&binding["HostIp"]), host(binding))).collect()
}

fn asked_mount(cuid: Cuid, folder: &str, mount: &Value) -> String {
    let source = match (text_of(&mount["type"]).as_str(), text_of(&mount["source"])) {
        ("volume", name) => format!("{cuid}_{name}"),
        (_, path) => path.strip_prefix('.').map(|below| format!("{folder}{below}")).unwrap_or(path),
    };
    described(&text_of(&mount["type"]), &source, &text_of(&mount["target"]), mount["read_only"] != true)
}

fn mounted(mount: &Value) -> String {
    let source = if mount["Type"] == "volume" { text_of(&mount["Name"]) } else { text_of(&mount["Source"]) };
    described(&text_of(&mount["Type"]), &source, &text_of(&mount["Destination"]), mount["RW"] == true)
}

fn described(kind: &str, source: &str, target: &str, writable: bool) -> String {
    format!("{kind} {source} at {target} ({})", if writable { "rw" } else { "ro" })
}

/// A volume that the engine made for the image: its name is a digest.
fn is_anonymous(mount: &Value) -> bool {
    let name = text_of(&mount["Name"]);
    mount["Type"] == "volume" && name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn asked_network(cuid: Cuid, document: &Value, service: &Value) -> Value {
    if let Some(mode) = service["network_mode"].as_str() {
        return json!([mode]);
    }
    sorted(strings(&service["networks"]).map(|key| match document["networks"][&key]["name"].as_str() {
        Some(name) => name.to_owned(),
        None => format!("{cuid}_{key}"),
    }))
}

fn restart(policy: &Value) -> Value {
    match (text_of(&policy["Name"]), policy["MaximumRetryCount"].as_i64().unwrap_or_default()) {
        (name, _) if name.is_empty() => json!("no"),
        (name, 0) => json!(name),
        (name, count) => json!(format!("{name}:{count}")),
    }
}

/// `NAME=value` for every name, the last one counting.
fn pairs(field: &str, all: impl Iterator<Item = String>) -> impl Iterator<Item = (String, Value)> {
    all.filter_map(pair).map(move |(name, value)| (format!("{field}.{name}"), value))
}

fn pair(text: String) -> Option<(String, Value)> {
    text.split_once('=').map(|(name, value)| (name.to_owned(), json!(value)))
}

fn labelled(labels: impl Iterator<Item = (String, Value)>) -> impl Iterator<Item = (String, Value)> {
    let ours = |(key, _): &(String, Value)| !NOT_OURS.iter().any(|prefix| key.starts_with(prefix));
    labels.filter(ours).map(|(key, value)| (format!("labels.{key}"), value))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = String> {
    list(value).map(text_of)
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// As the engine writes it: without slashes that mean nothing.
fn path(value: &Value) -> Value {
    let text = text_of(value);
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    json!(if text.starts_with('/') { format!("/{}", parts.join("/")) } else { text })
}

/// Nothing and an empty text are the same.
fn text(value: &Value) -> Value {
    json!(text_of(value))
}

/// Nothing and an empty list are the same.
fn bare(value: &Value) -> Value {
    json!(strings(value).collect::<Vec<_>>())
}

fn sorted(all: impl Iterator<Item = String>) -> Value {
    let mut all: Vec<String> = all.collect();
    all.sort();
    // The engine takes what is asked for twice as once.
    all.dedup();
    json!(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUID: &str = "c123e4567-e89b-12d3-a456-426614174000";

    /// The fields in which a container differs from what a service and its image ask for.
    fn fields(service: Value, image: &Value, container: &Value) -> Vec<String> {
        let document = json!({"services": {CUID: service}, "networks": {"shared": {"name": "berth"}}});
        let asked = asked(CUID.parse().unwrap(), "/data/c1", &document, image);
        differences(&asked, &runs(container, &asked)).into_iter().map(|(field, ..)| field).collect()
    }

    #[test]
    fn where_a_project_is_silent_its_image_counts() {
        let image = json!({"User": "app", "WorkingDir": "/srv", "Entrypoint": ["/run"], "Cmd": ["it"], "Env": ["P=1", "Q=2"], "Labels": {"l": "v"}});
        let config = json!({"Image": "a", "User": "app", "WorkingDir": "/srv", "Entrypoint": ["/run"], "Cmd": ["it"], "Env": ["P=9", "Q=2"],
            "Labels": {"l": "v", "com.docker.compose.project": "x", "berth.project": "y"}});
        let container = json!({"Config": config, "HostConfig": {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
            "NetworkSettings": {"Networks": {"berth": {}}}});
        let service = json!({"image": "a", "environment": ["P=9"], "networks": ["shared"]});
        assert_eq!(fields(service.clone(), &image, &container), [""; 0]);
        let mut booted = service;
        booted["entrypoint"] = json!(["python3"]);
        assert_eq!(fields(booted, &image, &container), ["command", "entrypoint"], "an entrypoint takes the image's command away");
    }

    #[test]
    fn every_field_is_told_apart() {
        let service = json!({"image": "a", "command": ["x"], "user": "1:1", "working_dir": "/app", "init": true, "restart": "on-failure:3",
            "security_opt": ["no-new-privileges:true"], "networks": ["shared"], "environment": ["A=1"], "labels": ["k=v"],
            "ports": [{"target": 80, "published": "8080", "protocol": "tcp"}], "healthcheck": {"test": ["CMD", "true"]},
            "volumes": [{"type": "bind", "source": "./app", "target": "/app"}, {"type": "volume", "source": "d", "target": "/d", "read_only": true}],
            "logging": {"driver": "local", "options": {"max-file": 3}}});
        let mounts = json!([{"Type": "bind", "Source": "/data/c1/app", "Destination": "/app", "RW": true},
            {"Type": "volume", "Name": format!("{CUID}_d"), "Destination": "/d", "RW": false},
            {"Type": "volume", "Name": "0".repeat(64), "Destination": "/image", "RW": true}]);
        let container = json!({"Config": {"Image": "a", "Cmd": ["x"], "User": "1:1", "WorkingDir": "/app", "Env": ["A=1"], "Labels": {"k": "v"},
            "Healthcheck": {"Test": ["CMD", "true"]}}, "Mounts": mounts, "NetworkSettings": {"Networks": {"berth": {}}},
            "HostConfig": {"Init": true, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "SecurityOpt": ["no-new-privileges:true"],
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, "LogConfig": {"Type": "local", "Config": {"max-file": "3"}}}});
        assert_eq!(fields(service.clone(), &Value::Null, &container), [""; 0]);
        for (pointer, other, field) in [
            ("/Config/Image", json!("b"), "image"),
            ("/Config/Cmd", json!(["x", "y"]), "command"),
            ("/Config/User", json!("0"), "user"),
            ("/Config/WorkingDir", json!("/"), "working_dir"),
            ("/Config/Env", json!(["A=1", "B=2"]), "env.B"),
            ("/Config/Labels/k", json!("w"), "labels.k"),
            ("/Config/Healthcheck/Test", json!(["NONE"]), "health_check"),
            ("/Mounts/0/Source", json!("/etc"), "volumes"),
            ("/Mounts/1/RW", json!(true), "volumes"),
            ("/NetworkSettings/Networks", json!({"berth": {}, "web": {}}), "network"),
            ("/HostConfig/Init", json!(false), "init"),
            ("/HostConfig/RestartPolicy/MaximumRetryCount", json!(4), "restart_policy"),
            ("/HostConfig/SecurityOpt", json!([]), "security_opt"),
            ("/HostConfig/PortBindings/80~1tcp/0/HostIp", json!("127.0.0.1"), "ports"),
            ("/HostConfig/LogConfig/Config/max-file", json!("4"), "log"),
        ] {
            let mut changed = container.clone();
            *changed.pointer_mut(pointer).unwrap() = other;
            assert_eq!(fields(service.clone(), &Value::Null, &changed), [field], "{pointer}");
        }
    }
}
