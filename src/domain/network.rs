//! [`Network`]: where a container is reached and what it reaches.

use serde::{Deserialize, Serialize};

use super::{id::Cuid, schema::described};

/// The network of a container that doesn't share the server's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Network {
    /// One that only this container is on.
    Own,
    /// No network but its own loopback.
    None,
    /// One that there is at the engine.
    Named(String),
}

described! {
    Network: {
        "type": "string",
        "description": "own, none, or the name of a network that there is at the engine.",
        "pattern": "^(?!host$)(?!c[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}_default$)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$",
        "examples": ["own"],
    }
}

impl TryFrom<String> for Network {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut chars = text.chars();
        let is_name = chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
            && text.len() <= 255
            && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        match text.as_str() {
            "own" => Ok(Self::Own),
            "none" => Ok(Self::None),
            "host" => Err("a container on the host's network would reach what only the host may"),
            other if of_another(other) => Err("this is a container's own network"),
            _ if is_name => Ok(Self::Named(text)),
            _ => Err("a network is own, none, or the name of one that is there"),
        }
    }
}

/// A container could not be deleted while another is on its network.
fn of_another(name: &str) -> bool {
    name.strip_suffix("_default").is_some_and(|project| project.parse::<Cuid>().is_ok())
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        match network {
            Network::Own => "own".into(),
            Network::None => "none".into(),
            Network::Named(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_own_none_or_a_name() {
        for name in ["own", "none", "bridge", "berth", "web_1.x-y", "Host", "my_default"] {
            let network = Network::try_from(name.to_owned()).unwrap();
            assert_eq!(String::from(network), name);
        }
        let another = format!("{}_default", Cuid::new());
        for name in ["", "host", "container:web", "service:web", "-a", "a/b", "a b", "$NET", "ü", &another] {
            assert!(Network::try_from(name.to_owned()).is_err(), "{name}");
        }
    }
}
