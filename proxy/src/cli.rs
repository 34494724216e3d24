//! The command line.

use crate::drives::DriveArgs;
use crate::gdb::arch::ArchChoice;
use crate::host_serial::{SerialSpec, parse_output};
use crate::net::NicSpec;
use crate::place::Place;
use crate::units::{parse_count, parse_cpu, parse_memory, parse_rtc, parse_size};
use crate::until::Until;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;
use vm::{CardConfig, CpuModel, Vga};

/// Time-travel debugging for whole x86 PCs: record a machine while it runs, then walk back from a crash to its cause with
/// GDB or LLDB.
#[derive(Debug, Parser)]
#[command(
    name = "retrograde",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  retrograde record --kernel kernel.elf -o crash.rgr     run a kernel and record it
  retrograde serve crash.rgr                             debug the recording, forward and backward:
  gdb kernel.elf -ex 'target remote :1234'                 ... reverse-continue, reverse-step, ...
  retrograde replay --verify crash.rgr                   run it again and compare every hash"
)]
pub struct Cli {
    /// Log what happens (-v: information, -vv: debugging, -vvv: every packet)
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a machine and record it
    Record(Box<RecordArgs>),
    /// Run a machine and record it while GDB or LLDB debugs it, backward too
    Live(Box<LiveArgs>),
    /// Run a recording again at full speed
    Replay(ReplayArgs),
    /// Debug a recording with GDB or LLDB
    Serve(ServeArgs),
    /// Say what is in a recording
    Info(InfoArgs),
    /// Show the serial output of a recording, each line with its position and virtual time
    Console(ConsoleArgs),
    /// List what came into a machine, and the interrupts that it took
    Events(EventsArgs),
    /// Make a part of a recording a recording of its own
    Trim(TrimArgs),
    /// Find the first step in which two recordings differ
    Diff(DiffArgs),
    /// Show the screen at a place of a recording, as a picture or as its text
    Screen(ScreenArgs),
}

/// `retrograde record`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  retrograde record --kernel kernel.elf -o crash.rgr
  retrograde record -m 1G --kernel vmlinuz --initrd initrd.gz --append 'console=ttyS0' -o boot.rgr
  retrograde record --debugcon stdio --serial none --until 'console=No bootable device' -o bios.rgr
  retrograde record --kernel vmlinuz --initrd initrd.gz --append console=ttyS0 --script session.txt -o s.rgr
  retrograde record --hda disk.img --cdrom install.iso --boot order=dc -o install.rgr

A script has one command a line: wait serial|debugcon|screen TEXT, wait time SECONDS, wait insns N, send TEXT (to the first
serial port, with C escapes), type TEXT and key NAME... (on the keyboard), mouse DX DY BUTTONS (1 left, 2 middle, 4 right), eject DRIVE,
insert DRIVE FILE (DRIVE is cd, fda, fdb, or hdb to hdd for a CD-ROM drive there), power, reset, quit. Lines that begin with #
are comments; a TEXT in double quotes keeps blanks at its ends.

On a terminal, keys go to the guest's first serial port; Ctrl-A x ends the recording, Ctrl-A h helps. Elsewhere Ctrl-C does.

