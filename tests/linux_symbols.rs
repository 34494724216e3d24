//! The scripts for GDB and LLDB find a recorded Linux and its modules, wherever KASLR has put them.

use retrograde_tests::debuggers::{Debugger, shows};
use retrograde_tests::retrograde::{ends_with, retrograde};
use retrograde_tests::server::Server;
use retrograde_tests::{busybox_initrd_with, debian_kernel, kernel_module};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Where an x86-64 kernel is linked (CONFIG_PHYSICAL_START, 16 MiB, above __START_KERNEL_map).
const LINKED_AT: u64 = 0xffff_ffff_8100_0000;
const MODULE: &str = "drivers/net/dummy.ko";
/// A function of the module that runs when it is loaded, and one of the kernel that runs at the end.
const IN_MODULE: &str = "dummy_dev_init";
const IN_KERNEL: &str = "native_machine_power_off";

/// Linux with a module, recorded, and what stands for its vmlinux: a file with symbols at the addresses of its linker.
struct Linux {
    recording: PathBuf,
    vmlinux: PathBuf,
    module: PathBuf,
    /// How far KASLR has moved it.
    moved: u64,
    /// Name and address at run time.
    symbols: Vec<(String, u64)>,
    _dir: TempDir,
}

impl Linux {
    fn record(append: &str) -> Linux {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| dir.path().join(name);
        let module = kernel_module(MODULE);
        let (initrd, script, recording) = (file("initrd"), file("script"), file("linux.rgr"));
        fs::write(&initrd, busybox_initrd_with(&[("dummy.ko", module.clone())]))
            .expect("an initial RAM disk");
        let names =
            format!("_text|linux_banner|modules|asm_exc_page_fault|int_sqrt|strnlen|{IN_KERNEL}|{IN_MODULE}");
        let commands = format!(
            "wait serial \"# \"\nsend insmod dummy.ko; grep -wE '({names})' /proc/kallsyms; echo do''ne\\n\n\
             wait serial done\nsend poweroff -f\\n\n"
        );
        fs::write(&script, commands).expect("a script");
        let mut command = retrograde(["record", "-m", "128M", "--rtc", "2024-01-01T00:00:00", "--no-reboot"]);
        command.arg("--kernel").arg(debian_kernel()).arg("--initrd").arg(&initrd);
        command.args(["--append", &format!("console=ttyS0 quiet panic=-1 {append}")]);
        let console = ends_with(0, command.arg("--script").arg(&script).arg("-o").arg(&recording)).stdout;
        let symbols: Vec<_> = console.lines().filter_map(symbol).collect();
        let address = |name: &str| {
            let found = symbols.iter().find(|(symbol, _)| symbol == name);
            found.unwrap_or_else(|| panic!("{name} is not in kallsyms: {console}")).1
        };
        let moved = address("_text") - LINKED_AT;
        assert!(address(IN_MODULE) > 0xffff_ffff_a000_0000);
        let vmlinux = file("vmlinux");
        let kernel = symbols.iter().filter(|(name, _)| name != IN_MODULE);
        link_symbols(
            &kernel.map(|(name, address)| (name.as_str(), address - moved)).collect::<Vec<_>>(),
            &vmlinux,
        );
        Linux { recording, vmlinux, module, moved, symbols, _dir: dir }
    }

    fn address(&self, name: &str) -> u64 {
        self.symbols.iter().find(|(symbol, _)| symbol == name).map_or(0, |(_, address)| *address)
    }

    fn load_command(&self) -> String {
        format!("rg linux {} dummy={}", self.vmlinux.display(), self.module.display())
    }
}

/// `ADDRESS TYPE NAME` and perhaps `[MODULE]`.
fn symbol(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let name = words.nth(1)?;
    Some((name.to_owned(), address))
}

/// An ELF file of nothing but symbols, relative to a section as in a real one.
fn link_symbols(symbols: &[(&str, u64)], output: &Path) {
    let mut sorted = symbols.to_vec();
    sorted.sort_by_key(|(_, address)| *address);
    let mut source = ".section .kernel,\"ax\",@nobits\n".to_owned();
    for (name, address) in sorted {
        let offset = address - LINKED_AT;
        writeln!(source, ".org {offset}\n.globl {name}\n.type {name}, @function\n{name}:")
            .expect("text grows");
    }
    source.push_str(".skip 4096\n");
    let (assembly, object) = (output.with_extension("s"), output.with_extension("o"));
    fs::write(&assembly, source).expect("a source file");
    let run = |command: &mut Command| assert!(command.status().expect("binutils are there").success());
    run(Command::new("as").arg("--64").arg("-o").arg(&object).arg(&assembly));
    let place = format!("--section-start=.kernel={LINKED_AT:#x}");
    run(Command::new("ld").args([&place, "-e", "0", "-o"]).arg(output).arg(&object));
}

