//! Zip archives: unpacking one into a mount, and packing a mount into one. Nothing else in berth knows the format.
//!
//! An archive is unpacked whole or not at all, also where the server dies on the way. In the container's folder:
//!
//! ```text
//!     archive ──check──► names, kinds, limits: nothing is written before all of them are right
//!        │
//!     unpack ──────────► incoming/    contents, owners and modes as they shall be, synced
//!        │
//!     fits ────────────► no file takes a folder's place in the mount, nor a folder a file's
//!        │
//!     commit ──────────► moving/      one rename; from here on it is done, if need be at the server's next start
//!        │
//!     finish ──────────► app/         by renames; then moving/ is removed
//! ```
//!
//! Up to the commit a failure removes `incoming/` and leaves the mount as it was. [`recover`] puts right what a crash
//! left: `incoming/` is removed, `moving/` is finished.

mod check;
mod entry;
mod move_in;
mod pack;
#[cfg(test)]
mod tests;
mod unpack;

pub use move_in::recover;
pub use pack::Packer;
pub use unpack::{Deployed, unpack};

/// What an archive may grow to when it is unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The contents of all files together, in bytes.
    pub extracted_bytes: u64,
    /// Files, folders and links, with the folders that are only part of another name.
    pub extracted_files: u64,
}
