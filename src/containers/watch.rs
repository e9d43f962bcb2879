//! Keeps the index true: what happens at the engine, by whomever, is looked at and noted.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use chrono::Utc;
use tokio::{sync::mpsc, task::JoinSet};

use super::{Containers, index::Ticket};
use crate::{
    compose::render::LABEL,
    domain::id::Cuid,
    engine::{
        state::State,
        watch::{Seen, Sign},
    },
    events::Happening,
};

/// How many containers are looked at side by side.
const SIDE_BY_SIDE: usize = 8;

/// How many events may wait; the rest wait at the engine.
const QUEUE: usize = 1024;

/// What is known of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// The server has just started, and asks it.
    Unknown,
    /// It has not answered since the server started, so no status is known.
    Absent(String),
    Watched,
    /// It does not answer any more; what is known of it is from the moment when it was last heard.
    Lost {
        why: String,
        heard: Instant,
    },
}

impl EngineState {
    /// How old what is known may be, where the engine is not watched.
    pub fn age(&self) -> Option<Duration> {
        if let Self::Lost { heard, .. } = self { Some(heard.elapsed()) } else { None }
    }

    /// What keeps it from being watched.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Absent(why) | Self::Lost { why, .. } => Some(why),
            Self::Unknown | Self::Watched => None,
        }
    }

    /// Whether the engine is heard.
    pub fn is_watched(&self) -> bool {
        matches!(self, Self::Watched)
    }

    /// Whether statuses are known, if old ones.
    pub(super) fn knows(&self) -> bool {
        matches!(self, Self::Watched | Self::Lost { .. })
    }

    fn lost(&self, why: String, heard: Instant) -> Self {
        if self.knows() { Self::Lost { why, heard } } else { Self::Absent(why) }
    }
}

/// The containers that are to be looked at: each once, however often something happened to it meanwhile.
#[derive(Default)]
struct Looks {
    queue: VecDeque<Cuid>,
    queued: HashSet<Cuid>,
    running: JoinSet<()>,
}

impl Looks {
    /// Before all others: somebody may be waiting to see it.
    fn soon(&mut self, cuid: Cuid) {
        if self.queued.insert(cuid) {
            self.queue.push_front(cuid);
        }
    }

    fn later(&mut self, cuid: Cuid) {
        if self.queued.insert(cuid) {
            self.queue.push_back(cuid);
        }
    }

    fn begin(&mut self, containers: &Containers) {
        while self.running.len() < SIDE_BY_SIDE
            && let Some(cuid) = self.queue.pop_front()
        {
            self.queued.remove(&cuid);
            let containers = containers.clone();
            self.running.spawn(async move { containers.look(cuid).await });
        }
    }
}

impl Containers {
    /// Watches the engine, without end.
    pub(super) async fn watch(&self) {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let (engine, this) = (self.0.engine.clone(), self.clone());
        self.0.runtime.spawn(async move { engine.watch(LABEL, || this.0.index.ticket(), sender).await });
        let mut looks = Looks::default();
        loop {
            tokio::select! {
                seen = receiver.recv() => match seen {
                    Some(seen) => self.see(seen, &mut looks),
                    None => break,
                },
                Some(_) = looks.running.join_next() => (),
            }
            looks.begin(self);
        }
    }

    fn see(&self, seen: Seen<Ticket>, looks: &mut Looks) {
        match seen {
            Seen::One(label, sign, at) => {
                // Of an engine elsewhere, whose clock may be ahead of ours, there may be nothing to be told.
                if let Some(lag) = at.and_then(|at| (Utc::now() - at).to_std().ok()) {
                    self.0.metrics.heard_engine(lag);
                }
                let Some(cuid) = label.parse().ok().filter(|cuid| self.0.index.get(*cuid).is_ok()) else {
                    let this = self.clone();
                    self.0.runtime.spawn(async move { this.look_at_stranger(label).await });
                    return;
                };
                match sign {
                    Some(Sign::Died(death)) => self.0.index.observe_death(cuid, death),
                    Some(Sign::Signalled(at)) => self.0.index.observe_signal(cuid, at),
                    Some(Sign::Started(at)) => self.0.index.observe_start(cuid, at),
                    None => {}
                }
                looks.soon(cuid);
            }
            Seen::All(ticket, listed) => self.see_all(ticket, listed, looks),
            Seen::Lost(why, heard) => {
                self.0.index.hears(false);
                let was_away = self.0.engine_state.borrow().trouble().is_some();
                let news = self.0.engine_state.send_if_modified(|state| {
                    let lost = state.lost(why.clone(), heard);
                    *state != lost && {
                        *state = lost;
                        true
                    }
                });
                if news && !was_away {
                    self.0.events.publish(None, Happening::Engine { available: false });
                }
                if news {
                    tracing::error!(why, "the engine is not heard");
                }
            }
        }
    }

    /// Statuses are known from here on; what a list doesn't tell is looked at one by one.
    fn see_all(&self, ticket: Ticket, listed: Vec<(String, State)>, looks: &mut Looks) {
        let (mut gone, mut strangers): (HashSet<Cuid>, Vec<String>) = (self.0.index.cuids().into_iter().collect(), Vec::new());
        for (label, state) in listed {
            let cuid = label.parse::<Cuid>().ok();
            match cuid.filter(|cuid| self.0.store.folder(*cuid).exists()) {
                Some(cuid) => {
                    gone.remove(&cuid);
                    self.0.index.observe_outline(cuid, state, ticket);
                    looks.later(cuid);
                }
                None if self.is_orphan(cuid) => strangers.push(label),
                None => {}
            }
        }
        for cuid in gone {
            self.0.index.observe(cuid, State::default(), ticket);
        }
        if !strangers.is_empty() {
            tracing::warn!(
                count = strangers.len(),
                "containers at the engine carry our label and have no folder here; they are left alone"
            );
        }
        self.orphans(|known| known.containers = strangers);
        self.0.index.hears(true);
        if matches!(self.0.engine_state.send_replace(EngineState::Watched), EngineState::Lost { .. } | EngineState::Absent(_)) {
            self.0.events.publish(None, Happening::Engine { available: true });
        }
        let this = self.clone();
        self.0.runtime.spawn(async move { this.finish().await });
    }

    /// Notes whether there is a container that carries our label and is nobody's.
    async fn look_at_stranger(&self, label: String) {
        let there = self.0.engine.carries(LABEL, &label).await.unwrap_or_default();
        let orphan = there && self.is_orphan(label.parse().ok());
        self.orphans(|known| {
            known.containers.retain(|known| *known != label);
            known.containers.extend(orphan.then_some(label));
        });
    }

    /// Notes the container's state, where the engine tells it.
    pub(super) async fn look(&self, cuid: Cuid) {
        if let Err(error) = self.refresh(cuid).await {
            tracing::warn!(%cuid, %error, "a container could not be looked at");
        }
    }
}
