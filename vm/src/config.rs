//! What a machine is made of.

use serde::{Deserialize, Serialize};

/// Smallest and largest RAM, in bytes.
pub const RAM_MIN: u64 = 1 << 20;
/// Largest RAM, in bytes (below the PCI hole of the i440FX).
pub const RAM_MAX: u64 = 3 << 30;

/// Memory of the `std` display adapter.
pub const VIDEO_BYTES: u64 = 16 << 20;

/// Room for the image in the display adapter's expansion ROM.
pub const EXPANSION_ROM_BYTES: usize = 64 << 10;

/// The hardware, fixed for the whole life of a machine. Firmware and kernels are contents of its memory, not of this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineConfig {
    /// RAM in bytes: a multiple of 1 MiB, [`RAM_MIN`] to [`RAM_MAX`].
    pub ram_bytes: u64,
    /// Which processor CPUID describes.
    pub cpu: CpuModel,
    /// What the real-time clock says at power-on, in seconds since 1970-01-01T00:00:00 as the guest reads it.
    pub rtc_start: i64,
    /// System ROM image, mapped below 4 GiB and (its last 128 KiB) below 1 MiB. Empty: no firmware.
    pub bios: Vec<u8>,
    /// I/O port of isa-debug-exit, if there is one (QEMU's default is 0x501, its users' 0xf4).
    pub debug_exit_port: Option<u16>,
    /// The display adapter.
    pub vga: Vga,
    /// Image in the adapter's expansion ROM, at most [`EXPANSION_ROM_BYTES`]: the VGA BIOS. Without firmware its font is used.
    pub vga_bios: Vec<u8>,
    /// Option ROMs that firmware finds in fw_cfg, by name.
    pub option_roms: Vec<(String, Vec<u8>)>,
    /// End the run where the guest resets itself instead of rebooting (QEMU's `-no-reboot`).
    pub no_reboot: bool,
}

impl MachineConfig {
    /// Bytes of the display adapter's memory.
    pub fn video_bytes(&self) -> u64 {
        match self.vga {
            Vga::None => 0,
            Vga::Std => VIDEO_BYTES,
        }
    }

    /// Size of each disk that the guest can write to, in bytes.
    pub fn disk_bytes(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::empty()
    }

    /// Bytes of storage at most: RAM, video memory and disks, each disk in whole pages.
    pub fn storage_bytes(&self) -> u64 {
        let page = crate::PAGE_SIZE as u64;
        self.ram_bytes + self.video_bytes() + self.disk_bytes().map(|b| b.next_multiple_of(page)).sum::<u64>()
    }

    /// Checks what a machine cannot be built from; the error says what to change.
    pub fn check(&self) -> Result<(), String> {
        if self.ram_bytes < RAM_MIN || self.ram_bytes > RAM_MAX || !self.ram_bytes.is_multiple_of(1 << 20) {
            return Err(format!(
                "memory of {} bytes: it must be a whole number of MiB from {} to {} MiB",
                self.ram_bytes,
                RAM_MIN >> 20,
                RAM_MAX >> 20
            ));
        }
        if self.bios.len() > 16 << 20 {
            return Err(format!("a system ROM of {} bytes: at most 16 MiB fit below 4 GiB", self.bios.len()));
        }
        if self.vga_bios.len() > EXPANSION_ROM_BYTES {
            return Err(format!(
                "a VGA BIOS of {} bytes: at most {} KiB fit",
                self.vga_bios.len(),
                EXPANSION_ROM_BYTES >> 10
            ));
        }
        Ok(())
    }
}

impl Default for MachineConfig {
    /// 128 MiB, and nothing that is not always there.
    fn default() -> MachineConfig {
        MachineConfig {
            ram_bytes: 128 << 20,
            cpu: CpuModel::default(),
            rtc_start: 0,
            bios: Vec::new(),
            debug_exit_port: None,
            vga: Vga::None,
            vga_bios: Vec::new(),
            option_roms: Vec::new(),
            no_reboot: false,
        }
    }
}

/// A display adapter by QEMU's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Vga {
    /// `none`
    #[default]
    None,
    /// `std`: VGA with the Bochs extensions, PCI 1234:1111.
    Std,
}

/// A processor by QEMU's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CpuModel {
    /// `qemu64`: a 64-bit processor with SSE3.
    #[default]
    Qemu64,
    /// `qemu32`: a 32-bit processor with SSE2.
    Qemu32,
    /// `pentium3`
    Pentium3,
    /// `pentium`
    Pentium,
    /// `486`
    I486,
    /// `max`: everything the engine executes.
    Max,
}
