//! [`Places`]: which paths the entries of archives take, and the folders they lie in.

use std::{
    collections::{HashMap, hash_map},
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
};

use super::entry::{Entry, Kind, refused};
use crate::error::Result;

/// A set of paths. A path is known by its 64-bit keyed hash, as the paths themselves can be long: among the largest number of
/// files that anyone allows, that two meet by chance is far less likely than that the disk errs.
#[derive(Default)]
pub(in crate::files) struct Places {
    key: RandomState,
    taken: HashMap<u64, Place>,
}

/// What takes a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::files) enum Place {
    /// A folder that is only part of other names.
    Implied,
    Folder,
    Other,
}

impl From<Kind> for Place {
    fn from(kind: Kind) -> Self {
        if kind == Kind::Folder { Self::Folder } else { Self::Other }
    }
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    /// The hash of every folder that `path` lies in, from the top, and then its own.
    fn steps(&self, path: &Path) -> impl Iterator<Item = u64> + use<> {
        let mut hasher = self.key.build_hasher();
        let mut steps = Vec::with_capacity(8);
        for component in path.components() {
            hasher.write(component.as_os_str().as_encoded_bytes());
            hasher.write_u8(b'/');
            steps.push(hasher.finish());
        }
        // The folder that all lies in is a place, too.
        if steps.is_empty() {
            steps.push(hasher.finish());
        }
        steps.into_iter()
    }

    /// Takes an entry's place for it.
    ///
    /// # Errors
    /// `INVALID_ZIP` where another entry has it, or is a file on the way to it.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<()> {
        let mut steps = self.steps(&entry.path).peekable();
        while let Some(step) = steps.next() {
            let place = if steps.peek().is_some() { Place::Implied } else { entry.kind.into() };
            match self.taken.entry(step) {
                hash_map::Entry::Vacant(free) => drop(free.insert(place)),
                hash_map::Entry::Occupied(mut taken) => match (*taken.get(), place) {
                    (Place::Implied | Place::Folder, Place::Implied) => {}
                    (Place::Implied, Place::Folder) => drop(taken.insert(Place::Folder)),
                    (Place::Other, Place::Implied) => {
                        return Err(refused(&entry.name, "it lies in what is another entry's file"));
                    }
                    (was, is) if was == is => return Err(refused(&entry.name, "it is in the archive twice")),
                    _ => return Err(refused(&entry.name, "it is a folder and something else at once")),
                },
            }
        }
        Ok(())
    }

    /// What takes this very path.
    pub(in crate::files) fn find(&self, path: &Path) -> Option<Place> {
        self.taken.get(&self.steps(path).last()?).copied()
    }

    /// Takes a path for something that lies in front of whatever older thing is there, unless something lies in front of it
    /// already; says which.
    pub(super) fn cover(&mut self, path: &Path, place: Place) -> bool {
        let steps: Vec<u64> = self.steps(path).collect();
        let Some((own, above)) = steps.split_last() else { return false };
        let hidden = above.iter().any(|step| self.taken.get(step) == Some(&Place::Other)) || self.taken.contains_key(own);
        if !hidden {
            for step in above {
                self.taken.entry(*step).or_insert(Place::Implied);
            }
            self.taken.insert(*own, place);
        }
        !hidden
    }
}
