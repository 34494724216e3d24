//! Guests that nobody here wrote: firmware, boot loaders, memory tests and Linux of Debian 12, each started from the medium
//! that it is meant for.

pub(crate) mod linux;
mod media;
mod table;

pub use media::{make_efi_disk, ovmf};
pub use table::{GUESTS, grub_rescue_cd};

use crate::process::Outcome;
use crate::recordings::info;
use crate::retrograde::{outcome_of, retrograde};
use crate::tools::{make_once, run};
use crate::{cache_dir, workspace_root};
use std::fmt::Write;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A guest that takes longer than this, in seconds of its own time, does not end by itself.
const VIRTUAL_LIMIT: u32 = 400;
/// What a guest says that has found something wrong.
const BAD: [&str; 2] = ["GUEST-TESTS-FAILED", "Kernel panic"];

/// A guest.
pub struct Guest {
    /// Its name.
    pub name: &'static str,
    /// Memory in MiB.
    ram: u32,
    /// What it is started from.
    boot: Boot,
    /// What it must show, in this order.
    shows: &'static [(On, &'static str)],
    /// It must then power off by itself; the others are ended.
    powers_off: bool,
}

/// What a guest is started from.
enum Boot {
    /// The firmware finds nothing.
    Firmware,
    /// Another firmware.
    OtherFirmware(fn() -> PathBuf),
    /// UEFI, by the machine's ROM, from a disk.
    Uefi(fn() -> PathBuf),
    /// UEFI in flash, where it has its variables, from a disk.
    UefiInFlash(fn() -> PathBuf),
    Disk(fn() -> PathBuf),
    Floppy(fn() -> PathBuf),
    Cd(fn() -> PathBuf),
    /// By the Linux boot protocol, or Multiboot.
    Linux(LinuxBoot),
    /// By the option ROM of a network card of this model.
    Network {
        model: &'static str,
        rom: fn() -> PathBuf,
    },
}

struct LinuxBoot {
    kernel: fn() -> PathBuf,
    initrd: Option<fn() -> PathBuf>,
    append: &'static str,
    /// With a disk and a CD-ROM.
    drives: bool,
}

/// Where something is shown.
#[derive(Clone, Copy)]
enum On {
    Serial,
    Screen,
}

/// How a guest's run went.
pub struct Run {
    /// Steps.
    pub steps: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Seconds of the host's processor to record it.
    pub recorded_in: f64,
    /// Seconds of the host's processor to replay it.
    pub replayed_in: f64,
    /// Size of the recording in bytes.
    pub bytes: u64,
}

impl Guest {
    /// Whether it ends within the time of a test that runs with all others.
    pub fn is_quick(&self) -> bool {
        match &self.boot {
            // One Linux is booted there.
            Boot::Linux(LinuxBoot { initrd: Some(_), .. }) => self.name == "linux-amd64-disk",
            Boot::Network { .. } | Boot::Uefi(_) | Boot::UefiInFlash(_) => false,
            _ => !matches!(self.name, "grub-linux-cd" | "ovmf"),
        }
    }

    /// Records it in `dir`, checks what it shows and how it ends, and replays the recording.
    ///
    /// # Errors
    /// What went wrong, with everything that was said.
    pub fn run(&self, dir: &Path) -> Result<Run, String> {
        let (script, recording) = (dir.join("script"), dir.join(format!("{}.rgr", self.name)));
        fs::write(&script, self.script()).map_err(|e| e.to_string())?;
        let mut command = retrograde(["record", "--rtc", "2024-01-01T00:00:00", "--force"]);
        command.arg("-m").arg(format!("{}M", self.ram)).args(self.machine());
        command.arg("--until").arg(format!("time={VIRTUAL_LIMIT}"));
        for bad in BAD {
            command.arg("--until").arg(format!("console={bad}"));
        }
        let began = children_cpu_seconds();
        let outcome = outcome_of(command.arg("--script").arg(&script).arg("-o").arg(&recording));
        let recorded_in = children_cpu_seconds() - began;
        let screen = || outcome_of(retrograde(["screen", "--text"]).arg(&recording)).stdout;
        let failed = |what: &str, Outcome { stdout, stderr, .. }: &Outcome| {
            format!("{what}\nit said:\n{stdout}\n{stderr}\non its screen:\n{}", screen())
        };
        let info = match outcome.status.code() {
            Some(0) => info(&recording),
            _ => return Err(failed("it did not show what it should", &outcome)),
        };
        let expected = if self.powers_off { "power-off" } else { "the script's `quit`" };
        let ended_by = info["ended_by"].as_str().unwrap_or_default();
        if ended_by != expected {
            return Err(failed(&format!("it was ended by {ended_by} instead of {expected}"), &outcome));
        }
        let began = children_cpu_seconds();
        let replayed = outcome_of(retrograde(["replay", "--verify"]).arg(&recording));
        let replayed_in = children_cpu_seconds() - began;
        if replayed.status.code() != Some(0) {
            return Err(failed("the replay is another run", &replayed));
        }
        let number = |name: &str| info[name].as_u64().unwrap_or_default();
        Ok(Run {
            steps: number("end"),
            virtual_time: Duration::from_nanos(number("virtual_ns")),
            recorded_in,
            replayed_in,
            bytes: number("bytes"),
        })
    }

