//! Terminals against the real engine, through a server that has nothing but terminals.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails a test")]

mod endings;
mod harness;
mod inside;
mod programs;
mod streams;
