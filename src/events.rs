//! What happens to containers, in order: a bounded memory of numbered events, which changes, the watcher and terminals add to, and
//! which may be followed from any of them on. It is gone with the server: who comes back to a later one is told that it may have missed some.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, FixedOffset, Local};
use serde::{Serialize, Serializer};
use tokio::sync::watch;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{id::Cuid, status::Status};

/// How many events are remembered.
const KEPT: usize = 10_000;

/// How many are given at once.
const AT_ONCE: usize = 256;

/// The names of what happens, as [`Happening`] is written.
pub const KINDS: [&str; 10] = [
    "created",
    "status",
    "health",
    "changed",
    "deployed",
    "rolled_back",
    "deleted",
    "session_started",
    "session_ended",
    "engine",
];

/// The events of this server; cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    /// What tells the events of this life of the server from those of others.
    life: Arc<str>,
    memory: Mutex<Memory>,
    /// The number of the last event.
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct Memory {
    /// The number of the last event, 0 before the first.
    last: u64,
    kept: VecDeque<Arc<Event>>,
}

/// One event.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// What a client that comes back names.
    #[schema(value_type = String, example = "19a6f3c21d8-17")]
    pub id: EventId,
    pub timestamp: DateTime<Local>,
    /// Absent where it is no single container's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuid: Option<Cuid>,
    #[serde(flatten)]
    pub what: Happening,
}

/// The life of the server, and the number in it from 1; 0 is the place before all.
#[derive(Clone, Debug)]
pub struct EventId {
    life: Arc<str>,
    number: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happening {
    /// A container was created.
    Created {
        name: Option<String>,
        image: String,
    },
    /// A container's status is another, or it is up anew: by a call, by hand, or by itself.
    Status {
        status: Status,
        before: Status,
        started_at: Option<DateTime<FixedOffset>>,
        finished_at: Option<DateTime<FixedOffset>>,
        exit_code: Option<i64>,
        restart_count: i64,
    },
    /// What a container's health check says is another: `starting`, `healthy` or `unhealthy`.
    Health {
        health: Option<String>,
    },
    /// A container's specification is another.
    Changed {
        revision: u64,
    },
    /// An archive was unpacked.
    Deployed {
        deploy: u64,
    },
    /// An earlier deploy was put back.
    RolledBack {
        deploy: u64,
    },
    /// A container is gone.
    Deleted,
    /// A terminal was opened. Without a mode its client has yet to say which.
    SessionStarted {
        session: Uuid,
        mode: Option<&'static str>,
    },
    SessionEnded {
        session: Uuid,
        mode: Option<&'static str>,
        exit_code: Option<i64>,
    },
    /// The engine went away, or is back. Meanwhile nothing is known of what happens.
    Engine {
        available: bool,
    },
}

/// What a follower is given.
#[derive(Debug)]
pub enum News {
    Events(Vec<Arc<Event>>),
    /// Some of what happened is not remembered: what follows begins behind this place.
    Missed(EventId),
}

/// Somebody's place among the events.
pub struct Follower {
    events: Events,
    /// The number of the last event that was given.
    last: u64,
    /// The place that was asked for is none of ours.
    lost: bool,
    news: watch::Receiver<u64>,
}

impl Default for Events {
    fn default() -> Self {
        let life = format!("{:x}", Local::now().timestamp_millis()).into();
        Self(Arc::new(Shared { life, memory: Mutex::default(), last: watch::Sender::new(0) }))
    }
}

impl Happening {
    /// Its name, one of [`KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Status { .. } => "status",
            Self::Health { .. } => "health",
            Self::Changed { .. } => "changed",
            Self::Deployed { .. } => "deployed",
            Self::RolledBack { .. } => "rolled_back",
            Self::Deleted => "deleted",
            Self::SessionStarted { .. } => "session_started",
            Self::SessionEnded { .. } => "session_ended",
            Self::Engine { .. } => "engine",
        }
    }
}

impl Events {
    /// Adds an event of a container, or of none.
    pub fn publish(&self, cuid: Option<Cuid>, what: Happening) {
        let mut memory = self.memory();
        memory.last += 1;
        let event = Event { id: self.id(memory.last), timestamp: Local::now(), cuid, what };
        memory.kept.push_back(Arc::new(event));
        if memory.kept.len() > KEPT {
            memory.kept.pop_front();
        }
        // Told in the lock, so that nobody hears of a later one first.
        self.0.last.send_replace(memory.last);
    }

    /// Follows what happens from now on, or what happened behind the event with the id `after`.
    pub fn follow(&self, after: Option<&str>) -> Follower {
        let memory = self.memory();
        let number = after.and_then(|after| {
            let (life, number) = after.split_once('-')?;
            number.parse::<u64>().ok().filter(|number| life == &*self.0.life && *number <= memory.last)
        });
        let lost = after.is_some() && number.is_none();
        Follower { events: self.clone(), last: number.unwrap_or(memory.last), lost, news: self.0.last.subscribe() }
    }

