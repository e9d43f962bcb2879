//! [`Resources`]: how much of the machine a container may use, in Docker's units and within Docker's bounds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema::described;

/// Limits of a container; what is absent falls back to the server's defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object of cpus, memory, pids and cpu_shares")]
pub struct Resources {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<CpuShares>,
}

/// Processors, from 0.01. Docker takes 0 as no limit, which nobody means who writes it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct Cpus(f64);

impl Cpus {
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Cpus {
    type Error = &'static str;

    fn try_from(count: f64) -> Result<Self, Self::Error> {
        if (0.01..=4096.0).contains(&count) { Ok(Self(count)) } else { Err("cpus is a number of processors from 0.01") }
    }
}

/// Processes and threads, from 1. Docker takes 0 and negative numbers as no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Pids(i64);

impl Pids {
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Pids {
    type Error = &'static str;

    fn try_from(count: i64) -> Result<Self, Self::Error> {
        // 2^22 is the kernel's own PID_MAX_LIMIT.
        if (1..=4_194_304).contains(&count) { Ok(Self(count)) } else { Err("pids is a count from 1 to 4194304") }
    }
}

/// The container's share of busy processors, against 1024 for one that has none given; the kernel takes 2 to 262144.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct CpuShares(i64);

impl CpuShares {
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for CpuShares {
    type Error = &'static str;

    fn try_from(shares: i64) -> Result<Self, Self::Error> {
        if (2..=262_144).contains(&shares) { Ok(Self(shares)) } else { Err("cpu_shares is a number from 2 to 262144") }
    }
}

/// Memory in Docker's size grammar: a number, and one of b, k, m, g, t (each 1024 times the one before), also written
/// `mb` or `MiB`. At least 6 MiB: the engine refuses less. Kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Memory(String);

impl Memory {
    /// In bytes, rounded down.
    #[expect(clippy::cast_possible_truncation, reason = "a size is bounded when it is read")]
    pub fn bytes(&self) -> i64 {
        memory_bytes(&self.0).unwrap_or_default() as i64
    }

    /// As it was written, such as `4096m`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Memory {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let least = 6.0 * 1024.0 * 1024.0;
        match memory_bytes(&text) {
            Some(bytes) if (least..=f64::from(u32::MAX) * 1024.0 * 1024.0).contains(&bytes) => Ok(Self(text)),
            _ => Err("memory is a size of at least 6m, such as 512m, 1.5g or 4096m"),
        }
    }
}

/// The grammar of the docker CLI's sizes (go-units' `RAMInBytes`).
fn memory_bytes(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match &lower[number.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    let digits_only = number.chars().all(|c| c.is_ascii_digit() || c == '.') && number.starts_with(|c: char| c.is_ascii_digit());
    let count: f64 = number.parse().ok().filter(|_| digits_only && !number.ends_with('.'))?;
    Some(count * 1024_f64.powi(power))
}

described! {
    Cpus: {"type": "number", "minimum": 0.01, "maximum": 4096, "examples": [0.5]}
    Pids: {"type": "integer", "minimum": 1, "maximum": 4_194_304, "examples": [256]}
    CpuShares: {"type": "integer", "minimum": 2, "maximum": 262_144, "examples": [512]}
    Memory: {
        "type": "string",
        "description": "A size of at least 6m in Docker's grammar.",
        "pattern": r"^[0-9]+(?:\.[0-9]+)?(?:[bB]|[kKmMgGtT](?:[iI]?[bB])?)?$",
        "examples": ["512m"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_docker_reads_it() {
        for (text, bytes) in [
            ("6m", 6_291_456.0),
            ("4096m", 4_294_967_296.0),
            ("1.5g", 1_610_612_736.0),
            ("1GiB", 1_073_741_824.0),
            ("7000kb", 7_168_000.0),
            ("8388608", 8_388_608.0),
            ("8388608b", 8_388_608.0),
            ("1T", 1_099_511_627_776.0),
        ] {
            assert_eq!(memory_bytes(text), Some(bytes), "{text}");
            assert!(Memory::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in [
            "",
            "m",
            "0",
            "-1m",
            "5m",
            "1e9",
            "lots",
            "1 g",
            "1x",
            "1gg",
            ".5g",
            "1.g",
            "1.2.3g",
            "inf",
            "NaN",
            "99999999t",
            "$M",
            "6m\n",
        ] {
            assert!(Memory::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_docker_would_take_as_no_limit_is_refused() {
        for json in [
            r#"{"cpus":0}"#,
            r#"{"cpus":-1}"#,
            r#"{"cpus":"1"}"#,
            r#"{"pids":0}"#,
            r#"{"pids":-5}"#,
            r#"{"pids":1.5}"#,
            r#"{"memory":512}"#,
            r#"{"cpu":1}"#,
            r#"{"cpu_shares":0}"#,
            r#"{"cpu_shares":1}"#,
            r#"{"cpu_shares":262145}"#,
        ] {
            assert!(serde_json::from_str::<Resources>(json).is_err(), "{json}");
        }
        let taken: Resources = serde_json::from_str(r#"{"cpus":1,"memory":"4096m","pids":2048}"#).unwrap();
        assert_eq!((taken.cpus.map(Cpus::get), taken.pids.map(Pids::get)), (Some(1.0), Some(2048)));
    }
}
