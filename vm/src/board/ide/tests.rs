use super::*;
use crate::board::test_support::{Chip, FlatMemory, Rng, chip_properties, config};
use crate::media::{Drive, Medium};
use crate::memory::Region;
use crate::units::PhysAddr;

const DISK_SECTORS: usize = 16 * 63 * 2;
const CD_BLOCKS: usize = 40;
const MEMORY: usize = 0x4_0000;
const TABLE: usize = 0x1000;
const MASTER: u16 = 0xc000;

/// Memory, with a disk as medium 0 and CDs as 1 and 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Host {
    flat: FlatMemory,
    media: Vec<Vec<u8>>,
}

impl PhysMemory for Host {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) {
        self.flat.read(addr, buf);
    }

    fn write(&mut self, addr: PhysAddr, bytes: &[u8]) {
        self.flat.write(addr, bytes);
    }

    fn read_region(&self, region: Region, offset: u64, buf: &mut [u8]) {
        self.flat.read_region(region, offset, buf);
    }

    fn write_region(&mut self, region: Region, offset: u64, bytes: &[u8]) {
        self.flat.write_region(region, offset, bytes);
    }

    fn medium(&self, number: usize) -> Option<MediumShape> {
        let bytes = self.media.get(number)?.len() as u64;
        Some(MediumShape { number, bytes, read_only: number > 0 })
    }

    fn read_medium(&self, number: usize, offset: u64, buf: &mut [u8]) {
        let medium = self.media.get(number).map_or(&[][..], Vec::as_slice);
        for (i, byte) in buf.iter_mut().enumerate() {
            *byte = medium.get((offset as usize).wrapping_add(i)).copied().unwrap_or(0);
        }
    }

    fn write_medium(&mut self, number: usize, offset: u64, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            if let Some(cell) = self.media[number].get_mut(offset as usize + i) {
                *cell = *byte;
            }
        }
    }
}

/// A controller with a disk as hda and a CD-ROM as hdc.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pc {
    ide: Ide,
    host: Host,
    now: u64,
}

impl Pc {
    /// After the CD-ROM drive has told of its reset.
    fn new() -> Pc {
        let mut pc = Pc::switched_on();
        pc.packet(&[0], 0, false);
        pc
    }

    fn switched_on() -> Pc {
        let pattern =
            |bytes: usize, seed: usize| (0..bytes).map(|i| (i / 512 * seed + i) as u8).collect::<Vec<_>>();
        let media = vec![pattern(DISK_SECTORS * 512, 7), pattern(CD_BLOCKS * 2048, 3), pattern(4096, 5)];
        let host = Host { flat: FlatMemory::new(MEMORY), media };
        let mut config = config();
        for (number, bytes) in host.media.iter().enumerate() {
            let bytes = bytes.len() as u64;
            config.media.push(Medium { name: String::new(), bytes, hash: 0, read_only: number > 0 });
        }
        config.drives = vec![
            Drive { slot: Slot::Hda, kind: DriveKind::Disk, medium: Some(0) },
            Drive { slot: Slot::Hdc, kind: DriveKind::Cd, medium: Some(1) },
        ];
        Pc { ide: Ide::new(&config), host, now: 0 }
    }

    fn place(port: u16) -> Place {
        Place::at(port, [true; 2], Some(MASTER)).expect("something is there")
    }

    fn out(&mut self, port: u16, value: u8) {
        self.ide.write(Pc::place(port), 1, value.into(), VmTime(self.now));
    }

    fn inb(&mut self, port: u16) -> u8 {
        self.ide.read(Pc::place(port), 1, VmTime(self.now)) as u8
    }

    /// Until the device is no longer busy; its status.
    fn wait(&mut self, control: u16) -> u8 {
        for _ in 0..1000 {
            let status = self.inb(control);
            if status & 0x80 == 0 {
                return status;
            }
            let Some(event) = self.ide.next_event() else { break };
            self.now = event.0;
            self.ide.advance(event, true, &mut self.host);
        }
        panic!("busy for ever");
    }

    fn read_words(&mut self, base: u16, bytes: usize) -> Vec<u8> {
        let now = VmTime(self.now);
        (0..bytes / 2).flat_map(|_| (self.ide.read(Pc::place(base), 2, now) as u16).to_le_bytes()).collect()
    }

    fn write_words(&mut self, base: u16, bytes: &[u8]) {
        for pair in bytes.chunks(2) {
            let word = u32::from(u16::from_le_bytes([pair[0], pair[1]]));
            self.ide.write(Pc::place(base), 2, word, VmTime(self.now));
        }
    }

    /// A command by 28-bit block address to hda.
    fn command(&mut self, command: u8, lba: u32, count: u8) {
        let [low, mid, high, top] = lba.to_le_bytes();
        for (register, value) in (2..8).zip([count, low, mid, high, 0xe0 | top, command]) {
            self.out(0x1f0 + register, value);
        }
    }

    fn command_48(&mut self, command: u8, lba: u64, count: u16) {
        let bytes = lba.to_le_bytes();
        let [low, high] = count.to_le_bytes();
        for (register, [old, new]) in
            (2..6).zip([[high, low], [bytes[3], bytes[0]], [bytes[4], bytes[1]], [bytes[5], bytes[2]]])
        {
            self.out(0x1f0 + register, old);
            self.out(0x1f0 + register, new);
        }
        self.out(0x1f6, 0xe0);
        self.out(0x1f7, command);
    }

    fn irqs(&self) -> [bool; 2] {
        self.ide.irqs()
    }

