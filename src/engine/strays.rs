//! What is left at the engine of a container that Compose was recreating, or that somebody renamed.

use std::collections::HashMap;

use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions, RenameContainerOptionsBuilder};

use super::{Engine, absent, failed, volumes::PROJECT};
use crate::error::Result;

impl Engine {
    /// Tidies up what Compose made to take the place of the container called `project`, and could not put there: beside that
    /// one it is removed; without it, it is all there is of the container, anonymous volumes included, and gets its name.
    /// Says whether there was any.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn tidy_halves(&self, project: &str) -> Result<bool> {
        let names = self.of_project(project).await?;
        let mut halves: Vec<&String> = names.iter().filter(|name| is_half(name, project)).collect();
        let halved = !halves.is_empty();
        if halved && !names.iter().any(|name| name == project) {
            self.rename(halves.remove(0), project).await?;
        }
        for half in halves {
            let force = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
            absent(self.docker()?.remove_container(half, Some(force)).await)?;
        }
        Ok(halved)
    }

    /// Gives the only container of a project, which has another name, the project's; false where there is none, or several.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineUnavailable`], [`crate::error::Error::EngineRefused`].
    pub async fn reclaim(&self, project: &str) -> Result<bool> {
        match &self.of_project(project).await?[..] {
            [name] if name != project => self.rename(name, project).await.map(|()| true),
            _ => Ok(false),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let options = RenameContainerOptionsBuilder::new().name(to).build();
        self.docker()?.rename_container(from, options).await.map_err(failed)
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