Exit status: 0 for an orderly end, (value<<1)|1 after isa-debug-exit, 1 for an error, 2 for wrong usage, 3 if the guest hung
with interrupts off, 4 if the run ended while the script was still waiting.")]
pub struct RecordArgs {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Connect a serial port to stdio, file:PATH, tcp:HOST:PORT, unix:PATH or none; repeat it for the second port and so on
    /// (`,server` after a socket waits for a peer) [default: stdio for the first; with --script its output only]
    #[arg(long, value_name = "TO")]
    pub serial: Vec<SerialSpec>,
    /// Send the debug consoles (ports 0xe9 and 0x402) to stdio, file:PATH or none
    #[arg(long, value_name = "TO", default_value = "none", value_parser = parse_output)]
    pub debugcon: SerialSpec,
    /// Send what is printed on the parallel port to stdio, file:PATH or none
    #[arg(long, value_name = "TO", default_value = "none", value_parser = parse_output)]
    pub parallel: SerialSpec,
    /// End when this first holds: insns=N, time=SECONDS (virtual), console=TEXT (serial or debug console), screen=TEXT,
    /// poweroff; may be repeated
    #[arg(long, value_name = "CONDITION")]
    pub until: Vec<Until>,
    /// Give the machine the input of this script
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Type this on the keyboard, from power-on: text with C escapes, and in angle brackets QEMU's names of keys and seconds
    /// to wait: '<wait 2>c<ret>'. What has to wait for something on the screen is for a --script
    #[arg(long = "type", value_name = "TEXT", conflicts_with = "script", allow_hyphen_values = true)]
    pub typed: Option<String>,
    /// Let virtual time run free, or hold it back to the host's
    #[arg(long, value_enum, default_value_t = Pace::Fast)]
    pub pace: Pace,
    /// Steps between two checkpoints. Unless it is said they come by the time that the guest takes to run, some 75 ms
    #[arg(long, value_name = "STEPS", value_parser = parse_checkpoint_every)]
    pub checkpoint_every: Option<u64>,
    /// The recording to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Overwrite the recording if it exists
    #[arg(long)]
    pub force: bool,
}

/// `retrograde live`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  retrograde live --kernel kernel.elf -o today.rgr
  gdb kernel.elf -ex 'target remote :1234'
  retrograde live -S --hda disk.img -o boot.rgr           nothing runs before a debugger says so

The machine runs whenever no debugger is attached; one that attaches stops it. Go back into what has happened with reverse
commands or `monitor seek`; going forward over its end goes on recording. `monitor branch FILE` goes on live from a past
position, in a recording of its own. What is recorded is a recording like any other, also after the power was cut.

Exit status: that of `retrograde record`.")]
pub struct LiveArgs {
    /// What is recorded.
    #[command(flatten)]
    pub record: RecordArgs,
    /// Where to listen for a debugger: HOST:PORT, :PORT, PORT (0: any free port, which is printed) or unix:PATH
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1234")]
    pub gdb: String,
    /// Where to listen for programs that speak QMP, in the same forms [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub qmp: Option<String>,
    /// Which registers the debugger is shown; auto: 64-bit for Linux and without --kernel, if the processor has them
    #[arg(long, value_enum, default_value_t = ArchChoice::Auto)]
    pub arch: ArchChoice,
    /// Wait for a debugger before the first instruction
    #[arg(short = 'S', long)]
    pub wait: bool,
}

/// The hardware and what is loaded into it.
#[derive(Debug, Args)]
pub struct MachineArgs {
    /// Memory: 64M, 1G; a plain number is in megabytes
    #[arg(short, long, value_name = "SIZE", default_value = "128M", value_parser = parse_memory)]
    pub memory: u64,
    /// Processor: qemu64, qemu32, pentium3, pentium, 486, max
    #[arg(long, value_name = "NAME", default_value = "qemu64", value_parser = parse_cpu)]
    pub cpu: CpuModel,
    /// Firmware image [default: SeaBIOS, unless there is a --kernel that starts without it]
    #[arg(long, value_name = "FILE")]
    pub bios: Option<PathBuf>,
    /// Kernel to start: a Linux bzImage, a multiboot 1 ELF or a flat image. With --bios the firmware starts it, which cannot be
    /// a flat image then
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk of the kernel; for a multiboot kernel its modules, each with its arguments: 'FILE ARGS,FILE ARGS'
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub initrd: Option<PathBuf>,
    /// Command line of the kernel
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Drives.
    #[command(flatten)]
    pub drives: DriveArgs,
    /// What the guest's clock says at power-on, as 2024-01-01T00:00:00 [default: the host's date, in UTC]
    #[arg(long, value_name = "DATE", value_parser = parse_rtc, allow_hyphen_values = true)]
    pub rtc: Option<i64>,
    /// Add a device: isa-debug-exit[,iobase=PORT], AC97 (a sound card that nobody hears),
    /// virtio-rng-pci[,seed=NUMBER] (random numbers that follow from a seed, which is in the recording)
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<Device>,
    /// Display adapter: std (VGA with the Bochs extensions; needs the package `seabios`, which has its VGA BIOS) or none
    /// [default: std if its VGA BIOS is there]
    #[arg(long, value_name = "NAME", value_parser = parse_vga)]
    pub vga: Option<Vga>,
    /// Network card: user[,model=e1000|ne2k_pci|virtio-net-pci][,mac=ADDRESS][,hostfwd=tcp:[ADDR]:PORT-[GUEST]:PORT][,tftp=DIR]
    /// [,bootfile=NAME] is one with a network of its own that leads out through this program (guest 10.0.2.15, gateway and
    /// host 10.0.2.2, DNS 10.0.2.3; the gateway gives the files of DIR by TFTP, DHCP says which one to start); none is none;
    /// may be repeated [default: none]
    #[arg(long, value_name = "NETWORK")]
    pub nic: Vec<NicSpec>,
    /// Add a console on a virtio card (QEMU's virtio-serial-pci with a virtconsole; hvc0 in Linux), connected as --serial
    /// says; may be repeated
    #[arg(long, value_name = "TO")]
    pub virtconsole: Vec<SerialSpec>,
    /// Option ROM that the firmware runs; may be repeated
    #[arg(long, value_name = "FILE")]
    pub option_rom: Vec<PathBuf>,
    /// End the run where the guest resets itself or triple-faults (a machine without firmware always does)
    #[arg(long)]
    pub no_reboot: bool,
}