    /// A table of (address, bytes) for the bus master of a channel, which is started.
    fn start_master(&mut self, channel: u16, to_memory: bool, entries: &[(u32, u16)]) {
        for (i, (addr, bytes)) in entries.iter().enumerate() {
            let last = u32::from(i + 1 == entries.len()) << 31;
            let entry = [addr.to_le_bytes(), (u32::from(*bytes) | last).to_le_bytes()].concat();
            self.host.flat.0[TABLE + 8 * i..][..8].copy_from_slice(&entry);
        }
        let base = MASTER + 8 * channel;
        for (i, byte) in (TABLE as u32).to_le_bytes().into_iter().enumerate() {
            self.out(base + 4 + i as u16, byte);
        }
        let direction = u8::from(to_memory) << 3;
        self.out(base, direction);
        self.out(base + 2, 0x06);
        self.out(base, direction | 1);
    }

    /// A packet to the CD-ROM with this byte count limit; what came back, and the status.
    fn packet(&mut self, packet: &[u8], limit: u16, dma: bool) -> (Vec<u8>, u8) {
        let [low, high] = limit.to_le_bytes();
        for (register, value) in [(6, 0xa0), (1, u8::from(dma)), (4, low), (5, high), (7, 0xa0)] {
            self.out(0x170 + register, value);
        }
        assert_eq!(self.wait(0x376) & 0x89, 0x08);
        assert_eq!(self.inb(0x172) & 3, 1);
        let mut twelve = packet.to_vec();
        twelve.resize(12, 0);
        self.write_words(0x170, &twelve);
        let mut data = Vec::new();
        loop {
            let status =
                if dma && self.ide.next_event().is_none() { self.inb(0x376) } else { self.wait(0x376) };
            if status & 0x08 == 0 {
                assert!(dma || self.irqs()[1]);
                return (data, self.inb(0x177));
            }
            assert_eq!(self.inb(0x172) & 3, 2);
            let bytes = u16::from_le_bytes([self.inb(0x174), self.inb(0x175)]);
            assert!(bytes <= limit.max(2));
            self.inb(0x177);
            assert!(!self.irqs()[1]);
            data.extend(self.read_words(0x170, usize::from(bytes.next_multiple_of(2))));
        }
    }

    fn sense(&mut self) -> (u8, u8) {
        let (sense, status) = self.packet(&[3, 0, 0, 0, 18], 18, false);
        assert_eq!(status & 1, 0);
        (sense[2], sense[12])
    }
}

#[test]
fn signatures_tell_disks_and_cd_roms_apart() {
    let mut pc = Pc::new();
    for (base, control, mid, high) in [(0x1f0, 0x3f6, 0, 0), (0x170, 0x376, 0x14, 0xeb)] {
        pc.out(control, 0x04);
        assert_eq!(pc.inb(control) & 0x80, 0x80);
        pc.out(control, 0x00);
        pc.wait(control);
        let registers = [1, 2, 3, 4, 5].map(|register| pc.inb(base + register));
        assert_eq!(registers, [1, 1, 1, mid, high]);
        pc.out(base + 6, 0xb0);
        assert_eq!(pc.inb(base + 7), 0, "no second device");
    }
    pc.out(0x1f7, 0x90);
    pc.wait(0x3f6);
}

#[test]
fn identify_describes_the_disk() {
    let mut pc = Pc::new();
    pc.command(0xec, 0, 0);
    assert_eq!(pc.inb(0x3f6) & 0x80, 0x80);
    assert_eq!(pc.wait(0x3f6) & 0x89, 0x08);
    assert!(pc.irqs()[0]);
    pc.inb(0x1f7);
    assert!(!pc.irqs()[0]);
    let bytes = pc.read_words(0x1f0, 512);
    let word = |at: usize| u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]);
    assert_eq!([word(1), word(3), word(6)], [2, 16, 63]);
    assert_eq!(u32::from(word(60)) | u32::from(word(61)) << 16, DISK_SECTORS as u32);
    assert_eq!(bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    assert_eq!(pc.inb(0x1f7) & 0x89, 0);
}

#[test]
fn sectors_are_read_and_written_through_the_data_register() {
    let mut pc = Pc::new();
    pc.command(0x20, 5, 2);
    for sector in 5..7 {
        assert_eq!(pc.wait(0x3f6) & 0x89, 0x08);
        assert!(pc.irqs()[0]);
        pc.inb(0x1f7);
        assert_eq!(pc.read_words(0x1f0, 512), pc.host.media[0][sector * 512..][..512]);
    }
    assert_eq!(pc.inb(0x1f7) & 0x89, 0);
    pc.command(0x30, 9, 2);
    for value in [0x11, 0x22] {
        assert_eq!(pc.wait(0x3f6) & 0x89, 0x08);
        pc.inb(0x1f7);
        pc.write_words(0x1f0, &[value; 512]);
    }
    assert_eq!(pc.wait(0x3f6) & 0x89, 0);
    assert!(pc.irqs()[0]);
    assert_eq!(pc.host.media[0][9 * 512..10 * 512], [0x11; 512]);
    assert_eq!(pc.host.media[0][10 * 512..11 * 512], [0x22; 512]);
}

#[test]
fn multiple_moves_blocks_with_one_interrupt_each() {
    let mut pc = Pc::new();
    pc.out(0x1f2, 4);
    pc.out(0x1f7, 0xc6);
    assert_eq!(pc.wait(0x3f6) & 1, 0);
    pc.command(0xc4, 0, 6);
    for (from, sectors) in [(0, 4), (4, 2)] {
        assert_eq!(pc.wait(0x3f6) & 0x89, 0x08);
        assert_eq!(pc.read_words(0x1f0, sectors * 512), pc.host.media[0][from * 512..][..sectors * 512]);
    }
    assert_eq!(pc.inb(0x3f6) & 0x88, 0);
    pc.out(0x1f2, 3);
    pc.out(0x1f7, 0xc6);
    assert_eq!(pc.wait(0x3f6) & 1, 1);
}