fn in_gdb(linux: &Linux) {
    let server = Server::start(&linux.recording);
    let (mut gdb, _) = Debugger::gdb(&server, None);
    gdb.load_script();
    let shown = gdb.run(&linux.load_command());
    let how = if linux.moved == 0 { "not moved" } else { "(KASLR)" };
    shows(&shown, &[how, "Linux version 6.", "dummy: code at 0x"]);
    for name in [IN_KERNEL, IN_MODULE] {
        let address = linux.address(name);
        assert_eq!(gdb.value(&format!("(unsigned long) {name}")), address, "{name}");
        shows(&gdb.run(&format!("break *{name}")), &[&format!("at {address:#x}")]);
        shows(&gdb.run("reverse-continue"), &["Breakpoint ", &format!(" in {name} ()")]);
        assert_eq!(gdb.value("$pc"), address, "{name}");
        gdb_calls(&mut gdb, "divert");
        gdb_calls(&mut gdb, "divert quiet");
    }
    shows(&gdb.run("rg linux /etc/passwd"), &["/etc/passwd is no ELF file"]);
    shows(
        &gdb.run(&format!("rg linux {} nfs=x.ko", linux.vmlinux.display())),
        &["nfs is not loaded", "dummy"],
    );
    // Before Linux has an interrupt table of its own.
    gdb.run("rg seek start");
    shows(&gdb.run(&linux.load_command()), &["rg seek end"]);
}

/// Functions of the kernel are called, and nothing of it is left.
fn gdb_calls(gdb: &mut Debugger, divert: &str) {
    let look = |gdb: &mut Debugger| {
        gdb.run("maint flush register-cache");
        (gdb.run("info registers"), gdb.run("x/64gx $rsp - 256"))
    };
    let before = look(gdb);
    shows(&gdb.run(&format!("monitor {divert}")), &["a diversion from position"]);
    shows(&gdb.run("print ((unsigned long (*)(unsigned long)) int_sqrt)(1764)"), &[" = 42"]);
    let length = "print ((unsigned long (*)(void *, unsigned long)) strnlen)(&linux_banner, 14)";
    shows(&gdb.run(length), &["[diversion from position", " = 14"]);
    assert_ne!(look(gdb), before, "the calls have used the stack");
    shows(&gdb.run("monitor divert off"), &["position ", " of "]);
    assert_eq!(look(gdb), before);
}

fn in_lldb(linux: &Linux) {
    let server = Server::start(&linux.recording);
    let (mut lldb, _) = Debugger::lldb(&server, None);
    lldb.load_script();
    shows(&lldb.run(&linux.load_command()), &["Linux version 6.", "dummy: code at 0x"]);
    for name in [IN_KERNEL, IN_MODULE] {
        lldb.run(&format!("breakpoint set --name {name}"));
        lldb.run("process continue -R");
        shows(&lldb.run("process status"), &["stop reason = breakpoint", name]);
        let pc = format!("rip = 0x{:016x}", linux.address(name));
        shows(&lldb.run("register read rip"), &[&pc]);
        let registers = lldb.run("register read");
        shows(&lldb.run("monitor divert"), &["a diversion from position"]);
        shows(&lldb.run("rg call int_sqrt(1764)"), &["0x2a"]);
        let length = format!("rg call strnlen({:#x}, 14)", linux.address("linux_banner"));
        shows(&lldb.run(&length), &["0xe", "in a diversion"]);
        shows(&lldb.run("monitor divert off"), &["position ", " of "]);
        lldb.run("rg forward");
        assert_eq!(values(&lldb.run("register read")), values(&registers));
    }
    shows(&lldb.run("rg linux /etc/passwd"), &["/etc/passwd is no ELF file"]);
}

/// The lines of `register read` that show a register.
fn values(shown: &str) -> Vec<&str> {
    shown.lines().filter(|line| line.contains(" = ")).collect()
}

#[test]
fn a_kernel_that_kaslr_has_moved_is_found() {
    let linux = Linux::record("");
    assert_ne!(linux.moved, 0, "KASLR moves Debian's kernel");
    in_gdb(&linux);
    in_lldb(&linux);
}

#[test]
fn a_kernel_at_its_place_is_found() {
    let linux = Linux::record("nokaslr");
    assert_eq!(linux.moved, 0);
    in_gdb(&linux);
}
