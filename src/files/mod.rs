//! The disk below one container's mount. It knows neither Docker nor HTTP.
//!
//! A container's folder holds its mount, `app/`, which a hostile process may change at any moment, and beside it what only
//! the server reaches: the archive that is being received, and what was unpacked of it. In reading order:
//! - [`path`]: what a client may call a file;
//! - [`root`]: the mount, and opening what is in it without being led out of it or into a device;
//! - [`upload`]: a request's body on its way to the disk;
//! - [`archive`]: unpacking an archive into the mount, whole or not at all, and packing the mount into one;
//! - [`pipe`]: a blocking writer at one end, a stream at the other;
//! - [`remove`]: removing a folder, whatever a container made of it.
//!
//! All but [`upload`] and [`pipe`] blocks, so callers run it aside. Whoever writes to a mount holds its container's lock.

pub mod archive;
pub mod path;
pub mod pipe;
pub mod remove;
pub mod root;
pub mod upload;
