//! The lifecycle of containers.
//!
//! ```text
//!             create                 start
//!   (nothing) ───────► created ─────────────────► running ◄──────► paused
//!                        │  ▲   PATCH (recreated)  │  ▲    pause,
//!                 delete │  └───────────┐     stop,│  │    unpause
//!                        ▼              │     died ▼  │ start
//!   (nothing) ◄─────────────────────── exited, dead, missing
//! ```
//! A container is a folder: it exists from the moment its `container.json` is written, which is the last step of a
//! creation, until that file is renamed, which is the first step of a deletion. A change notes itself in the folder
//! before it begins, so that after a crash the container is either as before or as asked. Which action is taken in which
//! status is `domain::status`'s to say.
//!
//! Changes of one container wait for their turn at its slot of the `index` and run to their end, whether or not the
//! client that asked is still there. Reads look at the index and wait for nobody; `watch` keeps it true.

mod change;
pub mod container;
mod create;
mod deploy;
mod door;
mod drift;
mod failure;
mod files;
mod index;
mod lifecycle;
mod limits;
pub mod listing;
mod logs;
mod networks;
mod news;
mod observe;
mod outline;
mod patch;
mod ports;
mod project;
mod reconcile;
pub mod record;
pub mod stats;
pub mod store;
pub mod terms;
mod trial;
mod volumes;
mod watch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch as signal},
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::{
    compose::{cli::Compose, file::Template},
    config::{Config, Defaults},
    domain::id::Cuid,
    engine::{Engine, state::State},
    error::{Error, Result},
    events::Events,
    files::archive::Limits,
    metrics::Metrics,
};
use container::Container;
use door::HostPaths;
use index::Index;
use reconcile::UnderWay;
use store::Store;
use terms::Terms;

pub use deploy::{Deployed, Restart};
pub use drift::Drift;
pub use lifecycle::GRACE;
pub use logs::Logs;
pub(crate) use ports::listener;
pub use reconcile::Orphans;
pub use watch::EngineState;

/// How long a read waits for the engine's first answer after the server's start, which takes some 30 ms.
const FIRST_ANSWER: Duration = Duration::from_secs(3);

/// All containers of this server; cheap to clone.
#[derive(Clone)]
pub struct Containers(Arc<Inner>);

struct Inner {
    store: Store,
    index: Index,
    events: Events,
    metrics: Metrics,
    compose: Compose,
    engine: Engine,
    template: Template,
    defaults: Defaults,
    limits: Limits,
    keep_deploys: usize,
    host_paths: HostPaths,
    install_requirements: bool,
    /// Where changes run: not on the workers that answer requests.
    runtime: Handle,
    changes: TaskTracker,
    /// Whether the engine answered when it was last heard of, and why not.
    engine_state: signal::Sender<EngineState>,
    orphans: std::sync::Mutex<Orphans>,
    /// Creations go on in the order of their arrival, as many at once as compose processes.
    creations: Semaphore,
    /// Containers that are being created or deleted, whose folders are nobody else's to tidy up.
    under_way: UnderWay,
    /// Who follows figures.
    stats: stats::Hub,
}

/// A container after an action, and whether the action changed it.
#[derive(Debug)]
pub struct Outcome {
    pub container: Container,
    pub changed: bool,
}

impl Containers {
    /// Reads all folders, and begins to watch the engine and to finish what a crash cut short.
    ///
    /// # Errors
    /// [`Error::Io`] where `DATA_DIR` or the template can't be read.
    pub fn open(
        config: &Config,
        engine: Engine,
        compose: Compose,
        events: Events,
        metrics: Metrics,
        runtime: Handle,
    ) -> Result<Self> {
        let template = std::fs::read_to_string(config.template_dir.join("compose.yaml"))
            .map_err(Error::io("read TEMPLATE_DIR/compose.yaml"))?;
        let store = Store::open(&config.data_dir)?;
        let this = Self(Arc::new(Inner {
            host_paths: HostPaths::new(
                config.allowed_host_paths.clone(),
                &[store.root(), &config.template_dir, &config.logs.dir],
            ),
            store,
            index: Index::new(events.clone()),
            events,
            metrics,
            compose,
            engine,
            template: Template::parse(&template)?,
            defaults: config.defaults.clone(),
            limits: config.limits.extracted,
            keep_deploys: config.limits.keep_deploys,
            install_requirements: config.install_requirements,
            runtime,
            changes: TaskTracker::new(),
            engine_state: signal::Sender::new(EngineState::Unknown),
            orphans: std::sync::Mutex::default(),
            creations: Semaphore::new(config.compose.concurrency),
            under_way: UnderWay::default(),
            stats: stats::Hub::default(),
        }));
        this.load()?;
        let watcher = this.clone();
        this.0.runtime.spawn(async move { watcher.watch().await });
        Ok(this)
    }

