//! Zip archives: unpacking one into a new folder, and packing a mount into one. Nothing else in berth knows the format.
//!
//! An archive is checked whole before anything of it is written: `check`, with the rules for an `entry` by itself and
//! for the `places` that entries take. `layers` is what several archives amount to, of which each lies over the ones
//! before, and `fold` makes one of them. A `crew` unpacks entries side by side.

mod check;
mod crew;
mod entry;
mod fold;
mod layers;
mod pack;
mod places;
mod unpack;

pub use pack::Packer;
pub use unpack::Unpacked;
pub(super) use {
    entry::refused,
    fold::fold,
    layers::{Layer, in_sight, places, surplus},
    places::{Place, Places},
    unpack::{unpack, unpack_layers},
};

/// What an archive may grow to when it is unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The contents of all files together, in bytes.
    pub extracted_bytes: u64,
    /// Files, folders and links, with the folders that are only part of another name.
    pub extracted_files: u64,
}
