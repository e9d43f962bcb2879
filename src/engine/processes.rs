//! Everything that a terminal's session started in a container: telling it apart, signalling it, and ending it.
//!
//! The engine can start a program beside the main one but not end it, and knows nothing of the program's children. So every such
//! program is moved to a control group of its own, which its descendants can't leave (`cgroup`). Where there can be none, and for what a
//! shell's start files began before the move, it has a [`Marker`] in its environment, which its children inherit wherever
//! they go. What belongs to a session by that is what carries its marker, what is in the terminal session of a process that does,
//! and the descendants of all these; only there a process that cleared its environment **and** left its terminal session **and**
//! lost its parent is not found.
//!
//! Two ways lead to them. `host` reads `/proc` here and signals through pidfds, so that a reused pid is never hit; it is taken,
//! with the control groups, where the engine's pids are seen to be this host's. [`inside`] starts a small script in the container,
//! for engines elsewhere and for a berth without the rights; it knows only markers.

mod cgroup;
mod host;
pub mod inside;
pub mod leftovers;
mod marker;
mod signal;

use std::{os::fd::OwnedFd, time::Duration};

use rustix::process::geteuid;
use tokio::{
    io::unix::AsyncFd,
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
};

use crate::{
    domain::id::Cuid,
    engine::{Engine, Failure, exec::State, failed, unavailable},
    error::{Error, Result},
};
use cgroup::{Group, Home};
pub use marker::{Marker, VARIABLE};
pub use signal::Signal;

/// How long processes are killed over and over before giving up: some start others while they are being killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a program is asked after where its end can't be waited for.
const POLL: Duration = Duration::from_millis(250);
/// How long the engine may take to say how a program is.
const ANSWER: Duration = Duration::from_secs(3);
/// How often the script looks for a program that does not end.
const SCRIPTS: u32 = 3;

/// Those who look for a program that starts, which its client waits for.
static STARTS: Semaphore = Semaphore::const_new(4);
/// Those who signal and end.
static LOOKS: Semaphore = Semaphore::const_new(4);

/// A session's processes, from its program down.
pub struct Processes {
    engine: Engine,
    marker: Marker,
    /// The program's id at the engine, if that was heard.
    exec: Option<String>,
    user: Option<String>,
    tty: bool,
    reach: Reach,
}

/// How they are reached.
enum Reach {
    /// The program is visible from here.
    Program(Seen),
    /// Its container is, but the program has already ended.
    Host(Vec<Home>),
    Inside,
}

/// A program that is visible from here.
struct Seen {
    root: host::Process,
    pidfd: AsyncFd<OwnedFd>,
    /// Where all that belongs to it is: its container's group, if that can be looked into.
    home: Vec<Home>,
    group: Option<Group>,
}

impl Processes {
    /// Finds the processes of a program that the engine started as `exec` with `marker` in its environment. `state` is what the
    /// engine said of it, if it did, and `user` is who runs it, if not the container's own. Without an `exec` there is nothing to be done with
    /// them but to end them.
    pub async fn find(
        engine: &Engine,
        exec: Option<String>,
        marker: Marker,
        user: Option<String>,
        tty: bool,
        state: Option<&State>,
    ) -> Self {
        let seen = match state {
            Some(State { pid: Some(pid), container, .. }) => {
                let (pid, container) = (*pid, container.clone());
                let find = move || {
                    let (root, pidfd) = host::find(pid, &container)?;
                    let home = Home::of(pid, &container);
                    let group = home.as_ref().and_then(|home| home.enter(marker.session, pid));
                    Some((root, pidfd, home.into_iter().collect(), group))
                };
                in_turn(&STARTS, find).await.ok().flatten()
            }
            _ => None,
        };
        let reach = match seen.and_then(|(root, pidfd, home, group)| Some(Seen { root, pidfd: waitable(pidfd)?, home, group })) {
            Some(seen) => Reach::Program(seen),
            None => reach(engine, marker.cuid).await,
        };
        Self { engine: engine.clone(), marker, exec, user, tty, reach }
    }

    /// Whether the program goes on, by the engine.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`] where it is silent, or has forgotten a program that goes on, as a restarted engine does.
    pub async fn go_on(&self) -> Result<bool> {
        match (self.state().await?, &self.reach) {
            (Some(state), _) => Ok(state.exit_code.is_none()),
            (None, Reach::Program(Seen { pidfd, .. })) if tokio::time::timeout(ANSWER, pidfd.readable()).await.is_err() => {
                Err(Error::EngineUnavailable("it has forgotten the terminal's program".to_owned()))
            }
            (None, _) => Ok(false),
        }
    }

    /// Whether the container's main process is seen from here, and has not begun to end. What goes with its container is ended after that
    /// has begun to.
    pub async fn container_goes_on(&self) -> bool {
        match main_process(&self.engine, self.marker.cuid).await {
            Ok(Some((id, pid))) => {
                in_turn(&LOOKS, move || host::is_in_container(pid, &id) && !host::is_ending(pid)).await.unwrap_or(false)
            }
            _ => false,
        }
    }

