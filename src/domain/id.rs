//! [`Cuid`], the identity of a container.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::schema::described;
use crate::error::Error;

/// A container's identity: the letter `c` followed by a UUID in lower case. New ones are version 4; others are read too,
/// because the integration guide's own example is a version 1.
///
/// It is safe as a folder's, a compose project's and a container's name, and nothing else is ever used as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cuid(Uuid);

impl Cuid {
    /// A new one that no other container has.
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl Default for Cuid {
    fn default() -> Self {
        Self::new()
    }
}

described! {
    Cuid: {
        "type": "string",
        "description": "A container's identity: the letter c and a UUID in lower case.",
        "pattern": "^c[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "examples": ["c123e4567-e89b-42d3-a456-426614174000"],
    }
}

impl FromStr for Cuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let uuid = text.strip_prefix('c').filter(|rest| rest.len() == 36 && !rest.contains(|c: char| c.is_ascii_uppercase()));
        uuid.and_then(|rest| Uuid::try_parse(rest).ok()).map(Self).ok_or_else(|| {
            Error::invalid("INVALID_CUID", "cuid", "a cuid is the letter c followed by a UUID in lower case", text)
        })
    }
}

impl fmt::Display for Cuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl Serialize for Cuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Cuid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_c_and_a_lower_case_uuid_is_a_cuid() {
        let guides_example = "c123e4567-e89b-12d3-a456-426614174000";
        assert_eq!(guides_example.parse::<Cuid>().unwrap().to_string(), guides_example);
        let fresh = Cuid::new();
        assert_eq!(fresh.to_string().parse::<Cuid>().unwrap(), fresh);
        for bad in [
            "",
            "c",
            "123e4567-e89b-12d3-a456-426614174000",
            "C123e4567-e89b-12d3-a456-426614174000",
            "../etc",
            "c123E4567-e89b-12d3-a456-426614174000",
            "c123e4567e89b12d3a456426614174000",
            "c{123e4567-e89b-12d3-a456-42661417400}",
            "c123e4567-e89b-12d3-a456-426614174000/..",
            "c123e4567-e89b-12d3-a456-42661417400g",
        ] {
            assert!(bad.parse::<Cuid>().is_err(), "{bad:?}");
        }
    }
}
