//! `/containers/{cuid}/stats` and `/stats`: what containers use, once or followed.

use std::{sync::Arc, time::Duration};

use actix_web::{
    Either, HttpRequest, HttpResponse,
    web::{Data, Json as Answer},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    error::ApiResult,
    request::{CuidPath, Flag, Query},
    stream::{Batch, Format, answer},
};
use crate::{
    containers::stats::{All, Follower, Pair, pairs},
    domain::{health::Span, id::Cuid},
    engine::stats::Sample,
    error::{Error, Result},
};

/// The shortest and the longest time between two figures.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// Figures come once a second, though not quite.
const EARLY: TimeDelta = TimeDelta::milliseconds(500);

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsQuery {
    /// How far apart the figures are that are followed, from 1s to 1h; each tells of the time since the one before.
    #[param(default = "1s", example = "5s", pattern = "^([1-9][0-9]{0,2}s|[1-9]m|[1-5][0-9]m|1h)$")]
    interval: Option<String>,
    /// Whether to go on, until the container is deleted.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    follow: Flag,
}

/// What a container uses.
#[derive(Serialize, ToSchema)]
#[schema(as = Stats, example = json!({
    "cuid": "c123e4567-e89b-42d3-a456-426614174000", "timestamp": "2026-01-02T03:04:05.000000006Z",
    "cpu": {"usage_percent": 12.5, "system_cpu_usage": 45.2, "online_cpus": 4},
    "memory": {"usage": 256000000, "limit": 1073741824, "usage_percent": 23.84},
    "network": {
        "rx_bytes": 1024000, "rx_packets": 1500, "rx_errors": 0, "rx_dropped": 0,
        "tx_bytes": 512000, "tx_packets": 900, "tx_errors": 0, "tx_dropped": 0,
    },
    "io": {"read_ops": 120, "write_ops": 80, "read_bytes": 2048000, "write_bytes": 1024000}, "pids": 7,
}))]
pub(crate) struct StatsView {
    cuid: Cuid,
    #[schema(value_type = String, example = "2026-01-02T03:04:05.000000006Z")]
    timestamp: DateTime<Utc>,
    cpu: CpuView,
    memory: MemoryView,
    network: NetworkView,
    io: IoView,
    /// How many processes and threads it has.
    pids: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CpuStats)]
struct CpuView {
    /// Of one processor, as `docker stats` computes it: 200 are two processors.
    usage_percent: f64,
    /// How much of all its processors' time the whole host used; null where the engine is on another one.
    system_cpu_usage: Option<f64>,
    online_cpus: u32,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MemoryStats)]
struct MemoryView {
    /// In bytes, without page cache that nobody uses, as `docker stats` shows it.
    usage: u64,
    /// In bytes: the container's limit, or all that the host has.
    limit: u64,
    usage_percent: f64,
}

/// Of all the container's networks, since its start.
#[derive(Serialize, ToSchema)]
#[schema(as = NetworkStats)]
struct NetworkView {
    rx_bytes: u64,
    rx_packets: u64,
    rx_errors: u64,
    rx_dropped: u64,
    tx_bytes: u64,
    tx_packets: u64,
    tx_errors: u64,
    tx_dropped: u64,
}

/// Of block devices, since the container's start.
#[derive(Serialize, ToSchema)]
#[schema(as = IoStats)]
struct IoView {
    read_ops: u64,
    write_ops: u64,
    read_bytes: u64,
    write_bytes: u64,
}

/// What all running containers use.
#[derive(Serialize, ToSchema)]
#[schema(as = AllStats, example = json!({"stats": []}))]
pub(crate) struct AllStatsView {
    stats: Vec<StatsView>,
}

impl StatsView {
    fn new(cuid: Cuid, before: &Sample, now: &Sample) -> Self {
        let rounded = |percent: f64| (percent * 100.0).round() / 100.0;
        let (network, io) = (now.network, now.io);
        Self {
            cuid,
            timestamp: now.at,
            cpu: CpuView {
                usage_percent: rounded(now.cpu_percent(before)),
                system_cpu_usage: now.host_percent(before).map(rounded),
                online_cpus: now.processors,
            },
            memory: MemoryView { usage: now.memory, limit: now.memory_limit, usage_percent: rounded(now.memory_percent()) },
            network: NetworkView {
                rx_bytes: network.rx_bytes,
                rx_packets: network.rx_packets,
                rx_errors: network.rx_errors,
                rx_dropped: network.rx_dropped,
                tx_bytes: network.tx_bytes,
                tx_packets: network.tx_packets,
                tx_errors: network.tx_errors,
                tx_dropped: network.tx_dropped,
            },
            io: IoView { read_ops: io.read_ops, write_ops: io.write_ops, read_bytes: io.read_bytes, write_bytes: io.write_bytes },
            pids: now.pids,
        }
    }

