//! A container as it is known at one moment, to be looked at without a lock.

use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;

use super::record::Record;
use crate::engine::state::State;

/// A container as it is known now.
#[derive(Clone, Debug)]
pub struct Container {
    pub record: Arc<Record>,
    pub state: Arc<State>,
    /// How answers show it, once one does: for as long as it is as it is.
    written: Arc<OnceLock<Box<RawValue>>>,
}

impl Container {
    pub(super) fn new(record: Arc<Record>, state: Arc<State>) -> Self {
        Self { record, state, written: Arc::default() }
    }

    /// As `write` writes it, which is asked once for each revision and state.
    pub fn written(&self, write: impl FnOnce(&Self) -> Box<RawValue>) -> &RawValue {
        self.written.get_or_init(|| write(self))
    }
}
