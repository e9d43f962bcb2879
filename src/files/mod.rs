//! The disk below one container's mount. It knows neither Docker nor HTTP.
//!
//! A container's folder holds its mount, `app/`, which a hostile process may change at any moment, and beside it what only
//! the server reaches: the archive that is being received, what was unpacked of it, and archives that were deployed before.
//! In reading order:
//! - [`path`]: what a client may call a file;
//! - [`root`]: the mount, and opening what is in it without being led out of it or into a device;
//! - [`list`]: what is in a folder, by pages, and the tags of files;
//! - [`upload`]: a request's body on its way to the disk;
//! - [`deploy`]: an archive becomes what the mount holds, whole or not at all, and can be taken back;
//! - [`archive`]: the format: unpacking an archive beside the mount, and packing the mount into one;
//! - [`edit`]: writing, moving and deleting single files and folders, [`condition`]: only if they are as expected;
//! - [`pipe`]: a blocking writer at one end, a stream at the other;
//! - [`remove`]: removing a folder, whatever a container made of it;
//! - `durable`: files of the server's own that are whole or not there.
//!
//! All but [`upload`] and [`pipe`] blocks, so callers run it aside. Whoever writes to a mount holds its container's lock.

pub mod archive;
pub mod condition;
pub mod deploy;
pub(crate) mod durable;
pub mod edit;
pub mod list;
pub mod path;
pub mod pipe;
pub mod remove;
pub mod root;
#[cfg(test)]
mod tests;
pub mod upload;
