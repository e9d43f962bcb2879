//! HTTP: every route on this page, and a file a noun behind it. A handler takes what it needs from the request, makes one
//! call to the domain, and shapes the answer; statuses and the framework are named nowhere else.

mod actions;
mod answers;
mod auth;
mod batch;
mod containers;
mod deploys;
mod docs;
mod entries;
mod envelope;
mod error;
mod events;
mod exec;
mod files;
mod fingerprint;
mod health;
mod idempotency;
mod inspect;
mod lifecycle;
mod line;
mod list;
mod logs;
mod metrics;
mod openapi;
mod recordings;
mod request;
mod sessions;
mod shape;
mod socket;
mod stats;
mod stream;
mod terminal;
mod terms;
mod uploads;
mod view;

use std::{
    any::Any,
    net::TcpListener,
    time::{Duration, Instant},
};

use actix_web::{
    App as ActixApp, HttpRequest, HttpServer, Resource, Route,
    dev::Server,
    guard,
    http::{StatusCode, header},
    middleware::from_fn,
    rt::{self, net::TcpStream},
    web::{self, Data, PayloadConfig, ServiceConfig},
};
use rustix::net::sockopt;
use serde_json::json;
use tokio::{sync::OnceCell, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::{
    action_log::ActionLog, compose::cli::Compose, config::Config, containers::Containers, engine::Engine, error::Error,
    events::Events, metrics::Metrics, terminal::Sessions,
};
use error::{ApiError, ApiResult};

/// How long requests in flight may take to end once the server is asked to stop and changes are over.
const SHUTDOWN_S: u64 = 30;

/// How long a client may be silent before its first request, and between two on one connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What requests are answered by.
pub struct Rooms {
    pub containers: Containers,
    pub sessions: Sessions,
    pub engine: Engine,
    pub compose: Compose,
    pub log: ActionLog,
    pub events: Events,
    pub metrics: Metrics,
}

/// What handlers share.
pub struct App {
    pub containers: Containers,
    pub sessions: Sessions,
    pub engine: Engine,
    pub compose: Compose,
    pub log: ActionLog,
    pub events: Events,
    pub metrics: Metrics,
    gate: auth::Gate,
    answers: answers::Answers,
    /// What goes on without its connection.
    runs: TaskTracker,
    /// Cancelled when the server is asked to stop: answers that go on end.
    closing: CancellationToken,
    development: bool,
    upload_bytes: u64,
    started: Instant,
    compose_version: OnceCell<String>,
}

impl App {
    /// Compose's version, asked for once.
    async fn compose_version(&self) -> Result<&str, Error> {
        self.compose_version.get_or_try_init(|| self.compose.version()).await.map(String::as_str)
    }

    pub fn new(config: &Config, rooms: Rooms) -> Self {
        let Rooms { containers, sessions, engine, compose, log, events, metrics } = rooms;
        Self {
            answers: answers::Answers::open(config.data_dir.join(".answers")),
            containers,
            sessions,
            engine,
            compose,
            log,
            events,
            metrics,
            gate: auth::Gate::new(config),
            runs: TaskTracker::new(),
            closing: CancellationToken::new(),
            development: config.development,
            upload_bytes: config.limits.upload_bytes,
            started: Instant::now(),
            compose_version: OnceCell::new(),
        }
    }

    /// Ends the answers that would go on for ever.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Waits until every change that a request began is over, and its outcome logged and kept.
    pub async fn finished(&self) {
        self.runs.close();
        self.runs.wait().await;
    }

    /// Runs `work` apart from its connection, whose own task ends with the client.
    fn run_apart<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        rt::spawn(self.runs.track_future(work.in_current_span()))
    }
}

/// Serves the API on `listener`, until its handle is told to stop.
///
/// # Errors
/// [`std::io::Error`] where the listener can't be used.
pub fn serve(listener: TcpListener, app: Data<App>) -> std::io::Result<Server> {
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let server = HttpServer::new(move || {
        ActixApp::new()
            .app_data(app.clone())
            .app_data(PayloadConfig::new(request::JSON_BYTES))
            .configure(routes)
            .default_service(web::to(no_route))
            .wrap(from_fn(idempotency::once))
            .wrap(from_fn(auth::gate))
            .wrap(from_fn(envelope::envelope))
    });
    let server = server.on_connect(|connection, _| notice_the_vanished(connection));
    // A client that closes its half of the connection is gone: nothing else tells that of one that only listens.
    let server = server.h1_allow_half_closed(false);
    Ok(server.workers(workers).keep_alive(KEEP_ALIVE).shutdown_timeout(SHUTDOWN_S).disable_signals().listen(listener)?.run())
}

/// A peer that vanishes without a word while something is being sent to it is given up when it has acknowledged nothing
/// for a minute, rather than for the kernel's quarter of an hour.
fn notice_the_vanished(connection: &dyn Any) {
    if let Some(stream) = connection.downcast_ref::<TcpStream>() {
        let _ = sockopt::set_tcp_user_timeout(stream, 60_000);
        // And while nothing is sent to it, when it has not answered three questions after half a minute of silence.
        let _ = sockopt::set_socket_keepalive(stream, true);
        let _ = sockopt::set_tcp_keepidle(stream, Duration::from_secs(30));
        let _ = sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10));
        let _ = sockopt::set_tcp_keepcnt(stream, 3);
    }
}

/// A path, the methods that it has, and who answers them.
type Place = (&'static str, &'static str, Vec<Route>);

fn routes(config: &mut ServiceConfig) {
    for (path, allow, routes) in places() {
        let other = web::to(move |request: HttpRequest| wrong_method(request, allow));
        config.service(routes.into_iter().fold(web::resource(path), Resource::route).default_service(other));
    }
}

