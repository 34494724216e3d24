//! QEMU's GDB stub, as far as single steps need it: the remote serial protocol over a Unix socket.

use crate::packets::{self, from_hex, to_hex};
use crate::process::Process;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Single steps with neither interrupts nor timers (`sstepbits` of QEMU's documentation).
const STEP_ALONE: &str = "Qqemu.sstep=0x7";
/// Bytes of memory asked for at once.
const MEMORY_BLOCK: usize = 2048;

/// Registers as QEMU's stub for x86-64 shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// In the order of instruction encoding.
    pub gpr: [u64; 16],
    /// Offset in CS.
    pub rip: u64,
    /// The lower half.
    pub eflags: u32,
    /// Selectors: ES CS SS DS FS GS.
    pub selectors: [u16; 6],
    /// Control registers and EFER.
    pub cr0: u64,
    /// CR2
    pub cr2: u64,
    /// CR3
    pub cr3: u64,
    /// CR4
    pub cr4: u64,
    /// EFER
    pub efer: u64,
}

/// Which number each general register has for GDB: RAX RBX RCX RDX RSI RDI RBP RSP R8 ..., by its encoding.
const GDB_NUMBER: [usize; 8] = [0, 2, 3, 1, 7, 6, 4, 5];

/// A PC in QEMU that stands still between single steps.
pub struct SteppedQemu {
    stream: UnixStream,
    /// Kept, so that it ends with this.
    _process: Process,
    _socket_dir: TempDir,
}

/// The other side has closed the connection: the machine has ended.
#[derive(Debug)]
pub struct Ended;

impl SteppedQemu {
    /// Starts a machine that has not executed anything yet.
    pub fn start(options: &[&str], kernel: &Path) -> SteppedQemu {
        let socket_dir = tempfile::tempdir().expect("a directory for the socket");
        let socket = socket_dir.path().join("gdb");
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg", "-m", "16M", "-nodefaults", "-display", "none", "-no-reboot", "-S"]);
        command.args(["-device", "isa-debug-exit,iobase=0xf4"]).args(options);
        command.arg("-gdb").arg(format!("unix:{},server=on,wait=off", socket.display()));
        command.arg("-kernel").arg(kernel);
        let process = Process::start(&mut command);
        let deadline = Instant::now() + CONNECT_LIMIT;
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "no GDB stub of QEMU: {error}"),
            }
            sleep(Duration::from_millis(5));
        };
        stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a limit can be set");
        let mut qemu = SteppedQemu { stream, _process: process, _socket_dir: socket_dir };
        qemu.ask("qSupported:").expect("QEMU answers");
        // Registers can be written only by somebody who knows their description.
        qemu.ask("qXfer:features:read:target.xml:0,400").expect("QEMU answers");
        assert_eq!(qemu.ask(STEP_ALONE).expect("QEMU answers"), "OK", "single steps without timers");
        qemu
    }

    /// Runs freely to an address.
    pub fn run_to(&mut self, address: u64) -> Result<(), Ended> {
        self.ask(&format!("Z1,{address:x},1"))?;
        self.ask("c")?;
        self.ask(&format!("z1,{address:x},1"))?;
        Ok(())
    }

    /// Executes one instruction, or one iteration of a REP, or delivers an exception.
    pub fn step(&mut self) -> Result<(), Ended> {
        self.ask("s").map(|_| ())
    }

    /// The registers.
    pub fn registers(&mut self) -> Result<Registers, Ended> {
        let bytes = from_hex(&self.ask("g")?);
        let quad = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let mut registers = Registers { rip: quad(128), eflags: word(136), ..Registers::default() };
        for (encoding, register) in registers.gpr.iter_mut().enumerate() {
            *register = quad(8 * GDB_NUMBER.get(encoding).copied().unwrap_or(encoding));
        }
        // CS SS DS ES FS GS, then FS_BASE, GS_BASE, KERNEL_GS_BASE.
        for (order, index) in [1, 2, 3, 0, 4, 5].into_iter().enumerate() {
            registers.selectors[index] = word(140 + 4 * order) as u16;
        }
        let control = 140 + 24 + 24;
        registers.cr0 = quad(control);
        registers.cr2 = quad(control + 8);
        registers.cr3 = quad(control + 16);
        registers.cr4 = quad(control + 24);
        registers.efer = quad(control + 40);
        Ok(registers)
    }

    /// Writes a general register, by its encoding.
    pub fn set_gpr(&mut self, encoding: usize, value: u64) -> Result<(), Ended> {
        let number = GDB_NUMBER.get(encoding).copied().unwrap_or(encoding);
        self.set(number, &value.to_le_bytes())
    }

    /// Writes EFLAGS.
    pub fn set_eflags(&mut self, value: u32) -> Result<(), Ended> {
        self.set(17, &value.to_le_bytes())
    }

    fn set(&mut self, number: usize, bytes: &[u8]) -> Result<(), Ended> {
        let answer = self.ask(&format!("P{number:x}={}", to_hex(bytes)))?;
        assert_eq!(answer, "OK", "register {number} can be written");
        Ok(())
    }

    /// Reads physical memory.
    pub fn read_phys(&mut self, address: u64, len: usize) -> Result<Vec<u8>, Ended> {
        self.ask("Qqemu.PhyMemMode:1")?;
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let size = MEMORY_BLOCK.min(len - bytes.len());
            let answer = self.ask(&format!("m{:x},{size:x}", address + bytes.len() as u64))?;
            bytes.extend(from_hex(&answer));
        }
        self.ask("Qqemu.PhyMemMode:0")?;
        Ok(bytes)
    }

    /// Sends a packet and waits for the answer to it.
    fn ask(&mut self, packet: &str) -> Result<String, Ended> {
        self.stream.write_all(&packets::packet(packet.as_bytes())).map_err(|_| Ended)?;
        let answer = packets::read_packet(&mut self.stream).ok_or(Ended)?;
        self.stream.write_all(b"+").map_err(|_| Ended)?;
        // The machine has ended by itself.
        if answer.starts_with('W') { Err(Ended) } else { Ok(answer) }
    }
}