#[test]
fn cylinders_heads_and_sectors_reach_the_same_sectors_in_the_chosen_geometry() {
    let mut pc = Pc::new();
    pc.out(0x1f2, 17);
    pc.out(0x1f6, 0xa0 | 3);
    pc.out(0x1f7, 0x91);
    pc.wait(0x3f6);
    for (register, value) in (2..8).zip([1, 5, 2, 0, 0xa0 | 1, 0x20]) {
        pc.out(0x1f0 + register, value);
    }
    assert_eq!(pc.wait(0x3f6) & 0x89, 0x08);
    let lba = (2 * 4 + 1) * 17 + 4;
    assert_eq!(pc.read_words(0x1f0, 512), pc.host.media[0][lba * 512..][..512]);
    for (register, value) in (2..8).zip([1, 18, 0, 0, 0xa0, 0x20]) {
        pc.out(0x1f0 + register, value);
    }
    assert_eq!(pc.wait(0x3f6) & 1, 1);
    assert_eq!(pc.inb(0x1f1), 0x10);
}

#[test]
fn the_bus_master_moves_what_the_table_says() {
    let mut pc = Pc::new();
    pc.command_48(0x25, 3, 4);
    pc.start_master(0, true, &[(0x8000, 512), (0xa000, 1536)]);
    pc.wait(0x3f6);
    assert!(pc.irqs()[0]);
    assert_eq!(pc.inb(MASTER + 2) & 7, 4);
    assert_eq!(pc.host.flat.0[0x8000..0x8200], pc.host.media[0][3 * 512..4 * 512]);
    assert_eq!(pc.host.flat.0[0xa000..0xa600], pc.host.media[0][4 * 512..7 * 512]);
    pc.out(MASTER, 0);
    pc.inb(0x1f7);
    pc.host.flat.0[0x9000..0x9400].fill(0x5a);
    pc.start_master(0, false, &[(0x9000, 0x800)]);
    pc.command(0xca, 20, 2);
    pc.wait(0x3f6);
    assert_eq!(pc.inb(MASTER + 2) & 7, 5, "a longer table stays active");
    assert_eq!(pc.host.media[0][20 * 512..22 * 512], [0x5a; 1024]);
}

#[test]
fn a_write_asks_for_its_first_block_at_once() {
    let mut pc = Pc::new();
    let sector: Vec<u8> = (0..512).map(|i| (i * 3) as u8).collect();
    pc.command(0x30, 5, 1);
    // No look at the status in between, as in xv6.
    pc.write_words(0x1f0, &sector);
    pc.wait(0x3f6);
    assert_eq!(pc.host.media[0][5 * 512..][..512], sector);
}

#[test]
fn a_table_that_is_too_short_ends_without_an_interrupt() {
    let mut pc = Pc::new();
    pc.command(0xc8, 0, 4);
    pc.start_master(0, true, &[(0x8000, 512)]);
    while let Some(event) = pc.ide.next_event() {
        pc.ide.advance(event, true, &mut pc.host);
    }
    assert_eq!(pc.inb(MASTER + 2) & 7, 0);
    assert!(!pc.irqs()[0]);
    pc.out(0x3f6, 4);
    pc.out(0x3f6, 0);
    assert_eq!(pc.wait(0x3f6) & 0x89, 0);
}

#[test]
fn a_master_that_may_not_use_the_bus_waits_until_it_may() {
    let mut pc = Pc::new();
    pc.command(0xc8, 3, 1);
    pc.start_master(0, true, &[(0x8000, 512)]);
    while let Some(event) = pc.ide.next_event() {
        pc.now = event.0;
        pc.ide.advance(event, false, &mut pc.host);
    }
    assert_eq!(pc.inb(MASTER + 2) & 7, 1);
    assert_eq!(pc.inb(0x3f6) & 0x80, 0x80);
    pc.ide.may_master(VmTime(pc.now));
    assert_eq!(pc.wait(0x3f6) & 0x89, 0);
    assert!(pc.irqs()[0]);
    assert_eq!(pc.host.flat.0[0x8000..0x8200], pc.host.media[0][3 * 512..4 * 512]);
}

#[test]
fn what_is_written_to_the_buffer_is_read_from_it() {
    let mut pc = Pc::new();
    let block: Vec<u8> = (0..512).map(|i| (i * 3) as u8).collect();
    pc.command(0xe8, 0, 0);
    assert_eq!(pc.wait(0x3f6) & 0x89, 0x08);
    pc.write_words(0x1f0, &block);
    assert_eq!(pc.wait(0x3f6) & 0x89, 0);
    assert!(pc.irqs()[0]);
    pc.command(0xe4, 0, 0);
    assert_eq!(pc.wait(0x3f6) & 0x89, 0x08);
    assert_eq!(pc.read_words(0x1f0, 512), block);
}

