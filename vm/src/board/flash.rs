//! Flash chips that hold firmware and its variables: a byte wide, with Intel's command set (CFI's 0001; 28F640J3 data sheet, 290667),
//! in blocks of 4 KiB as QEMU's PC has them.
//!
//! A chip that shows its contents is memory that can be fetched from, and the CPU reaches it without this; every write is a
//! command. Commands are done at once. There is no write buffer, and the query table says so.
//!
//! Clearing the status clears the ready bit too, until something is programmed or erased: no chip does this, but QEMU's does, and
//! OVMF knows by it that there is flash.

use super::Bus;
use crate::config::MachineConfig;
use crate::memory::{PhysMemory, Region};
use crate::units::PhysAddr;
use serde::{Deserialize, Serialize};

/// Bytes that are erased together.
pub const BLOCK: u64 = 4096;

/// Status register.
const READY: u8 = 1 << 7;
const ERASE_FAILED: u8 = 1 << 5;
const PROGRAM_FAILED: u8 = 1 << 4;
const BLOCK_LOCKED: u8 = 1 << 1;
/// Both at once: commands that do not belong together.
const BAD_SEQUENCE: u8 = ERASE_FAILED | PROGRAM_FAILED;

/// Second byte of some commands.
const CONFIRM: u8 = 0xd0;
const SET_LOCK: u8 = 0x01;

/// Where the query table begins.
const QUERY: u64 = 0x10;
/// Byte of the query table with the binary logarithm of the size.
const QUERY_SIZE: u64 = 0x27;
/// Bytes of the query table with the number of blocks, less one.
const QUERY_BLOCKS: [u64; 2] = [0x2d, 0x2e];
/// The query table (JESD68.01; 290667, appendix A), where a chip does not differ.
const QUERY_TABLE: [u8; 0x2a] = [
    b'Q', b'R', b'Y', 0x01, 0x00, // the primary command set is Intel's extended one
    0x31, 0x00, 0, 0, 0, 0, // its table, and no other command set
    0x27, 0x36, 0, 0, // 2.7 to 3.6 V
    7, 0, 10, 0, // typical times: a byte, no buffer, a block, no whole chip
    4, 0, 4, 0, // and the longest, as multiples
    0, // size
    0, 0, 0, 0, // a byte wide, no buffer
    1, 0, 0, 0x10, 0x00, // one region of blocks: their number, and 4 KiB each
    b'P', b'R', b'I', b'1', b'0', 0, 0, 0, 0, // nothing that is optional
];

/// What reads give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Mode {
    Array,
    Status,
    Identifier,
    Query,
}

/// What the next write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Next {
    Command,
    Byte,
    EraseConfirm,
    Lock,
}

/// A flash chip, without its contents, which are storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    number: usize,
    base: u64,
    bytes: u64,
    read_only: bool,
    mode: Mode,
    next: Next,
    /// The status register.
    status: u8,
}

/// The chips of a machine.
pub fn chips(config: &MachineConfig) -> Vec<Flash> {
    let mut base = 1 << 32;
    let chips = config.flash.iter().enumerate().map(|(number, chip)| {
        base -= chip.bytes;
        Flash {
            number,
            base,
            bytes: chip.bytes,
            read_only: chip.read_only,
            mode: Mode::Array,
            next: Next::Command,
            status: READY,
        }
    });
    chips.collect()
}

impl Flash {
    /// The reset line: it shows its contents.
    pub fn reset(&mut self) {
        self.mode = Mode::Array;
        self.next = Next::Command;
        self.status = READY;
    }

    /// Whether it is at this address.
    pub fn decodes(&self, addr: PhysAddr) -> bool {
        addr.0.checked_sub(self.base).is_some_and(|offset| offset < self.bytes)
    }

    /// Whether reads give something other than its contents.
    pub fn answers(&self) -> bool {
        self.mode != Mode::Array
    }

    /// A read of `size` bytes, one after the other; beyond its end they are ones.
    pub fn read(&self, addr: PhysAddr, size: u8, mem: &dyn PhysMemory) -> u64 {
        let byte = |i| match addr.0 + i - self.base {
            offset if offset < self.bytes => self.read_byte(offset, mem),
            _ => 0xff,
        };
        (0..u64::from(size)).fold(0, |value, i| value | u64::from(byte(i)) << (8 * i))
    }

    fn read_byte(&self, offset: u64, mem: &dyn PhysMemory) -> u8 {
        match self.mode {
            Mode::Array => {
                let mut byte = [0];
                mem.read_region(Region::Flash(self.number), offset, &mut byte);
                byte[0]
            }
            Mode::Status => self.status,
            // Two bytes that name no maker and no chip, then whether the block is locked.
            Mode::Identifier => u8::from(offset % BLOCK == 2 && self.read_only),
            Mode::Query => self.query(offset % BLOCK),
        }
    }

