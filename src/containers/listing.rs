//! Lists of containers: what is left in, in which order, and how many at once.

use std::ops::Bound;

use chrono::{DateTime, Local};
use futures_util::future::join_all;

use super::{Containers, container::Container, index::Index};
use crate::{
    domain::{id::Cuid, status::Status},
    error::Result,
};

/// Place in the list, newest first: when it was created, then the cuid where two were created at once.
pub type Place = (DateTime<Local>, Cuid);

/// What a listing leaves in.
#[derive(Debug, Default)]
pub struct Filter {
    /// Empty: every status.
    pub statuses: Vec<Status>,
    pub tag: Option<String>,
    pub label: Option<(String, String)>,
}

/// A page of a listing.
pub struct Page {
    pub containers: Vec<Container>,
    /// Those of them that are known in outline only.
    pub outlined: Vec<Cuid>,
    /// How many there are on all pages.
    pub total: usize,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Place>,
}

impl Containers {
    /// A page of the containers that `filter` leaves in, newest first.
    ///
    /// # Errors
    /// [`EngineUnavailable`](crate::error::Error::EngineUnavailable) while no status is known since the server started.
    pub async fn list(&self, filter: &Filter, after: Option<Place>, limit: usize) -> Result<Page> {
        self.known().await?;
        let page = self.0.index.list(filter, after, limit);
        if page.outlined.is_empty() {
            return Ok(page);
        }
        join_all(page.outlined.into_iter().map(|cuid| self.look(cuid))).await;
        Ok(self.0.index.list(filter, after, limit))
    }

    /// How many containers have each status, by what is known of them.
    pub fn count_by_status(&self) -> Vec<(&'static str, usize)> {
        self.0.index.count_by_status()
    }
}

impl Index {
    /// A page of at most `limit` containers that `filter` leaves in, beginning after `after`.
    pub(super) fn list(&self, filter: &Filter, after: Option<Place>, limit: usize) -> Page {
        let inner = self.read();
        let slot = |place: &Place| Some((*place, inner.by_cuid.get(&place.1)?));
        let before = (Bound::Unbounded, after.map_or(Bound::Unbounded, Bound::Excluded));
        let rest = inner.by_age.range(before).rev().filter_map(slot);
        let mut wanted = rest.filter(|(_, slot)| filter.leaves_in(&slot.container));
        let shown: Vec<_> = wanted.by_ref().take(limit).collect();
        let next = wanted.next().and(shown.last().map(|(place, _)| *place));
        let total = if filter.leaves_all_in() {
            inner.by_cuid.len()
        } else {
            inner.by_cuid.values().filter(|slot| filter.leaves_in(&slot.container)).count()
        };
        let outlined = shown.iter().filter(|(_, slot)| slot.outlined).map(|(place, _)| place.1).collect();
        Page { containers: shown.into_iter().map(|(_, slot)| slot.container.clone()).collect(), outlined, total, next }
    }

    /// How many there are of each status.
    pub(super) fn count_by_status(&self) -> Vec<(&'static str, usize)> {
        let inner = self.read();
        let count = |status| inner.by_cuid.values().filter(|slot| slot.container.state.status == status).count();
        Status::ALL.into_iter().map(|status| (status.as_str(), count(status))).collect()
    }
}

impl Filter {
    fn leaves_all_in(&self) -> bool {
        self.statuses.is_empty() && self.tag.is_none() && self.label.is_none()
    }

    fn leaves_in(&self, container: &Container) -> bool {
        let spec = &container.record.spec;
        let status = self.statuses.is_empty() || self.statuses.contains(&container.state.status);
        let tag = self.tag.as_ref().is_none_or(|wanted| spec.tags.iter().any(|tag| tag.as_str() == wanted));
        let label = self
            .label
            .as_ref()
            .is_none_or(|(wanted, value)| spec.labels.iter().any(|(key, held)| key.as_str() == wanted && held.as_str() == value));
        status && tag && label
    }
}