/// The words of IDENTIFY DEVICE.
fn identified(pc: &mut Pc) -> Vec<u16> {
    pc.command(0xec, 0, 0);
    pc.wait(0x3f6);
    let bytes = pc.read_words(0x1f0, 512);
    bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// A command ends with these bits in the error register, 0 for none.
fn ends(pc: &mut Pc, command: u8, lba: u32, count: u8) -> u8 {
    pc.command(command, lba, count);
    if pc.wait(0x3f6) & 1 != 0 { pc.inb(0x1f1) } else { 0 }
}

#[test]
fn the_end_of_a_disk_can_be_hidden() {
    let mut pc = Pc::new();
    assert_eq!(ends(&mut pc, 0xf9, 99, 0), 0x04, "it must follow READ NATIVE MAX ADDRESS");
    ends(&mut pc, 0xf8, 0, 0);
    assert_eq!(ends(&mut pc, 0xf9, 99, 0), 0);
    assert_eq!(identified(&mut pc)[60], 100);
    assert_eq!(ends(&mut pc, 0x40, 99, 1), 0);
    assert_eq!(ends(&mut pc, 0x40, 100, 1), 0x10);
    ends(&mut pc, 0xf8, 0, 0);
    assert_eq!(ends(&mut pc, 0xf9, DISK_SECTORS as u32, 0), 0x10);
    // What was set for a while is forgotten at a reset, what was set for good is not, and is set once.
    pc.ide.reset();
    assert_eq!(ends(&mut pc, 0x40, 100, 1), 0);
    ends(&mut pc, 0xf8, 0, 0);
    assert_eq!(ends(&mut pc, 0xf9, 199, 1), 0);
    ends(&mut pc, 0xf8, 0, 0);
    assert_eq!(ends(&mut pc, 0xf9, 299, 1), 0x10);
    pc.ide.reset();
    assert_eq!(identified(&mut pc)[60], 200);
}

/// A command of the security feature set with its block; its error.
fn secure(pc: &mut Pc, command: u8, master: bool, maximum: bool, password: &[u8]) -> u8 {
    pc.command(command, 0, 0);
    if pc.wait(0x3f6) & 1 != 0 {
        return pc.inb(0x1f1);
    }
    let mut block = vec![0; 512];
    (block[0], block[1]) = (master.into(), maximum.into());
    block[2..2 + password.len()].copy_from_slice(password);
    pc.write_words(0x1f0, &block);
    if pc.wait(0x3f6) & 1 != 0 { pc.inb(0x1f1) } else { 0 }
}

#[test]
fn a_disk_with_a_password_is_locked_after_a_reset() {
    let mut pc = Pc::new();
    assert_eq!(identified(&mut pc)[128], 1);
    assert_eq!(secure(&mut pc, 0xf1, false, false, b"open sesame"), 0);
    assert_eq!(identified(&mut pc)[128], 3);
    assert_eq!(ends(&mut pc, 0x20, 0, 1), 0, "it is not locked yet");
    pc.read_words(0x1f0, 512);
    pc.ide.reset();
    assert_eq!(identified(&mut pc)[128], 7);
    for command in [0x20, 0x30, 0xc8, 0xca, 0x40, 0x25, 0xe7, 0xf1, 0xf5] {
        assert_eq!(ends(&mut pc, command, 0, 1), 0x04, "{command:#x}");
    }
    assert_eq!(secure(&mut pc, 0xf2, false, false, b"open barley"), 0x04);
    assert_eq!(secure(&mut pc, 0xf2, false, false, b"open sesame"), 0);
    assert_eq!(ends(&mut pc, 0x40, 0, 1), 0);
    assert_eq!(ends(&mut pc, 0xf5, 0, 0), 0);
    assert_eq!(secure(&mut pc, 0xf6, false, false, b"open sesame"), 0x04, "it is frozen");
    pc.ide.reset();
    secure(&mut pc, 0xf2, false, false, b"open sesame");
    assert_eq!(secure(&mut pc, 0xf6, false, false, b"open sesame"), 0);
    pc.ide.reset();
    assert_eq!(identified(&mut pc)[128], 1);
}

#[test]
fn five_wrong_passwords_are_enough_until_the_next_reset() {
    let mut pc = Pc::new();
    secure(&mut pc, 0xf1, true, false, b"master");
    secure(&mut pc, 0xf1, false, true, b"user");
    pc.ide.reset();
    // At the maximum level the master password does not unlock.
    for wrong in [&b"master"[..], b"a", b"b", b"c", b"d"] {
        assert_eq!(secure(&mut pc, 0xf2, wrong == b"master", false, wrong), 0x04);
    }
    assert_eq!(secure(&mut pc, 0xf2, false, false, b"user"), 0x04);
    assert_eq!(identified(&mut pc)[128], 0x117);
    pc.ide.reset();
    assert_eq!(secure(&mut pc, 0xf2, false, false, b"user"), 0);
}

#[test]
fn a_locked_disk_can_be_erased_with_the_master_password() {
    let mut pc = Pc::new();
    secure(&mut pc, 0xf1, true, false, b"master");
    secure(&mut pc, 0xf1, false, true, b"user");
    pc.ide.reset();
    assert_eq!(secure(&mut pc, 0xf4, true, false, b"master"), 0x04, "it must be prepared");
    assert_eq!(ends(&mut pc, 0xf3, 0, 0), 0);
    assert_eq!(secure(&mut pc, 0xf4, true, false, b"master"), 0);
    assert!(pc.host.media[0].iter().all(|byte| *byte == 0));
    assert_eq!(identified(&mut pc)[128], 1);
}

#[test]
fn commands_beyond_the_end_and_unknown_ones_fail() {
    let mut pc = Pc::new();
    for (command, lba, error) in [
        (0x20, DISK_SECTORS as u32, 0x10),
        (0xc8, DISK_SECTORS as u32 - 1, 0x10),
        (0xdd, 0, 0x04),
        (0, 0, 0x04),
        (0xa1, 0, 0x04),
    ] {
        pc.command(command, lba, 2);
        assert_eq!(pc.wait(0x3f6) & 0x89, 1, "{command:#x}");
        assert_eq!(pc.inb(0x1f1), error, "{command:#x}");
    }
    pc.command(0xf8, 0, 0);
    pc.wait(0x3f6);
    let last = u32::from_le_bytes([pc.inb(0x1f3), pc.inb(0x1f4), pc.inb(0x1f5), pc.inb(0x1f6) & 15]);
    assert_eq!(last, DISK_SECTORS as u32 - 1);
}

/// A machine whose disk has so many sectors, of which the first are there.
fn with_sectors(sectors: u64) -> Pc {
    let mut pc = Pc::new();
    let mut config = config();
    config.media = vec![Medium { name: String::new(), bytes: sectors * 512, hash: 0, read_only: false }];
    config.drives = vec![Drive { slot: Slot::Hda, kind: DriveKind::Disk, medium: Some(0) }];
    pc.ide = Ide::new(&config);
    pc
}

#[test]
fn sectors_beyond_28_bits_have_numbers_of_48() {
    const SECTORS: u64 = (1 << 28) + 100;
    let mut pc = with_sectors(SECTORS);
    let words = identified(&mut pc);
    assert_eq!(words[60..62], [0xffff, 0x0fff], "as many as 28 bits can count");
    assert_eq!(words[100..104], [100, 0x1000, 0, 0]);
    assert_eq!(words[83] & words[86] & 1 << 10, 1 << 10);
    // VERIFY EXT moves nothing, and a count of 0 is 65,536 sectors.
    for (lba, count, error) in [(SECTORS - 1, 1, 0), (SECTORS - 1, 2, 0x10), (SECTORS, 1, 0x10), (3, 0, 0)] {
        pc.command_48(0x42, lba, count);
        assert_eq!(pc.wait(0x3f6) & 1, u8::from(error != 0), "{lba} {count}");
        assert_eq!(pc.inb(0x1f1), error);
    }
    // The number is left in the registers, its upper half behind HOB, which any write to the command block ends.
    let halves = |pc: &mut Pc| [3, 4, 5].map(|register| pc.inb(0x1f0 + register));
    assert_eq!(halves(&mut pc), [2, 0, 1]);
    pc.command_48(0x42, (1 << 28) + 0x20, 1);
    pc.wait(0x3f6);
    assert_eq!(halves(&mut pc), [0x20, 0, 0]);
    pc.out(0x3f6, 0x80);
    assert_eq!(halves(&mut pc), [0x10, 0, 0]);
    pc.out(0x1f2, 0);
    assert_eq!(halves(&mut pc), [0x20, 0, 0]);
    // PIO and DMA, where the image ends long before, and the last sector that 28 bits can name.
    pc.command_48(0x24, SECTORS - 2, 2);
    for _ in 0..2 {
        assert_eq!(pc.wait(0x3f6) & 0x89, 0x08);
        assert_eq!(pc.read_words(0x1f0, 512), [0; 512]);
    }
    assert_eq!(pc.inb(0x1f7) & 0x89, 0);
    pc.command_48(0x34, 7, 1);
    pc.write_words(0x1f0, &[0x77; 512]);
    pc.wait(0x3f6);
    assert_eq!(pc.host.media[0][7 * 512..8 * 512], [0x77; 512]);
    assert_eq!(ends(&mut pc, 0x40, (1 << 28) - 1, 1), 0);
    pc.command_48(0x27, 0, 0);
    pc.wait(0x3f6);
    assert_eq!(halves(&mut pc), [99, 0, 0]);
}

/// SMART with this feature; its error. Data, if there is any, waits in the data register.
fn smart(pc: &mut Pc, feature: u8, address: u8, key: u32) -> u8 {
    pc.out(0x1f1, feature);
    ends(pc, 0xb0, key << 8 | u32::from(address), 1)
}

#[test]
fn smart_tells_of_a_disk_that_is_well() {
    const KEY: u32 = 0xc24f;
    let mut pc = Pc::new();
    let word_is_on = |pc: &mut Pc| identified(pc)[85] & 1 == 1;
    assert!(word_is_on(&mut pc));
    assert_eq!(smart(&mut pc, 0xda, 0, KEY), 0);
    assert_eq!([pc.inb(0x1f4), pc.inb(0x1f5)], [0x4f, 0xc2], "no threshold is exceeded");
    assert_eq!(smart(&mut pc, 0xda, 0, 0xf42c), 0x04, "the key is wrong");
    assert_eq!(smart(&mut pc, 0xdf, 0, KEY), 0x04, "no such subcommand");
    for (feature, address) in [(0xd0, 0), (0xd1, 0), (0xd5, 0), (0xd5, 1), (0xd5, 6)] {
        assert_eq!(smart(&mut pc, feature, address, KEY), 0, "{feature:#x} {address}");
        let sector = pc.read_words(0x1f0, 512);
        assert_eq!(sector[0], 1, "the revision");
        assert_eq!(sector.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0, "{feature:#x} {address}");
    }
    assert_eq!(smart(&mut pc, 0xd5, 9, KEY), 0x04, "no such log");
    // While it is off it can only be turned on.
    assert_eq!(smart(&mut pc, 0xd9, 0, KEY), 0);
    assert!(!word_is_on(&mut pc));
    assert_eq!(smart(&mut pc, 0xda, 0, KEY), 0x04);
    assert_eq!(smart(&mut pc, 0xd8, 0, KEY), 0);
    assert!(word_is_on(&mut pc));
}

#[test]
fn a_disk_says_how_awake_it_is() {
    let mut pc = Pc::new();
    let power = |pc: &mut Pc| {
        assert_eq!(ends(pc, 0xe5, 0, 0x55), 0);
        pc.inb(0x1f2)
    };
    assert_eq!(power(&mut pc), 0xff);
    // IDLE, STANDBY, the same at once, and their old numbers; a look at the medium wakes it.
    for (command, mode) in
        [(0xe3, 0x80), (0xe2, 0x00), (0xe1, 0x80), (0xe0, 0x00), (0x95, 0x80), (0x94, 0x00)]
    {
        assert_eq!(ends(&mut pc, command, 0, 0), 0);
        assert_eq!(power(&mut pc), mode, "{command:#x}");
    }
    ends(&mut pc, 0x40, 0, 1);
    assert_eq!(power(&mut pc), 0xff);
}

#[test]
fn a_disk_stands_by_after_the_time_that_it_was_told() {
    const SECOND: u64 = 1_000_000_000;
    let mut pc = Pc::new();
    let power = |pc: &mut Pc, after: u64| {
        pc.now += after;
        assert_eq!(ends(pc, 0xe5, 0, 0x55), 0);
        pc.inb(0x1f2)
    };
    // IDLE: 12 times 5 seconds from the last command's end.
    ends(&mut pc, 0xe3, 0, 12);
    assert_eq!(power(&mut pc, 60 * SECOND - 1), 0x80);
    assert_eq!(power(&mut pc, 60 * SECOND), 0x00);
    assert_eq!(power(&mut pc, 0), 0x00, "a question does not wake it");
    // An access does, and the time starts anew when the host has read the last word.
    pc.command(0x20, 0, 1);
    pc.wait(0x3f6);
    pc.now += 100 * SECOND;
    pc.read_words(0x1f0, 512);
    assert_eq!(power(&mut pc, 60 * SECOND - 1), 0xff);
    assert_eq!(power(&mut pc, 60 * SECOND), 0x00);
    // STANDBY stands by at once, and again after each access: 2 times 30 minutes; 21 minutes and 15 seconds.
    for (count, period) in [(0xf2, 3600), (0xff, 1275)] {
        assert_eq!(ends(&mut pc, 0xe2, 0, count), 0);
        assert_eq!(power(&mut pc, 0), 0x00);
        ends(&mut pc, 0x40, 0, 1);
        assert_eq!(power(&mut pc, period * SECOND - 1), 0xff);
        assert_eq!(power(&mut pc, period * SECOND), 0x00);
    }
    ends(&mut pc, 0xe3, 0, 0);
    assert_eq!(power(&mut pc, 1_000_000 * SECOND), 0x80, "no time, no timer");
}

#[test]
fn what_set_features_chooses_is_shown() {
    let mut pc = Pc::new();
    let set = |pc: &mut Pc, feature, count| {
        pc.out(0x1f1, feature);
        ends(pc, 0xef, 0, count)
    };
    // A PIO mode leaves the DMA mode as it is.
    for (mode, words) in [(0x22, [0x0407, 0x003f]), (0x43, [0x0007, 0x083f]), (0x0c, [0x0007, 0x083f])] {
        assert_eq!(set(&mut pc, 0x03, mode), 0);
        let shown = identified(&mut pc);
        assert_eq!([shown[63], shown[88]], words, "{mode:#x}");
    }
    assert_eq!(set(&mut pc, 0x03, 0x46), 0x04, "Ultra DMA mode 6 is not there");
    assert_eq!(set(&mut pc, 0x7f, 0), 0x04);
    for (off, on, bit) in [(0x82, 0x02, 5), (0x55, 0xaa, 6)] {
        set(&mut pc, off, 0);
        assert_eq!(identified(&mut pc)[85] >> bit & 1, 0);
        set(&mut pc, on, 0);
        assert_eq!(identified(&mut pc)[85] >> bit & 1, 1);
    }
}

#[test]
fn packets_that_cannot_be_carried_out_say_why() {
    let mut pc = Pc::new();
    for (packet, sense) in [
        (&[0xf7][..], (5, 0x20)),                           // no such command
        (&[0x12, 1, 0x80, 0, 36], (5, 0x24)),               // no vital product data
        (&[0x1a, 0, 0x3e, 0, 36], (5, 0x24)),               // no such page
        (&[0x5a, 0, 0xea, 0, 0, 0, 0, 0, 36], (5, 0x39)),   // nothing is saved
        (&[0x43, 0, 0, 0, 0, 0, 7, 0, 100], (5, 0x24)),     // no such track
        (&[0x2b, 0, 0, 0, 0, CD_BLOCKS as u8], (5, 0x21)),  // SEEK beyond the end
        (&[0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0xf8], (5, 0x24)), // no raw sectors
        (&[0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8], (5, 0x24)),    // no news without being asked
        (&[0xad, 0, 0, 0, 0, 0, 0, 0, 0, 100], (5, 0x30)),  // it is no DVD
    ] {
        let (data, status) = pc.packet(packet, 100, false);
        assert_eq!((data.len(), status & 0x89), (0, 1), "{packet:x?}");
        assert_eq!(pc.inb(0x171), sense.0 << 4 | 0x04, "{packet:x?}");
        assert_eq!(pc.inb(0x172) & 3, 3, "the command is complete");
        assert_eq!(pc.sense(), sense, "{packet:x?}");
        assert_eq!(pc.sense(), (0, 0), "it is told once");
    }
}

#[test]
fn a_cd_rom_drive_describes_itself() {
    let mut pc = Pc::new();
    let answer = |pc: &mut Pc, packet: &[u8]| {
        let (data, status) = pc.packet(packet, 256, false);
        assert_eq!(status & 0x89, 0, "{packet:x?}");
        data
    };
    let inquiry = answer(&mut pc, &[0x12, 0, 0, 0, 36]);
    assert_eq!((inquiry[0] & 0x1f, inquiry[1] & 0x80, inquiry[4]), (5, 0x80, 31));
    // The capabilities page in both forms of MODE SENSE, and what is locked shown in it.
    for locked in [0, 1] {
        answer(&mut pc, &[0x1e, 0, 0, 0, locked]);
        let short = answer(&mut pc, &[0x1a, 0, 0x2a, 0, 200]);
        let long = answer(&mut pc, &[0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 200]);
        assert_eq!(usize::from(short[0]), short.len() - 1);
        assert_eq!(usize::from(long[1]), long.len() - 2);
        assert_eq!((&short[4..6], &short[4..]), (&[0x2a, 20][..], &long[8..]));
        assert_eq!(short[4 + 6] >> 1 & 1, locked);
    }
    let features = answer(&mut pc, &[0x46, 0, 0, 0, 0, 0, 0, 0, 200]);
    assert_eq!((features[3], features[7]), (features.len() as u8 - 4, 0x08), "a CD-ROM is in it");
    let one = answer(&mut pc, &[0x46, 2, 0, 3, 0, 0, 0, 0, 200]);
    assert_eq!((one.len(), &one[8..10]), (16, &[0, 3][..]));
    assert_eq!(answer(&mut pc, &[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8]).len(), 8);
    assert_eq!(answer(&mut pc, &[0x51, 0, 0, 0, 0, 0, 0, 0, 34])[2..5], [0x0e, 1, 1]);
    assert_eq!(answer(&mut pc, &[0x42, 2, 0x40, 1, 0, 0, 0, 0, 16])[..5], [0, 0x15, 0, 12, 1]);
    // The packet's room bounds what comes.
    assert_eq!(answer(&mut pc, &[0x12, 0, 0, 0, 8]).len(), 8);
    // Parameters are taken, and make no difference.
    pc.out(0x171, 0);
    for (register, value) in [(6, 0xa0), (4, 16), (5, 0), (7, 0xa0)] {
        pc.out(0x170 + register, value);
    }
    pc.wait(0x376);
    pc.write_words(0x170, &[0x55, 0x10, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0]);
    for bytes in [16, 8] {
        assert_eq!(pc.wait(0x376) & 0x89, 0x08);
        assert_eq!((pc.inb(0x172) & 3, pc.inb(0x174)), (0, bytes));
        pc.write_words(0x170, &vec![0; bytes.into()]);
    }
    assert_eq!(pc.wait(0x376) & 0x89, 0);
}

#[test]
fn a_dvd_has_a_structure() {
    let mut pc = Pc::new();
    const BLOCKS: u32 = 1 << 20;
    let dvd = MediumShape { number: 1, bytes: u64::from(BLOCKS) * 2048, read_only: true };
    pc.ide.change_medium(Slot::Hdc, Some(dvd));
    pc.packet(&[0], 0, false);
    assert_eq!(pc.packet(&[0x46, 0, 0, 0, 0, 0, 0, 0, 8], 8, false).0[7], 0x10, "a DVD-ROM is in it");
    let structure = |pc: &mut Pc, format| {
        let (data, status) = pc.packet(&[0xad, 0, 0, 0, 0, 0, 0, format, 16, 0], 0x1000, false);
        (status & 1 == 0).then_some(data)
    };
    let physical = structure(&mut pc, 0).unwrap();
    assert_eq!((physical.len(), &physical[..4]), (2052, &[0x08, 0x02, 0, 0][..]));
    let end = u32::from_be_bytes([0, physical[13], physical[14], physical[15]]);
    assert_eq!((physical[9], end), (3, 0x3_0000 + BLOCKS - 1));
    assert_eq!(structure(&mut pc, 1).unwrap(), [0, 6, 0, 0, 0, 0, 0, 0], "it is not protected");
    assert_eq!(structure(&mut pc, 3), None, "it has no burst cutting area");
    assert_eq!(pc.sense(), (5, 0x24));
}

#[test]
fn a_cd_is_read_in_parts_as_small_as_the_host_likes() {
    let mut pc = Pc::new();
    let (capacity, _) = pc.packet(&[0x25], 8, false);
    assert_eq!(capacity, [0, 0, 0, CD_BLOCKS as u8 - 1, 0, 0, 8, 0]);
    for limit in [512, 2048, 5000, 0xfffe] {
        let (data, status) = pc.packet(&[0x28, 0, 0, 0, 0, 2, 0, 0, 5], limit, false);
        assert_eq!(status & 1, 0);
        assert!(data == pc.host.media[1][2 * 2048..7 * 2048], "limit {limit}");
    }
    let (_, status) = pc.packet(&[0x28, 0, 0, 0, 0, 38, 0, 0, 5], 2048, false);
    assert_eq!(status & 1, 1);
    assert_eq!(pc.sense(), (5, 0x21));
}

#[test]
fn a_cd_is_read_by_the_bus_master() {
    let mut pc = Pc::new();
    pc.start_master(1, true, &[(0x1_0000, 4096)]);
    let (_, status) = pc.packet(&[0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 2], 2048, true);
    assert_eq!(status & 0x89, 0);
    assert_eq!(pc.host.flat.0[0x1_0000..0x1_1000], pc.host.media[1][2048..3 * 2048]);
    assert_eq!(pc.inb(MASTER + 10) & 7, 4);
}

#[test]
fn a_reset_is_told_once() {
    let mut pc = Pc::switched_on();
    assert_eq!(pc.packet(&[0x12, 0, 0, 0, 36], 36, false).0[0], 5, "this comes through");
    assert_eq!(pc.packet(&[0], 0, false).1 & 1, 1);
    assert_eq!(pc.sense(), (6, 0x29));
    assert_eq!(pc.packet(&[0], 0, false).1 & 1, 0);
    pc.ide.reset();
    assert_eq!(pc.sense(), (6, 0x29));
    assert_eq!(pc.packet(&[0], 0, false).1 & 1, 0);
}

#[test]
fn a_change_of_medium_is_told_once() {
    let mut pc = Pc::new();
    let ready = |pc: &mut Pc| pc.packet(&[0], 0, false).1 & 1 == 0;
    assert!(ready(&mut pc));
    pc.ide.change_medium(Slot::Hdc, None);
    assert!(!ready(&mut pc));
    assert_eq!(pc.sense(), (2, 0x3a));
    pc.ide.change_medium(Slot::Hdc, pc.host.medium(2));
    let (event, _) = pc.packet(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], 8, false);
    assert_eq!(event[4..6], [2, 2]);
    assert!(!ready(&mut pc));
    assert_eq!(pc.sense(), (6, 0x28));
    assert!(ready(&mut pc));
    let (capacity, _) = pc.packet(&[0x25], 8, false);
    assert_eq!(capacity[3], 1);
}

