//! How much of the machine the engine lets a container use, and the one change that is not made through Compose, which has
//! no call for it: other limits for a container as it is, running or not.

use bollard::{
    models::{ContainerMemoryStats, ContainerUpdateBody, HostConfig},
    query_parameters::StatsOptions,
};
use futures_util::TryStreamExt;
use serde::Serialize;

use super::{Engine, failed};
use crate::error::Result;

/// The kernel's own share of processors where none is asked for.
const USUAL_SHARES: i64 = 1024;

/// A container's limits in the engine's units; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// Bytes.
    pub memory: i64,
    /// Processes and threads.
    pub pids: i64,
    /// Weight against other containers where processors are scarce.
    pub cpu_shares: i64,
}

impl Limits {
    /// The same limits, with those that limit nothing on a machine of this size left out. The engine can't take a limit off
    /// a container that has one; it can raise it to all there is.
    fn effective(self, machine: Self) -> Self {
        let below = |limit: i64, all: i64| if (1..all).contains(&limit) { limit } else { 0 };
        Self {
            nano_cpus: below(self.nano_cpus, machine.nano_cpus),
            memory: below(self.memory, machine.memory),
            pids: self.pids.max(0),
            cpu_shares: if self.cpu_shares == USUAL_SHARES { 0 } else { self.cpu_shares },
        }
    }

    /// What has to be sent for a container with limits `now` to have these; `None` where it has them in effect.
    fn update(self, now: Self, machine: Self) -> Option<ContainerUpdateBody> {
        let (wanted, now) = (self.effective(machine), now.effective(machine));
        let moved = |wanted: i64, now: i64, none: i64| match wanted {
            _ if wanted == now => None,
            0 => Some(none),
            limit => Some(limit),
        };
        let memory = moved(wanted.memory, now.memory, machine.memory);
        let update = ContainerUpdateBody {
            nano_cpus: moved(wanted.nano_cpus, now.nano_cpus, machine.nano_cpus),
            memory,
            // The engine's own default for a new container; it refuses a limit above that of memory and swap together.
            memory_swap: memory.map(|bytes| bytes.saturating_mul(2)),
            pids_limit: moved(wanted.pids, now.pids, 0),
            cpu_shares: moved(wanted.cpu_shares, now.cpu_shares, USUAL_SHARES),
            ..Default::default()
        };
        (wanted != now).then_some(update)
    }
}

impl From<&HostConfig> for Limits {
    fn from(host: &HostConfig) -> Self {
        Self {
            nano_cpus: host.nano_cpus.unwrap_or_default(),
            memory: host.memory.unwrap_or_default(),
            pids: host.pids_limit.unwrap_or_default(),
            cpu_shares: host.cpu_shares.unwrap_or_default(),
        }
    }
}

impl Engine {
    /// Gives the container called `name`, whose limits are `now`, the limits `wanted`, without recreating or restarting it.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineRefused`], [`crate::error::Error::EngineUnavailable`].
    pub async fn limit(&self, name: &str, now: Limits, wanted: Limits) -> Result<()> {
        match self.pending(now, wanted).await? {
            Some(update) => self.docker()?.update_container(name, update).await.map_err(failed),
            None => Ok(()),
        }
    }

    /// Whether limits are in effect the same on this machine.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineRefused`], [`crate::error::Error::EngineUnavailable`].
    pub async fn same_limits(&self, now: Limits, wanted: Limits) -> Result<bool> {
        Ok(self.pending(now, wanted).await?.is_none())
    }

    async fn pending(&self, now: Limits, wanted: Limits) -> Result<Option<ContainerUpdateBody>> {
        if now == wanted {
            return Ok(None);
        }
        let info = self.docker()?.info().await.map_err(failed)?;
        let all = Limits {
            nano_cpus: info.ncpu.unwrap_or(i64::MAX).saturating_mul(1_000_000_000),
            memory: info.mem_total.unwrap_or(i64::MAX),
            ..Limits::default()
        };
        Ok(wanted.update(now, all))
    }

    /// How many bytes of memory the container called `name` uses now; 0 where it does not run.
    ///
    /// # Errors
    /// [`crate::error::Error::EngineRefused`], [`crate::error::Error::EngineUnavailable`].
    pub async fn memory_used(&self, name: &str) -> Result<u64> {
        let once = StatsOptions { stream: false, one_shot: true };
        let stats = std::pin::pin!(self.docker()?.stats(name, Some(once))).try_next().await.map_err(failed)?;
        Ok(stats.and_then(|stats| stats.memory_stats).map(|memory| used(&memory)).unwrap_or_default())
    }
}

/// Without the file cache that the kernel gives up first, as `docker stats` counts.
fn used(memory: &ContainerMemoryStats) -> u64 {
    let stats = memory.stats.as_ref();
    let cache = stats.and_then(|stats| stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")));
    memory.usage.unwrap_or_default().saturating_sub(cache.copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Limits = Limits { nano_cpus: 2_000_000_000, memory: 8 << 30, pids: 0, cpu_shares: 0 };

    #[test]
    fn only_what_differs_is_sent_and_a_limit_goes_by_being_raised_to_all_there_is() {
        let now = Limits { nano_cpus: 500_000_000, memory: 64 << 20, pids: 50, cpu_shares: 512 };
        let update = Limits { memory: 128 << 20, ..now }.update(now, MACHINE).unwrap();
        let expected =
            ContainerUpdateBody { memory: Some(128 << 20), memory_swap: Some(256 << 20), ..ContainerUpdateBody::default() };
        assert_eq!(update, expected);
        let update = Limits::default().update(now, MACHINE).unwrap();
        let expected = ContainerUpdateBody {
            nano_cpus: Some(MACHINE.nano_cpus),
            memory: Some(MACHINE.memory),
            memory_swap: Some(MACHINE.memory * 2),
            pids_limit: Some(0),
            cpu_shares: Some(USUAL_SHARES),
            ..ContainerUpdateBody::default()
        };
        assert_eq!(update, expected);
    }

    #[test]
    fn limits_that_limit_nothing_are_none() {
        let raised = Limits { pids: -1, cpu_shares: USUAL_SHARES, ..MACHINE };
        assert_eq!(raised.update(Limits::default(), MACHINE), None);
        assert_eq!(Limits::default().update(raised, MACHINE), None);
        assert_eq!(Limits { memory: 4096 << 30, ..Limits::default() }.update(raised, MACHINE), None);
    }
}
