//! Everything that speaks HTTP.

pub mod terminal;