    fn query(&self, offset: u64) -> u8 {
        let blocks = (self.bytes / BLOCK - 1).to_le_bytes();
        match offset {
            QUERY_SIZE => self.bytes.next_power_of_two().trailing_zeros() as u8,
            _ => match QUERY_BLOCKS.iter().position(|at| *at == offset) {
                Some(byte) => blocks[byte],
                None => {
                    let at = offset.checked_sub(QUERY).and_then(|at| usize::try_from(at).ok());
                    at.and_then(|at| QUERY_TABLE.get(at)).copied().unwrap_or(0)
                }
            },
        }
    }

    /// A write of `size` bytes, one after the other. Whether something else answers reads from now on.
    pub fn write(&mut self, addr: PhysAddr, size: u8, value: u64, bus: &mut Bus) -> bool {
        let answered = self.answers();
        for (i, byte) in (0..u64::from(size)).zip(value.to_le_bytes()) {
            let offset = addr.0 + i - self.base;
            if offset < self.bytes {
                self.write_byte(offset, byte, bus.mem);
            }
        }
        answered != self.answers()
    }

    fn write_byte(&mut self, offset: u64, byte: u8, mem: &mut dyn PhysMemory) {
        match std::mem::replace(&mut self.next, Next::Command) {
            Next::Command => self.command(byte),
            Next::Byte if self.read_only => self.status |= READY | PROGRAM_FAILED | BLOCK_LOCKED,
            Next::Byte => {
                self.status |= READY;
                let mut now = [0];
                mem.read_region(Region::Flash(self.number), offset, &mut now);
                // Programming makes zeros of ones, and never the other way.
                mem.write_region(Region::Flash(self.number), offset, &[now[0] & byte]);
            }
            Next::EraseConfirm if byte != CONFIRM => self.status |= READY | BAD_SEQUENCE,
            Next::EraseConfirm if self.read_only => self.status |= READY | ERASE_FAILED | BLOCK_LOCKED,
            Next::EraseConfirm => {
                self.status |= READY;
                let block = offset - offset % BLOCK;
                mem.write_region(Region::Flash(self.number), block, &[0xff; BLOCK as usize]);
            }
            // Locks of single blocks are not kept: a chip is locked as a whole, or not at all.
            Next::Lock if byte == CONFIRM || byte == SET_LOCK => self.status |= READY,
            Next::Lock => self.status |= READY | BAD_SEQUENCE,
        }
    }

