//! What the engine says of one container.

use std::collections::HashMap;

use bollard::{
    errors::Error as Failure,
    models::{ContainerInspectResponse, ContainerStateStatusEnum as Word, ContainerSummary, PortBinding, PortSummary},
};
use chrono::{DateTime, FixedOffset};
use serde_json::Value;

use super::{Engine, failed, hijack, limits::Limits};
use crate::{
    domain::status::Status,
    error::{Error, Result},
};

/// A container's state at one moment; `Default` is that of a container that the engine does not have.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub status: Status,
    pub started_at: Option<DateTime<FixedOffset>>,
    pub finished_at: Option<DateTime<FixedOffset>>,
    /// Of the last run, once it has ended.
    pub exit_code: Option<i64>,
    /// `starting`, `healthy` or `unhealthy`, where the container has a health check.
    pub health: Option<String>,
    pub restart_count: i64,
    pub ip_address: Option<String>,
    /// What the host really publishes, while the container runs.
    pub published: Vec<Published>,
    pub labels: HashMap<String, String>,
    pub limits: Limits,
    /// The id of the image that it was made from.
    pub image: Option<String>,
}

/// A port of the container and one address of the host that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The container's port.
    pub container: u16,
    pub protocol: String,
    pub host_ip: String,
    pub host: u16,
}

impl Default for State {
    fn default() -> Self {
        Self {
            status: Status::Missing,
            started_at: None,
            finished_at: None,
            exit_code: None,
            health: None,
            restart_count: 0,
            ip_address: None,
            published: Vec::new(),
            labels: HashMap::new(),
            limits: Limits::default(),
            image: None,
        }
    }
}

impl Engine {
    /// The state of the container called `name`; `missing` where there is none.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn state(&self, name: &str) -> Result<State> {
        match self.docker()?.inspect_container(name, None).await {
            Ok(answer) => Ok(State::from(answer)),
            Err(Failure::DockerResponseServerError { status_code: 404, .. }) => Ok(State::default()),
            Err(failure) => Err(failed(failure)),
        }
    }
}

impl Engine {
    /// Where the container called `name` has something mounted, also what its image or its project's template asks for.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn mounted_at(&self, name: &str) -> Result<Vec<String>> {
        match self.docker()?.inspect_container(name, None).await {
            Ok(answer) => Ok(answer.mounts.into_iter().flatten().filter_map(|mount| mount.destination).collect()),
            Err(Failure::DockerResponseServerError { status_code: 404, .. }) => Ok(Vec::new()),
            Err(failure) => Err(failed(failure)),
        }
    }
}

impl Engine {
    /// The engine's own document of the container called `name`, word for word; `None` where there is none.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let version = self.docker()?.client_version();
        let path = format!("/v{}.{}/containers/{name}/json", version.major_version, version.minor_version);
        let mut answer = match hijack::get(&self.host, &path, false).await {
            Err(Error::EngineRefused(words)) if words.starts_with("No such container") => return Ok(None),
            answer => answer?,
        };
        let mut document = Vec::new();
        while let Some(bytes) = answer.next().await? {
            document.extend_from_slice(&bytes);
        }
        Ok(Some(document))
    }
}

/// A container as the engine describes it, in the engine's own words.
pub struct Description {
    pub state: State,
    pub container: Value,
    /// The configuration of its image; null where that is gone.
    pub image: Value,
}

impl Engine {
    /// All that the engine tells of the container called `name`; `None` where there is none.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn describe(&self, name: &str) -> Result<Option<Description>> {
        let docker = self.docker()?;
        let answer = match docker.inspect_container(name, None).await {
            Err(Failure::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
            answer => answer.map_err(failed)?,
        };
        let image = match docker.inspect_image(answer.image.as_deref().unwrap_or_default()).await {
            Err(Failure::DockerResponseServerError { status_code: 404, .. }) => Value::Null,
            image => serde_json::to_value(image.map_err(failed)?.config).unwrap_or_default(),
        };
        let container = serde_json::to_value(&answer).unwrap_or_default();
        Ok(Some(Description { state: State::from(answer), container, image }))
    }
}

impl From<ContainerInspectResponse> for State {
    fn from(answer: ContainerInspectResponse) -> Self {
        let state = answer.state.unwrap_or_default();
        let status = status(state.status);
        let network = answer.network_settings.unwrap_or_default();
        let addresses = network.networks.unwrap_or_default();
        Self {
            status,
            started_at: time(state.started_at),
            finished_at: time(state.finished_at),
            exit_code: state.exit_code.filter(|_| matches!(status, Status::Exited | Status::Dead | Status::Restarting)),
            health: state
                .health
                .and_then(|health| health.status)
                .map(|word| word.to_string())
                .filter(|word| !word.is_empty() && word != "none"),
            restart_count: answer.restart_count.unwrap_or_default(),
            ip_address: addresses.into_values().filter_map(|network| network.ip_address).find(|ip| !ip.is_empty()),
            published: published(network.ports.unwrap_or_default()),
            image: answer.image,
            limits: answer.host_config.as_ref().map(Limits::from).unwrap_or_default(),
            labels: answer.config.and_then(|config| config.labels).unwrap_or_default(),
        }
    }
}

/// The outline that a list gives: without times, exit code, health and limits.
impl From<ContainerSummary> for State {
    fn from(summary: ContainerSummary) -> Self {
        let word = summary.state.map(|word| word.to_string()).unwrap_or_default();
        let addresses = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        Self {
            // The words are the same in both places.
            status: status(word.parse().ok()),
            ip_address: addresses.into_values().filter_map(|network| network.ip_address).find(|ip| !ip.is_empty()),
            published: sorted(summary.ports.unwrap_or_default().iter().filter_map(in_outline).collect()),
            labels: summary.labels.unwrap_or_default(),
            ..Self::default()
        }
    }
}

fn in_outline(port: &PortSummary) -> Option<Published> {
    Some(Published {
        container: port.private_port,
        protocol: port.typ?.to_string(),
        host_ip: port.ip.clone().unwrap_or_default(),
        host: port.public_port?,
    })
}

fn status(word: Option<Word>) -> Status {
    match word {
        Some(Word::RUNNING | Word::STOPPING) => Status::Running,
        Some(Word::PAUSED) => Status::Paused,
        Some(Word::RESTARTING) => Status::Restarting,
        Some(Word::EXITED) => Status::Exited,
        Some(Word::DEAD | Word::REMOVING) => Status::Dead,
        Some(Word::CREATED | Word::EMPTY) | None => Status::Created,
    }
}

/// Docker writes the year 1 for a moment that has not come.
fn time(text: Option<String>) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(&text?).ok().filter(|time| time.timestamp() > 0)
}

fn published(ports: HashMap<String, Option<Vec<PortBinding>>>) -> Vec<Published> {
    let all = ports.iter().flat_map(|(port, bindings)| bindings.iter().flatten().map(move |binding| (port, binding))).filter_map(
        |(port, binding)| {
            let (container, protocol) = port.split_once('/')?;
            Some(Published {
                container: container.parse().ok()?,
                protocol: protocol.to_owned(),
                host_ip: binding.host_ip.clone().unwrap_or_default(),
                host: binding.host_port.as_ref()?.parse().ok()?,
            })
        },
    );
    sorted(all.collect())
}

fn sorted(mut all: Vec<Published>) -> Vec<Published> {
    all.sort_by(|a, b| (a.container, &a.protocol, &a.host_ip).cmp(&(b.container, &b.protocol, &b.host_ip)));
    all
}
