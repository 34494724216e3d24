//! What the tests share: guests to run, and where they come from.
//!
//! Nothing here skips a test: where a tool or a package is missing, the functions panic and say what to install.

pub mod busy;
pub mod chunks;
mod cpio;
pub mod cpu_guests;
mod debian;
pub mod debian_guests;
pub mod debugged;
pub mod debuggers;
pub mod gdb_remote;
mod guests;
mod initrd;
pub mod packets;
pub mod process;
pub mod qemu;
pub mod random;
pub mod recordings;
pub mod retrograde;
pub mod sequences;
pub mod server;
mod tools;

pub use debian::{Arch, debian_kernel, kernel, kernel_module, seabios};
pub use debian_guests::linux::busybox_tests;
pub use guests::{build_cost_guest, build_guest, symbol};
pub use initrd::{GUEST_READY, busybox_initrd, busybox_initrd_with, busybox_initrd_with_modules};

use std::path::{Path, PathBuf};

/// The workspace's root.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where fetched things are kept between runs; not under version control.
pub fn cache_dir() -> PathBuf {
    workspace_root().join(".cache")
}
