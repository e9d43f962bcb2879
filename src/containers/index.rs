//! The containers in memory: what reads are answered from. Rebuilt from the folders at start; kept true by the watcher and
//! by every change. Readers wait for nobody: the lock is held for the time of a copy and never across an `.await`.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, watch};

use super::{container::Container, listing::Place, networks::SharedNetwork, record::Record, terms::Terms};
use crate::{
    domain::{id::Cuid, spec::Spec, status::Status, text::Name},
    engine::state::State,
    error::{Error, Result},
    events::{Events, Happening},
};

/// When a look at the engine began. A look that began earlier never overwrites what a later one saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// All containers, by cuid and by age.
#[derive(Default)]
pub(super) struct Index {
    inner: RwLock<Inner>,
    tickets: AtomicU64,
    /// How often any container's state has changed, for those who wait for one.
    changes: watch::Sender<u64>,
    pub(super) events: Events,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) by_cuid: HashMap<Cuid, Slot>,
    pub(super) by_age: BTreeSet<Place>,
    names: HashMap<Name, Cuid>,
    /// Also of containers that are being created.
    networks: HashMap<Cuid, SharedNetwork>,
    /// Since when the engine's events are heard without a break; `None` while they are not.
    heard_since: Option<DateTime<Utc>>,
}

pub(super) struct Slot {
    pub(super) container: Container,
    pub(super) seen: Ticket,
    /// The state is what a list gave: the rest of it is still to be looked at.
    pub(super) outlined: bool,
    /// The state that was last told of; `None` until one is known.
    pub(super) told: Option<Arc<State>>,
    /// When the main process was last heard to be sent a signal.
    pub(super) signalled: Option<DateTime<Utc>>,
    /// Held during a change, so that changes of one container come one after the other, in the order of their arrival.
    pub(super) turn: Arc<Mutex<()>>,
}

impl Index {
    /// An empty one, whose changes are told to `events`.
    pub(super) fn new(events: Events) -> Self {
        Self { events, ..Self::default() }
    }

    /// Takes a name for `cuid`, until [`Index::free`].
    ///
    /// # Errors
    /// [`Error::NameTaken`].
    pub(super) fn reserve(&self, name: &Name, cuid: Cuid) -> Result<()> {
        match *self.write().names.entry(name.clone()).or_insert(cuid) {
            holder if holder == cuid => Ok(()),
            holder => Err(Error::NameTaken { name: name.as_str().to_owned(), holder }),
        }
    }

    /// Gives a name back, if `cuid` has it.
    pub(super) fn free(&self, name: &Name, cuid: Cuid) {
        let names = &mut self.write().names;
        if names.get(name) == Some(&cuid) {
            names.remove(name);
        }
    }

    /// Gives `cuid` a place on the first shared network that has fewer than `most` containers.
    pub(super) fn take_network(&self, cuid: Cuid, most: usize) -> SharedNetwork {
        let mut inner = self.write();
        let mut taken = HashMap::<SharedNetwork, usize>::new();
        inner.networks.values().for_each(|network| *taken.entry(*network).or_default() += 1);
        let free = (0..SharedNetwork::MAX).find(|network| taken.get(network).is_none_or(|count| *count < most));
        let network = free.unwrap_or_default();
        inner.networks.insert(cuid, network);
        network
    }

    /// Gives back what was taken for a container that is not to be.
    pub(super) fn leave_network(&self, cuid: Cuid) {
        self.write().networks.remove(&cuid);
    }

    /// The shared network that `cuid` has its place on.
    pub(super) fn shared_network(&self, cuid: Cuid) -> SharedNetwork {
        self.read().networks.get(&cuid).copied().unwrap_or_default()
    }

