//! From the command line to a machine at power-on.

use crate::cli::{Device, MachineArgs};
use crate::drive_spec::split_list;
use crate::drives::Drives;
use crate::flash::{self, FlashChip};
use crate::usage::Usage;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::Path;
use vm::config::{EXPANSION_ROM_BYTES, FIRMWARE_MAX};
use vm::{CardConfig, Kernel, Machine, MachineConfig, Module, SERIAL_PORTS, Vga};

/// Where Debian's `seabios` package puts its 256 KiB image.
const SEABIOS: &str = "/usr/share/seabios/bios-256k.bin";
/// Where it puts the VGA BIOS for the `std` display adapter, and where QEMU's own packages do.
const VGA_BIOSES: [&str; 2] = ["/usr/share/seabios/vgabios-stdvga.bin", "/usr/share/qemu/vgabios-stdvga.bin"];
/// Images larger than this are no option ROM: its length is a byte that counts 512 bytes.
const OPTION_ROM_MAX_BYTES: u64 = 255 * 512;
/// The machine that `args` describes, with these drives and its kernel loaded.
pub fn build(args: &MachineArgs, drives: &Drives) -> Result<Machine> {
    let vga_bios = vga_bios(args.vga)?;
    let kernel = args.kernel.as_ref().map(|path| kernel(args, path)).transpose()?;
    // Firmware starts a kernel if it is asked for, or if the kernel needs it.
    let has_firmware = args.bios.is_some() || !drives.flash.is_empty();
    let by_firmware =
        kernel.as_ref().is_some_and(|kernel| has_firmware || vm::boot::linux::needs_firmware(&kernel.image));
    let (for_firmware, direct) = if by_firmware { (kernel, None) } else { (None, kernel) };
    let config = MachineConfig {
        ram_bytes: args.memory,
        cpu: args.cpu,
        rtc_start: args.rtc.unwrap_or_else(|| crate::units::unix_seconds(std::time::SystemTime::now())),
        bios: if direct.is_some() { Vec::new() } else { firmware(args, drives)? },
        flash: drives.flash.iter().map(FlashChip::config).collect(),
        debug_exit_port: debug_exit_port(&args.device),
        vga: if vga_bios.is_empty() { Vga::None } else { Vga::Std },
        vga_bios,
        option_roms: args.option_rom.iter().map(|path| option_rom(path)).collect::<Result<_>>()?,
        no_reboot: args.no_reboot,
        drives: drives.drives.clone(),
        media: drives.media.clone(),
        cards: cards(args, drives),
        boot_order: args.drives.boot.order,
        boot: args.drives.boot.options.clone(),
        kernel: for_firmware,
    };
    let mut machine = Machine::with_media(&config, drives.sources()).context("cannot build the machine")?;
    flash::load(&drives.flash, &mut machine);
    if let (Some(kernel), Some(path)) = (direct, &args.kernel) {
        machine.load(&kernel).with_context(|| format!("cannot start --kernel {}", path.display()))?;
    }
    Ok(machine)
}

/// Where isa-debug-exit is.
fn debug_exit_port(devices: &[Device]) -> Option<u16> {
    devices.iter().rev().find_map(|device| match device {
        Device::DebugExit { port } => Some(*port),
        Device::Card(_) => None,
    })
}

/// Network cards, then disks on cards, then consoles, then the others.
fn cards(args: &MachineArgs, drives: &Drives) -> Vec<CardConfig> {
    let mut cards = crate::net::cards(&args.nic);
    cards.extend(drives.virtio.iter().map(|medium| CardConfig::VirtioBlk { medium: *medium }));
    let ports = (SERIAL_PORTS..).zip(&args.virtconsole);
    cards.extend(ports.map(|(port, _)| CardConfig::VirtioConsole { port }));
    cards.extend(args.device.iter().filter_map(|device| match device {
        Device::Card(card) => Some(*card),
        Device::DebugExit { .. } => None,
    }));
    cards
}

