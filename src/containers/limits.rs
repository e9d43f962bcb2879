//! A container's limits: what its specification and the server's defaults ask for, given to it as it is.

use super::{Containers, project::Written};
use crate::{
    config::Defaults,
    crash::point,
    domain::{
        id::Cuid,
        resources::{CpuShares, Cpus, Memory, Pids},
        spec::Spec,
    },
    engine::{limits::Limits, state::State},
    error::{Error, Result},
};

impl Containers {
    /// Gives the container the limits of `spec` where it has others, without recreating it. Where a template has limits of
    /// its own, they are Compose's alone to set.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it runs and needs more memory than that; those of the engine.
    pub(super) async fn limit(&self, cuid: Cuid, spec: &Spec, state: &State, project: &Written) -> Result<()> {
        if !project.movable {
            return Ok(());
        }
        let (name, wanted) = (cuid.to_string(), wanted(spec, &self.0.defaults));
        if state.status.is_up() && wanted.memory != state.limits.memory && wanted.memory != 0 {
            self.fits(&name, wanted.memory).await?;
        }
        point("before the limits are moved");
        self.0.engine.limit(&name, state.limits, wanted).await?;
        point("after the limits are moved");
        Ok(())
    }

    /// That a running container lives on with this much memory: the kernel would refuse (cgroup v1) or kill it (v2).
    async fn fits(&self, name: &str, memory: i64) -> Result<()> {
        let used = self.0.engine.memory_used(name).await?;
        if used <= memory.unsigned_abs() {
            return Ok(());
        }
        let message = format!("resources.memory: the container uses {used} bytes now; stop it to give it less");
        Err(Error::invalid("INVALID_RESOURCES", "resources.memory", message, memory))
    }
}

/// In the engine's units, rounded as Compose rounds them.
pub(super) fn wanted(spec: &Spec, defaults: &Defaults) -> Limits {
    let asked = &spec.resources;
    #[expect(clippy::cast_possible_truncation, reason = "at most 4096 processors")]
    let nano = |cpus: Cpus| (cpus.get() * 1e9).round() as i64;
    Limits {
        nano_cpus: asked.cpus.or(defaults.cpus).map_or(0, nano),
        memory: asked.memory.as_ref().or(defaults.memory.as_ref()).map_or(0, Memory::bytes),
        pids: asked.pids.or(defaults.pids).map_or(0, Pids::get),
        cpu_shares: asked.cpu_shares.map_or(0, CpuShares::get),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_the_server_s_default() {
        let defaults = Defaults {
            owner: "1:1".parse().unwrap(),
            cpus: 0.3.try_into().ok(),
            memory: "64m".to_owned().try_into().ok(),
            pids: None,
            network_containers: 1,
        };
        let spec = Spec::from_json(&serde_json::json!({"image": "a", "resources": {"memory": "1.5g"}})).unwrap();
        let expected = Limits { nano_cpus: 300_000_000, memory: 1_610_612_736, pids: 0, cpu_shares: 0 };
        assert_eq!(wanted(&spec, &defaults), expected);
    }
}