#[test]
fn a_locked_tray_stays_closed_for_the_guest() {
    let mut pc = Pc::new();
    pc.packet(&[0x1e, 0, 0, 0, 1], 0, false);
    assert_eq!(pc.packet(&[0x1b, 0, 0, 0, 2], 0, false).1 & 1, 1);
    assert_eq!(pc.sense(), (5, 0x53));
    pc.packet(&[0x1e], 0, false);
    assert_eq!(pc.packet(&[0x1b, 0, 0, 0, 2], 0, false).1 & 1, 0);
    assert_eq!(pc.packet(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1], 2048, false).1 & 1, 1);
    assert_eq!(pc.sense(), (2, 0x3a));
}

#[test]
fn the_table_of_contents_comes_in_three_forms() {
    let mut pc = Pc::new();
    let (toc, _) = pc.packet(&[0x43, 0, 0, 0, 0, 0, 0, 0, 100], 100, false);
    assert_eq!(toc, [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0, CD_BLOCKS as u8]);
    let (sessions, _) = pc.packet(&[0x43, 2, 1, 0, 0, 0, 0, 0, 100], 100, false);
    assert_eq!(sessions, [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0]);
    let (raw, _) = pc.packet(&[0x43, 2, 2, 0, 0, 0, 0, 0, 100], 100, false);
    assert_eq!(raw.len(), 4 + 4 * 11);
}

