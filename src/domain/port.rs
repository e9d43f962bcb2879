//! [`PortMapping`]: a port of the container that the host publishes, and who else may have it.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    id::Cuid,
    schema::{self, described},
};

/// One published port. `host` 0 or absent: the engine picks a free one at each start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object of container, host, protocol and host_ip")]
pub struct PortMapping {
    pub container: ContainerPort,
    #[serde(default)]
    #[schema(minimum = 0, maximum = 65535)]
    pub host: u16,
    #[serde(default)]
    pub protocol: Protocol,
    /// The host's address to publish on; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = address)]
    pub host_ip: Option<IpAddr>,
}

/// A port of the container, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16")]
pub struct ContainerPort(u16);

described! {
    ContainerPort: {"type": "integer", "minimum": 1, "maximum": 65535, "examples": [8000]}
}

/// An address of the host, in JSON Schema.
pub(crate) fn address() -> RefOr<Schema> {
    let formats =
        [json!({"type": "string", "format": "ipv4"}), json!({"type": "string", "format": "ipv6"}), json!({"type": "null"})];
    schema::of(json!({"anyOf": formats}))
}

impl ContainerPort {
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for ContainerPort {
    type Error = &'static str;

    fn try_from(port: u16) -> Result<Self, Self::Error> {
        if port == 0 { Err("a container's port is from 1 to 65535") } else { Ok(Self(port)) }
    }
}

/// Transport of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Who has a port of the host that a container asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// One of this server's containers.
    Ours(Cuid),
    /// Another container at the engine, by its name.
    Container(String),
    Process {
        name: String,
        pid: i32,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(cuid) => write!(f, "container {cuid}"),
            Self::Container(name) => write!(f, "container {name}"),
            Self::Process { name, pid } => write!(f, "process {name} (pid {pid})"),
        }
    }
}

impl PortMapping {
    /// Whether both ask for the same port of the host, so that only one of them can have it.
    pub fn collides_with(&self, other: &Self) -> bool {
        let canonical = |mapping: &Self| mapping.host_ip.map(|ip| ip.to_canonical());
        let everywhere = |ip: &Option<IpAddr>| ip.is_none_or(|ip| ip.is_unspecified());
        self.host != 0
            && self.host == other.host
            && self.protocol == other.protocol
            && (everywhere(&self.host_ip) || everywhere(&other.host_ip) || canonical(self) == canonical(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(json: &str) -> PortMapping {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn two_mappings_collide_only_where_the_host_can_serve_but_one() {
        let web = port(r#"{"host":8080,"container":80}"#);
        for (other, collides) in [
            (r#"{"host":8080,"container":81}"#, true),
            (r#"{"host":8080,"container":80,"host_ip":"127.0.0.1"}"#, true),
            (r#"{"host":8080,"container":80,"protocol":"udp"}"#, false),
            (r#"{"host":8081,"container":80}"#, false),
        ] {
            assert_eq!(web.collides_with(&port(other)), collides, "{other}");
        }
        let picked = port(r#"{"container":80}"#);
        assert!(!picked.collides_with(&picked));
        assert!(
            !port(r#"{"host":1,"container":1,"host_ip":"127.0.0.1"}"#)
                .collides_with(&port(r#"{"host":1,"container":1,"host_ip":"127.0.0.2"}"#))
        );
    }

    #[test]
    fn ports_out_of_range_and_unknown_protocols_are_refused() {
        for bad in [
            r#"{"host":80}"#,
            r#"{"container":0}"#,
            r#"{"container":65536}"#,
            r#"{"container":-1}"#,
            r#"{"container":"80"}"#,
            r#"{"container":80,"protocol":"TCP"}"#,
            r#"{"container":80,"host_ip":"localhost"}"#,
            r#"{"container":80,"hots":1}"#,
        ] {
            assert!(serde_json::from_str::<PortMapping>(bad).is_err(), "{bad}");
        }
    }
}