    fn of((cuid, Pair(before, now)): &(Cuid, Pair)) -> Self {
        Self::new(*cuid, before, now)
    }
}

/// What a container uses
///
/// Its figures over one second, or followed, as NDJSON or server-sent events named `stats`: that goes on over stops and starts, and says
/// nothing while the container does not run.
#[utoipa::path(
    get,
    path = "/containers/{cuid}/stats",
    tag = "live",
    params(("cuid" = String, Path), StatsQuery),
    responses((status = 200, description = "the figures", content((StatsView = "application/json"), (StatsView = "application/x-ndjson"), (super::stream::ServerSentEvent = "text/event-stream"))))
)]
pub(crate) async fn show(
    app: Data<App>,
    path: CuidPath,
    query: Query<StatsQuery>,
    format: Format,
    request: HttpRequest,
) -> ApiResult<Either<Answer<StatsView>, HttpResponse>> {
    let interval = query.0.interval()?;
    if !query.0.follow.0 {
        let pair = app.containers.stats(path.0).await?;
        return Ok(Either::Left(Answer(StatsView::of(&(path.0, pair)))));
    }
    let follower = app.containers.follow_stats(path.0).await?;
    Ok(Either::Right(answer(&app, &request, format, one(path.0, follower, interval, format))))
}

/// What all running containers use
///
/// The figures of all that run, over one second; followed, one container's after the other's, again and again.
#[utoipa::path(
    get,
    path = "/stats",
    tag = "live",
    params(StatsQuery),
    responses((status = 200, description = "the figures", content((AllStatsView = "application/json"), (StatsView = "application/x-ndjson"), (super::stream::ServerSentEvent = "text/event-stream"))))
)]
pub(crate) async fn all(
    app: Data<App>,
    query: Query<StatsQuery>,
    format: Format,
    request: HttpRequest,
) -> ApiResult<Either<Answer<AllStatsView>, HttpResponse>> {
    let interval = query.0.interval()?;
    if !query.0.follow.0 {
        let stats = app.containers.all_stats().await?.iter().map(StatsView::of).collect();
        return Ok(Either::Left(Answer(AllStatsView { stats })));
    }
    let follower = app.containers.follow_all_stats();
    Ok(Either::Right(answer(&app, &request, format, every(follower, interval, format))))
}

impl StatsQuery {
    fn interval(&self) -> Result<TimeDelta> {
        let Some(text) = &self.interval else { return Ok(TimeDelta::seconds(1)) };
        let span = Span::try_from(text.clone()).ok().map(|span| span.duration());
        let span = span.filter(|span| (SHORTEST..=LONGEST).contains(span)).and_then(|span| TimeDelta::from_std(span).ok());
        span.ok_or_else(|| {
            Error::invalid("INVALID_QUERY", "interval", "interval: a time from 1s to 1h, such as 5s or 1m30s", text.as_str())
        })
    }
}

/// One container's figures, `interval` apart.
fn one(cuid: Cuid, follower: Follower<Option<Pair>>, interval: TimeDelta, format: Format) -> impl Stream<Item = Result<Batch>> {
    stream::try_unfold((follower, None::<Arc<Sample>>), move |(mut follower, last)| async move {
        loop {
            let Some(news) = follower.next().await? else { return Ok(None) };
            let Some(Pair(before, now)) = news else { continue };
            if last.as_ref().is_some_and(|last| now.follows(last) && now.at - last.at + EARLY < interval) {
                continue;
            }
            let before = last.filter(|last| now.follows(last)).unwrap_or(before);
            let mut batch = Batch::new(format);
            batch.push(Some("stats"), None, &StatsView::new(cuid, &before, &now));
            return Ok(Some((batch, (follower, Some(now)))));
        }
    })
}

/// All containers' figures, `interval` apart.
fn every(follower: Follower<All>, interval: TimeDelta, format: Format) -> impl Stream<Item = Result<Batch>> {
    stream::try_unfold((follower, All::new(), None), move |(mut follower, mut last, mut told)| async move {
        loop {
            let Some(all) = follower.next().await? else { return Ok(None) };
            let now = Utc::now();
            if told.is_some_and(|told: DateTime<Utc>| now - told + EARLY < interval) {
                continue;
            }
            let pairs = pairs(&last, &all);
            (last, told) = (all, Some(now));
            if !pairs.is_empty() {
                let mut batch = Batch::new(format);
                pairs.iter().for_each(|pair| batch.push(Some("stats"), None, &StatsView::of(pair)));
                return Ok(Some((batch, (follower, last, told))));
            }
        }
    })
}
