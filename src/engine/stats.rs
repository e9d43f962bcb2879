//! What a container uses: figures as the engine counts them, and what two looks at them say together.

use bollard::{
    models::{ContainerBlkioStatEntry, ContainerMemoryStats, ContainerNetworkStats, ContainerStatsResponse},
    query_parameters::StatsOptionsBuilder,
};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};

use super::{Engine, Failure, failed};
use crate::{domain::id::Cuid, error::Result};

/// What a container has used by one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub at: DateTime<Utc>,
    /// Processor time of the container, in nanoseconds.
    cpu: u64,
    /// The same of the whole host, idle or not, of all its processors together.
    system: u64,
    /// What of the host's time was not idle, and all of it, in the kernel's ticks, where the engine's host is ours.
    host: Option<(u64, u64)>,
    pub processors: u32,
    /// In bytes, without what the kernel would give up at once.
    pub memory: u64,
    /// In bytes: the container's, or all there is.
    pub memory_limit: u64,
    /// Of all its networks.
    pub network: Network,
    pub io: Io,
    /// How many processes and threads it has.
    pub pids: u64,
}

/// Of the network since the container's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// Of block devices since the container's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub read_ops: u64,
    pub write_ops: u64,
}

impl Engine {
    /// What the container has used by now; `None` where it does not run.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`](crate::error::Error::EngineUnavailable), `EngineRefused`.
    pub async fn sample(&self, container: Cuid) -> Result<Option<Sample>> {
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        match self.docker()?.stats(&container.to_string(), Some(options)).next().await {
            Some(Err(Failure::DockerResponseServerError { status_code: 404 | 409, .. })) | None => Ok(None),
            Some(stats) => Ok(self.sampled(&stats.map_err(failed)?)),
        }
    }

    /// The same once a second, for as long as there is such a container; `None` while it does not run.
    ///
    /// # Errors
    /// As [`Engine::sample`].
    pub fn samples(&self, container: Cuid) -> Result<impl Stream<Item = Result<Option<Sample>>> + use<>> {
        let options = StatsOptionsBuilder::new().stream(true).build();
        let (stats, this) = (self.docker()?.stats(&container.to_string(), Some(options)), self.clone());
        Ok(stats.map(move |stats| Ok(this.sampled(&stats.map_err(failed)?))))
    }

    fn sampled(&self, stats: &ContainerStatsResponse) -> Option<Sample> {
        let host = if self.is_local() { std::fs::read_to_string("/proc/stat").ok() } else { None };
        Some(Sample { host: host.as_deref().and_then(host_time), ..Sample::read(stats)? })
    }
}

impl Sample {
    /// Reads the engine's document; one of a container that does not run has no time of its own.
    fn read(stats: &ContainerStatsResponse) -> Option<Self> {
        let at = DateTime::parse_from_rfc3339(stats.read.as_ref()?).ok()?.to_utc();
        let cpu = stats.cpu_stats.as_ref()?;
        let usage = cpu.cpu_usage.as_ref()?;
        let memory = stats.memory_stats.as_ref();
        if at.timestamp() <= 0 || cpu.system_cpu_usage.is_none() {
            return None;
        }
        let listed = usage.percpu_usage.as_ref().and_then(|all| u32::try_from(all.len()).ok());
        Some(Self {
            at,
            cpu: usage.total_usage.unwrap_or_default(),
            system: cpu.system_cpu_usage.unwrap_or_default(),
            host: None,
            processors: cpu.online_cpus.filter(|count| *count > 0).or(listed).unwrap_or_default(),
            memory: memory.map(used).unwrap_or_default(),
            memory_limit: memory.and_then(|memory| memory.limit).unwrap_or_default(),
            network: stats.networks.iter().flatten().fold(Network::default(), |sum, (_, one)| sum.with(one)),
            io: Io::read(stats),
            pids: stats.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or_default(),
        })
    }

    /// How much of one processor it has used since `before`, in per cent, as `docker stats` computes it: 200 are two processors.
    pub fn cpu_percent(&self, before: &Self) -> f64 {
        let (cpu, system) = (self.cpu.saturating_sub(before.cpu), self.system.saturating_sub(before.system));
        if system == 0 { 0.0 } else { cpu as f64 / system as f64 * f64::from(self.processors) * 100.0 }
    }

    /// How much of all its processors' time the host has used since `before`, in per cent, where that can be told.
    pub fn host_percent(&self, before: &Self) -> Option<f64> {
        let ((busy, all), (busy_before, all_before)) = (self.host?, before.host?);
        let (busy, all) = (busy.saturating_sub(busy_before), all.saturating_sub(all_before));
        Some(if all == 0 { 0.0 } else { busy as f64 / all as f64 * 100.0 })
    }

    /// How much of what it may use of the memory it does, in per cent.
    pub fn memory_percent(&self) -> f64 {
        if self.memory_limit == 0 { 0.0 } else { self.memory as f64 / self.memory_limit as f64 * 100.0 }
    }

    /// Whether it is later than `before`, of the same run.
    pub fn follows(&self, before: &Self) -> bool {
        self.at > before.at && self.cpu >= before.cpu
    }
}

/// Memory without the page cache that nobody uses, as `docker stats` has it: version 1 of cgroups counts what is below it apart.
fn used(memory: &ContainerMemoryStats) -> u64 {
    let usage = memory.usage.unwrap_or_default();
    let stat = |name| memory.stats.as_ref().and_then(|stats| stats.get(name)).copied();
    let cache = stat("total_inactive_file").or_else(|| stat("inactive_file"));
    cache.filter(|cache| *cache < usage).map_or(usage, |cache| usage - cache)
}

