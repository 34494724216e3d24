//! What a machine is made of.

use crate::board::flash::BLOCK as FLASH_BLOCK;
use crate::boot::Kernel;
use crate::media::{Drive, DriveKind, Medium, MediumShape, Slot};
use serde::{Deserialize, Serialize};

/// Smallest and largest RAM, in bytes.
pub const RAM_MIN: u64 = 1 << 20;
/// Largest RAM, in bytes (below the PCI hole of the i440FX).
pub const RAM_MAX: u64 = 3 << 30;

/// Memory of the `std` display adapter.
pub const VIDEO_BYTES: u64 = 16 << 20;

/// Room for the image in the display adapter's expansion ROM.
pub const EXPANSION_ROM_BYTES: usize = 64 << 10;

/// Room for firmware below 4 GiB, in bytes.
pub const FIRMWARE_MAX: u64 = 16 << 20;

/// Most flash chips: firmware, and its variables.
pub const FLASH_CHIPS_MAX: usize = 2;

/// Most bytes of storage: beyond it pages could not be numbered.
pub const STORAGE_MAX: u64 = 1 << 40;

/// Serial ports on the board: COM1 to COM4.
pub const SERIAL_PORTS: u8 = 4;

/// Most cards that a machine can have: the PCI slots from 3 on that have room on the board.
pub const CARDS_MAX: usize = 16;

/// The hardware, fixed for the whole life of a machine. A kernel that is loaded without firmware is contents of its
/// memory, and not of this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineConfig {
    /// RAM in bytes: a multiple of 1 MiB, [`RAM_MIN`] to [`RAM_MAX`].
    pub ram_bytes: u64,
    /// Which processor CPUID describes.
    pub cpu: CpuModel,
    /// What the real-time clock says at power-on, in seconds since 1970-01-01T00:00:00 as the guest reads it.
    pub rtc_start: i64,
    /// System ROM image, mapped below 4 GiB and (its last 128 KiB) below 1 MiB. Empty: no ROM.
    pub bios: Vec<u8>,
    /// Flash chips that hold the firmware instead of a ROM: the first ends at 4 GiB, the second where the first begins. What is in
    /// them is contents of memory, and not of this.
    pub flash: Vec<FlashConfig>,
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
    /// Every image that is in a drive at power-on or may be put into one later.
    pub media: Vec<Medium>,
    /// The drives.
    pub drives: Vec<Drive>,
    /// Cards in PCI slots, from slot 3 on.
    pub cards: Vec<CardConfig>,
    /// What firmware tries to boot from, in order.
    pub boot_order: [Option<BootDevice>; 3],
    /// How firmware goes about it.
    pub boot: BootOptions,
    /// A kernel that firmware starts before anything else.
    pub kernel: Option<Kernel>,
}

/// How firmware goes about booting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootOptions {
    /// What it tries to boot from until the first reset, if that differs.
    pub once: Option<[Option<BootDevice>; 3]>,
    /// It offers a menu.
    pub menu: bool,
    /// Milliseconds that the offer stands.
    pub menu_wait_ms: Option<u16>,
    /// Milliseconds after which it tries again if nothing could be booted; otherwise it does not.
    pub retry_ms: Option<u16>,
    /// It boots from nothing that is not in the order.
    pub strict: bool,
}

impl MachineConfig {
    /// Bytes of the display adapter's memory.
    pub fn video_bytes(&self) -> u64 {
        match self.vga {
            Vga::None => 0,
            Vga::Std => VIDEO_BYTES,
        }
    }

    /// Whether there is firmware.
    pub fn has_firmware(&self) -> bool {
        !self.bios.is_empty() || !self.flash.is_empty()
    }

    /// Bytes of all flash chips.
    pub fn flash_bytes(&self) -> u64 {
        self.flash.iter().map(|chip| chip.bytes).fold(0, u64::saturating_add)
    }

    /// Bytes of storage that the CPU can reach: RAM, video memory, flash.
    pub fn reachable_bytes(&self) -> u64 {
        self.ram_bytes.saturating_add(self.video_bytes()).saturating_add(self.flash_bytes())
    }