    fn script(&self) -> String {
        let mut script = String::new();
        for (on, text) in self.shows {
            let on = match on {
                On::Serial => "serial",
                On::Screen => "screen",
            };
            writeln!(script, "wait {on} \"{text}\"").expect("a string takes all");
        }
        if !self.powers_off {
            script.push_str("quit\n");
        }
        script
    }

    fn machine(&self) -> Vec<String> {
        let named = |option: &str, path: PathBuf| vec![option.to_owned(), path.display().to_string()];
        let boot = match &self.boot {
            Boot::Firmware => named("--bios", crate::seabios()),
            Boot::OtherFirmware(image) => return named("--bios", image()),
            Boot::Uefi(disk) => {
                let firmware = named("--bios", media::ovmf());
                return [firmware, named("--hda", disk())].concat();
            }
            Boot::UefiInFlash(disk) => {
                let chip = |name: &str| {
                    let image = media::file("ovmf", &format!("usr/share/OVMF/{name}.fd"));
                    ["--drive".to_owned(), format!("if=pflash,format=raw,file={}", image.display())]
                };
                let chips = [chip("OVMF_CODE_4M"), chip("OVMF_VARS_4M")].concat();
                return [chips, named("--hda", disk())].concat();
            }
            Boot::Disk(image) => named("--hda", image()),
            Boot::Floppy(image) => named("--fda", image()),
            Boot::Cd(image) => named("--cdrom", image()),
            Boot::Linux(LinuxBoot { kernel, initrd, append, drives }) => {
                let mut options = named("--kernel", kernel());
                options.extend(["--append".to_owned(), (*append).to_owned()]);
                if let Some(initrd) = initrd {
                    options.extend(named("--initrd", initrd()));
                }
                if *drives {
                    options.extend(named("--hda", media::pattern_disk()));
                    options.extend(named("--cdrom", media::grub_tools_cd()));
                }
                return options;
            }
            Boot::Network { model, rom } => {
                [named("--option-rom", rom()), vec!["--nic".to_owned(), format!("user,model={model}")]]
                    .concat()
            }
        };
        let order = match &self.boot {
            Boot::Floppy(_) => "order=a",
            Boot::Cd(_) => "order=d",
            Boot::Network { .. } => "order=n",
            _ => "order=c",
        };
        [boot, vec!["--boot".to_owned(), order.to_owned()]].concat()
    }
}

/// A disk with an installed Debian, as a compressed qcow2 image. Root's password is `retrograde`.
pub fn debian_disk() -> PathBuf {
    const MAKER: &str = include_str!("../../../scripts/debian-disk");
    let mut hasher = DefaultHasher::new();
    MAKER.hash(&mut hasher);
    let path = cache_dir().join(format!("debian-disk-{:016x}.qcow2", hasher.finish()));
    make_once(&path, |path| {
        let raw = path.with_extension("img");
        run(Command::new(workspace_root().join("scripts/debian-disk")).arg(&raw), "the disk cannot be made");
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"]);
        run(convert.arg(&raw).arg(path), "the disk cannot be converted");
    });
    path
}

/// Processor time of the programs that this process has started and that have ended.
fn children_cpu_seconds() -> f64 {
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux's /proc");
    // Behind the name, which may hold anything: the state is field 3; 16 and 17 are the times of children.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// A file that is made once, and again when what makes it has changed.
fn cached(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    let makers = [include_str!("media.rs"), include_str!("linux.rs"), linux::INIT, linux::KLIBC_INIT];
    makers.hash(&mut hasher);
    let path = cache_dir().join(format!("guests-{:016x}", hasher.finish())).join(name);
    make_once(&path, make);
    path
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
