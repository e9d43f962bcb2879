//! The engine's event stream as a stream of "look at this container": one subscription, taken up again after every break.

use std::{collections::HashMap, time::Duration};

use bollard::query_parameters::{EventsOptions, ListContainersOptions};
use chrono::DateTime;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::Sender;

use super::{Engine, failed};
use crate::error::Result;

/// How long to wait before the subscription is taken up again.
const PAUSE: Duration = Duration::from_millis(500);

/// Actions that change nothing of a container's state, and come in numbers.
const NOISE: [&str; 8] = ["exec_create", "exec_start", "exec_die", "attach", "detach", "top", "resize", "archive-path"];

/// What the watcher has seen.
#[derive(Debug)]
pub enum Seen {
    /// The subscription stands anew: these are all containers that carry the label, by its value.
    All(Vec<String>),
    /// Something happened to the container with this value of the label.
    One(String),
    /// The engine does not answer, or the stream broke; it is tried again.
    Lost(String),
}

impl Engine {
    /// Watches every container that carries `label`, until nobody listens any more.
    pub async fn watch(self, label: &str, seen: Sender<Seen>) {
        while !seen.is_closed() {
            let why = match self.watch_once(label, &seen).await {
                Ok(()) => "the event stream ended".to_owned(),
                Err(error) => error.to_string(),
            };
            let _ = seen.send(Seen::Lost(why)).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn watch_once(&self, label: &str, seen: &Sender<Seen>) -> Result<()> {
        self.negotiate().await?;
        // Events from before the list are asked for, too, so that nothing falls between the list and the subscription.
        let mut events = Box::pin(self.events(label, self.clock().await?)?);
        let _ = seen.send(Seen::All(self.labelled(label).await?)).await;
        while let Some(value) = events.next().await {
            if let Some(value) = value?
                && seen.send(Seen::One(value)).await.is_err()
            {
                break;
            }
        }
        Ok(())
    }

    /// The engine's own time, as its event stream takes it.
    async fn clock(&self) -> Result<Option<String>> {
        let time = self.docker()?.info().await.map_err(failed)?.system_time;
        Ok(time.and_then(|time| DateTime::parse_from_rfc3339(&time).ok()).map(|time| time.timestamp().to_string()))
    }

    /// The label's value for every event that may have changed a container.
    fn events(&self, label: &str, since: Option<String>) -> Result<impl Stream<Item = Result<Option<String>>> + use<>> {
        let filters = HashMap::from([("type".into(), vec!["container".into()]), ("label".into(), vec![label.to_owned()])]);
        let label = label.to_owned();
        let events = self.docker()?.events(Some(EventsOptions { since, until: None, filters: Some(filters) }));
        Ok(events.map(move |event| {
            let event = event.map_err(failed)?;
            let action = event.action.unwrap_or_default();
            let noise = NOISE.iter().any(|noise| action.starts_with(noise));
            Ok(event.actor.and_then(|actor| actor.attributes?.remove(&label)).filter(|_| !noise))
        }))
    }

    async fn labelled(&self, label: &str) -> Result<Vec<String>> {
        let filters = Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])]));
        let options = ListContainersOptions { all: true, filters, ..Default::default() };
        let containers = self.docker()?.list_containers(Some(options)).await.map_err(failed)?;
        Ok(containers.into_iter().filter_map(|container| container.labels?.remove(label)).collect())
    }
}