/// What `--kernel`, `--initrd` and `--append` name.
fn kernel(args: &MachineArgs, path: &Path) -> Result<Kernel> {
    let image = read_file("--kernel", path, args.memory)?;
    let cmdline = args.append.clone().unwrap_or_default();
    let mut kernel = Kernel { image, modules: Vec::new(), cmdline };
    let read = |path: &Path, string| -> Result<Module> {
        Ok(Module { bytes: read_file("--initrd", path, args.memory)?, string })
    };
    if !kernel.is_multiboot() {
        if let Some(path) = &args.initrd {
            kernel.modules.push(read(path, String::new())?);
        }
        return Ok(kernel);
    }
    // A Multiboot loader gives each file's name, and what was said behind it.
    kernel.cmdline = format!("{} {}", path.display(), kernel.cmdline).trim_end().to_owned();
    let list = args.initrd.as_ref().map(|list| list.to_string_lossy().into_owned());
    for string in list.iter().flat_map(|list| split_list(list)) {
        let string = string.trim_start().to_owned();
        let path = string.split(' ').next().unwrap_or_default();
        kernel.modules.push(read(Path::new(path), string.clone())?);
    }
    Ok(kernel)
}

/// Firmware in a ROM; none if it is in flash.
fn firmware(args: &MachineArgs, drives: &Drives) -> Result<Vec<u8>> {
    match &args.bios {
        Some(_) if !drives.flash.is_empty() => {
            Err(Usage("--bios and --drive if=pflash are two kinds of firmware: leave out one".into()).into())
        }
        Some(path) => read_file("--bios", path, FIRMWARE_MAX),
        None if !drives.flash.is_empty() => Ok(Vec::new()),
        None if Path::new(SEABIOS).exists() => read_file("SeaBIOS", Path::new(SEABIOS), FIRMWARE_MAX),
        None if args.kernel.is_some() => bail!(
            "--kernel: this kernel starts in real mode, which takes firmware, and there is none at {SEABIOS}: install the \
             package `seabios`, or give --bios FILE"
        ),
        None => bail!(
            "there is no firmware at {SEABIOS}: install the package `seabios`, or give --bios FILE or --kernel FILE"
        ),
    }
}

/// The VGA BIOS of the display adapter that is asked for; empty for none. Without a wish there is one if it can be had.
fn vga_bios(wish: Option<Vga>) -> Result<Vec<u8>> {
    if wish == Some(Vga::None) {
        return Ok(Vec::new());
    }
    match VGA_BIOSES.iter().map(Path::new).find(|path| path.exists()) {
        Some(path) => read_file("VGA BIOS", path, EXPANSION_ROM_BYTES as u64),
        None if wish.is_none() => Ok(Vec::new()),
        None => bail!(
            "--vga std: there is no VGA BIOS at {}: install the package `seabios`, or say --vga none",
            VGA_BIOSES[0]
        ),
    }
}

/// An option ROM with the name that firmware is told: the file's.
fn option_rom(path: &Path) -> Result<(String, Vec<u8>)> {
    let image = read_file("--option-rom", path, OPTION_ROM_MAX_BYTES)?;
    if !image.starts_with(&[0x55, 0xaa]) {
        bail!("--option-rom: {} is no option ROM: it does not begin with 55 aa", path.display());
    }
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok((name, image))
}

/// Reads a file that must fit into `limit` bytes; a device or pipe is never read further than that.
pub fn read_file(option: &str, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("{option}: cannot open {shown}"))?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(|| format!("{option}: cannot read {shown}"))?;
    if bytes.len() as u64 > limit {
        let memory = matches!(option, "--kernel" | "--initrd");
        let way_out = if memory { "; give the machine more --memory" } else { "" };
        bail!("{option}: {shown} is larger than {} MiB, and does not fit{way_out}", limit >> 20);
    }
    if bytes.is_empty() {
        bail!("{option}: {shown} is empty");
    }
    Ok(bytes)
}
