//! berth: containers, files and terminals on one machine with Docker, over REST and WebSocket.
//!
//! In reading order:
//! - [`app`]: wiring, from settings and a listener to a running server and its orderly end;
//! - [`http`]: every route, and a file a noun behind it;
//! - [`containers`]: the lifecycle, drawn; the folders, the index, and what a start of the server finds;
//! - [`compose`]: from a specification to `compose.yaml`, and the `docker compose` CLI;
//! - [`files`]: the disk below one container's mount;
//! - [`terminal`]: sessions, their programs and their frames;
//! - [`engine`]: the Docker Engine over its API: watching containers and talking to them;
//! - [`domain`]: values and decisions without I/O: ids, the specification, the status table;
//! - [`events`]: what happens to containers, in order, to be followed;
//! - [`action_log`], [`config`], [`error`]: the log of every request, every setting, what can go wrong;
//! - [`metrics`]: what is counted and timed;
//! - [`cli`], [`doctor`], [`logging`]: the command line, what is wrong with this machine, the log on stderr;
//! - [`crash`]: where tests have the server die.

pub mod action_log;
pub mod app;
pub mod cli;
pub mod compose;
pub mod config;
pub mod containers;
pub mod crash;
pub mod doctor;
pub mod domain;
pub mod engine;
pub mod error;
pub mod events;
pub mod files;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod terminal;