    /// Waits until the program itself has ended; its children may still run.
    pub async fn exited(&self) {
        if let Reach::Program(Seen { pidfd, .. }) = &self.reach {
            // A pidfd becomes readable when its process ends. A failing epoll can't be waited on, but asked it can be.
            if pidfd.readable().await.is_ok() {
                return;
            }
        }
        let Some(exec) = &self.exec else { return };
        // An engine that is silent says nothing of the program: the way to it breaks off, too, where that is for good.
        while !self.engine.exec_state(exec).await.is_ok_and(|state| state.is_none_or(|state| state.exit_code.is_some())) {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Signals what runs in the session's foreground: with a TTY its foreground process group, without one the program's
    /// descendants, or the program itself while it has none. What has already ended is no error.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`] where it takes a script in the container and that can't run.
    pub async fn signal_foreground(&self, signal: Signal) -> Result<()> {
        match &self.reach {
            Reach::Program(Seen { root, home, .. }) => {
                let (root, home, tty) = (*root, home.clone(), self.tty);
                blocking(move || host::signal_foreground(root, &home, tty, signal)).await
            }
            Reach::Host(_) => Ok(()),
            Reach::Inside => inside::signal_foreground(&self.engine, self.marker, self.user.clone(), self.tty, signal).await,
        }
    }

    /// Kills everything that the session started, until nothing of it is left. Where the program was never seen, the engine must
    /// say that it is over, too: one that is still being started would go on.
    ///
    /// # Errors
    /// [`Error::Io`] where something would not die within ten seconds, or the engine would have to be asked and is silent;
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`] where it takes a script in the container and that can't run.
    pub async fn end_all(&self) -> Result<()> {
        match &self.reach {
            Reach::Program(Seen { root, home, group, .. }) => {
                until_none_is_left(|| self.kill(Some(*root), home, group.as_slice())).await
            }
            Reach::Host(home) => until_none_is_left(|| self.kill_unseen(home)).await,
            Reach::Inside => self.end_inside().await,
        }
    }

    /// Runs the script until the program is over. The script is not cut short, because it would go on all the same.
    async fn end_inside(&self) -> Result<()> {
        let marker = self.marker.to_string();
        for _ in 0..SCRIPTS {
            match inside::end_all(&self.engine, self.marker.cuid, &marker, self.user.clone()).await {
                // With the container all its processes went, and the script had nowhere to run.
                Err(_) if matches!(main_process(&self.engine, self.marker.cuid).await, Ok(None)) => return Ok(()),
                done => done?,
            }
            let over = async {
                while !self.is_over().await? {
                    tokio::time::sleep(POLL).await;
                }
                Ok(())
            };
            if let Ok(over) = tokio::time::timeout(ANSWER, over).await {
                return over;
            }
        }
        Err(gave_up())
    }

    /// Kills what is to be found, and tells whether nothing was.
    async fn kill(&self, root: Option<host::Process>, home: &[Home], groups: &[Group]) -> Result<bool> {
        let (home, groups, markers) = (home.to_vec(), groups.to_vec(), [self.marker.to_string()]);
        blocking(move || Ok(host::kill(root, &home, &groups, &markers)? == 0)).await
    }

    /// The same for a program that was never seen, which must be over for nothing to be left.
    async fn kill_unseen(&self, home: &[Home]) -> Result<bool> {
        // Asked first, because what ends after the look may have started something before.
        let over = self.is_over().await.unwrap_or(false);
        Ok(self.kill(None, home, &[]).await? && over)
    }

    /// Whether the engine says that the program has ended, was or could not be started, or is not known any more; where it was never
    /// heard of, that no program is being started that may be it.
    async fn is_over(&self) -> Result<bool> {
        match &self.exec {
            Some(_) => Ok(self.state().await?.is_none_or(|state| !state.running)),
            None => Ok(!in_time(self.engine.starts_any(self.marker.cuid)).await?),
        }
    }

    async fn state(&self) -> Result<Option<State>> {
        let Some(exec) = &self.exec else { return Ok(None) };
        in_time(self.engine.exec_state(exec)).await
    }
}

/// What the engine answers, if it does so in time.
async fn in_time<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(ANSWER, answer).await.unwrap_or_else(|late| Err(unavailable(late)))
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe, for the sake of types that give up their descriptor; an OwnedFd doesn't"
)]
fn waitable(pidfd: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::new(pidfd).ok()
}

/// The container's id and its main process, if that runs.
async fn main_process(engine: &Engine, container: Cuid) -> Result<Option<(String, i32)>> {
    match engine.docker()?.inspect_container(&container.to_string(), None).await {
        Ok(container) => {
            let pid = container.state.and_then(|state| i32::try_from(state.pid?).ok()).filter(|pid| *pid > 0);
            Ok(pid.map(|pid| (container.id.unwrap_or_default(), pid)))
        }
        Err(Failure::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(failure) => Err(failed(failure)),
    }
}

/// How the processes of a container are reached: from here if they are this host's, and berth is root. One that doesn't run has none.
async fn reach(engine: &Engine, container: Cuid) -> Reach {
    match main_process(engine, container).await {
        Ok(Some((id, pid))) if geteuid().is_root() && host::is_in_container(pid, &id) => {
            Reach::Host(Home::of(pid, &id).into_iter().collect())
        }
        Ok(None) => Reach::Host(Vec::new()),
        _ => Reach::Inside,
    }
}

fn gave_up() -> Error {
    Error::io("end all processes of a session")(std::io::ErrorKind::TimedOut.into())
}

/// Kills by `kill`, which tells whether nothing is left, over and over until it is so.
async fn until_none_is_left<F: Future<Output = Result<bool>>>(kill: impl Fn() -> F) -> Result<()> {
    let killing = async {
        let mut pause = Duration::from_millis(1);
        while !kill().await? {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, killing).await.unwrap_or_else(|_| Err(gave_up()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
    in_turn(&LOOKS, work).await.unwrap_or_else(|failure| Err(failure.into())).map_err(Error::io("signal a session's processes"))
}

/// Runs blocking work when a few others are over: a thousand sessions that end at once need no thousand threads.
async fn in_turn<T: Send + 'static>(
    turns: &Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::result::Result<T, JoinError> {
    let _turn = turns.acquire().await;
    spawn_blocking(work).await
}
