//! Values and decisions without I/O: what a container is called, what it is asked to be, and what may be done to it when.

pub mod exec;
pub mod health;
pub mod id;
pub mod json;
pub mod log;
pub mod moment;
pub mod network;
pub mod obstacle;
pub mod output;
pub mod owner;
pub mod port;
pub mod resources;
pub mod restart;
pub mod schema;
pub mod spec;
pub mod status;
pub mod text;
pub mod user;
pub mod volume;
