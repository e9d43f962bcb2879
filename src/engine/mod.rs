//! The Docker Engine over its API, by bollard: what berth watches containers with and talks to them through.
//! It changes none but for what Compose has no call for: a container's limits, whose a new volume is, and taking away what a
//! container has left behind. It knows neither HTTP statuses nor berth's folders. A container's name at the engine is its cuid.

mod about;
pub mod exec;
pub mod foreign;
mod hijack;
pub mod limits;
pub mod log_lines;
pub mod log_reader;
pub mod logs;
pub mod processes;
pub mod site;
pub mod state;
pub mod stats;
mod strays;
pub mod trial;
pub mod volumes;
pub mod watch;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bollard::{Docker, errors::Error as Failure, query_parameters::ListContainersOptions};

pub use about::About;

use crate::error::{Error, Result};

/// How long the engine may take to begin an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to one engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    docker: Arc<OnceLock<Docker>>,
    /// Where it listens, for the connections that stop being HTTP.
    host: String,
}

impl Engine {
    /// Prepares the connection to `host` (a `DOCKER_HOST`: `unix://` or `tcp://`); nothing is sent yet.
    pub fn connect(host: &str) -> Self {
        Self { docker: Arc::default(), host: host.to_owned() }
    }

    /// The connection, made when it is first needed: bollard takes no socket that is not there, and the engine's may come
    /// after us.
    fn docker(&self) -> Result<&Docker> {
        if let Some(docker) = self.docker.get() {
            return Ok(docker);
        }
        let docker = Docker::connect_with_host(&self.host).map_err(|failure| match failure {
            Failure::SocketNotFoundError(_) => Error::EngineUnavailable("its socket is not there".to_owned()),
            failure => unavailable(failure),
        });
        let docker = docker?.with_timeout(PATIENCE);
        Ok(self.docker.get_or_init(|| docker))
    }

    /// Agrees with the engine on an API version (1.41, of Engine 20.10, is the oldest that berth works with).
    /// To be called before anything else, and again when the engine came back, as it may have been upgraded.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`].
    pub async fn negotiate(&self) -> Result<()> {
        self.docker()?.clone().negotiate_version().await.map_err(failed)?;
        Ok(())
    }

    /// The engine's version, which also shows that it answers.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`].
    pub async fn version(&self) -> Result<String> {
        Ok(self.docker()?.version().await.map_err(failed)?.version.unwrap_or_default())
    }

    /// Whether the engine is reached by a socket of this host, and so most likely runs on it.
    pub fn is_local(&self) -> bool {
        self.host.starts_with("unix://")
    }

    /// The name of a running container that publishes this port of the host.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn publisher(&self, port: u16, protocol: &str) -> Result<Option<String>> {
        let filters = HashMap::from([("publish".to_owned(), vec![format!("{port}/{protocol}")])]);
        let options = ListContainersOptions { filters: Some(filters), ..Default::default() };
        let mut containers = self.docker()?.list_containers(Some(options)).await.map_err(failed)?;
        let name = containers.pop().and_then(|container| container.names?.pop());
        Ok(name.map(|name| name.trim_start_matches('/').to_owned()))
    }

    /// Whether a container of the engine carries `label` with this value.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn carries(&self, label: &str, value: &str) -> Result<bool> {
        let filters = Some(HashMap::from([("label".to_owned(), vec![format!("{label}={value}")])]));
        let options = ListContainersOptions { all: true, filters, ..Default::default() };
        Ok(!self.docker()?.list_containers(Some(options)).await.map_err(failed)?.is_empty())
    }

    /// Whether the engine holds an image under this reference.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn has_image(&self, reference: &str) -> Result<bool> {
        present(self.docker()?.inspect_image(reference).await)
    }

    /// The id of the image that a reference leads to; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn image_id(&self, reference: &str) -> Result<Option<String>> {
        match self.docker()?.inspect_image(reference).await {
            Ok(image) => Ok(image.id),
            Err(failure) => present::<()>(Err(failure)).map(|_| None),
        }
    }

    /// Whether the engine has a network of this name.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn has_network(&self, name: &str) -> Result<bool> {
        present(self.docker()?.inspect_network(name, None).await)
    }
}

/// Whether there is what the engine was asked for.
fn present<T>(answer: std::result::Result<T, Failure>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(Failure::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(failure) => Err(failed(failure)),
    }
}

/// What was to be removed is gone, if it ever was there.
fn absent<T>(answer: std::result::Result<T, Failure>) -> Result<()> {
    present(answer).map(drop)
}

/// A failure of the engine's API in berth's words: an answer is a refusal, anything else is silence.
fn failed(failure: Failure) -> Error {
    match failure {
        Failure::DockerResponseServerError { message, .. } => Error::EngineRefused(message),
        failure => unavailable(failure),
    }
}

/// With what is behind the failure, which alone says something: "client error: Connection refused".
fn unavailable(failure: impl std::error::Error) -> Error {
    let mut words = vec![failure.to_string()];
    let mut behind = failure.source();
    while let Some(cause) = behind {
        words.extend(Some(cause.to_string()).filter(|word| !words.contains(word)));
        behind = cause.source();
    }
    Error::EngineUnavailable(words.join(": "))
}
