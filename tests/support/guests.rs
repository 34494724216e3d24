//! Building the project's own guests from source.
//!
//! `tests/guests/NAME.c` and `tests/guests/NAME.asm` become Multiboot kernels; `rt/start.asm` is linked in front of C, and
//! `rt/guest.ld` says where things go. `tests/guests/NAME.bin.asm` becomes a flat binary.

use crate::tools::run;
use crate::workspace_root;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUILD_HINT: &str = "needed: apt-get install gcc gcc-multilib binutils nasm";

/// No position-independent code, no host libraries, no registers that the guest's start-up does not enable, and no path of
/// this machine in the result.
const C_FLAGS: &[&str] = &[
    "-m32",
    "-std=gnu11",
    "-g",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-pic",
    "-fno-pie",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
    "-mgeneral-regs-only",
];

/// Builds `tests/guests/NAME.*` into `target/guests/` and returns the image.
pub fn build_guest(name: &str) -> PathBuf {
    let sources = workspace_root().join("tests/guests");
    let out_dir = workspace_root().join("target/guests");
    fs::create_dir_all(&out_dir).expect("target/guests can be made");
    let scratch = tempfile::tempdir_in(&out_dir).expect("a scratch directory in target/guests");
    let source = |extension: &str| {
        let path = sources.join(format!("{name}.{extension}"));
        path.exists().then_some(path)
    };
    let image = scratch.path().join(name);
    let finished = if let Some(flat) = source("bin.asm") {
        assemble(&flat, "bin", &image);
        out_dir.join(format!("{name}.bin"))
    } else if let Some(assembly) = source("asm") {
        let object = scratch.path().join("guest.o");
        assemble(&assembly, "elf32", &object);
        link(&sources, &[object], &image);
        out_dir.join(format!("{name}.elf"))
    } else if let Some(c) = source("c") {
        let (start, object) = (scratch.path().join("start.o"), scratch.path().join("guest.o"));
        assemble(&sources.join("rt/start.asm"), "elf32", &start);
        compile(&c, &object);
        link(&sources, &[start, object], &image);
        out_dir.join(format!("{name}.elf"))
    } else {
        panic!("tests/guests has no source for {name}");
    };
    // Several tests may build the same guest at once: the name always stands for a whole file.
    fs::rename(&image, &finished).expect("the image can be renamed");
    finished
}

/// Assembles `tests/guests/cost.asm`, which does one thing `count` times, into `target/guests/`.
pub fn build_cost_guest(case: &str, count: u32) -> PathBuf {
    let out_dir = workspace_root().join("target/guests");
    fs::create_dir_all(&out_dir).expect("target/guests can be made");
    let image = out_dir.join(format!("cost-{case}-{count}.bin"));
    let mut nasm = Command::new("nasm");
    nasm.current_dir(workspace_root()).args(["-Werror", "-f", "bin", "-I", "tests/guests/cpu/"]);
    nasm.args([format!("-DCASE={case}"), format!("-DCOUNT={count}")]);
    run(nasm.arg("-o").arg(&image).arg("tests/guests/cost.asm"), BUILD_HINT);
    image
}

fn assemble(source: &Path, format: &str, output: &Path) {
    let mut nasm = Command::new("nasm");
    nasm.current_dir(workspace_root()).args(["-Werror", "-f", format, "-I", "tests/guests/"]);
    if format != "bin" {
        nasm.args(["-g", "-F", "dwarf"]);
    }
    run(nasm.arg("-o").arg(output).arg(relative(source)), BUILD_HINT);
}

fn compile(source: &Path, output: &Path) {
    let mut gcc = Command::new("gcc");
    gcc.current_dir(workspace_root()).args(C_FLAGS).arg(prefix_map());
    run(gcc.arg("-c").arg("-o").arg(output).arg(relative(source)), BUILD_HINT);
}

fn link(sources: &Path, objects: &[PathBuf], output: &Path) {
    let mut ld = Command::new("ld");
    ld.args([
        "-m",
        "elf_i386",
        "-static",
        "--build-id=none",
        "-z",
        "noexecstack",
        "--no-warn-rwx-segments",
        "-T",
    ]);
    run(ld.arg(sources.join("rt/guest.ld")).arg("-o").arg(output).args(objects), BUILD_HINT);
}

/// Sources are named relative to the workspace in debugging information.
fn prefix_map() -> String {
    format!("-ffile-prefix-map={}=.", workspace_root().display())
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix(workspace_root()).unwrap_or(path)
}

/// The address of a symbol of an ELF image.
pub fn symbol(image: &Path, name: &str) -> u64 {
    let output = run(Command::new("nm").arg(image), "the image has no symbols");
    let text = String::from_utf8_lossy(&output.stdout);
    let fields = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut found = fields.filter(|fields| fields.last() == Some(&name));
    let fields = found.next().unwrap_or_else(|| panic!("{} has no symbol {name}", image.display()));
    u64::from_str_radix(fields[0], 16).expect("nm prints addresses in hexadecimal")
}