    /// Adds a container. Its name has been reserved.
    pub(super) fn insert(&self, record: Record, state: State, seen: Ticket) {
        let mut inner = self.write();
        let cuid = record.cuid;
        inner.by_age.insert((record.created_at, cuid));
        inner.networks.insert(cuid, record.shared_network);
        let container = Container::new(Arc::new(record), Arc::new(state));
        let slot = Slot { container, seen, outlined: false, told: None, signalled: None, turn: Arc::default() };
        inner.by_cuid.insert(cuid, slot);
    }

    /// Adds a container that has just been created.
    pub(super) fn insert_created(&self, record: Record) {
        let (cuid, name) = (record.cuid, record.spec.name.as_ref().map(|name| name.as_str().to_owned()));
        let happening = Happening::Created { name, image: record.spec.image.as_str().to_owned() };
        self.insert(record, State { status: Status::Created, ..State::default() }, self.ticket());
        let mut inner = self.write();
        if let Some(slot) = inner.by_cuid.get_mut(&cuid) {
            slot.told = Some(slot.container.state.clone());
            self.events.publish(Some(cuid), happening);
        }
    }

    /// Replaces a container's record.
    pub(super) fn replace(&self, record: Record) {
        if let Some(slot) = self.write().by_cuid.get_mut(&record.cuid) {
            self.events.publish(Some(record.cuid), Happening::Changed { revision: record.revision });
            slot.container = Container::new(Arc::new(record), slot.container.state.clone());
        }
    }

    /// Forgets a container and its name.
    pub(super) fn remove(&self, cuid: Cuid) {
        let mut inner = self.write();
        self.changed();
        if let Some(slot) = inner.by_cuid.remove(&cuid) {
            inner.by_age.remove(&(slot.container.record.created_at, cuid));
            inner.names.retain(|_, holder| *holder != cuid);
            inner.networks.remove(&cuid);
            self.events.publish(Some(cuid), Happening::Deleted);
        }
    }

    /// The container.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`].
    pub(super) fn get(&self, cuid: Cuid) -> Result<Container> {
        self.read().by_cuid.get(&cuid).map(|slot| slot.container.clone()).ok_or(Error::ContainerNotFound(cuid))
    }

