//! Wiring: from the settings and a bound listener to a running server, and to its orderly end.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{dev::Server, web::Data};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use crate::{
    action_log::{ActionLog, Bounds},
    compose::cli::Compose,
    config::Config,
    containers::Containers,
    engine::Engine,
    error::{Error, Result},
    events::Events,
    http::{self, App, Rooms},
    metrics::Metrics,
    terminal::Sessions,
};

/// How long changes under way may take to end once the server is asked to stop.
const CHANGES: Duration = Duration::from_secs(60);

/// How long the action log may take to reach the disk in the end.
const FLUSH: Duration = Duration::from_secs(5);

/// A server that is ready to run.
pub struct Application {
    server: Server,
    /// The server's own, to be told that it takes no more connections.
    listener: TcpListener,
    address: SocketAddr,
    app: Data<App>,
}

impl Application {
    /// Opens the folders and the engine's connection, and serves on `listener` once run.
    ///
    /// # Errors
    /// What keeps the server from starting.
    pub fn build(config: &Config, listener: TcpListener) -> Result<Self> {
        let runtime = Handle::current();
        let address = listener.local_addr().map_err(Error::io("use the listener"))?;
        let log = ActionLog::open(&config.logs.dir, Bounds { bytes: config.logs.file_bytes, files: config.logs.files })?;
        let engine = Engine::connect(&config.docker_host);
        let (events, metrics) = (Events::default(), Metrics::default());
        let compose = Compose::new(&config.compose, metrics.clone());
        let containers =
            Containers::open(config, engine.clone(), compose.clone(), events.clone(), metrics.clone(), runtime.clone())?;
        let sessions = Sessions::new(config.terminals.clone(), engine.clone(), compose.clone(), runtime.clone());
        let (swept, known) = (sessions.clone(), containers.clone());
        runtime.spawn(async move { swept.sweep(&known.once_watched().await).await });
        let rooms = Rooms { containers, sessions, engine, compose, log, events, metrics };
        let app = Data::new(App::new(config, rooms));
        let own = listener.try_clone().map_err(Error::io("use the listener"))?;
        let server = http::serve(listener, app.clone()).map_err(Error::io("listen"))?;
        Ok(Self { server, listener: own, address, app })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`; then ends the terminals, takes no more connections, and lets what is under way end.
    ///
    /// # Errors
    /// [`std::io::Error`] of the listener.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
        let handle = self.server.handle();
        let mut server = std::pin::pin!(self.server);
        tokio::select! {
            ended = &mut server => return ended,
            () = shutdown => tracing::info!("stopping"),
        }
        self.app.close();
        self.app.sessions.close_all().await;
        let deadline = Instant::now() + CHANGES;
        let orderly = async {
            handle.pause().await;
            // Whoever comes now is refused, rather than kept waiting for an answer that nobody will give.
            if let Err(error) = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both) {
                tracing::warn!(%error, "connections are still taken");
            }
            // The server's workers end when no connection is open, and what they still run for a client that is gone with them.
            let _ = timeout_at(deadline, self.app.finished()).await;
            handle.stop(true).await;
        };
        let ((), ended) = tokio::join!(orderly, server);
        if timeout_at(deadline, self.app.containers.finished()).await.is_err() {
            tracing::error!("changes under way did not end in time; the next start finishes or takes back what they left");
        }
        self.app.log.close(FLUSH).await;
        ended
    }
}
