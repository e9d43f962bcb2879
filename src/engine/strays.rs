//! What is left at the engine of a container that Compose was recreating, or that somebody renamed.

use std::collections::HashMap;

use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions, RenameContainerOptionsBuilder};

use super::{Engine, absent, failed, volumes::PROJECT};
use crate::error::Result;

impl Engine {
    /// Removes what Compose made to take the place of the container called `project`, and could not put there, and says
    /// whether there was any.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn remove_halves(&self, project: &str) -> Result<bool> {
        let halves: Vec<String> = self.of_project(project).await?.into_iter().filter(|name| is_half(name, project)).collect();
        for half in &halves {
            let force = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
            absent(self.docker()?.remove_container(half, Some(force)).await)?;
        }
        Ok(!halves.is_empty())
    }

    /// Gives the only container of a project, which has another name, the project's; false where there is none, or several.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn reclaim(&self, project: &str) -> Result<bool> {
        let names = self.of_project(project).await?;
        let [name] = &names[..] else { return Ok(false) };
        if name == project || is_half(name, project) {
            return Ok(false);
        }
        let options = RenameContainerOptionsBuilder::new().name(project).build();
        self.docker()?.rename_container(name, options).await.map_err(failed)?;
        Ok(true)
    }

    /// The names of all containers of a compose project.
    async fn of_project(&self, project: &str) -> Result<Vec<String>> {
        let filters = Some(HashMap::from([("label".to_owned(), vec![format!("{PROJECT}={project}")])]));
        let options = ListContainersOptions { all: true, filters, ..Default::default() };
        let containers = self.docker()?.list_containers(Some(options)).await.map_err(failed)?;
        let name = |names: Option<Vec<String>>| Some(names?.pop()?.trim_start_matches('/').to_owned());
        Ok(containers.into_iter().filter_map(|container| name(container.names)).collect())
    }
}

/// Compose puts twelve digits of the old container's id before the name.
fn is_half(name: &str, project: &str) -> bool {
    let id = name.strip_suffix(project).and_then(|rest| rest.strip_suffix('_'));
    id.is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_compose_s_own_names_are_halves() {
        assert!(is_half("0123456789ab_c1", "c1"));
        for name in ["c1", "web", "_c1", "0123456789abc1", "0123456789xy_c1", "0123456789ab_c2", "0123456789ab0_c1"] {
            assert!(!is_half(name, "c1"), "{name}");
        }
    }
}