/// Where the images of a recording are now.
#[derive(Debug, Default, Args)]
pub struct MediaArgs {
    /// Take the image NEW where the recording names OLD; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_moved)]
    pub media: Vec<(String, PathBuf)>,
}

fn parse_moved(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.into())),
        _ => Err("write OLD=NEW, with the name as `retrograde info` shows it".into()),
    }
}

/// How virtual time relates to the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// Never sleep.
    Fast,
    /// Never run ahead of the host's clock.
    Realtime,
}

/// A device of `--device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// isa-debug-exit at this port.
    DebugExit {
        /// I/O port.
        port: u16,
    },
    /// A card without options.
    Card(CardConfig),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Device, String> {
        let mut parts = text.split(',');
        match parts.next() {
            Some("isa-debug-exit") => {}
            Some("AC97") => {
                return match parts.next() {
                    None => Ok(Device::Card(CardConfig::Ac97)),
                    Some(part) => Err(format!("AC97: there is no option `{part}`")),
                };
            }
            Some("virtio-rng-pci") => {
                let seed = match parts.next().map(|part| (part, part.strip_prefix("seed=").map(parse_count)))
                {
                    None => RandomState::new().hash_one(()),
                    Some((_, Some(Ok(seed)))) => seed,
                    Some((part, _)) => return Err(format!("virtio-rng-pci: `{part}` is not seed=NUMBER")),
                };
                return match parts.next() {
                    None => Ok(Device::Card(CardConfig::VirtioRng { seed })),
                    Some(part) => Err(format!("virtio-rng-pci: there is no option `{part}`")),
                };
            }
            Some("virtio-blk-pci") => {
                return Err("a disk on a virtio card: write --drive file=IMAGE,if=virtio".into());
            }
            Some("virtio-serial-pci" | "virtconsole") => {
                return Err("a console on a virtio card: write --virtconsole TO, as with --serial".into());
            }
            Some("virtio-net-pci") => {
                return Err("a network card: write --nic user,model=virtio-net-pci".into());
            }
            Some(card @ ("e1000" | "ne2k_pci")) => {
                return Err(format!("`{card}` is a network card: write --nic user,model={card}"));
            }
            other => {
                return Err(format!(
                    "there is no device `{}`; there are isa-debug-exit, AC97 and virtio-rng-pci",
                    other.unwrap_or("")
                ));
            }
        }
        // QEMU's default.
        let mut port = 0x501;
        for part in parts {
            let value = |text| parse_count(text).ok().and_then(|n| u16::try_from(n).ok());
            match part.split_once('=').map(|(name, text)| (name, value(text))) {
                Some(("iobase", Some(base))) => port = base,
                // The device decodes one register of up to four bytes: its width makes no difference.
                Some(("iosize", Some(1 | 2 | 4))) => {}
                _ => {
                    return Err(format!("isa-debug-exit: `{part}` is none of iobase=PORT, iosize=1, 2 or 4"));
                }
            }
        }
        Ok(Device::DebugExit { port })
    }
}