/// Every route. What may be read by GET may be asked after by HEAD. Each is in the description, too: see `openapi`.
fn places() -> Vec<Place> {
    [of_the_server(), of_containers(), of_what_is_in_them()].into_iter().flatten().collect()
}

fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// What is no single container's.
fn of_the_server() -> Vec<Place> {
    vec![
        ("/healthz", "GET, HEAD", vec![read().to(health::show)]),
        ("/events", "GET, HEAD", vec![read().to(events::follow)]),
        ("/livez", "GET, HEAD", vec![read().to(health::alive)]),
        ("/metrics", "GET, HEAD", vec![read().to(metrics::show)]),
        ("/actions", "GET, HEAD", vec![read().to(actions::list)]),
        ("/openapi.json", "GET, HEAD", vec![read().to(openapi::show)]),
        ("/docs", "GET, HEAD", vec![read().to(docs::page)]),
        ("/docs/{file}", "GET, HEAD", vec![read().to(docs::file)]),
        ("/stats", "GET, HEAD", vec![read().to(stats::all)]),
    ]
}

/// Containers and their lives.
fn of_containers() -> Vec<Place> {
    vec![
        ("/containers", "GET, HEAD, POST", vec![read().to(list::list), web::post().to(containers::create)]),
        (
            "/containers/{cuid}",
            "GET, HEAD, PATCH, DELETE",
            vec![read().to(containers::show), web::patch().to(containers::patch), web::delete().to(containers::delete)],
        ),
        ("/containers/{cuid}/status", "GET, HEAD", vec![read().to(containers::status)]),
        ("/containers/{cuid}/drift", "GET, HEAD", vec![read().to(containers::drift)]),
        // Before the calls on one container: batch is no cuid.
        ("/containers/batch/start", "POST", vec![web::post().to(batch::start)]),
        ("/containers/batch/stop", "POST", vec![web::post().to(batch::stop)]),
        ("/containers/batch/restart", "POST", vec![web::post().to(batch::restart)]),
        ("/containers/batch/pause", "POST", vec![web::post().to(batch::pause)]),
        ("/containers/batch/unpause", "POST", vec![web::post().to(batch::unpause)]),
        ("/containers/batch/delete", "POST", vec![web::post().to(batch::delete)]),
        ("/containers/{cuid}/ports", "PATCH", vec![web::patch().to(containers::patch_ports)]),
        ("/containers/{cuid}/start", "POST", vec![web::post().to(lifecycle::start)]),
        ("/containers/{cuid}/stop", "POST", vec![web::post().to(lifecycle::stop)]),
        ("/containers/{cuid}/restart", "POST", vec![web::post().to(lifecycle::restart)]),
        ("/containers/{cuid}/pause", "POST", vec![web::post().to(lifecycle::pause)]),
        ("/containers/{cuid}/unpause", "POST", vec![web::post().to(lifecycle::unpause)]),
    ]
}

/// Their files, and what goes on in them.
fn of_what_is_in_them() -> Vec<Place> {
    vec![
        ("/containers/{cuid}/upload-zip", "POST", vec![web::post().to(deploys::upload_zip)]),
        ("/containers/{cuid}/deploys", "GET, HEAD", vec![read().to(deploys::list)]),
        ("/containers/{cuid}/rollback", "POST", vec![web::post().to(deploys::rollback)]),
        ("/containers/{cuid}/download", "GET, HEAD", vec![read().to(files::download)]),
        ("/containers/{cuid}/download-zip", "GET, HEAD", vec![read().to(files::download_zip)]),
        (
            "/containers/{cuid}/files",
            "GET, HEAD, PUT, DELETE",
            vec![read().to(entries::list), web::put().to(entries::write), web::delete().to(entries::delete)],
        ),
        ("/containers/{cuid}/files/mkdir", "POST", vec![web::post().to(entries::mkdir)]),
        ("/containers/{cuid}/files/move", "POST", vec![web::post().to(entries::rename)]),
        ("/containers/{cuid}/exec", "POST", vec![web::post().to(exec::run)]),
        ("/containers/{cuid}/stats", "GET, HEAD", vec![read().to(stats::show)]),
        ("/containers/{cuid}/inspect", "GET, HEAD", vec![read().to(inspect::show)]),
        ("/containers/{cuid}/logs", "GET, HEAD", vec![read().to(logs::show)]),
        ("/containers/{cuid}/sessions", "GET, HEAD", vec![read().to(sessions::list)]),
        ("/containers/{cuid}/sessions/{session}", "DELETE", vec![web::delete().to(sessions::end)]),
        ("/containers/{cuid}/recordings", "GET, HEAD", vec![read().to(recordings::list)]),
        (
            "/containers/{cuid}/recordings/{session}",
            "GET, HEAD, DELETE",
            vec![read().to(recordings::download), web::delete().to(recordings::remove)],
        ),
        ("/ws/{cuid}", "GET", vec![web::get().to(terminal::open)]),
    ]
}

async fn no_route(request: HttpRequest) -> ApiResult<&'static str> {
    let message = format!("There is nothing at {}", request.path());
    Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", "ROUTE_NOT_FOUND", message, json!({"path": request.path()})))
}

async fn wrong_method(request: HttpRequest, allow: &'static str) -> ApiResult<&'static str> {
    let message = format!("{} is not possible at {}", request.method(), request.path());
    let details = json!({"method": request.method().as_str(), "allow": allow});
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "METHOD_NOT_ALLOWED", message, details);
    Err(error.with_header(header::ALLOW, header::HeaderValue::from_static(allow)))
}
