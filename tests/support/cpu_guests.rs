//! The guests in `tests/guests/cpu`, each about one behaviour of the processor, and what is known of them.

use crate::tools::{output, run};
use crate::workspace_root;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use vm::config::Vga;
use vm::{CpuModel, Exit, Icount, Machine, MachineConfig, Output, RunLimit, VmTime};

/// How a guest ends that found nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It writes PASS to isa-debug-exit.
    Pass,
    /// It writes `T` to the debug console and makes the machine reset.
    Reset,
}

/// A guest and what is known of it.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Name of its source, without `.asm`.
    pub name: String,
    /// How it ends.
    pub end: End,
    /// The processor that it needs.
    pub cpu: CpuModel,
    /// The same, by QEMU's name.
    pub qemu_cpu: &'static str,
    /// What QEMU does that no processor does.
    pub qemu_is_wrong: Option<&'static str>,
    /// What our machine does that no processor does.
    pub known: Option<&'static str>,
    /// Whether its course depends on when interrupts arrive.
    pub timed: bool,
    /// The display adapter that it needs.
    pub vga: Vga,
}

/// Guests that end by a reset.
const RESETS: &[&str] = &["triple_fault", "reset_92", "reset_cf9", "reset_8042"];

/// Guests for other processors than the default one, with QEMU's name of the same.
const MODELS: &[(&str, CpuModel, &str)] = &[
    ("smep_smap", CpuModel::Max, "max"),
    ("sse_edges", CpuModel::Max, "max"),
    // QEMU's own processors have no limits in real mode.
    ("real_limits32", CpuModel::Pentium3, "pentium3"),
    ("cpuid_486", CpuModel::I486, "486"),
    ("cpuid_pentium", CpuModel::Pentium, "pentium"),
    ("cpuid_pentium3", CpuModel::Pentium3, "pentium3"),
    ("cpuid_qemu32", CpuModel::Qemu32, "qemu32"),
    ("cpuid_max", CpuModel::Max, "max"),
];

/// Guests with interrupts of a timer.
const TIMED: &[&str] =
    &["gate_ext", "shadow_sti", "shadow_mov_ss", "fpu_irq13", "fpu_ignne", "rep_timer", "hlt"];

/// Guests that need a display adapter.
const WITH_VGA: &[&str] = &["code_in_vga"];

/// Where QEMU 7.2 is wrong against the manuals; the guest's source says what it should do.
const QEMU_IS_WRONG: &[(&str, &str)] = &[
    ("retf_real", "code segments have no limit"),
    ("rf", "the image of a fault does not have RF set"),
    ("alignment", "there is no #AC"),
    ("cpuid_486", "it executes RDTSC"),
    ("cpuid_pentium", "it executes FISTTP"),
    ("cpuid_pentium3", "it executes SSE2"),
    ("cpuid_qemu32", "it executes ANDN"),
    ("cpuid_max", "it executes RDSEED without announcing it"),
    ("control_registers", "CR0 takes any bits"),
    ("dr_detect", "there is no general detect"),
    ("fpu_error", "only FWAIT raises what is pending"),
    ("fpu_irq13", "it aborts"),
    ("fpu_ignne", "it aborts"),
    ("fpu_stack", "the stack has no over- and underflow"),
    ("fpu_exact", "the control word has all bits"),
    ("fpu_compare", "FCOMI leaves AF, SF and OF"),
    ("outer_null", "a null FS or GS keeps its RPL"),
    ("divide", "it dies of a division"),
    ("sse_edges", "it reads beyond a register"),
    ("fpu_flags", "only FWAIT raises what is pending"),
    ("fpu_missing", "EMMS does not look at CR0.TS"),
    ("io_strings", "REP INS that has nothing to do asks for the port"),
    ("gate_ext", "error codes do not have EXT set"),
    ("icebp", "it stops at 0xf1 for its debugger"),
    ("pvi", "it takes CR4.PVI and does not have it"),
    ("canonical", "only the first byte of an operand has to be canonical"),
    ("fpu_state", "MMX instructions do not set the exponent"),
    ("lock", "LOCK MOV is executed"),
    ("long_interrupts", "error codes of gates count them by 16 bytes"),
    ("msr", "MSRs that do not exist read as 0"),
    ("nested_iret", "it hangs"),
    ("paging_long", "a reserved bit gives an error code without P"),
    ("paging_pae", "a reserved bit gives an error code without P"),
    ("paging_reserved", "a reserved bit gives an error code without P"),
    ("paging_rmw", "it reports the read"),
    ("real_limits", "data segments have no limit"),
    ("real_limits32", "data segments have no limit"),
    ("segment_limits", "data segments have no limit"),
    ("sse_error", "there is no #XM"),
    ("sse_flags", "there is no #XM"),
    ("task_debug", "the T bit does nothing"),
    ("undefined", "8F is POP whatever its register field"),
    ("v86_gate_level", "it looks at the stack first"),
    ("v86_vme", "it takes CR4.VME and does not have it"),
    ("gate_limit", "code segments have no limit"),
    ("arpl", "data segments have no types"),
    ("enter", "a frame pointer has 16 bits on a 16-bit stack"),
    ("step_edges", "a breakpoint on what MOV SS reads is not held back"),
    ("table_bases", "a base need not be canonical"),
];

/// Where our machine is wrong against the manuals. Each must still fail: what works is taken off the list.
const KNOWN: &[(&str, &str)] = &[("real_limits", "a word at the end of 64 KiB by a 16-bit register")];

