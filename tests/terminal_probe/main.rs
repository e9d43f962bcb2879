//! Terminals against the real engine, through a server that has nothing but terminals.

mod endings;
mod harness;
mod inside;
mod programs;
mod streams;