    /// Waits until the container is as `wanted` says.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`], also of one that is deleted meanwhile.
    pub(super) async fn wait_for(&self, cuid: Cuid, wanted: impl Fn(&Container) -> bool) -> Result<Container> {
        let mut changes = self.changes.subscribe();
        loop {
            let container = self.get(cuid)?;
            if wanted(&container) {
                return Ok(container);
            }
            let _ = changes.changed().await;
        }
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What a change waits for. The container may be gone once it is had.
    ///
    /// # Errors
    /// [`Error::ContainerNotFound`].
    pub(super) fn turn(&self, cuid: Cuid) -> Result<Arc<Mutex<()>>> {
        self.read().by_cuid.get(&cuid).map(|slot| slot.turn.clone()).ok_or(Error::ContainerNotFound(cuid))
    }

    /// To be taken before the engine is asked.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes that the engine's events are heard from now on, or are not: some may have been missed until then.
    pub(super) fn hears(&self, hears: bool) {
        self.write().heard_since = hears.then(Utc::now);
    }

    /// Whether the engine may have been told to stop the container since then; nobody knows of a time in which its events
    /// were not heard.
    pub(super) fn may_be_stopping(&self, cuid: Cuid, since: DateTime<Utc>) -> bool {
        let inner = self.read();
        let signalled = inner.by_cuid.get(&cuid).and_then(|slot| slot.signalled);
        inner.heard_since.is_none_or(|heard| since < heard) || signalled.is_some_and(|at| at > since)
    }

    /// Whether the container's state is known in outline only.
    pub(super) fn is_outlined(&self, cuid: Cuid) -> bool {
        self.read().by_cuid.get(&cuid).is_some_and(|slot| slot.outlined)
    }

    /// Every cuid, in no order.
    pub(super) fn cuids(&self) -> Vec<Cuid> {
        self.read().by_cuid.keys().copied().collect()
    }

    /// The container that exactly this request created, should it be repeated.
    pub(super) fn made_by(&self, terms: &Terms) -> Option<Container> {
        terms.mark.as_ref()?;
        self.read().by_cuid.values().map(|slot| &slot.container).find(|container| terms.made(&container.record)).cloned()
    }

    /// Who else is up and asks for the same port of the host.
    pub(super) fn port_holder(&self, cuid: Cuid, spec: &Spec, port: u16) -> Option<Cuid> {
        let inner = self.read();
        let wanted: Vec<_> = spec.ports.iter().filter(|mapping| mapping.host == port).collect();
        let holds = |container: &Container| {
            let theirs = &container.record.spec.ports;
            container.state.status.is_up() && theirs.iter().any(|theirs| wanted.iter().any(|ours| ours.collides_with(theirs)))
        };
        inner.by_cuid.iter().find(|(other, slot)| **other != cuid && holds(&slot.container)).map(|(other, _)| *other)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        containers::listing::{Filter, Page},
        engine::watch::Death,
    };

    fn add(index: &Index, second: i64, spec: serde_json::Value, status: Status) -> Cuid {
        let created_at = DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap().into();
        let record = Record { created_at, ..Record::new(Cuid::new(), Spec::from_json(&spec).unwrap(), None) };
        let cuid = record.cuid;
        index.insert(record, State { status, ..State::default() }, index.ticket());
        cuid
    }

    fn cuids(page: &Page) -> Vec<Cuid> {
        page.containers.iter().map(|container| container.record.cuid).collect()
    }

    #[test]
    fn pages_are_newest_first_and_stable_while_containers_come_and_go() {
        let index = Index::default();
        let mut all: Vec<_> = (0..5).map(|second| add(&index, second, json!({"image": "a"}), Status::Created)).collect();
        all.reverse();
        let first = index.list(&Filter::default(), None, 2);
        assert_eq!((cuids(&first), first.total), (all[..2].to_vec(), 5));
        add(&index, 9, json!({"image": "a"}), Status::Created);
        index.remove(all[1]);
        let second = index.list(&Filter::default(), first.next, 2);
        assert_eq!((cuids(&second), second.total), (all[2..4].to_vec(), 5));
        let third = index.list(&Filter::default(), second.next, 2);
        assert_eq!((cuids(&third), third.next), (all[4..].to_vec(), None));
    }

    #[test]
    fn containers_of_the_same_moment_are_each_given_once() {
        let index = Index::default();
        let mut expected: Vec<_> = (0..7).map(|_| add(&index, 0, json!({"image": "a"}), Status::Created)).collect();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = index.list(&Filter::default(), after, 2);
            seen.extend(cuids(&page));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen, expected);
    }

    #[test]
    fn filters_leave_in_what_matches_all_of_them() {
        let index = Index::default();
        let wanted = add(&index, 0, json!({"image": "a", "tags": ["x", "y"], "labels": {"k": "v"}}), Status::Running);
        add(&index, 1, json!({"image": "a", "tags": ["x"]}), Status::Running);
        add(&index, 2, json!({"image": "a", "tags": ["y"], "labels": {"k": "v"}}), Status::Exited);
        let filter = Filter {
            statuses: vec![Status::Running, Status::Paused],
            tag: Some("y".into()),
            label: Some(("k".into(), "v".into())),
        };
        let page = index.list(&filter, None, 10);
        assert_eq!((cuids(&page), page.total), (vec![wanted], 1));
    }

    #[test]
    fn an_older_look_at_the_engine_never_overwrites_a_newer_one() {
        let index = Index::default();
        let cuid = add(&index, 0, json!({"image": "a"}), Status::Created);
        let (older, newer) = (index.ticket(), index.ticket());
        index.observe(cuid, State { status: Status::Running, ..State::default() }, newer);
        index.observe(cuid, State { status: Status::Created, ..State::default() }, older);
        assert_eq!(index.get(cuid).unwrap().state.status, Status::Running);
    }

