//! Terminals against the real engine.

mod broken;
pub(crate) mod client;
mod endings;
mod inside;
mod keys;
mod manners;
mod opening;
mod programs;
mod recording;
mod recording_bounds;
mod resume;
mod streams;