fn parse_vga(text: &str) -> Result<Vga, String> {
    match text {
        "std" => Ok(Vga::Std),
        "none" => Ok(Vga::None),
        _ => Err(format!("there is no display adapter `{text}`; there are std and none")),
    }
}

fn parse_checkpoint_every(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0..1_000 => Err("checkpoints are at least 1000 steps apart".into()),
        n => Ok(n),
    }
}

/// `retrograde replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  retrograde replay --verify crash.rgr      compare every hash; status 0 only if all agree
  retrograde replay --console crash.rgr     show what the guest wrote")]
pub struct ReplayArgs {
    /// The recording
    pub file: PathBuf,
    /// Files of images that have moved since they were recorded.
    #[command(flatten)]
    pub media: MediaArgs,
    /// Compare every hash of the recording; status 1 at the first difference, which is shown [default without --console]
    #[arg(long)]
    pub verify: bool,
    /// Write the guest's serial output to standard output
    #[arg(long)]
    pub console: bool,
}

/// `retrograde serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  retrograde serve crash.rgr
  gdb kernel.elf -ex 'target remote :1234'
  lldb kernel.elf -o 'gdb-remote 1234'

The session starts at the end of the recording: the crash. Then in GDB: reverse-stepi, reverse-continue, `watch VARIABLE` and
reverse-continue, `monitor help`. In LLDB: process continue --reverse.

One debugger is served at a time; a second one is told so and turned away. When a debugger leaves, its breakpoints go and the
next one may come; the session stays where it was. Ctrl-C here ends the server.")]
pub struct ServeArgs {
    /// The recording
    pub file: PathBuf,
    /// Files of images that have moved since they were recorded.
    #[command(flatten)]
    pub media: MediaArgs,
    /// Where to listen for a debugger: HOST:PORT, :PORT, PORT (0: any free port, which is printed) or unix:PATH
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1234")]
    pub gdb: String,
    /// Where to listen for programs that speak QMP, in the same forms [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub qmp: Option<String>,
    /// Where to start: start, end, a position, a percentage or a time
    #[arg(long, value_name = "WHERE", default_value = "end", allow_hyphen_values = true)]
    pub at: Place,
    /// Which registers the debugger is shown; auto: by the processor's mode at the end of the recording
    #[arg(long, value_enum, default_value_t = ArchChoice::Auto)]
    pub arch: ArchChoice,
    /// Exit when the first debugger leaves
    #[arg(long)]
    pub once: bool,
    /// How much memory checkpoints and the like may take beside the guest's own, for example 256M or 4G
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    pub memory_budget: u64,
    /// How many processors a long search may use; each takes memory for another machine, out of a quarter of the budget [default: all]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZero<usize>>,
}

/// `retrograde info`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  retrograde info crash.rgr
  retrograde info --json crash.rgr | jq .end")]
