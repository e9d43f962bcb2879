//! What the engine has to offer: processors, log drivers, networks.

use bollard::{
    errors::Error as Failure,
    models::{ContainerCreateBody, HostConfig, HostConfigLogConfig},
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptions},
};

use super::{Engine, absent, failed, present};
use crate::{domain::log::Log, error::Result};

/// No container can have this name.
const NO_NAME: &str = "-";

/// What the engine says of itself.
pub struct Site {
    /// How many processors it can give.
    pub processors: f64,
    pub log_drivers: Vec<String>,
}

impl Engine {
    /// What the engine says of itself.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`].
    pub async fn site(&self) -> Result<Site> {
        let info = self.docker()?.info().await.map_err(failed)?;
        let processors = i32::try_from(info.ncpu.unwrap_or(i64::MAX)).unwrap_or(i32::MAX).into();
        let mut log_drivers = info.plugins.and_then(|plugins| plugins.log).unwrap_or_default();
        // The engine doesn't count it.
        log_drivers.push("none".to_owned());
        Ok(Site { processors, log_drivers })
    }

    /// Whether there is a network of exactly this name that a container can join by it.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn can_join(&self, name: &str) -> Result<bool> {
        match self.docker()?.inspect_network(name, None).await {
            // The engine also takes the beginning of an id, the host network's, too.
            Ok(network) => {
                Ok(network.name.as_deref() == Some(name) && !matches!(network.driver.as_deref(), Some("host" | "null")))
            }
            Err(failure) => present::<()>(Err(failure)),
        }
    }

    /// Removes a network that no container is on; one that is not there is as good.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn remove_network(&self, name: &str) -> Result<()> {
        absent(self.docker()?.remove_network(name).await)
    }

    /// Why the engine would create no container of `image` with this log; `None` where it would. It is asked to create one under a
    /// name that it refuses, which it does after it has looked at the log.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`].
    pub async fn refuses_log(&self, image: &str, log: &Log) -> Result<Option<String>> {
        let options = log.options.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()));
        let log_config = HostConfigLogConfig { typ: Some(log.driver.as_str().to_owned()), config: Some(options.collect()) };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(vec!["none".to_owned()]),
            host_config: Some(HostConfig { log_config: Some(log_config), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let name = CreateContainerOptionsBuilder::new().name(NO_NAME).build();
        match self.docker()?.create_container(Some(name), body).await {
            Err(Failure::DockerResponseServerError { status_code: 400, message }) => {
                Ok((!message.contains("container name")).then_some(message))
            }
            Err(failure) => present::<()>(Err(failure)).map(|_| None),
            // Against all we know of it.
            Ok(made) => {
                absent(self.docker()?.remove_container(&made.id, None::<RemoveContainerOptions>).await)?;
                Ok(None)
            }
        }
    }
}