    fn id(&self, number: u64) -> EventId {
        EventId { life: self.0.life.clone(), number }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// What is next; waits where there is nothing. Cancelling it loses nothing.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.known() {
                return news;
            }
            // The sender is there as long as we are.
            let _ = self.news.wait_for(|last| *last > self.last).await;
        }
    }

    /// The place that it has come to, for a client to come back to.
    pub fn place(&self) -> EventId {
        self.events.id(self.last)
    }

    /// What is next, where it has happened already.
    pub fn known(&mut self) -> Option<News> {
        let memory = self.events.memory();
        let forgotten = memory.last - memory.kept.len() as u64;
        if self.lost || self.last < forgotten {
            // Who has missed some looks at everything anew, and is only confused by what happened before.
            self.last = memory.last;
            self.lost = false;
            return Some(News::Missed(self.events.id(self.last)));
        }
        let seen = usize::try_from(self.last - forgotten).unwrap_or(usize::MAX);
        let ready: Vec<_> = memory.kept.iter().skip(seen).take(AT_ONCE).cloned().collect();
        self.last += ready.len() as u64;
        (!ready.is_empty()).then_some(News::Events(ready))
    }
}

impl EventId {
    /// Whether somebody who is told of few events should be told of this place, so as not to come back to one that is forgotten.
    pub fn is_milestone(&self) -> bool {
        self.number.is_multiple_of(100)
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.life, self.number)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(news: &News) -> Vec<u64> {
        match news {
            News::Events(events) => events.iter().map(|event| event.id.number).collect(),
            News::Missed(place) => panic!("missed some before {place}"),
        }
    }

    #[tokio::test]
    async fn who_comes_back_gets_what_happened_meanwhile_in_order_and_nothing_twice() {
        let events = Events::default();
        let cuid = Some(Cuid::new());
        let mut follower = events.follow(None);
        let before_all = follower.place().to_string();
        (1..=3).for_each(|revision| events.publish(cuid, Happening::Changed { revision }));
        assert_eq!(numbers(&follower.next().await), [1, 2, 3]);
        let place = follower.place().to_string();
        events.publish(cuid, Happening::Deleted);
        assert_eq!(numbers(&follower.next().await), [4]);
        assert_eq!(numbers(&events.follow(Some(&place)).next().await), [4]);
        assert_eq!(numbers(&events.follow(Some(&before_all)).next().await), [1, 2, 3, 4]);
        let mut late = events.follow(None);
        events.publish(None, Happening::Engine { available: false });
        assert_eq!(numbers(&late.next().await), [5]);
    }

    #[tokio::test]
    async fn who_can_t_be_told_all_is_told_that() {
        let events = Events::default();
        let mut slow = events.follow(None);
        for _ in 0..=KEPT {
            events.publish(None, Happening::Engine { available: true });
        }
        let id = |number: usize| format!("{}-{number}", events.0.life);
        for unknown in [id(0), id(KEPT + 2), "earlier-3".into(), "nonsense".into(), String::new()] {
            let mut follower = events.follow(Some(&unknown));
            assert!(matches!(follower.next().await, News::Missed(place) if place.number == KEPT as u64 + 1), "{unknown}");
        }
        assert!(matches!(slow.next().await, News::Missed(_)));
        events.publish(None, Happening::Engine { available: false });
        assert_eq!(numbers(&slow.next().await), [KEPT as u64 + 2]);
        assert_eq!(numbers(&events.follow(Some(&id(2))).next().await).len(), AT_ONCE);
    }

    #[test]
    fn every_kind_is_written_by_its_name() {
        let all = [
            Happening::Created { name: None, image: String::new() },
            Happening::Status {
                status: Status::Running,
                before: Status::Created,
                started_at: None,
                finished_at: None,
                exit_code: None,
                restart_count: 0,
            },
            Happening::Health { health: None },
            Happening::Changed { revision: 1 },
            Happening::Deployed { deploy: 1 },
            Happening::RolledBack { deploy: 1 },
            Happening::Deleted,
            Happening::SessionStarted { session: Uuid::nil(), mode: None },
            Happening::SessionEnded { session: Uuid::nil(), mode: None, exit_code: None },
            Happening::Engine { available: true },
        ];
        let written: Vec<_> = all.iter().map(|what| serde_json::to_value(what).unwrap()["kind"].clone()).collect();
        assert_eq!(written, KINDS);
        assert_eq!(all.each_ref().map(Happening::kind), KINDS);
    }
}
