//! From the command line to a machine at power-on.

use crate::cli::{Device, MachineArgs};
use crate::drives::Drives;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::Path;
use vm::{Machine, MachineConfig};

/// Where Debian's `seabios` package puts its 256 KiB image.
const SEABIOS: &str = "/usr/share/seabios/bios-256k.bin";
/// Images larger than this are no firmware.
const BIOS_MAX_BYTES: u64 = 16 << 20;

/// The machine that `args` describes, with these drives and its kernel loaded.
pub fn build(args: &MachineArgs, drives: &Drives) -> Result<Machine> {
    let config = MachineConfig {
        ram_bytes: args.memory,
        cpu: args.cpu,
        rtc_start: args.rtc.unwrap_or_else(|| crate::units::unix_seconds(std::time::SystemTime::now())),
        bios: firmware(args)?,
        debug_exit_port: args.device.iter().map(|Device::DebugExit { port }| *port).next_back(),
        no_reboot: args.no_reboot,
        drives: drives.drives.clone(),
        media: drives.media.clone(),
        boot_order: args.drives.boot.0,
        ..MachineConfig::default()
    };
    let mut machine = Machine::with_media(&config, drives.sources()).context("cannot build the machine")?;
    if let Some(path) = &args.kernel {
        let kernel = read_file("--kernel", path, args.memory)?;
        let initrd = args.initrd.as_ref().map(|p| read_file("--initrd", p, args.memory)).transpose()?;
        let cmdline = args.append.as_deref().unwrap_or("");
        machine
            .load_kernel(&kernel, initrd.as_deref(), cmdline)
            .with_context(|| format!("cannot start --kernel {}", path.display()))?;
    }
    Ok(machine)
}

fn firmware(args: &MachineArgs) -> Result<Vec<u8>> {
    match &args.bios {
        Some(path) => read_file("--bios", path, BIOS_MAX_BYTES),
        // A kernel is started directly.
        None if args.kernel.is_some() => Ok(Vec::new()),
        None if Path::new(SEABIOS).exists() => read_file("SeaBIOS", Path::new(SEABIOS), BIOS_MAX_BYTES),
        None => bail!(
            "there is no firmware at {SEABIOS}: install the package `seabios`, or give --bios FILE or --kernel FILE"
        ),
    }
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
