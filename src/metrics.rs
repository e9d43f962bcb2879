//! What is counted and timed while the server runs, and how it is written down for Prometheus (in the text format of `OpenMetrics`).

use std::{fmt, sync::Arc, time::Duration};

use procfs::process::{LimitValue, Process};
use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// A label's name and its value. Each combination of values is kept for as long as the server runs: none is a client's to choose.
type Labels = Vec<(&'static str, String)>;
type Timers = Family<Labels, Histogram, fn() -> Histogram>;

/// The counters and timers; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    requests: Family<Labels, Counter>,
    request_seconds: Timers,
    bytes: Family<Labels, Counter>,
    compose_runs: Family<Labels, Counter>,
    compose_seconds: Timers,
    compose_wait_seconds: Histogram,
    engine_lag_seconds: Histogram,
    sessions: Counter,
    /// All of these, by their names.
    registry: Registry,
}

/// A request that is over.
pub struct Request<'a> {
    pub method: &'a str,
    /// The pattern of the route; absent where there is none.
    pub route: Option<&'a str>,
    pub status: u16,
    /// Until the last byte of the answer: of one that goes on, all that time.
    pub duration: Duration,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// What has a level rather than a count, as it is now.
pub struct Levels<'a> {
    /// How many containers have each status.
    pub containers: &'a [(&'static str, usize)],
    pub sessions: usize,
    pub engine_up: bool,
    /// Since the server's start.
    pub uptime: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        let (requests, bytes, compose_runs) = (Family::default(), Family::default(), Family::default());
        let (request_seconds, compose_seconds) = (Timers::new_with_constructor(timer), Timers::new_with_constructor(timer));
        let (compose_wait_seconds, engine_lag_seconds, sessions) = (timer(), timer(), Counter::default());
        let mut registry = Registry::with_prefix("berth");
        let seconds = Unit::Seconds;
        registry.register("http_requests", "Requests that are over", Family::clone(&requests));
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to the last byte of its answer",
            seconds.clone(),
            Family::clone(&request_seconds),
        );
        registry.register_with_unit("http", "Bytes of bodies, received and sent", Unit::Bytes, Family::clone(&bytes));
        registry.register("compose_runs", "Runs of docker compose", Family::clone(&compose_runs));
        let about = "Time that a run of docker compose took";
        registry.register_with_unit("compose_run_duration", about, seconds.clone(), Family::clone(&compose_seconds));
        let about = "Time that a run of docker compose waited for its turn";
        registry.register_with_unit("compose_wait", about, seconds.clone(), compose_wait_seconds.clone());
        let about = "Time between an event at the engine and its arrival here";
        registry.register_with_unit("engine_event_lag", about, seconds, engine_lag_seconds.clone());
        registry.register("sessions_opened", "Terminals that were opened", Counter::clone(&sessions));
        Self(Arc::new(Inner {
            requests,
            request_seconds,
            bytes,
            compose_runs,
            compose_seconds,
            compose_wait_seconds,
            engine_lag_seconds,
            sessions,
            registry,
        }))
    }
}

impl Metrics {
    /// Counts a request.
    pub fn request(&self, request: &Request<'_>) {
        let method = match request.method {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        let mut labels = vec![("method", method.to_owned()), ("route", request.route.unwrap_or("none").to_owned())];
        self.0.request_seconds.get_or_create(&labels).observe(request.duration.as_secs_f64());
        labels.push(("status", request.status.to_string()));
        self.0.requests.get_or_create(&labels).inc();
        for (direction, count) in [("in", request.bytes_in), ("out", request.bytes_out)] {
            self.0.bytes.get_or_create(&vec![("direction", direction.to_owned())]).inc_by(count);
        }
    }

    /// Counts a run of compose: `command` is the first of its words, `outcome` one of `success`, `failure` and `timeout`.
    pub fn compose_run(&self, command: &str, outcome: &str, took: Duration) {
        let mut labels = vec![("command", command.to_owned())];
        self.0.compose_seconds.get_or_create(&labels).observe(took.as_secs_f64());
        labels.push(("outcome", outcome.to_owned()));
        self.0.compose_runs.get_or_create(&labels).inc();
    }

    /// Notes how long a run of compose waited for its turn.
    pub fn compose_waited(&self, waited: Duration) {
        self.0.compose_wait_seconds.observe(waited.as_secs_f64());
    }

    /// Notes how old an event of the engine was when it was heard of.
    pub fn heard_engine(&self, lag: Duration) {
        self.0.engine_lag_seconds.observe(lag.as_secs_f64());
    }

    /// Counts a terminal.
    pub fn session_opened(&self) {
        self.0.sessions.inc();
    }

    /// All of it, and `levels`, as text.
    ///
    /// # Errors
    /// [`fmt::Error`], which doesn't happen: a string takes everything.
    pub fn written(&self, levels: &Levels<'_>) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.0.registry)?;
        encode_registry(&mut text, &levels.registry())?;
        encode_registry(&mut text, &process())?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// Seconds from half a millisecond to half a minute.
fn timer() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 17))
}

