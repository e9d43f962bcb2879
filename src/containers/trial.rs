//! Whether a container that was just started comes up: its health check says so, or, where it has none, it goes on for a
//! moment.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    Containers,
    patch::{MOMENT, PAUSE},
};
use crate::{
    domain::{id::Cuid, status::Status},
    engine::{state::State, trial::Health},
    error::{Error, Result},
};

/// How long a health check is waited for at the most, whatever it may take to decide: nothing else is done to the container
/// meanwhile, but a deletion by force.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a look at a container on trial says.
enum Look {
    Up,
    NotYet,
    Down(String),
}

impl Containers {
    /// Waits until the container is up, by its health check if it has one.
    ///
    /// # Errors
    /// [`Error::DeployFailed`]; those of the engine.
    pub(super) async fn comes_up(&self, cuid: Cuid) -> Result<()> {
        let name = cuid.to_string();
        let started = self.refresh(cuid).await?;
        let (health, began) = (self.0.engine.health(&name).await?, Instant::now());
        let limit = health.as_ref().map_or(MOMENT, |health| health.decides_within.min(PATIENCE));
        let reason = loop {
            let state = self.0.index.get(cuid)?.state;
            match look(&state, health.as_ref()) {
                Look::Up => return Ok(()),
                Look::Down(reason) => break reason,
                Look::NotYet if self.0.changes.is_closed() => break "the server is being stopped".to_owned(),
                Look::NotYet if began.elapsed() < limit => sleep(PAUSE).await,
                Look::NotYet if health.is_none() => return Ok(()),
                Look::NotYet => break format!("its health check has not decided within {} s", limit.as_secs()),
            }
        };
        Err(self.did_not_come_up(cuid, &started, reason).await)
    }

    async fn did_not_come_up(&self, cuid: Cuid, started: &State, reason: String) -> Error {
        let name = cuid.to_string();
        let since = started.started_at.map(|time| time.timestamp()).unwrap_or_default();
        let log = self.0.engine.last_lines(&name, since).await.unwrap_or_else(|error| {
            tracing::warn!(%cuid, %error, "the last lines of a deploy that did not come up can't be had");
            Vec::new()
        });
        let said = self.0.engine.health(&name).await.ok().flatten().and_then(|health: Health| health.last_said);
        let reason = said.map_or(reason.clone(), |said| format!("{reason}. It said last: {said}"));
        let exit_code = self.refresh(cuid).await.ok().and_then(|state| state.exit_code);
        Error::DeployFailed { reason, exit_code, log }
    }
}

/// Judges a container by its state after a start, with which the engine begins to count how often it starts it again.
fn look(now: &State, health: Option<&Health>) -> Look {
    let again = now.restart_count > 0 || now.status == Status::Restarting;
    match (now.status, now.exit_code, now.health.as_deref()) {
        _ if again => Look::Down("its main process ended, and is started again by its restart policy".to_owned()),
        (Status::Running | Status::Paused, _, Some("healthy")) => Look::Up,
        (Status::Running | Status::Paused, _, Some("unhealthy")) => Look::Down("its health check failed".to_owned()),
        (Status::Running | Status::Paused, ..) => Look::NotYet,
        // A program that has done what it is for.
        (Status::Exited, Some(0), _) if health.is_none() => Look::Up,
        (_, Some(code), _) => Look::Down(format!("its main process ended with exit code {code}")),
        (status, ..) => Look::Down(format!("it is {status}")),
    }
}
