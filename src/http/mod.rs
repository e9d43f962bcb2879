//! HTTP: every route on this page, and a file a noun behind it. A handler takes what it needs from the request, makes one
//! call to the domain, and shapes the answer; statuses and the framework are named nowhere else.

mod auth;
mod containers;
mod envelope;
mod error;
mod files;
mod health;
mod list;
mod request;
mod socket;
mod terminal;

use std::{
    any::Any,
    net::TcpListener,
    time::{Duration, Instant},
};

use actix_web::{
    App as ActixApp, HttpRequest, HttpServer,
    dev::Server,
    http::StatusCode,
    middleware::from_fn,
    rt::net::TcpStream,
    web::{self, Data, PayloadConfig, ServiceConfig},
};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::{
    action_log::ActionLog, compose::cli::Compose, config::Config, containers::Containers, engine::Engine, error::Error,
    terminal::Sessions,
};
use error::{ApiError, ApiResult};

/// How long requests in flight may take to end once the server is asked to stop.
const SHUTDOWN_S: u64 = 30;

/// How long a client may be silent before its first request, and between two on one connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What handlers share.
pub struct App {
    pub containers: Containers,
    pub sessions: Sessions,
    pub engine: Engine,
    pub compose: Compose,
    pub log: ActionLog,
    gate: auth::Gate,
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

    pub fn new(
        config: &Config,
        containers: Containers,
        sessions: Sessions,
        engine: Engine,
        compose: Compose,
        log: ActionLog,
    ) -> Self {
        Self {
            containers,
            sessions,
            engine,
            compose,
            log,
            gate: auth::Gate::new(config),
            development: config.development,
            upload_bytes: config.limits.upload_bytes,
            started: Instant::now(),
            compose_version: OnceCell::new(),
        }
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
            .wrap(from_fn(auth::gate))
            .wrap(from_fn(envelope::envelope))
    });
    let server = server.on_connect(|connection, _| notice_the_vanished(connection));
    Ok(server.workers(workers).keep_alive(KEEP_ALIVE).shutdown_timeout(SHUTDOWN_S).disable_signals().listen(listener)?.run())
}

/// A peer that vanishes without a word while something is being sent to it is given up when it has acknowledged nothing
/// for a minute, rather than for the kernel's quarter of an hour.
fn notice_the_vanished(connection: &dyn Any) {
    if let Some(stream) = connection.downcast_ref::<TcpStream>() {
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, 60_000);
    }
}

/// Every route.
fn routes(config: &mut ServiceConfig) {
    let at = |path: &str| web::resource(path).default_service(web::to(wrong_method));
    let (get, post, patch, delete) = (web::get, web::post, web::patch, web::delete);
    config
        .service(at("/healthz").route(get().to(health::show)))
        .service(at("/containers").route(get().to(list::list)).route(post().to(containers::create)))
        .service(
            at("/containers/{cuid}")
                .route(get().to(containers::show))
                .route(patch().to(containers::patch))
                .route(delete().to(containers::delete)),
        )
        .service(at("/containers/{cuid}/status").route(get().to(containers::status)))
        .service(at("/containers/{cuid}/ports").route(patch().to(containers::patch_ports)))
        .service(at("/containers/{cuid}/start").route(post().to(containers::start)))
        .service(at("/containers/{cuid}/stop").route(post().to(containers::stop)))
        .service(at("/containers/{cuid}/restart").route(post().to(containers::restart)))
        .service(at("/containers/{cuid}/pause").route(post().to(containers::pause)))
        .service(at("/containers/{cuid}/unpause").route(post().to(containers::unpause)))
        .service(at("/containers/{cuid}/upload-zip").route(post().to(files::upload_zip)))
        .service(at("/containers/{cuid}/download").route(get().to(files::download)).route(web::head().to(files::download)))
        .service(at("/containers/{cuid}/download-zip").route(get().to(files::download_zip)))
        .service(at("/ws/{cuid}").route(get().to(terminal::open)));
}

async fn no_route(request: HttpRequest) -> ApiResult<&'static str> {
    let message = format!("There is nothing at {}", request.path());
    Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", "ROUTE_NOT_FOUND", message, json!({"path": request.path()})))
}

async fn wrong_method(request: HttpRequest) -> ApiResult<&'static str> {
    let message = format!("{} is not possible at {}", request.method(), request.path());
    let details = json!({"method": request.method().as_str()});
    Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "METHOD_NOT_ALLOWED", message, details))
}