impl Network {
    fn with(self, one: &ContainerNetworkStats) -> Self {
        let add = |sum: u64, more: Option<u64>| sum.saturating_add(more.unwrap_or_default());
        Self {
            rx_bytes: add(self.rx_bytes, one.rx_bytes),
            rx_packets: add(self.rx_packets, one.rx_packets),
            rx_errors: add(self.rx_errors, one.rx_errors),
            rx_dropped: add(self.rx_dropped, one.rx_dropped),
            tx_bytes: add(self.tx_bytes, one.tx_bytes),
            tx_packets: add(self.tx_packets, one.tx_packets),
            tx_errors: add(self.tx_errors, one.tx_errors),
            tx_dropped: add(self.tx_dropped, one.tx_dropped),
        }
    }
}

impl Io {
    fn read(stats: &ContainerStatsResponse) -> Self {
        let Some(io) = &stats.blkio_stats else { return Self::default() };
        let sum = |entries: &Option<Vec<ContainerBlkioStatEntry>>, op: &str| -> u64 {
            let of = |entry: &&ContainerBlkioStatEntry| entry.op.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(op));
            entries.iter().flatten().filter(of).filter_map(|entry| entry.value).sum()
        };
        Self {
            read_bytes: sum(&io.io_service_bytes_recursive, "read"),
            write_bytes: sum(&io.io_service_bytes_recursive, "write"),
            read_ops: sum(&io.io_serviced_recursive, "read"),
            write_ops: sum(&io.io_serviced_recursive, "write"),
        }
    }
}

/// What of the host's processor time was not idle, and all of it, out of `/proc/stat`.
fn host_time(stat: &str) -> Option<(u64, u64)> {
    // User, nice, system, idle, waiting for devices, interrupts, soft interrupts, stolen; guests are in the first two already.
    let times: Vec<u64> =
        stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8).map_while(|n| n.parse().ok()).collect();
    let all = times.iter().sum();
    Some((all - times.get(3)? - times.get(4)?, all))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(cpu: u64, system: u64, memory: serde_json::Value) -> Sample {
        let document = json!({
            "read": "2026-01-01T00:00:01.5Z",
            "pids_stats": {"current": 3, "limit": 18_446_744_073_709_551_615_u64},
            "cpu_stats": {"cpu_usage": {"total_usage": cpu, "percpu_usage": [1, 2]}, "system_cpu_usage": system, "online_cpus": 2},
            "memory_stats": memory,
            "networks": {"eth0": {"rx_bytes": 646, "rx_packets": 7, "tx_bytes": 5}, "eth1": {"rx_bytes": 4, "tx_dropped": 1}},
            "blkio_stats": {
                "io_service_bytes_recursive": [
                    {"major": 8, "minor": 0, "op": "Read", "value": 4096}, {"major": 8, "minor": 16, "op": "read", "value": 1},
                    {"major": 8, "minor": 0, "op": "Write", "value": 8192}, {"major": 8, "minor": 0, "op": "Total", "value": 12288}],
                "io_serviced_recursive": [{"major": 8, "minor": 0, "op": "write", "value": 2}],
                "io_queue_recursive": null
            }
        });
        Sample::read(&serde_json::from_value(document).unwrap()).unwrap()
    }

    #[test]
    fn figures_are_those_of_docker_stats_with_either_version_of_cgroups() {
        let first = json!({"usage": 1_593_344, "max_usage": 4_333_568, "limit": 67_108_864,
            "stats": {"cache": 1_007_616, "inactive_file": 1, "total_inactive_file": 1_003_520, "total_rss": 57_344}});
        let second = json!({"usage": 1_593_344, "limit": 67_108_864, "stats": {"anon": 57_344, "file": 1_007_616, "inactive_file": 93_344}});
        let (one, two) = (sample(492_288_287, 49_784_390_000_000, first), sample(892_288_287, 49_786_390_000_000, second));
        assert_eq!((one.memory, two.memory, one.memory_limit), (589_824, 1_500_000, 67_108_864));
        assert!((two.cpu_percent(&one) - 40.0).abs() < 1e-9, "0.4 s of 2 s of two processors");
        assert!((one.memory_percent() - 0.878_906_25).abs() < 1e-9);
        assert_eq!((one.cpu_percent(&one), one.cpu_percent(&two)), (0.0, 0.0));
        assert_eq!((two.network.rx_bytes, two.network.rx_packets, two.network.tx_dropped), (650, 7, 1));
        assert_eq!(two.io, Io { read_bytes: 4097, write_bytes: 8192, read_ops: 0, write_ops: 2 });
        assert_eq!((two.pids, two.processors), (3, 2));
    }

    #[test]
    fn a_container_that_does_not_run_has_no_figures() {
        for document in [
            json!({"name": "/a", "id": "b", "read": "0001-01-01T00:00:00Z", "cpu_stats": {"cpu_usage": {"total_usage": 0}}}),
            json!({"name": "/a", "id": "b"}),
        ] {
            assert_eq!(Sample::read(&serde_json::from_value(document).unwrap()), None);
        }
    }

    #[test]
    fn the_host_s_time_is_read() {
        assert_eq!(host_time("cpu  10 1 5 80 3 0 1 0 9 9\ncpu0 1 2\n"), Some((17, 100)));
        assert_eq!(host_time(""), None);
    }
}
