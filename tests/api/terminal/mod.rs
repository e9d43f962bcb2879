//! Terminals against the real engine.

mod broken;
mod client;
mod endings;
mod inside;
mod keys;
mod manners;
mod opening;
mod programs;
mod resume;
mod streams;