    /// For each medium how many bytes of it the guest can write to: all or none.
    pub fn disk_bytes(&self) -> impl Iterator<Item = u64> + '_ {
        self.media.iter().map(|medium| if medium.read_only { 0 } else { medium.bytes })
    }

    /// The drive at a place.
    pub fn drive(&self, slot: Slot) -> Option<&Drive> {
        self.drives.iter().find(|drive| drive.slot == slot)
    }

    /// Medium `number` as a chip sees it.
    pub fn medium(&self, number: usize) -> Option<MediumShape> {
        let medium = self.media.get(number)?;
        Some(MediumShape { number, bytes: medium.bytes, read_only: medium.read_only })
    }

    /// The medium that is in the drive at a place at power-on.
    pub fn medium_in(&self, slot: Slot) -> Option<MediumShape> {
        self.medium(self.drive(slot)?.medium?)
    }

    /// What firmware tries to boot from before the first reset.
    pub fn first_boot_order(&self) -> [Option<BootDevice>; 3] {
        self.boot.once.unwrap_or(self.boot_order)
    }

    /// Bytes of storage at most: RAM, video memory, flash and disks, each disk in whole pages.
    pub fn storage_bytes(&self) -> u64 {
        let page = crate::PAGE_SIZE as u64;
        let disks = self.disk_bytes().map(|bytes| bytes.div_ceil(page).saturating_mul(page));
        disks.fold(self.reachable_bytes(), u64::saturating_add)
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
        self.check_firmware()?;
        if self.vga_bios.len() > EXPANSION_ROM_BYTES {
            return Err(format!(
                "a VGA BIOS of {} bytes: at most {} KiB fit",
                self.vga_bios.len(),
                EXPANSION_ROM_BYTES >> 10
            ));
        }
        if self.storage_bytes() > STORAGE_MAX {
            return Err(format!("disks that can be written to of more than {} GiB", STORAGE_MAX >> 30));
        }
        if self.cards.len() > CARDS_MAX {
            return Err(format!("{} cards: there are slots for {CARDS_MAX}", self.cards.len()));
        }
        if let Some(kernel) = &self.kernel {
            if !self.has_firmware() {
                return Err("a kernel that firmware is to start, and no firmware".into());
            }
            kernel.check(self.ram_bytes).map_err(|error| error.to_string())?;
        }
        self.check_drives()?;
        self.check_disk_cards()
    }

    fn check_firmware(&self) -> Result<(), String> {
        let most = FIRMWARE_MAX >> 20;
        if self.bios.len() as u64 > FIRMWARE_MAX {
            return Err(format!(
                "a system ROM of {} bytes: at most {most} MiB fit below 4 GiB",
                self.bios.len()
            ));
        }
        if self.flash_bytes() > FIRMWARE_MAX {
            return Err(format!("flash of {} bytes: at most {most} MiB fit below 4 GiB", self.flash_bytes()));
        }
        if self.flash.len() > FLASH_CHIPS_MAX {
            return Err(format!("{} flash chips: there is room for {FLASH_CHIPS_MAX}", self.flash.len()));
        }
        if !self.bios.is_empty() && !self.flash.is_empty() {
            return Err("a system ROM and flash chips in its place".into());
        }
        let blocks = |chip: &FlashConfig| chip.bytes != 0 && chip.bytes.is_multiple_of(FLASH_BLOCK);
        match self.flash.iter().find(|chip| !blocks(chip)) {
            Some(chip) => {
                Err(format!("a flash chip of {} bytes: it has blocks of {FLASH_BLOCK}", chip.bytes))
            }
            None => Ok(()),
        }
    }

    /// Disks on cards have a medium of their own.
    fn check_disk_cards(&self) -> Result<(), String> {
        let in_drives = self.drives.iter().filter_map(|drive| drive.medium);
        let mut taken: Vec<usize> = in_drives.collect();
        for card in &self.cards {
            let CardConfig::VirtioBlk { medium } = card else { continue };
            if *medium >= self.media.len() {
                return Err(format!("virtio: there is no medium {medium}"));
            }
            if taken.contains(medium) {
                return Err(format!("virtio: {} is in two drives", self.media[*medium].name));
            }
            taken.push(*medium);
        }
        Ok(())
    }

    fn check_drives(&self) -> Result<(), String> {
        for (i, drive) in self.drives.iter().enumerate() {
            let slot = drive.slot;
            let fits = Slot::FLOPPY.contains(&slot) == (drive.kind == DriveKind::Floppy);
            if !fits {
                return Err(format!("{slot}: no such drive can be there"));
            }
            if self.drives[..i].iter().any(|other| other.slot == slot) {
                return Err(format!("{slot}: two drives in one place"));
            }
            if drive.medium.is_none() && drive.kind == DriveKind::Disk {
                return Err(format!("{slot}: a disk without an image"));
            }
            let Some(number) = drive.medium else { continue };
            let Some(medium) = self.media.get(number) else {
                return Err(format!("{slot}: there is no medium {number}"));
            };
            if self.drives[..i].iter().any(|other| other.medium == Some(number)) {
                return Err(format!("{slot}: {} is in two drives", medium.name));
            }
            if drive.kind == DriveKind::Cd && !medium.read_only {
                return Err(format!("{slot}: a CD-ROM that can be written to"));
            }
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
            flash: Vec::new(),
            debug_exit_port: None,
            vga: Vga::None,
            vga_bios: Vec::new(),
            option_roms: Vec::new(),
            no_reboot: false,
            media: Vec::new(),
            drives: Vec::new(),
            cards: Vec::new(),
            boot_order: [Some(BootDevice::Disk), Some(BootDevice::Floppy), Some(BootDevice::Cd)],
            boot: BootOptions::default(),
            kernel: None,
        }
    }
}

