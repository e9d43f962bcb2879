//! How a session's program is started and spoken to. What a [`Program`] has started is ended with it, by whatever way.

mod engine;

pub(super) use engine::Program;

pub(super) use crate::engine::exec::{Input, Output};
