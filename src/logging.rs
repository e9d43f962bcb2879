//! The log on stderr: lines for people, or an object of JSON a line, in which every line about a request has its id.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt,
    io::stderr,
    panic::{self, PanicHookInfo},
    thread,
};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer, layer},
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::config::LogFormat;

/// The target of the span around a request, which has its `request_id`.
pub const REQUEST: &str = "request";

/// Starts the log. `filter` is in `tracing`'s syntax.
///
/// # Errors
/// A line that says why not.
pub fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    let spans = if format == LogFormat::Json { "request=error" } else { "request=off" };
    let filter = EnvFilter::try_new(format!("{filter},{spans}"));
    let filter = filter.map_err(|error| format!("RUST_LOG can't be used: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => registry.with(layer().with_writer(stderr)).try_init(),
        LogFormat::Json => registry.with(RequestIds).with(layer().with_writer(stderr).event_format(JsonLines)).try_init(),
    };
    started.map_err(|error| format!("no log: {error}"))?;
    if format == LogFormat::Json {
        panic::set_hook(Box::new(tell_panic));
    }
    Ok(())
}

/// A panic as a line like any other.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let said = panic.payload();
    let why = said.downcast_ref::<&str>().copied().or(said.downcast_ref::<String>().map(String::as_str)).unwrap_or("panicked");
    let backtrace = Backtrace::capture();
    let calls = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(thread = thread.name(), place, backtrace = calls, panic = true, "{why}");
}

/// The id of the request that a span is around, among the span's extensions.
struct RequestId(Value);

/// Keeps the ids of requests with their spans.
struct RequestIds;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RequestIds {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(span), Some(request_id)) = (context.span(id), fields.0.remove("request_id")) {
            span.extensions_mut().insert(RequestId(request_id));
        }
    }
}

/// An event as a line of JSON.
struct JsonLines;

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    target: &'a str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let own =
            |span: tracing_subscriber::registry::SpanRef<'_, S>| span.extensions().get::<RequestId>().map(|id| id.0.clone());
        if let Some(id) = context.event_scope().and_then(|mut spans| spans.find_map(own)) {
            fields.0.insert("request_id".to_owned(), id);
        }
        let metadata = event.metadata();
        let timestamp = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let line = Line { timestamp, level: metadata.level().as_str(), target: metadata.target(), fields: fields.0 };
        writeln!(writer, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

/// The fields of an event or a span.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn note(&mut self, field: &Field, value: impl Into<Value>) {
        // These names are the line's own.
        let name = match field.name() {
            name @ ("timestamp" | "level" | "target") => format!("{name}_"),
            name => name.to_owned(),
        };
        self.0.insert(name, value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, value);
    }
}