/// A flash chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlashConfig {
    /// Its size: whole blocks.
    pub bytes: u64,
    /// Nothing can be written to it or erased.
    pub read_only: bool,
}

/// A card in a PCI slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CardConfig {
    /// A network card: QEMU's `ne2k_pci` (Realtek RTL8029AS).
    Ne2kPci {
        /// Its station address.
        mac: Mac,
    },
    /// A network card: QEMU's `e1000` (Intel 82540EM).
    E1000 {
        /// Its station address.
        mac: Mac,
    },
    /// A sound card: QEMU's `AC97` (Intel 82801AA).
    Ac97,
    /// A network card: QEMU's `virtio-net-pci`.
    VirtioNet {
        /// Its station address.
        mac: Mac,
    },
    /// A disk: QEMU's `virtio-blk-pci`.
    VirtioBlk {
        /// Number of its medium.
        medium: usize,
    },
    /// A source of numbers: QEMU's `virtio-rng-pci`.
    VirtioRng {
        /// What its numbers follow from.
        seed: u64,
    },
    /// A console: QEMU's `virtio-serial-pci` with one `virtconsole`.
    VirtioConsole {
        /// Its number among the serial ports, which is behind those on the board.
        port: u8,
    },
}

impl CardConfig {
    /// The station address, if it is a network card.
    pub fn mac(&self) -> Option<Mac> {
        match self {
            CardConfig::Ne2kPci { mac } | CardConfig::E1000 { mac } | CardConfig::VirtioNet { mac } => {
                Some(*mac)
            }
            CardConfig::Ac97
            | CardConfig::VirtioBlk { .. }
            | CardConfig::VirtioRng { .. }
            | CardConfig::VirtioConsole { .. } => None,
        }
    }
}

/// A station address of an Ethernet, in the order in which it is sent.
pub type Mac = [u8; 6];

/// What firmware can boot from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BootDevice {
    /// The first floppy drive.
    Floppy,
    /// The first hard disk.
    Disk,
    /// A CD-ROM.
    Cd,
    /// A network card.
    Network,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with(drives: &[(Slot, DriveKind, Option<usize>)]) -> Result<(), String> {
        let medium = |read_only| Medium { name: "image".into(), bytes: 1 << 20, hash: 0, read_only };
        let drives = drives.iter().map(|&(slot, kind, medium)| Drive { slot, kind, medium }).collect();
        MachineConfig { media: vec![medium(false), medium(true)], drives, ..MachineConfig::default() }.check()
    }

    #[test]
    fn a_drive_has_a_place_of_its_own_and_a_medium_that_fits() {
        use DriveKind::*;
        assert_eq!(
            with(&[(Slot::Hda, Disk, Some(0)), (Slot::Hdc, Cd, Some(1)), (Slot::Fda, Floppy, None)]),
            Ok(())
        );
        for bad in [
            &[(Slot::Hda, Disk, Some(0)), (Slot::Hda, Cd, None)][..],
            &[(Slot::Hda, Disk, Some(0)), (Slot::Hdb, Disk, Some(0))],
            &[(Slot::Hda, Disk, None)],
            &[(Slot::Hda, Disk, Some(2))],
            &[(Slot::Hda, Floppy, Some(0))],
            &[(Slot::Fda, Disk, Some(0))],
            &[(Slot::Hdc, Cd, Some(0))],
        ] {
            assert!(with(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn firmware_is_in_a_rom_or_in_flash_that_fits() {
        let chip = |bytes| FlashConfig { bytes, read_only: false };
        let check = |bios: &[u8], flash: &[FlashConfig]| {
            MachineConfig { bios: bios.to_vec(), flash: flash.to_vec(), ..MachineConfig::default() }.check()
        };
        assert_eq!(check(&[], &[chip(FIRMWARE_MAX - FLASH_BLOCK), chip(FLASH_BLOCK)]), Ok(()));
        for (bios, flash) in [
            (&[][..], &[chip(FIRMWARE_MAX), chip(FLASH_BLOCK)][..]),
            (&[], &[chip(FLASH_BLOCK); 3]),
            (&[], &[chip(0)]),
            (&[], &[chip(FLASH_BLOCK + 1)]),
            (&[], &[chip(u64::MAX - FLASH_BLOCK + 1); 2]),
            (&[0; 16], &[chip(FLASH_BLOCK)]),
        ] {
            assert!(check(bios, flash).is_err(), "{} {flash:?}", bios.len());
        }
    }

    #[test]
    fn storage_that_cannot_be_numbered_is_refused() {
        let medium = Medium { name: String::new(), bytes: u64::MAX, hash: 0, read_only: false };
        let config = MachineConfig { media: vec![medium.clone(), medium], ..MachineConfig::default() };
        assert!(config.check().is_err());
    }
}
