//! What the engine is: its versions, and what of a container's limits it can keep.

use super::{Engine, failed};
use crate::error::Result;

/// What the engine says that it is.
#[derive(Debug)]
pub struct About {
    pub version: String,
    /// The newest version of its API, such as `1.41`.
    pub api_version: String,
    /// `1` or `2`; empty where it says nothing.
    pub cgroup_version: String,
    /// The limits that it can't keep on this machine.
    pub lacks: Vec<&'static str>,
}

impl Engine {
    /// What the engine says that it is.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn about(&self) -> Result<About> {
        let version = self.docker()?.version().await.map_err(failed)?;
        let info = self.docker()?.info().await.map_err(failed)?;
        let limits = [("memory", info.memory_limit), ("cpus", info.cpu_cfs_quota), ("pids", info.pids_limit)];
        Ok(About {
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            cgroup_version: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
            lacks: limits.into_iter().filter(|(_, can)| *can == Some(false)).map(|(name, _)| name).collect(),
        })
    }
}
