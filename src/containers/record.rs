//! What the files of a container's folder hold: the record of it, and the note of a change.

use std::collections::BTreeSet;

use chrono::{DateTime, Local, Utc};
use serde::{Deserialize, Serialize};

use super::{networks::SharedNetwork, terms::Mark};
use crate::domain::{id::Cuid, spec::Spec};

/// What `container.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub cuid: Cuid,
    pub created_at: DateTime<Local>,
    pub spec: Spec,
    /// Moves by one with every change of the specification, from 1.
    #[serde(default = "first_revision")]
    pub revision: u64,
    /// Where it is on a network that containers share, on which.
    #[serde(default)]
    pub shared_network: SharedNetwork,
    /// The last requests with an idempotency key that made a revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_by: Vec<Mark>,
}

impl Record {
    /// The record of a new container.
    pub fn new(cuid: Cuid, spec: Spec, made_by: Option<Mark>) -> Self {
        Self {
            cuid,
            created_at: Local::now(),
            spec,
            revision: first_revision(),
            shared_network: 0,
            made_by: made_by.into_iter().collect(),
        }
    }

    /// The record of the next revision.
    pub fn changed(&self, spec: Spec, made_by: Option<Mark>) -> Self {
        let forgotten = self.made_by.len().saturating_sub(MARKS - 1);
        let made_by = self.made_by[forgotten..].iter().cloned().chain(made_by).collect();
        Self { spec, revision: self.revision + 1, made_by, ..self.clone() }
    }
}

/// How many requests a record remembers: each only until its answer is kept, which a crash may prevent.
const MARKS: usize = 16;

fn first_revision() -> u64 {
    1
}

/// What `change.json` holds: enough to put the old configuration back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Change {
    pub was_up: bool,
    /// The revision that is to come back; a record that is past it has the change behind it.
    #[serde(default)]
    pub revision: Option<u64>,
    /// When it began.
    #[serde(default)]
    pub at: DateTime<Utc>,
    /// The volumes that the container had: others are the change's own.
    #[serde(default)]
    pub volumes: Option<BTreeSet<String>>,
    /// The id of the image that the container was made from: its tag may lead elsewhere by now.
    #[serde(default)]
    pub image: Option<String>,
    /// Seconds that the container may take to stop, where it is to be stopped on the way without being recreated: one that
    /// is up may be about to go down.
    #[serde(default)]
    pub restarts: Option<u64>,
    /// The container may have been made from a project that somebody edited, whatever its label says.
    #[serde(default)]
    pub edited: bool,
}