    #[test]
    fn an_outline_is_taken_for_what_it_adds_until_the_rest_is_known() {
        let index = Index::default();
        let cuid = add(&index, 0, json!({"image": "a"}), Status::Missing);
        let outline = || State { status: Status::Exited, ..State::default() };
        index.observe_outline(cuid, outline(), index.ticket());
        assert!(index.is_outlined(cuid));
        let whole = State { exit_code: Some(3), ..outline() };
        index.observe(cuid, whole, index.ticket());
        index.observe_outline(cuid, outline(), index.ticket());
        assert!(!index.is_outlined(cuid));
        assert_eq!(index.get(cuid).unwrap().state.exit_code, Some(3));
    }

    #[test]
    fn a_death_is_noted_of_the_run_that_it_ended() {
        let index = Index::default();
        let cuid = add(&index, 0, json!({"image": "a"}), Status::Running);
        let started: DateTime<chrono::FixedOffset> = "2026-01-01T00:00:10Z".parse().unwrap();
        let running = || State { status: Status::Running, started_at: Some(started), ..State::default() };
        let status = || index.get(cuid).unwrap().state.status;
        let death = |seconds| Death { at: started.to_utc() + chrono::TimeDelta::seconds(seconds), exit_code: Some(3) };
        index.observe(cuid, running(), index.ticket());
        index.observe_death(cuid, death(-1));
        assert_eq!(status(), Status::Running, "that was the run before");
        index.observe_death(cuid, death(1));
        assert_eq!((status(), index.get(cuid).unwrap().state.exit_code), (Status::Exited, Some(3)));
        let restarting = add(&index, 1, json!({"image": "a", "restart_policy": {"type": "always"}}), Status::Running);
        index.observe(restarting, running(), index.ticket());
        index.observe_death(restarting, death(1));
        assert_eq!(index.get(restarting).unwrap().state.status, Status::Running, "the engine is to say");
    }

    #[test]
    fn a_container_may_be_stopping_since_a_signal_or_since_events_were_missed() {
        let index = Index::default();
        let cuid = add(&index, 0, json!({"image": "a"}), Status::Running);
        let now = Utc::now();
        assert!(index.may_be_stopping(cuid, now), "nothing was heard yet");
        index.hears(true);
        assert!(index.may_be_stopping(cuid, now), "something may have been missed");
        let later = Utc::now() + chrono::TimeDelta::seconds(1);
        assert!(!index.may_be_stopping(cuid, later));
        index.observe_signal(cuid, later + chrono::TimeDelta::seconds(1));
        assert!(index.may_be_stopping(cuid, later));
        index.hears(false);
        assert!(index.may_be_stopping(cuid, later + chrono::TimeDelta::seconds(9)));
    }

    #[test]
    fn a_shared_network_takes_so_many_and_then_the_next() {
        let index = Index::default();
        let cuids: [Cuid; 5] = std::array::from_fn(|_| Cuid::new());
        assert_eq!(cuids.map(|cuid| index.take_network(cuid, 2)), [0, 0, 1, 1, 2]);
        index.leave_network(cuids[1]);
        assert_eq!(index.take_network(Cuid::new(), 2), 0);
        assert_eq!((index.shared_network(cuids[2]), index.shared_network(cuids[4])), (1, 2));
    }

    #[test]
    fn a_name_belongs_to_one_container_until_it_is_freed() {
        let index = Index::default();
        let (name, one, other) = (Name::try_from("web".to_owned()).unwrap(), Cuid::new(), Cuid::new());
        index.reserve(&name, one).unwrap();
        index.reserve(&name, one).unwrap();
        assert!(matches!(index.reserve(&name, other), Err(Error::NameTaken { holder, .. }) if holder == one));
        index.free(&name, other);
        assert!(index.reserve(&name, other).is_err());
        index.free(&name, one);
        index.reserve(&name, other).unwrap();
    }
}
