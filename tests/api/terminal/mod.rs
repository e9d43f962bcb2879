//! Terminals against the real engine.

mod broken;
mod client;
mod endings;
mod inside;
mod opening;
mod programs;
mod streams;
