//! What differs between what a container is asked to be, its `compose.yaml`, and what runs.

use serde::Serialize;
use serde_json::{Value, json};
use similar::TextDiff;
use utoipa::ToSchema;

use super::{Containers, limits::wanted, on_disk, outline};
use crate::{compose::file::is_as_written, domain::id::Cuid, error::Result};

/// What differs, of one container.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "cuid": "c123e4567-e89b-42d3-a456-426614174000", "drifted": true, "changing": false,
    "compose_yaml": {"state": "current", "diff": ""},
    "container": {"state": "different", "differences": [{"field": "env.PORT", "asked": "8000", "runs": "8001"}]},
}))]
pub struct Drift {
    pub cuid: Cuid,
    /// Whether anything does.
    pub drifted: bool,
    /// A change is under way, which may be all that differs.
    pub changing: bool,
    pub compose_yaml: ProjectDrift,
    pub container: ContainerDrift,
}

/// How `compose.yaml` differs from what would be written now.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectDrift {
    pub state: ProjectState,
    /// From the file to what would be written, as a unified diff; empty where they are the same.
    pub diff: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectState {
    /// As it would be written now.
    Current,
    /// As it was written, before the template, a setting or `boot.py` changed, or `requirements.txt` came or went: the next start writes it anew.
    Outdated,
    /// Somebody edited it: a start or a PATCH overwrites it only where it is told to.
    Edited,
    Missing,
}

/// How the container differs from what its specification asks for.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContainerDrift {
    pub state: ContainerState,
    pub differences: Vec<Difference>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    AsAsked,
    Different,
    /// The engine has lost it.
    Missing,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Difference {
    /// In the specification's words, such as `env.NAME`.
    pub field: String,
    /// By the specification.
    pub asked: Value,
    /// At the engine.
    pub runs: Value,
}

impl Containers {
    /// What differs between the container's specification, its `compose.yaml`, and what the engine has.
    ///
    /// # Errors
    /// `ContainerNotFound`, and those of the engine and the disk.
    pub async fn drift(&self, cuid: Cuid) -> Result<Drift> {
        let changing = self.0.index.turn(cuid)?.try_lock().is_err();
        let record = self.0.index.get(cuid)?.record;
        let (this, spec) = (self.clone(), record.spec.clone());
        let (project, there) = on_disk(move || {
            // A host path that can't be mounted any more is shown as it was asked for.
            let spec = this.0.host_paths.resolve(spec.clone()).unwrap_or(spec);
            let spec = this.look_for_packages(cuid, spec);
            Ok((this.render(cuid, &spec, None), this.0.store.project(cuid)?))
        })
        .await?;
        let compose_yaml = project_drift(&project.text, there.as_deref());
        let container = match self.0.engine.describe(&cuid.to_string()).await? {
            None => ContainerDrift { state: ContainerState::Missing, differences: Vec::new() },
            Some(there) => {
                let folder = self.0.store.folder(cuid);
                let asked = outline::asked(cuid, &folder.to_string_lossy(), &project.meaning(), &there.image);
                let mut differences = outline::differences(&asked, &outline::runs(&there.container, &asked));
                let (limits, now) = (wanted(&record.spec, &self.0.defaults), there.state.limits);
                if project.movable && !self.0.engine.same_limits(now, limits).await? {
                    differences.push(("resources".to_owned(), json!(limits), json!(now)));
                }
                let state = if differences.is_empty() { ContainerState::AsAsked } else { ContainerState::Different };
                let difference = |(field, asked, runs)| Difference { field, asked, runs };
                ContainerDrift { state, differences: differences.into_iter().map(difference).collect() }
            }
        };
        let drifted = compose_yaml.state != ProjectState::Current || container.state != ContainerState::AsAsked;
        Ok(Drift { cuid, drifted, changing, compose_yaml, container })
    }
}

fn project_drift(current: &str, there: Option<&str>) -> ProjectDrift {
    let state = match there {
        None => ProjectState::Missing,
        Some(text) if text == current => ProjectState::Current,
        Some(text) if is_as_written(text) => ProjectState::Outdated,
        Some(_) => ProjectState::Edited,
    };
    let diff = there
        .map(|text| TextDiff::from_lines(text, current))
        .map(|diff| diff.unified_diff().header("compose.yaml", "as it would be written").to_string());
    ProjectDrift { state, diff: diff.unwrap_or_default() }
}
