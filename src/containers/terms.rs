//! On what terms a caller wants a change: which revision it expects, what it may overwrite, and how a repetition of the same
//! request is known.

use chrono::{DateTime, Local, TimeDelta};
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::error::{Error, Result};

/// How long a request is known by its idempotency key.
pub const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// What a caller attaches to a change; `Default` is a change on no terms.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The revisions that the container may have; `None`: whichever.
    pub if_match: Option<Vec<u64>>,
    /// A `compose.yaml` that someone edited by hand may be written anew.
    pub overwrite: bool,
    /// The request, where it may be repeated.
    pub mark: Option<Mark>,
}

/// A request with an idempotency key. It is noted in the record that the request makes, so that a repetition after a crash,
/// when nobody knows the first answer, does not do it twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Tells the key and the request from all others.
    pub digest: String,
    pub at: DateTime<Local>,
}

impl Terms {
    /// That the container is still as the caller knows it, or is so by this very request.
    ///
    /// # Errors
    /// [`Error::RevisionMismatch`].
    pub(super) fn check(&self, record: &Record) -> Result<()> {
        let revision = record.revision;
        match &self.if_match {
            Some(expected) if !expected.contains(&revision) && !self.made(record) => Err(Error::RevisionMismatch { revision }),
            _ => Ok(()),
        }
    }

    /// Whether this very request made the record, or an earlier revision of it.
    pub(super) fn made(&self, record: &Record) -> bool {
        let Some(mark) = &self.mark else { return false };
        record.made_by.iter().any(|made_by| mark.digest == made_by.digest && mark.at - made_by.at < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{id::Cuid, spec::Spec};

    #[test]
    fn a_stale_revision_is_refused_and_any_is_taken_where_none_is_named() {
        let terms = |if_match| Terms { if_match, ..Terms::default() };
        let spec = Spec::from_json(&serde_json::json!({"image": "a"})).unwrap();
        let mark = Mark { digest: "x".into(), at: Local::now() };
        let record = Record { revision: 3, ..Record::new(Cuid::new(), spec, Some(mark.clone())) };
        assert!(terms(None).check(&record).is_ok() && terms(Some(vec![2, 3])).check(&record).is_ok());
        assert!(matches!(terms(Some(vec![2])).check(&record), Err(Error::RevisionMismatch { revision: 3 })));
        assert!(terms(Some(vec![])).check(&record).is_err());
        let repeated = Terms { mark: Some(mark), ..terms(Some(vec![2])) };
        assert!(repeated.check(&record).is_ok(), "the request that made the revision may be repeated");
    }

    #[test]
    fn a_request_is_known_by_what_it_made_for_a_day() {
        let mark = |digest: &str, hours| Mark { digest: digest.into(), at: Local::now() + TimeDelta::hours(hours) };
        let spec = Spec::from_json(&serde_json::json!({"image": "a"})).unwrap();
        let made_by = |mark| Record::new(Cuid::new(), spec.clone(), mark);
        let asks = |mark| Terms { mark, ..Terms::default() };
        let record = made_by(Some(mark("x", 0)));
        assert!(asks(Some(mark("x", 23))).made(&record));
        assert!(!asks(Some(mark("x", 25))).made(&record) && !asks(Some(mark("y", 1))).made(&record));
        let changed = (0..15).fold(record.clone(), |record, _| record.changed(spec.clone(), Some(mark("other", 0))));
        assert!(asks(Some(mark("x", 1))).made(&changed) && changed.revision == 16);
        assert!(!asks(Some(mark("x", 1))).made(&changed.changed(spec.clone(), Some(mark("other", 0)))));
        assert!(!asks(None).made(&record) && !asks(None).made(&made_by(None)));
    }
}
