//! The API against the real engine: one binary, a harness, and a file a noun, mirroring `src/http`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod action_log;
mod actions;
mod answer;
mod auth;
mod batch;
mod compose_exec;
mod conditions;
mod containers;
mod crashes;
mod deploy_crashes;
mod deploys;
mod description;
mod disk;
mod downloads;
mod drift;
mod engine;
mod entries;
mod errors;
mod events;
mod exec;
mod faults;
mod files;
mod halves;
mod harness;
mod idempotency;
mod interrupted;
mod lifecycle;
mod logs;
mod metrics;
mod mount;
mod networks;
mod orphans;
mod patch;
mod program;
mod requirements;
mod shutdown;
mod spec;
mod stats;
mod stream;
mod swap;
mod terminal;
#[path = "terminal/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "the same tests over the other transport: see `terminal::client`")]
mod terminal_compose;
mod together;
mod values;
mod volumes;