impl Levels<'_> {
    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("berth");
        let containers = Family::<Labels, prometheus_client::metrics::gauge::Gauge>::default();
        for (status, count) in self.containers {
            containers.get_or_create(&vec![("status", (*status).to_owned())]).set(whole(*count));
        }
        registry.register("containers", "Containers by their status", containers);
        registry.register("sessions", "Terminals that are open", ConstGauge::new(whole(self.sessions)));
        let about = "Whether the engine is heard";
        registry.register("engine_up", about, ConstGauge::new(i64::from(self.engine_up)));
        let about = "Time since the server started";
        registry.register_with_unit("uptime", about, Unit::Seconds, ConstGauge::new(self.uptime.as_secs_f64()));
        registry
    }
}

/// What the kernel says of this process, by the names that Prometheus' own libraries use; what it does not say is left out.
fn process() -> Registry {
    let mut registry = Registry::with_prefix("process");
    let Ok(process) = Process::myself() else { return registry };
    if let Ok(stat) = process.stat() {
        let ticks = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        registry.register_with_unit("cpu", "Processor time used", Unit::Seconds, ConstCounter::new(ticks));
        let resident = stat.rss * procfs::page_size();
        registry.register_with_unit("resident_memory", "Memory in use", Unit::Bytes, ConstGauge::new(resident.cast_signed()));
        registry.register("threads", "Threads", ConstGauge::new(stat.num_threads));
    }
    if let Ok(count) = process.fd_count() {
        registry.register("open_fds", "Open files and connections", ConstGauge::new(whole(count)));
    }
    if let Ok(LimitValue::Value(limit)) = process.limits().map(|limits| limits.max_open_files.soft_limit) {
        registry.register("max_fds", "How many may be open", ConstGauge::new(limit.cast_signed()));
    }
    registry
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_written_by_its_names_and_labels() {
        let metrics = Metrics::default();
        let request = Request {
            method: "GET",
            route: Some("/containers/{cuid}"),
            status: 200,
            duration: Duration::from_millis(3),
            bytes_in: 0,
            bytes_out: 17,
        };
        metrics.request(&request);
        metrics.request(&Request { method: "BREW", route: None, status: 404, ..request });
        metrics.compose_run("up", "timeout", Duration::from_secs(30));
        metrics.compose_waited(Duration::ZERO);
        metrics.heard_engine(Duration::from_micros(300));
        metrics.session_opened();
        let levels =
            Levels { containers: &[("running", 2), ("exited", 0)], sessions: 1, engine_up: true, uptime: Duration::from_secs(9) };
        let text = metrics.written(&levels).unwrap();
        for line in [
            r#"berth_http_requests_total{method="GET",route="/containers/{cuid}",status="200"} 1"#,
            r#"berth_http_requests_total{method="other",route="none",status="404"} 1"#,
            r#"berth_http_request_duration_seconds_count{method="GET",route="/containers/{cuid}"} 1"#,
            r#"berth_http_bytes_total{direction="out"} 34"#,
            r#"berth_compose_runs_total{command="up",outcome="timeout"} 1"#,
            "berth_compose_wait_seconds_count 1",
            "berth_engine_event_lag_seconds_count 1",
            "berth_sessions_opened_total 1",
            r#"berth_containers{status="running"} 2"#,
            r#"berth_containers{status="exited"} 0"#,
            "berth_sessions 1",
            "berth_engine_up 1",
            "berth_uptime_seconds 9.0",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
        for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_threads"] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