    fn command(&mut self, command: u8) {
        let (mode, next) = match command {
            0xff => (Mode::Array, Next::Command),
            0x90 => (Mode::Identifier, Next::Command),
            0x98 => (Mode::Query, Next::Command),
            0x70 => (Mode::Status, Next::Command),
            0x10 | 0x40 => (Mode::Status, Next::Byte),
            0x20 => (Mode::Status, Next::EraseConfirm),
            0x60 => (Mode::Status, Next::Lock),
            0x50 => {
                self.status = 0;
                return;
            }
            // Suspend and resume: nothing is ever under way.
            _ => return,
        };
        (self.mode, self.next) = (mode, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Effects;
    use crate::board::test_support::{Chip, Rng, config, restored_chips_have_the_same_future};
    use crate::config::FlashConfig;
    use crate::memory::{Memory, Place};
    use crate::units::VmTime;

    const BYTES: u64 = 3 * BLOCK;

    struct Socket {
        flash: Flash,
        mem: Memory,
    }

    impl Socket {
        fn new(read_only: bool) -> Socket {
            let flash =
                vec![FlashConfig { bytes: BLOCK, read_only: true }, FlashConfig { bytes: BYTES, read_only }];
            let config = MachineConfig { flash, ram_bytes: 1 << 20, ..config() };
            let mut mem = Memory::new(&config, Vec::new()).unwrap();
            mem.write_region(Region::Flash(1), 0, &[0xff; BYTES as usize]);
            Socket { flash: chips(&config).remove(1), mem }
        }

        fn write(&mut self, offset: u64, bytes: &[u8]) {
            let addr = PhysAddr(self.flash.base + offset);
            let (mem, fx) = (&mut self.mem, &mut Effects::default());
            for byte in bytes {
                let mut bus = Bus { now: VmTime(0), mem, fx };
                self.flash.write(addr, 1, (*byte).into(), &mut bus);
            }
        }

        fn read(&self, offset: u64, size: u8) -> u64 {
            self.flash.read(PhysAddr(self.flash.base + offset), size, &self.mem)
        }
    }

    #[test]
    fn chips_are_one_below_the_other_and_end_at_4_gib() {
        let flash = Socket::new(false).flash;
        assert_eq!(flash.base, (1 << 32) - BLOCK - BYTES);
        assert!(flash.decodes(PhysAddr(flash.base)) && !flash.decodes(PhysAddr(flash.base + BYTES)));
        assert!(!flash.decodes(PhysAddr(flash.base - 1)));
    }

    #[test]
    fn memory_shows_flash_up_to_4_gib_and_no_further() {
        let mem = Socket::new(false).mem;
        let end = (mem.storage().len() - BYTES as usize) as u64;
        assert_eq!(mem.place((1 << 32) - 1, false), Place::Ram(end - 1));
        assert_eq!(mem.place((1 << 32) - 1, true), Place::Device);
        assert_eq!(mem.place(0xf_ffff, false), Place::Ram(end - 1));
        assert_eq!(mem.place(1 << 32, false), Place::Device);
        assert_eq!(mem.place((1 << 32) - BLOCK - BYTES - 1, false), Place::Device);
    }

    #[test]
    fn programming_clears_bits_and_erasing_a_block_sets_them() {
        let mut socket = Socket::new(false);
        socket.write(BLOCK, &[0x10, 0xf0]);
        socket.write(BLOCK, &[0x40, 0x3c]);
        socket.write(BLOCK - 1, &[0x10, 1]);
        assert_eq!(socket.read(0, 1), READY.into());
        socket.write(0, &[0xff]);
        assert_eq!(socket.read(BLOCK - 1, 2), 0x3001);
        socket.write(BLOCK + 77, &[0x20, 0xd0, 0xff]);
        assert_eq!(socket.read(BLOCK - 1, 2), 0xff01);
    }

    #[test]
    fn a_locked_chip_keeps_its_contents_and_says_so() {
        let mut socket = Socket::new(true);
        socket.write(0, &[0x10, 0]);
        assert_eq!(socket.read(0, 1), u64::from(READY | PROGRAM_FAILED | BLOCK_LOCKED));
        socket.write(0, &[0x50, 0x20, 0xd0]);
        assert_eq!(socket.read(0, 1), u64::from(READY | ERASE_FAILED | BLOCK_LOCKED));
        socket.write(0, &[0x90]);
        assert_eq!(socket.read(BLOCK, 4), 0x01_00_00);
        socket.write(0, &[0xff]);
        assert_eq!(socket.read(0, 1), 0xff);
    }

    #[test]
    fn commands_that_do_not_belong_together_do_nothing() {
        let mut socket = Socket::new(false);
        socket.write(0, &[0x10, 0, 0x20, 0x10]);
        assert_eq!(socket.read(0, 1), u64::from(READY | BAD_SEQUENCE));
        socket.write(0, &[0x50, 0x60, 0x77]);
        assert_eq!(socket.read(0, 1), u64::from(READY | BAD_SEQUENCE));
        socket.write(0, &[0x50, 0xff]);
        assert_eq!(socket.read(0, 1), 0);
    }

    #[test]
    fn clearing_the_status_shows_that_it_is_flash() {
        let mut socket = Socket::new(false);
        socket.write(0, &[0x50]);
        assert_eq!(socket.read(0, 1), 0xff);
        socket.write(0, &[0x70]);
        assert_eq!(socket.read(0, 1), 0);
    }

    #[test]
    fn the_query_table_describes_the_chip() {
        let mut socket = Socket::new(false);
        socket.write(0, &[0x98]);
        assert_eq!(socket.read(0x10, 4).to_le_bytes()[..4], *b"QRY\x01");
        assert_eq!(socket.read(0x27, 1), 14, "12 KiB need 14 bits");
        assert_eq!(socket.read(0x2c, 1), 1);
        assert_eq!(socket.read(0x2d, 4), 0x0010_0002);
        assert_eq!(socket.read(0x31, 4).to_le_bytes()[..3], *b"PRI");
    }

    #[test]
    fn it_shows_its_contents_to_the_cpu_unless_it_answers() {
        let mut socket = Socket::new(false);
        assert!(!socket.flash.answers());
        socket.write(0, &[0x70]);
        assert!(socket.flash.answers());
        socket.flash.reset();
        assert!(!socket.flash.answers());
    }

    /// The properties ask for a chip of its own: the contents go with it as a short list.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct WithContents {
        flash: Flash,
        contents: Vec<u8>,
    }

    impl Chip for WithContents {
        fn power_on() -> WithContents {
            let socket = Socket::new(false);
            WithContents { flash: socket.flash, contents: vec![0xff; BYTES as usize] }
        }

        fn poke(&mut self, rng: &mut Rng, _: VmTime) -> u64 {
            let mut socket = Socket::new(false);
            socket.flash = self.flash.clone();
            socket.mem.write_region(Region::Flash(1), 0, &self.contents);
            let (offset, size) = (rng.below(BYTES), 1 << rng.below(4));
            let commands = [0xff, 0x90, 0x98, 0x70, 0x10, 0x40, 0x20, 0xd0, 0x60, 0x50, rng.byte()];
            let read = match rng.below(3) {
                0 => socket.read(offset, size),
                _ => {
                    socket.write(offset, &[commands[rng.below(11) as usize]]);
                    0
                }
            };
            self.flash = socket.flash;
            socket.mem.read_region(Region::Flash(1), 0, &mut self.contents);
            read
        }

        fn advance(&mut self, _: VmTime) {}

        fn next_event(&self) -> Option<VmTime> {
            None
        }

        fn outputs(&self) -> u64 {
            self.flash.answers().into()
        }
    }

    #[test]
    fn a_restored_chip_has_the_same_future() {
        restored_chips_have_the_same_future::<WithContents>();
    }
}
