//! A kernel with what it is given, and how firmware comes to it: as items of fw_cfg and an option ROM that firmware boots
//! from before anything else.

use super::{BootError, linux, multiboot};
use serde::{Deserialize, Serialize};

/// A kernel, by itself or for firmware to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// The image.
    pub image: Vec<u8>,
    /// Linux's initial RAM disk, which is the first of them, or the modules of a Multiboot kernel.
    pub modules: Vec<Module>,
    /// The command line.
    pub cmdline: String,
}

/// A file that is loaded with a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Its contents.
    pub bytes: Vec<u8>,
    /// What a Multiboot kernel is told of it.
    pub string: String,
}

impl Kernel {
    /// A kernel with at most one module, whose string is empty.
    pub fn new(image: &[u8], module: Option<&[u8]>, cmdline: &str) -> Kernel {
        let module = module.filter(|bytes| !bytes.is_empty());
        let modules =
            module.map(|bytes| Module { bytes: bytes.to_vec(), string: String::new() }).into_iter().collect();
        Kernel { image: image.to_vec(), modules, cmdline: cmdline.to_owned() }
    }

    /// Linux's initial RAM disk; may be empty.
    pub(super) fn initrd(&self) -> &[u8] {
        self.modules.first().map_or(&[], |module| &module.bytes)
    }

    /// Whether it is one that Multiboot starts.
    pub fn is_multiboot(&self) -> bool {
        !linux::is_linux(&self.image) && multiboot::Header::find(&self.image).is_some()
    }

    /// Why firmware cannot start this on a machine with so much RAM.
    pub fn check(&self, ram_bytes: u64) -> Result<(), BootError> {
        if self.is_multiboot() { self.check_multiboot(ram_bytes) } else { self.check_linux(ram_bytes) }
    }

    /// The items of fw_cfg; none if the kernel cannot be started.
    pub fn items(&self, ram_bytes: u64) -> Vec<(u16, Vec<u8>)> {
        if self.is_multiboot() { self.multiboot_items(ram_bytes) } else { self.linux_items(ram_bytes) }
    }

    /// Name of the option ROM: QEMU's ROM for the same purpose is not called so, and can be there too.
    pub fn rom_name(&self) -> &'static str {
        if self.is_multiboot() { "mb.rom" } else { "linux.rom" }
    }

    /// The option ROM.
    pub fn rom(&self, ram_bytes: u64) -> Vec<u8> {
        if self.is_multiboot() { self.multiboot_rom(ram_bytes) } else { self.linux_rom(ram_bytes) }
    }
}
