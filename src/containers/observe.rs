//! What is seen of containers, noted in the index and told to whoever follows events.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    container::Container,
    index::{Index, Slot, Ticket},
    news::news,
};
use crate::{
    domain::{id::Cuid, status::Status},
    engine::{state::State, watch::Death},
};

impl Index {
    /// Notes what the engine said, unless something newer is known.
    pub(super) fn observe(&self, cuid: Cuid, state: State, seen: Ticket) {
        if let Some(slot) = self.write().by_cuid.get_mut(&cuid).filter(|slot| slot.seen <= seen) {
            slot.seen = seen;
            slot.outlined = false;
            if *slot.container.state != state {
                slot.becomes(state);
                self.changed();
            }
            self.tell(cuid, slot);
        }
    }

    /// Notes what a list said, unless something newer is known, or nothing else.
    pub(super) fn observe_outline(&self, cuid: Cuid, state: State, seen: Ticket) {
        let mut inner = self.write();
        let slot = inner.by_cuid.get_mut(&cuid).filter(|slot| slot.seen <= seen);
        if let Some(slot) = slot.filter(|slot| slot.container.state.status != state.status) {
            slot.seen = seen;
            slot.outlined = true;
            slot.becomes(state);
            self.changed();
        }
    }

    /// Notes that the container's main process has ended, unless that was an earlier one, or its restart policy is to start
    /// the next: what the engine makes of that is looked at.
    pub(super) fn observe_death(&self, cuid: Cuid, death: Death) {
        let mut inner = self.write();
        let Some(slot) = inner.by_cuid.get_mut(&cuid) else { return };
        let state = &slot.container.state;
        let this_one = state.started_at.is_none_or(|started| started < death.at);
        if state.status.is_up() && this_one && slot.container.record.spec.restart_policy.is_none() {
            let finished_at = Some(death.at.fixed_offset());
            let dead = State { status: Status::Exited, exit_code: death.exit_code, finished_at, ..State::clone(state) };
            slot.becomes(State { ip_address: None, published: Vec::new(), ..dead });
            self.changed();
            self.tell(cuid, slot);
        }
    }

    /// Notes that the container's main process was started, unless it is known how that run goes on: since when exactly is looked at.
    pub(super) fn observe_start(&self, cuid: Cuid, at: DateTime<Utc>) {
        let mut inner = self.write();
        let Some(slot) = inner.by_cuid.get_mut(&cuid) else { return };
        let state = &slot.container.state;
        if !state.status.is_up() && state.finished_at.is_none_or(|finished| finished < at) {
            let started =
                State { status: Status::Running, started_at: None, finished_at: None, exit_code: None, ..State::clone(state) };
            slot.becomes(started);
            // Its address and its ports are still to be looked at.
            slot.outlined = true;
            self.changed();
            self.tell(cuid, slot);
        }
    }

    /// Notes that the container's main process was sent a signal.
    pub(super) fn observe_signal(&self, cuid: Cuid, at: DateTime<Utc>) {
        if let Some(slot) = self.write().by_cuid.get_mut(&cuid) {
            slot.signalled = Some(at);
        }
    }

    /// Tells what is still to be told of a container whose turn is over. Of one that is known in outline, the look that follows does.
    pub(super) fn tell_rest(&self, cuid: Cuid) {
        if let Some(slot) = self.write().by_cuid.get_mut(&cuid).filter(|slot| !slot.outlined) {
            self.tell(cuid, slot);
        }
    }

    /// Tells what is different of a container since it was last told of. The steps in which a change of ours makes a container anew are
    /// nobody's business: one that the engine has lost is another matter.
    fn tell(&self, cuid: Cuid, slot: &mut Slot) {
        let now = slot.container.state.clone();
        let is_step = matches!(now.status, Status::Created | Status::Dead | Status::Missing);
        if is_step && slot.turn.try_lock().is_err() {
            return;
        }
        if let Some(before) = slot.told.replace(now.clone()) {
            news(&before, &now).into_iter().for_each(|happening| self.events.publish(Some(cuid), happening));
        }
    }
}

impl Slot {
    fn becomes(&mut self, state: State) {
        self.container = Container::new(self.container.record.clone(), Arc::new(state));
    }
}
