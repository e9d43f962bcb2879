//! Compose projects: the pure way from a specification to `compose.yaml`, and the `docker compose` CLI that acts on it.

pub mod cli;
pub mod exec;
pub mod file;
pub mod group;
mod launcher;
mod places;
pub mod render;
