//! The engine's event stream as a stream of "look at this container": one subscription, taken up again after every break.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::query_parameters::{EventsOptions, ListContainersOptions};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use tokio::{
    sync::mpsc::Sender,
    time::{interval, timeout},
};

use super::{Engine, failed, state::State};
use crate::error::{Error, Result};

/// How long to wait before the subscription is taken up again.
const PAUSE: Duration = Duration::from_millis(500);

/// How often a quiet engine is asked whether it is there, and how long it may take to say so: one that hangs leaves its
/// connections open.
const PULSE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);

/// Actions that change nothing of a container's state, and come in numbers.
const NOISE: [&str; 8] = ["exec_create", "exec_start", "exec_die", "attach", "detach", "top", "resize", "archive-path"];

type Happened = (String, Option<Sign>, Option<DateTime<Utc>>);

/// What the watcher has seen. `T` is the listener's own stamp of the moment before the engine was asked.
#[derive(Debug)]
pub enum Seen<T> {
    /// The subscription stands anew: all containers that carry the label, by its value, and their states in outline.
    All(T, Vec<(String, State)>),
    /// Something happened to the container with this value of the label: what is told with it is not to be looked for first; and when, by
    /// the engine's clock.
    One(String, Option<Sign>, Option<DateTime<Utc>>),
    /// The engine does not answer, or the stream broke; it is tried again. With when it was last heard.
    Lost(String, Instant),
}

/// What an event tells by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The main process was sent a signal, such as the one that is to stop it.
    Signalled(DateTime<Utc>),
    /// The main process was started.
    Started(DateTime<Utc>),
    Died(Death),
}

/// The end of a container's main process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    pub at: DateTime<Utc>,
    pub exit_code: Option<i64>,
}

impl Engine {
    /// Watches every container that carries `label`, until nobody listens any more.
    pub async fn watch<T>(self, label: &str, stamp: impl Fn() -> T, seen: Sender<Seen<T>>) {
        let mut heard = Instant::now();
        while !seen.is_closed() {
            let why = match self.watch_once(label, &stamp, &seen, &mut heard).await {
                Ok(()) => "the event stream ended".to_owned(),
                Err(Error::EngineUnavailable(why)) => why,
                Err(error) => error.to_string(),
            };
            let _ = seen.send(Seen::Lost(why, heard)).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn watch_once<T>(
        &self,
        label: &str,
        stamp: &impl Fn() -> T,
        seen: &Sender<Seen<T>>,
        heard: &mut Instant,
    ) -> Result<()> {
        self.negotiate().await?;
        // Events from before the list are asked for, too, so that nothing falls between the list and the subscription.
        let mut events = Box::pin(self.events(label, self.clock().await?)?);
        let stamp = stamp();
        let _ = seen.send(Seen::All(stamp, self.labelled(label).await?)).await;
        let mut pulse = interval(PULSE);
        while !seen.is_closed() {
            tokio::select! {
                event = events.next() => match event.transpose()? {
                    Some(Some((value, sign, at))) => drop(seen.send(Seen::One(value, sign, at)).await),
                    Some(None) => (),
                    None => return Ok(()),
                },
                _ = pulse.tick() => self.answers().await?,
            }
            *heard = Instant::now();
        }
        Ok(())
    }

    async fn answers(&self) -> Result<()> {
        let silent = |_| Error::EngineUnavailable(format!("it was silent for {} s", PATIENCE.as_secs()));
        timeout(PATIENCE, self.docker()?.ping()).await.map_err(silent)?.map_err(failed)?;
        Ok(())
    }

    /// The engine's own time, as its event stream takes it.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn clock(&self) -> Result<Option<String>> {
        Ok(self.now().await?.map(|time| time.timestamp().to_string()))
    }

    /// The engine's own time.
    ///
    /// # Errors
    /// [`Error::EngineUnavailable`], [`Error::EngineRefused`].
    pub async fn now(&self) -> Result<Option<DateTime<Utc>>> {
        let time = self.docker()?.info().await.map_err(failed)?.system_time;
        Ok(time.and_then(|time| DateTime::parse_from_rfc3339(&time).ok()).map(|time| time.to_utc()))
    }

    /// The label's value for every event that may have changed a container.
    fn events(&self, label: &str, since: Option<String>) -> Result<impl Stream<Item = Result<Option<Happened>>> + use<>> {
        let filters = HashMap::from([("type".into(), vec!["container".into()]), ("label".into(), vec![label.to_owned()])]);
        let label = label.to_owned();
        let events = self.docker()?.events(Some(EventsOptions { since, until: None, filters: Some(filters) }));
        Ok(events.map(move |event| {
            let event = event.map_err(failed)?;
            let action = event.action.unwrap_or_default();
            if NOISE.iter().any(|noise| action.starts_with(noise)) {
                return Ok(None);
            }
            let mut attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
            let at = event.time_nano.map(DateTime::from_timestamp_nanos);
            let exit_code = attributes.get("exitCode").and_then(|code| code.parse().ok());
            let sign = match action.as_str() {
                "die" => at.map(|at| Sign::Died(Death { at, exit_code })),
                "kill" => at.map(Sign::Signalled),
                "start" => at.map(Sign::Started),
                _ => None,
            };
            Ok(attributes.remove(&label).map(|value| (value, sign, at)))
        }))
    }

    async fn labelled(&self, label: &str) -> Result<Vec<(String, State)>> {
        let filters = Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])]));
        let options = ListContainersOptions { all: true, filters, ..Default::default() };
        let containers = self.docker()?.list_containers(Some(options)).await.map_err(failed)?;
        let value = |state: &State| state.labels.get(label).cloned();
        Ok(containers.into_iter().map(State::from).filter_map(|state| Some((value(&state)?, state))).collect())
    }
}
