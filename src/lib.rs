//! berth: containers, files and terminals on one machine with Docker, over REST and WebSocket.
//!
//! In reading order:
//! - [`domain`]: values and decisions without I/O: ids, the specification, the status table;
//! - [`error`]: what can go wrong, as facts;
//! - [`engine`]: the Docker Engine over its API: watching containers and talking to them;
//! - [`files`]: what is below a container's mount;
//! - [`terminal`]: programs in containers, seen through frames;
//! - [`http`]: everything that speaks HTTP.

pub mod domain;
pub mod engine;
pub mod error;
pub mod files;
pub mod http;
pub mod terminal;
