//! Keeps the index true: what happens at the engine, by whomever, is looked at and noted.

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::{Containers, EngineState};
use crate::{compose::render::LABEL, domain::id::Cuid, engine::watch::Seen};

/// How many containers are looked at side by side after the subscription was taken up.
const SIDE_BY_SIDE: usize = 8;

/// How many events may wait; the rest wait at the engine.
const QUEUE: usize = 1024;

impl Containers {
    /// Watches the engine, without end.
    pub(super) async fn watch(&self) {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        self.0.runtime.spawn(self.0.engine.clone().watch(LABEL, sender));
        while let Some(seen) = receiver.recv().await {
            self.see(seen).await;
        }
    }

    async fn see(&self, seen: Seen) {
        match seen {
            Seen::One(label) => {
                // Another server's containers carry the label, too.
                if let Some(cuid) = label.parse().ok().filter(|cuid| self.0.index.get(*cuid).is_ok()) {
                    self.look(cuid).await;
                }
            }
            Seen::All(labels) => {
                let cuids = self.0.index.cuids();
                stream::iter(&cuids).for_each_concurrent(SIDE_BY_SIDE, |cuid| self.look(*cuid)).await;
                let ours = |label: &str| label.parse::<Cuid>().is_ok_and(|cuid| self.0.store.folder(cuid).exists());
                let orphans: Vec<String> = labels.into_iter().filter(|label| !ours(label)).collect();
                if !orphans.is_empty() {
                    tracing::warn!(
                        count = orphans.len(),
                        "containers at the engine carry our label and have no folder here; they are left alone"
                    );
                }
                self.orphans(|known| known.containers = orphans);
                self.0.engine_state.send_replace(EngineState::Watched);
            }
            Seen::Lost(why) => {
                let news = self.0.engine_state.send_if_modified(|state| {
                    let lost = match state {
                        EngineState::Unknown | EngineState::Absent(_) => EngineState::Absent(why.clone()),
                        EngineState::Watched | EngineState::Lost(_) => EngineState::Lost(why.clone()),
                    };
                    *state != lost && {
                        *state = lost;
                        true
                    }
                });
                if news {
                    tracing::error!(why, "the engine is not heard");
                }
            }
        }
    }

    /// Notes the container's state, where the engine tells it.
    pub(super) async fn look(&self, cuid: Cuid) {
        if let Err(error) = self.refresh(cuid).await {
            tracing::warn!(%cuid, %error, "a container could not be looked at");
        }
    }
}