/// Random accesses to every register of both channels and their bus masters, weighted towards commands that exist.
impl Chip for Pc {
    fn power_on() -> Pc {
        Pc::switched_on()
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        self.advance(now);
        const PORTS: [u16; 20] = [
            0x1f0,
            0x1f1,
            0x1f2,
            0x1f3,
            0x1f4,
            0x1f5,
            0x1f6,
            0x1f7,
            0x170,
            0x171,
            0x172,
            0x173,
            0x174,
            0x175,
            0x176,
            0x177,
            0x3f6,
            0x376,
            MASTER,
            MASTER + 8,
        ];
        const COMMANDS: [u8; 28] = [
            0x20, 0x24, 0x25, 0x30, 0x35, 0xc4, 0xc5, 0xc8, 0xca, 0xec, 0xa0, 0xa0, 0xa1, 0x90, 0xef, 0xb0,
            0xe4, 0xe8, 0xf1, 0xf2, 0xf3, 0xf4, 0xf6, 0xf8, 0xf9, 0x37, 0xe3, 0xe5,
        ];
        let port = PORTS[rng.below(20) as usize];
        let place = Pc::place(port);
        match rng.below(6) {
            0 => self.ide.read(place, 1, now).into(),
            1 | 2 => {
                let value = match port & 0x37f {
                    0x177 => COMMANDS[rng.below(28) as usize],
                    0x376 => rng.byte() & 0x82,
                    _ => rng.byte() & if rng.below(2) == 0 { 0x0f } else { 0xff },
                };
                self.ide.write(place, 1, value.into(), now);
                0
            }
            _ => {
                let base = if rng.below(2) == 0 { 0x1f0 } else { 0x170 };
                let place = Pc::place(base);
                (0..256u64).fold(0, |sum, i| {
                    if i & 1 == 0 {
                        sum.wrapping_mul(31).wrapping_add(self.ide.read(place, 2, now).into())
                    } else {
                        let commands = [0x28, 0x43, 0x5a, 0x4a, 0xbe, 0x12, 0x55, 0x46, 0xad];
                        let value = commands[rng.below(9) as usize] | u32::from(rng.byte() & 3) << 8;
                        self.ide.write(place, 2, value, now);
                        sum
                    }
                })
            }
        }
    }

    fn advance(&mut self, now: VmTime) {
        self.ide.advance(now, true, &mut self.host);
    }

    fn next_event(&self) -> Option<VmTime> {
        self.ide.next_event()
    }

    fn outputs(&self) -> u64 {
        self.irqs().into_iter().fold(0, |bits, irq| bits << 1 | u64::from(irq))
    }
}

chip_properties!(Pc, step_ns: 5_000, exact: false);