    /// The container as it is known now. Only for one that is known in outline, in the first moments after the server or the
    /// engine started, is the engine asked.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`]; [`Error::EngineUnavailable`] while no status is known since the server started.
    pub async fn get(&self, cuid: Cuid) -> Result<Container> {
        self.known().await?;
        if self.0.index.is_outlined(cuid) {
            self.look(cuid).await;
        }
        self.0.index.get(cuid)
    }

    /// Waits until the container is as `wanted` says, by what is known of it.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`], also of one that is deleted meanwhile.
    pub async fn wait_for(&self, cuid: Cuid, wanted: impl Fn(&Container) -> bool) -> Result<Container> {
        self.0.index.wait_for(cuid, wanted).await
    }

    /// How many containers there are.
    pub fn count(&self) -> usize {
        self.0.index.cuids().len()
    }

    /// Waits until the engine is watched, and gives every cuid there is then.
    pub async fn once_watched(&self) -> Vec<Cuid> {
        let _ = self.0.engine_state.subscribe().wait_for(|state| *state == EngineState::Watched).await;
        self.0.index.cuids()
    }

    /// What is known of the engine.
    pub fn engine_state(&self) -> EngineState {
        self.0.engine_state.borrow().clone()
    }

    /// The container's folder, which holds its mount.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`].
    pub fn folder(&self, cuid: Cuid) -> Result<PathBuf> {
        self.0.index.get(cuid).map(|_| self.0.store.folder(cuid))
    }

    /// Waits until every change that has begun is over, and lets `DATA_DIR` go.
    pub async fn finished(&self) {
        self.0.changes.close();
        self.0.changes.wait().await;
        self.0.store.release();
    }

    /// That statuses are known. Only in the first moments of the server is there anything to wait for.
    async fn known(&self) -> Result<()> {
        if self.0.engine_state.borrow().knows() {
            return Ok(());
        }
        let mut state = self.0.engine_state.subscribe();
        let settled = timeout(FIRST_ANSWER, state.wait_for(|state| *state != EngineState::Unknown)).await;
        match settled.map(|state| state.map(|state| state.clone())) {
            Ok(Ok(EngineState::Absent(why))) => Err(Error::EngineUnavailable(why)),
            Ok(Ok(state)) if state.knows() => Ok(()),
            _ => Err(Error::EngineUnavailable("it has not answered since the server started".into())),
        }
    }

    /// That the engine is not known to be away: a change that would only find that out after a while is refused at once.
    fn engine_is_heard(&self) -> Result<()> {
        match self.0.engine_state.borrow().trouble() {
            Some(why) => Err(Error::EngineUnavailable(why.to_owned())),
            None => Ok(()),
        }
    }

    /// Runs a change to its end, also when the caller goes away meanwhile.
    async fn to_the_end<T: Send + 'static>(&self, change: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let ran = self.0.changes.spawn_on(change.in_current_span(), &self.0.runtime).await;
        ran.unwrap_or_else(|panic| Err(Error::io("finish the change")(std::io::Error::other(panic))))
    }

    /// Runs a change of an existing container in its turn, if it is on the caller's terms then.
    async fn in_turn<T, F>(&self, cuid: Cuid, terms: Terms, change: impl FnOnce(Self, Terms) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send,
    {
        let this = self.clone();
        self.to_the_end(async move {
            let turn = this.0.index.turn(cuid)?.lock_owned().await;
            terms.check(&this.0.index.get(cuid)?.record)?;
            let done = change(this.clone(), terms).await;
            drop(turn);
            this.0.index.tell_rest(cuid);
            done
        })
        .await
    }

    /// Asks the engine for the container's state, and notes it.
    async fn refresh(&self, cuid: Cuid) -> Result<State> {
        let seen = self.0.index.ticket();
        let state = self.0.engine.state(&cuid.to_string()).await?;
        self.0.index.observe(cuid, state.clone(), seen);
        Ok(state)
    }
}

/// Runs disk work where it blocks nobody.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let span = tracing::Span::current();
    let ran = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    ran.unwrap_or_else(|panic| Err(Error::io("finish the disk work")(std::io::Error::other(panic))))
}