fn about(list: &[(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    list.iter().find(|(listed, _)| *listed == name).map(|(_, what)| *what)
}

/// All guests in the order of their names, or those that `CPU_GUESTS` names.
pub fn cpu_guests() -> Vec<Guest> {
    let chosen = std::env::var("CPU_GUESTS").ok();
    let entries = fs::read_dir(workspace_root().join("tests/guests/cpu")).expect("the guests' sources");
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.expect("a directory entry").file_name().into_string().ok())
        .filter_map(|file| file.strip_suffix(".asm").map(str::to_owned))
        .filter(|name| chosen.as_ref().is_none_or(|chosen| chosen.split(',').any(|one| one == name)))
        .collect();
    names.sort_unstable();
    assert!(!names.is_empty(), "no guest of the name in CPU_GUESTS");
    names.into_iter().map(guest).collect()
}

fn guest(name: String) -> Guest {
    let listed = |list: &[&str]| list.contains(&name.as_str());
    let model = MODELS.iter().find(|model| model.0 == name);
    let (cpu, qemu_cpu) = model.map_or((CpuModel::Qemu64, "qemu64"), |model| (model.1, model.2));
    let end = if listed(RESETS) { End::Reset } else { End::Pass };
    let (qemu_is_wrong, known) = (about(QEMU_IS_WRONG, &name), about(KNOWN, &name));
    let timed = listed(TIMED);
    let vga = if listed(WITH_VGA) { Vga::Std } else { Vga::None };
    Guest { name, end, cpu, qemu_cpu, qemu_is_wrong, known, timed, vga }
}

/// Assembles a guest into `target/guests/cpu/`.
pub fn build_cpu_guest(guest: &Guest) -> PathBuf {
    let out_dir = workspace_root().join("target/guests/cpu");
    fs::create_dir_all(&out_dir).expect("target/guests/cpu can be made");
    let scratch = tempfile::tempdir_in(&out_dir).expect("a scratch directory");
    let image = scratch.path().join(&guest.name);
    run(nasm(guest, "-fbin").arg("-o").arg(&image), "needed: apt-get install nasm");
    let finished = out_dir.join(&guest.name);
    fs::rename(&image, &finished).expect("the image can be renamed");
    finished
}

impl Guest {
    /// QEMU's options for the processor and the display adapter.
    pub fn qemu_options(&self) -> [&str; 4] {
        ["-cpu", self.qemu_cpu, "-vga", if self.vga == Vga::Std { "std" } else { "none" }]
    }
}

fn nasm(guest: &Guest, what: &str) -> Command {
    let mut nasm = Command::new("nasm");
    nasm.current_dir(workspace_root()).args(["-Werror", what, "-I", "tests/guests/cpu/"]);
    nasm.arg(format!("tests/guests/cpu/{}.asm", guest.name));
    nasm
}

/// A machine that is about to run the guest.
pub fn cpu_machine(guest: &Guest, kernel: &[u8]) -> Machine {
    let config = MachineConfig {
        ram_bytes: 16 << 20,
        cpu: guest.cpu,
        debug_exit_port: Some(0xf4),
        vga: guest.vga,
        no_reboot: true,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(&config).expect("a machine");
    machine.load_kernel(kernel, None, "").expect("a kernel");
    machine
}

/// Runs until the guest ends; how it did, and what it wrote to its debug console.
pub fn run_to_end(machine: &mut Machine, most_steps: u64) -> Result<(Exit, Vec<u8>), String> {
    let limit = RunLimit { position: Icount(most_steps), time: VmTime(u64::MAX) };
    let exit = machine.run(limit).map_err(|error| error.to_string())?;
    let console = machine.take_output().into_iter().filter_map(|(_, output)| match output {
        Output::Debugcon { byte, .. } => Some(byte),
        _ => None,
    });
    Ok((exit, console.collect()))
}

/// Says in words what a guest that failed wrote to its debug console: the check, with its line in the source.
pub fn where_it_failed(guest: &Guest, console: &[u8]) -> String {
    match *console {
        [.., 0xee, vector, a, b, c] if console.len() == 5 => {
            format!(
                "exception {vector} at {a:#04x} {b:02x} {c:02x} that nothing expects (address from its low end)"
            )
        }
        [low, high] => {
            let number = u16::from_le_bytes([low, high]);
            format!("check {number}, near line {}", line_of(guest, number))
        }
        _ => format!("console {console:x?}"),
    }
}

/// The line in the guest's source before a check.
fn line_of(guest: &Guest, number: u16) -> String {
    let expanded = output(&mut nasm(guest, "-E")).stdout;
    let (wanted, file) = (format!("mov ax, {number}"), format!("{}.asm", guest.name));
    let mut line = "?";
    let expanded = String::from_utf8_lossy(&expanded);
    for text in expanded.lines() {
        if text.starts_with("%line") && text.ends_with(&file) {
            line = text.split([' ', '+']).nth(1).unwrap_or("?");
        } else if text.trim() == wanted {
            break;
        }
    }
    line.to_owned()
}

/// Physical and linear address of a guest's image.
pub const IMAGE_BASE: u64 = 0x1_0000;

/// The address of XCHG BX, BX, behind which the guest proper begins.
pub fn start_of_guest(image: &[u8]) -> u64 {
    let at = image.windows(3).position(|bytes| bytes == [0x66, 0x87, 0xdb]).expect("START in the guest");
    IMAGE_BASE + at as u64
}

/// Bytes from [`IMAGE_BASE`] to the end of all that a guest uses by name: `bss_end_addr` of its Multiboot header.
pub fn memory_of_guest(image: &[u8]) -> usize {
    let end = u32::from_le_bytes(image[24..28].try_into().expect("four bytes"));
    end as usize - IMAGE_BASE as usize
}