pub struct InfoArgs {
    /// The recording
    pub file: PathBuf,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

/// `retrograde console`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  retrograde console boot.rgr | grep -i panic     find the position of a line, then: monitor replay_seek POSITION
  retrograde console boot.rgr --at 50%")]
pub struct ConsoleArgs {
    /// The recording
    pub file: PathBuf,
    /// Files of images that have moved since they were recorded.
    #[command(flatten)]
    pub media: MediaArgs,
    /// Only what was written up to there: a position, a percentage, a time, end
    #[arg(long, value_name = "WHERE", default_value = "end", allow_hyphen_values = true)]
    pub at: Place,
    /// The debug consoles (ports 0xe9 and 0x402) instead of the serial ports
    #[arg(long)]
    pub debugcon: bool,
}

/// `retrograde events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  retrograde events crash.rgr --kind input
  retrograde events crash.rgr --from 1.5s --to 1.6s --json")]
pub struct EventsArgs {
    /// The recording
    pub file: PathBuf,
    /// From there on: a position, a percentage, a time
    #[arg(long, value_name = "WHERE", default_value = "start", allow_hyphen_values = true)]
    pub from: Place,
    /// Up to there
    #[arg(long, value_name = "WHERE", default_value = "end", allow_hyphen_values = true)]
    pub to: Place,
    /// Only these; may be repeated
    #[arg(long, value_enum)]
    pub kind: Vec<EventKind>,
    /// For programs: an object on each line
    #[arg(long)]
    pub json: bool,
    /// Its images.
    #[command(flatten)]
    pub media: MediaArgs,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventKind {
    /// What came from outside.
    Input,
    /// A hardware interrupt that was taken.
    Interrupt,
    /// A checkpoint, with its hash.
    Checkpoint,
}

/// `retrograde trim`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  retrograde trim long.rgr --from 90% -o short.rgr       the last tenth
  retrograde trim long.rgr --from 1.5s --to 2s -o short.rgr

The part is replayed and checked while it is written. Positions and times in it are those of the original.")]
pub struct TrimArgs {
    /// The recording
    pub file: PathBuf,
    /// Its new start: a position, a percentage, a time
    #[arg(long, value_name = "WHERE", default_value = "start", allow_hyphen_values = true)]
    pub from: Place,
    /// Its new end
    #[arg(long, value_name = "WHERE", default_value = "end", allow_hyphen_values = true)]
    pub to: Place,
    /// The recording to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Overwrite it if it exists
    #[arg(long)]
    pub force: bool,
    /// Its images.
    #[command(flatten)]
    pub media: MediaArgs,
}

/// `retrograde diff`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  retrograde diff good.rgr bad.rgr

Says the last position at which both are equal, the instruction there, and what is different one step later: registers, fields of
chips, pages, and the last input and interrupt before it. Exit status: 0 if no step differs, 1 if one does.")]
pub struct DiffArgs {
    /// One recording
    pub first: PathBuf,
    /// The other
    pub second: PathBuf,
    /// For programs
    #[arg(long)]
    pub json: bool,
    /// Their images.
    #[command(flatten)]
    pub media: MediaArgs,
}

/// `retrograde screen`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  retrograde screen boot.rgr --text             the text on the screen at the end
  retrograde screen boot.rgr --at 50% -o half.png
  retrograde screen boot.rgr --at 1.5s -o early.png")]
pub struct ScreenArgs {
    /// The recording
    pub file: PathBuf,
    /// Where its images are.
    #[command(flatten)]
    pub media: MediaArgs,
    /// Where to look: start, end, a position, a percentage or a time
    #[arg(long, value_name = "WHERE", default_value = "end", allow_hyphen_values = true)]
    pub at: Place,
    /// Write the picture to this PNG file
    #[arg(short, long, value_name = "FILE", required_unless_present = "text")]
    pub output: Option<PathBuf>,
    /// Print the characters on the screen
    #[arg(long)]
    pub text: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_shows_examples() {
        for sub in Cli::command().get_subcommands_mut() {
            let help = sub.render_long_help().to_string();
            assert!(help.contains("Examples:\n"), "{}", sub.get_name());
        }
    }

    #[test]
    fn the_debug_exit_device_is_placed_as_in_qemu() {
        assert_eq!("isa-debug-exit".parse(), Ok(Device::DebugExit { port: 0x501 }));
        assert_eq!("isa-debug-exit,iobase=0xf4,iosize=0x04".parse(), Ok(Device::DebugExit { port: 0xf4 }));
        assert_eq!("AC97".parse(), Ok(Device::Card(CardConfig::Ac97)));
        let rng = CardConfig::VirtioRng { seed: 7 };
        assert_eq!("virtio-rng-pci,seed=7".parse(), Ok(Device::Card(rng)));
        for bad in [
            "",
            "e1000",
            "AC97,x=1",
            "sb16",
            "isa-debug-exit,iobase=",
            "isa-debug-exit,iobase=0x10000",
            "isa-debug-exit,x=1",
        ] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_initrd_needs_a_kernel() {
        assert!(Cli::try_parse_from(["retrograde", "record", "--initrd", "x", "-o", "y"]).is_err());
        assert!(
            Cli::try_parse_from(["retrograde", "record", "--kernel", "k", "--initrd", "x", "-o", "y"])
                .is_ok()
        );
    }
}
