use super::*;
use crate::board::dma::Dma;
use crate::board::test_support::{Chip, FlatMemory, Rng, chip_properties};

const REVOLUTION_NS: u64 = 20_000_000;
const BUFFER: usize = 0x1000;

/// What is around the controller: DMA, memory, and the images of two disks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wires {
    dma: Dma,
    mem: FlatMemory,
    disks: [Vec<u8>; DRIVES],
}

impl Host for Wires {
    fn transfer(&mut self, data: Transfer) -> Moved {
        self.dma.transfer(2, data, &mut self.mem)
    }

    fn read_sector(&mut self, medium: usize, sector: u16, data: &mut [u8; SECTOR_BYTES]) {
        let at = usize::from(sector) * SECTOR_BYTES;
        let image = &self.disks[medium];
        data.copy_from_slice(image.get(at..at + SECTOR_BYTES).unwrap_or(&[0; SECTOR_BYTES]));
    }

    fn write_sector(&mut self, medium: usize, sector: u16, data: &[u8; SECTOR_BYTES]) {
        let at = usize::from(sector) * SECTOR_BYTES;
        if let Some(place) = self.disks[medium].get_mut(at..at + SECTOR_BYTES) {
            place.copy_from_slice(data);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pc {
    fdc: Fdc,
    wires: Wires,
    now: VmTime,
}

/// Every sector of a disk has its own contents.
fn image(kib: usize) -> Vec<u8> {
    (0..kib * 2).flat_map(|sector| [sector as u8, (sector >> 8) as u8].repeat(SECTOR_BYTES / 2)).collect()
}

fn disk(number: usize, bytes: u64, read_only: bool) -> Option<MediumShape> {
    Some(MediumShape { number, bytes, read_only })
}

impl Pc {
    /// A 1.44 MB disk in drive A, the controller reset, the motor on, DMA allowed.
    fn new() -> Pc {
        Pc::with_disk(1440)
    }

    fn with_disk(kib: usize) -> Pc {
        let kind = DriveKind::for_disk((kib << 10) as u64);
        let mut pc = Pc {
            fdc: Fdc::new([Some(kind), None]),
            wires: Wires {
                dma: Dma::new(true),
                mem: FlatMemory::new(0x1_0000),
                disks: [image(kib), Vec::new()],
            },
            now: VmTime(0),
        };
        pc.fdc.change_disk(0, disk(0, (kib << 10) as u64, false), pc.now);
        pc.out(2, 0x1c);
        pc.out(7, 0);
        pc.until_interrupt();
        for unit in 0..4 {
            assert_eq!(pc.command(&[0x08]), [0xc0 | unit, 0]);
        }
        pc.command(&[0x03, 0xdf, 0x02]);
        pc
    }

    fn out(&mut self, register: u16, value: u8) {
        self.fdc.advance(self.now, &mut self.wires);
        self.fdc.write(register, value, self.now);
    }

    fn inp(&mut self, register: u16) -> u8 {
        self.fdc.advance(self.now, &mut self.wires);
        self.fdc.read(register, self.now)
    }

    /// Gives a command, and takes its result if that comes at once.
    fn command(&mut self, bytes: &[u8]) -> Vec<u8> {
        for byte in bytes {
            assert_eq!(self.inp(4) & 0xc0, 0x80, "before {byte:#x} of {bytes:x?}");
            self.out(5, *byte);
        }
        self.result()
    }

    fn result(&mut self) -> Vec<u8> {
        let mut result = Vec::new();
        while self.inp(4) & 0xf0 == 0xd0 {
            result.push(self.inp(5));
        }
        result
    }

    /// Lets time pass until the interrupt line is high: how much did.
    fn until_interrupt(&mut self) -> u64 {
        let start = self.now.0;
        while !self.fdc.irq() {
            self.now = self.fdc.next_event().expect("something will happen");
            self.fdc.advance(self.now, &mut self.wires);
        }
        self.now.0 - start
    }

    /// Gives a command and waits for its result.
    fn execute(&mut self, bytes: &[u8]) -> Vec<u8> {
        assert_eq!(self.command(bytes), []);
        self.until_interrupt();
        self.result()
    }

    /// Programs channel 2 for `count` bytes at BUFFER.
    fn dma(&mut self, mode: u8, count: usize) {
        let [low, high] = ((count - 1) as u16).to_le_bytes();
        let writes = [
            (0x0a, 6),
            (0x0c, 0),
            (0x0b, mode | 2),
            (0x81, 0),
            (4, 0),
            (4, 0x10),
            (5, low),
            (5, high),
            (0x0a, 2),
        ];
        for (port, value) in writes {
            self.wires.dma.write(port, value, &mut self.wires.mem);
        }
    }

    fn dma_in(&mut self, count: usize) {
        self.dma(0x44, count);
    }

    fn dma_out(&mut self, count: usize) {
        self.dma(0x48, count);
    }

    fn buffer(&self, from: usize, bytes: usize) -> &[u8] {
        &self.wires.mem.0[BUFFER + from..BUFFER + from + bytes]
    }

    fn sector(&self, index: usize) -> &[u8] {
        &self.wires.disks[0][index * SECTOR_BYTES..(index + 1) * SECTOR_BYTES]
    }

    fn seek(&mut self, cylinder: u8) {
        assert_eq!(self.execute(&[0x0f, 0, cylinder]), []);
        assert_eq!(self.command(&[0x08]), [0x20, cylinder]);
    }

    /// READ DATA of the sectors `first` to 18 of a track, with these bits over the operation.
    fn read(&mut self, bits: u8, cylinder: u8, head: u8, first: u8) -> Vec<u8> {
        self.execute(&[bits | 0x06, head << 2, cylinder, head, first, 2, 18, 27, 0xff])
    }
}

#[test]
fn a_reset_interrupts_once_and_has_a_status_for_each_drive() {
    let mut pc = Pc::new();
    assert!(!pc.fdc.irq());
    assert_eq!(pc.command(&[0x08]), [0x80], "there are no more");
    pc.out(4, 0x80);
    assert_eq!(pc.until_interrupt(), RESET_NS);
    assert_eq!(pc.command(&[0x08]), [0xc0, 0]);
    assert!(!pc.fdc.irq());
    pc.out(2, 0x18);
    assert_eq!((pc.inp(4), pc.inp(2)), (0, 0x18));
    pc.out(5, 0x08);
    pc.out(2, 0x14);
    pc.now = VmTime(pc.now.0 + RESET_NS);
    pc.fdc.advance(pc.now, &mut pc.wires);
    assert!(!pc.fdc.irq(), "the DMA gate holds the line back");
    pc.out(2, 0x1c);
    assert!(pc.fdc.irq());
}

#[test]
fn a_sector_is_read_when_it_passes_the_head() {
    let mut pc = Pc::new();
    pc.seek(3);
    pc.dma_in(512);
    pc.now = VmTime(20 * REVOLUTION_NS);
    pc.command(&[0xe6, 0x04, 3, 1, 5, 2, 18, 27, 0xff]);
    assert_eq!(pc.inp(4), 0x10);
    let slot = REVOLUTION_NS / 18;
    let took = pc.until_interrupt();
    assert!((4 * slot..5 * slot).contains(&took), "{took}");
    assert_eq!(pc.inp(4), 0xd0);
    assert_eq!(pc.result(), [0x04, 0, 0, 3, 1, 6, 2]);
    assert!(!pc.fdc.irq() && pc.inp(4) == 0x80);
    let index = (3 * 2 + 1) * 18 + 4;
    assert_eq!(pc.buffer(0, 512), pc.sector(index));
    assert_eq!(pc.wires.dma.read(8), 0x04);
}

#[test]
fn a_cylinder_is_read_by_one_multi_track_command_in_two_rotations() {
    let mut pc = Pc::new();
    pc.dma_in(36 * 512);
    pc.now = VmTime(20 * REVOLUTION_NS);
    pc.command(&[0xe6, 0x00, 0, 0, 1, 2, 18, 27, 0xff]);
    let took = pc.until_interrupt();
    assert!((REVOLUTION_NS..2 * REVOLUTION_NS).contains(&took), "{took}");
    assert_eq!(pc.result(), [0x04, 0, 0, 1, 0, 1, 2]);
    assert_eq!(pc.buffer(0, 36 * 512), &pc.wires.disks[0][..36 * 512]);
}

#[test]
fn a_multi_track_command_goes_on_with_the_other_side_where_the_track_ends() {
    let mut pc = Pc::new();
    pc.dma_in(30 * 512);
    assert_eq!(pc.execute(&[0xe6, 0x00, 0, 0, 2, 2, 31, 27, 0xff]), [0x04, 0, 0, 0, 1, 14, 2]);
    assert_eq!(pc.buffer(0, 30 * 512), &pc.wires.disks[0][512..31 * 512]);
}

#[test]
fn results_name_the_sector_that_would_come_next() {
    let cases = [
        (0x46, 0, 1, 2, [0x00, 0, 0, 0, 0, 3, 2]),
        (0x46, 0, 17, 2, [0x00, 0, 0, 1, 0, 1, 2]),
        (0x46, 1, 18, 1, [0x04, 0, 0, 1, 1, 1, 2]),
        (0xc6, 0, 18, 1, [0x00, 0, 0, 0, 1, 1, 2]),
        (0xc6, 1, 18, 1, [0x04, 0, 0, 1, 0, 1, 2]),
        (0xc6, 0, 18, 2, [0x04, 0, 0, 0, 1, 2, 2]),
        // No terminal count before the last sector.
        (0x46, 0, 18, 2, [0x40, 0x80, 0, 1, 0, 1, 2]),
        (0xc6, 1, 18, 2, [0x44, 0x80, 0, 1, 0, 1, 2]),
    ];
    for (command, head, first, sectors, result) in cases {
        let mut pc = Pc::new();
        pc.dma_in(sectors * 512);
        assert_eq!(pc.read(command & 0xe0, 0, head, first), result, "{command:#x} {head} {first}");
    }
}

#[test]
fn what_is_not_on_the_track_is_not_found_after_two_index_pulses() {
    let cases: [(&[u8], [u8; 7]); 7] = [
        (&[0x46, 0, 0, 0, 19, 2, 19, 27, 0xff], [0x40, 0x04, 0, 0, 0, 19, 2]),
        (&[0x46, 0, 0, 0, 0, 2, 18, 27, 0xff], [0x40, 0x04, 0, 0, 0, 0, 2]),
        (&[0x46, 0, 0, 0, 1, 3, 18, 27, 0xff], [0x40, 0x04, 0, 0, 0, 1, 3]),
        (&[0x46, 0, 0, 1, 1, 2, 18, 27, 0xff], [0x40, 0x04, 0, 0, 1, 1, 2]),
        (&[0x46, 0, 7, 0, 1, 2, 18, 27, 0xff], [0x40, 0x04, 0x10, 7, 0, 1, 2]),
        (&[0x06, 0, 0, 0, 1, 2, 18, 27, 0xff], [0x40, 0x01, 0, 0, 0, 1, 2]),
        (&[0x0a, 0], [0x40, 0x01, 0, 0, 0, 0, 0]),
    ];
    for (command, result) in cases {
        let mut pc = Pc::new();
        let start = pc.now.0;
        assert_eq!(pc.execute(command), result, "{command:x?}");
        let took = pc.now.0 - start;
        assert!((REVOLUTION_NS..2 * REVOLUTION_NS).contains(&took), "{took}");
    }
}

#[test]
fn every_format_is_read_at_its_rate_and_at_no_other() {
    let rates: [(usize, &[u8]); 7] =
        [(160, &[1, 2]), (360, &[1, 2]), (720, &[2]), (1200, &[0]), (1440, &[0]), (1680, &[0]), (2880, &[3])];
    for (kib, rates) in rates {
        for rate in 0..4 {
            let mut pc = Pc::with_disk(kib);
            pc.out(7, rate);
            pc.dma_in(512);
            let result = pc.read(0x40, 0, 0, 2);
            assert_eq!(result[1] == 0, rates.contains(&rate), "{kib} KB at rate {rate}: {result:x?}");
            if result[1] == 0 {
                assert_eq!(pc.buffer(0, 512), pc.sector(1));
            }
        }
    }
    let mut single_sided = Pc::with_disk(160);
    single_sided.out(7, 2);
    assert_eq!(single_sided.execute(&[0x4a, 4])[..2], [0x44, 0x01]);
}

#[test]
fn sectors_are_written_unless_the_disk_is_protected() {
    let mut pc = Pc::new();
    pc.dma_out(1024 - 100);
    pc.wires.mem.0[BUFFER..BUFFER + 1024].fill(0xa5);
    assert_eq!(pc.execute(&[0xc5, 0, 0, 0, 4, 2, 18, 27, 0xff]), [0, 0, 0, 0, 0, 6, 2]);
    assert_eq!(pc.sector(3), [0xa5; 512]);
    assert_eq!((&pc.sector(4)[..412], &pc.sector(4)[412..]), (&[0xa5; 412][..], &[0; 100][..]));
    pc.fdc.change_disk(0, disk(0, 1440 << 10, true), pc.now);
    assert_eq!(pc.command(&[0x04, 0]), [0x78]);
    pc.dma_out(512);
    assert_eq!(pc.execute(&[0xc5, 0, 0, 0, 9, 2, 18, 27, 0xff])[..3], [0x40, 0x02, 0]);
    assert_eq!(pc.execute(&[0x4d, 0, 2, 18, 84, 0xf6])[..3], [0x40, 0x02, 0]);
    assert_eq!(pc.sector(8)[0], 8);
}

#[test]
fn a_masked_dma_channel_is_an_overrun() {
    let mut pc = Pc::new();
    assert_eq!(pc.read(0x40, 0, 0, 1)[..3], [0x40, 0x10, 0]);
    assert_eq!(pc.execute(&[0x45, 0, 0, 0, 1, 2, 18, 27, 0xff])[..3], [0x40, 0x10, 0]);
    assert_eq!(pc.sector(0), [0; 512]);
}

#[test]
fn without_dma_the_host_moves_the_bytes() {
    let mut pc = Pc::new();
    pc.command(&[0x03, 0xdf, 0x03]);
    pc.command(&[0x46, 0, 0, 0, 17, 2, 18, 27, 0xff]);
    assert_eq!(pc.inp(4), 0x30);
    let start = pc.now.0;
    for index in [16, 17] {
        pc.until_interrupt();
        let mut bytes = Vec::new();
        while pc.inp(4) == 0xf0 {
            bytes.push(pc.inp(5));
            pc.now = VmTime(pc.now.0 + 100);
        }
        assert_eq!(bytes, pc.sector(index));
        assert_eq!(pc.fdc.irq(), index == 17, "the result");
    }
    assert!(pc.now.0 - start < 2 * REVOLUTION_NS, "a quick host misses no sector");
    assert_eq!(pc.result(), [0x40, 0x80, 0, 1, 0, 1, 2]);

    pc.command(&[0x45, 0, 0, 0, 17, 2, 18, 27, 0xff]);
    for value in [0x11, 0x22] {
        pc.until_interrupt();
        for _ in 0..512 {
            assert_eq!(pc.inp(4), 0xb0);
            pc.out(5, value);
        }
        assert_eq!(pc.inp(4), 0x30);
    }
    pc.until_interrupt();
    assert_eq!(pc.result(), [0x40, 0x80, 0, 1, 0, 1, 2]);
    assert_eq!((pc.sector(16), pc.sector(17)), (&[0x11; 512][..], &[0x22; 512][..]));
}

#[test]
fn a_command_waits_for_disk_and_motor() {
    let mut pc = Pc::new();
    pc.dma_in(512);
    pc.fdc.change_disk(0, None, pc.now);
    pc.command(&[0x46, 0, 0, 0, 1, 2, 18, 27, 0xff]);
    assert_eq!((pc.fdc.next_event(), pc.inp(4)), (None, 0x10));
    pc.out(2, 0x0c);
    pc.fdc.change_disk(0, disk(0, 1440 << 10, false), pc.now);
    assert_eq!(pc.fdc.next_event(), None);
    pc.out(2, 0x1c);
    pc.until_interrupt();
    assert_eq!(pc.result()[..3], [0, 0, 0]);
    pc.command(&[0x46, 0, 0, 0, 1, 2, 18, 27, 0xff]);
    pc.out(2, 0x00);
    assert_eq!(pc.fdc.next_event(), None, "a reset ends it");
}

#[test]
fn heads_step_at_the_programmed_rate() {
    let mut pc = Pc::new();
    pc.command(&[0x0f, 0, 40]);
    assert_eq!(pc.inp(4), 0x81);
    assert_eq!(pc.command(&[0x08]), [0x80], "it has not arrived");
    assert_eq!(pc.until_interrupt(), 40 * 300_000);
    assert_eq!(pc.command(&[0x08]), [0x20, 40]);
    pc.out(7, 2);
    pc.command(&[0x07, 0]);
    assert_eq!(pc.until_interrupt(), 40 * 600_000);
    assert_eq!(pc.command(&[0x08]), [0x20, 0]);
    assert_eq!(pc.command(&[0x04, 0]), [0x38]);
    pc.execute(&[0xcf, 0, 10]);
    assert_eq!(pc.command(&[0x08]), [0x20, 10]);
    pc.execute(&[0x8f, 0, 3]);
    assert_eq!(pc.command(&[0x08]), [0x20, 7]);
    assert_eq!(pc.command(&[0x04, 4]), [0x2c]);
}

#[test]
fn recalibrating_gives_up_after_79_steps() {
    let mut pc = Pc::new();
    pc.seek(83);
    pc.execute(&[0x07, 0]);
    assert_eq!(pc.command(&[0x08]), [0x70, 0]);
    pc.execute(&[0x07, 0]);
    assert_eq!(pc.command(&[0x08]), [0x20, 0]);
    pc.execute(&[0x07, 1]);
    assert_eq!(pc.command(&[0x08]), [0x71, 0], "a drive that is not there has no track 0");
}

#[test]
fn two_seeks_at_once_interrupt_one_after_the_other() {
    let mut pc = Pc::new();
    pc.command(&[0x0f, 0, 5]);
    pc.command(&[0x0f, 1, 5]);
    assert_eq!(pc.inp(4), 0x83);
    pc.until_interrupt();
    assert_eq!(pc.command(&[0x08]), [0x20, 5]);
    assert!(!pc.fdc.irq());
    pc.until_interrupt();
    assert_eq!(pc.command(&[0x08]), [0x21, 5]);
}

#[test]
fn implied_seeks_move_the_head_first() {
    let mut pc = Pc::new();
    pc.command(&[0x13, 0, 0x57, 0]);
    pc.dma_in(512);
    assert_eq!(pc.read(0x40, 9, 0, 1), [0, 0, 0, 9, 0, 2, 2]);
    assert_eq!(pc.buffer(0, 512), pc.sector(9 * 36));
}

#[test]
fn a_track_is_read_from_the_index_on_whatever_its_ids() {
    let mut pc = Pc::new();
    pc.dma_in(18 * 512);
    let result = pc.execute(&[0x42, 0, 0, 0, 1, 2, 18, 27, 0xff]);
    assert_eq!(result[..3], [0, 0, 0]);
    assert_eq!(pc.buffer(0, 18 * 512), &pc.wires.disks[0][..18 * 512]);
    pc.dma_in(512);
    assert_eq!(pc.execute(&[0x42, 0, 5, 0, 1, 2, 18, 27, 0xff])[..3], [0x40, 0x04, 0]);
}

#[test]
fn ids_are_read_as_they_pass() {
    let mut pc = Pc::new();
    pc.seek(2);
    let slot = REVOLUTION_NS / 18;
    for sector in [1, 7, 18] {
        pc.now = VmTime(40 * REVOLUTION_NS * u64::from(sector) + u64::from(sector - 1) * slot - 1000);
        assert_eq!(pc.execute(&[0x4a, 4]), [0x04, 0, 0, 2, 1, sector, 2]);
    }
}

#[test]
fn a_track_is_formatted_with_the_filler_byte() {
    let mut pc = Pc::new();
    pc.seek(1);
    for sector in 0..18u8 {
        let at = BUFFER + usize::from(sector) * 4;
        pc.wires.mem.0[at..at + 4].copy_from_slice(&[1, 1, sector + 1, 2]);
    }
    pc.dma_out(18 * 4);
    assert_eq!(pc.execute(&[0x4d, 4, 2, 18, 84, 0xf6])[..3], [0x04, 0, 0]);
    for index in 0..18 {
        assert_eq!(pc.sector(3 * 18 + index), [0xf6; 512]);
    }
    assert_eq!((pc.sector(3 * 18 - 1)[0], pc.sector(4 * 18)[0]), (53, 72));
}

#[test]
fn deleted_sectors_are_marked_found_and_skipped() {
    let mut pc = Pc::new();
    pc.dma_out(512);
    assert_eq!(pc.execute(&[0x49, 0, 0, 0, 2, 2, 18, 27, 0xff])[..3], [0, 0, 0]);
    pc.dma_in(3 * 512);
    assert_eq!(pc.read(0x40, 0, 0, 1), [0, 0, 0x40, 0, 0, 3, 2], "the read ends with the marked sector");
    pc.dma_in(2 * 512);
    assert_eq!(pc.read(0x60, 0, 0, 1), [0, 0, 0x40, 0, 0, 4, 2], "or leaves it out");
    assert_eq!(pc.buffer(512, 512), pc.sector(2));
    pc.dma_in(512);
    assert_eq!(pc.execute(&[0x4c, 0, 0, 0, 2, 2, 18, 27, 0xff])[..3], [0, 0, 0]);
    pc.dma_out(512);
    pc.execute(&[0x45, 0, 0, 0, 2, 2, 18, 27, 0xff]);
    pc.dma_in(3 * 512);
    assert_eq!(pc.read(0x40, 0, 0, 1)[..3], [0, 0, 0]);
}

#[test]
fn verifying_moves_nothing_and_counts_if_asked() {
    let mut pc = Pc::new();
    assert_eq!(pc.execute(&[0x56, 0, 0, 0, 1, 2, 18, 27, 0xff])[..3], [0, 0, 0]);
    assert_eq!(pc.execute(&[0x56, 0x80, 0, 0, 1, 2, 18, 27, 3]), [0, 0, 0, 0, 0, 4, 2]);
    assert_eq!(pc.execute(&[0x56, 0x80, 0, 0, 1, 2, 18, 27, 30])[..3], [0x40, 0x80, 0]);
    assert_eq!(pc.execute(&[0x56, 0, 0, 0, 1, 2, 19, 27, 0xff])[..3], [0x40, 0x04, 0]);
}

#[test]
fn scans_compare_with_what_the_host_gives() {
    // The sectors of the first track begin with their index.
    let cases = [
        (0x51, 4, 0x08, 6),
        (0x51, 99, 0x04, 1),
        (0x59, 4, 0x00, 2),
        (0x5d, 4, 0x08, 6),
        (0x5d, 0xff, 0x08, 2),
    ];
    for (command, value, st2, next) in cases {
        let mut pc = Pc::new();
        pc.dma_out(18 * 512);
        for at in 0..18 * 256 {
            pc.wires.mem.0[BUFFER + 2 * at] = value;
        }
        let result = pc.execute(&[command, 0, 0, 0, 1, 2, 18, 27, 1]);
        assert_eq!((result[0], result[2], result[5]), (0, st2, next), "{command:#x} {value}");
    }
}

#[test]
fn registers_are_dumped_saved_and_restored() {
    let mut pc = Pc::new();
    pc.seek(5);
    pc.command(&[0x13, 0, 0x5a, 7]);
    pc.command(&[0x12, 0x87]);
    assert_eq!(pc.command(&[0x94]), [0x10]);
    let dump = [5, 0, 0, 0, 0xdf, 0x02, 0, 0x87, 0x5a, 7];
    assert_eq!(pc.command(&[0x0e]), dump);
    let saved = pc.command(&[0x2e]);
    assert_eq!(saved.len(), 16);
    pc.out(4, 0x80);
    assert_eq!(
        pc.command(&[0x0e]),
        [0, 0, 0, 0, 0xdf, 0x02, 0, 0x84, 0x5a, 7],
        "LOCK keeps the configuration"
    );
    assert_eq!(pc.fdc.next_event(), None, "without polling a reset interrupts nobody");
    assert_eq!(pc.command(&[0x14]), [0]);
    pc.out(4, 0x80);
    assert_eq!(pc.command(&[0x0e])[8..], [0x20, 0]);
    pc.command(&[&[0x4e], &saved[..]].concat());
    assert_eq!(pc.command(&[0x0e]), dump);
    pc.command(&[0x12, 0x03]);
    assert_eq!(pc.command(&[0x0e])[7], 0x87);
}

#[test]
fn the_chip_tells_what_it_is() {
    let mut pc = Pc::new();
    assert_eq!(pc.command(&[0x10]), [0x90]);
    assert_eq!(pc.command(&[0x18]), [0x01]);
    assert_eq!(pc.command(&[0x17, 0x03]), [0x03]);
    assert_eq!(pc.command(&[0x33, 0x00]), []);
    assert_eq!(pc.command(&[0x8e, 0x05, 0x25, 0x80]), [5, 5, 0, 0]);
    assert_eq!(pc.command(&[0x8e, 0xc0]), []);
    for invalid in [0x00, 0x01, 0x0b, 0x1f, 0x25, 0x82, 0xff] {
        assert_eq!(pc.command(&[invalid]), [0x80], "{invalid:#x}");
    }
}

#[test]
fn the_disk_change_line_falls_with_the_next_step() {
    let mut pc = Pc::new();
    assert_eq!(pc.inp(7), 0x80);
    pc.execute(&[0x07, 0]);
    pc.command(&[0x08]);
    assert_eq!(pc.inp(7), 0x80, "the head did not move");
    pc.seek(1);
    assert_eq!(pc.inp(7), 0x00);
    pc.fdc.change_disk(0, None, pc.now);
    pc.seek(0);
    assert_eq!(pc.inp(7), 0x80, "no disk");
    pc.out(2, 0x1d);
    assert_eq!(pc.inp(7), 0x00, "no drive");
}

#[test]
fn status_registers_show_the_lines() {
    let mut pc = Pc::new();
    assert_eq!(pc.inp(0), 0x46);
    pc.seek(1);
    assert_eq!((pc.inp(0), pc.inp(1)), (0x56, 0xc1));
    pc.out(3, 0xff);
    assert_eq!((pc.inp(3), pc.inp(6)), (0x03, 0xff));
}

impl Chip for Pc {
    fn power_on() -> Pc {
        Pc::new()
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        const COMMANDS: [u8; 24] = [
            0xe6, 0x46, 0xc5, 0x4c, 0x49, 0x42, 0x4a, 0x4d, 0x56, 0x51, 0x59, 0x5d, 0x07, 0x08, 0x0f, 0x8f,
            0xcf, 0x03, 0x04, 0x0e, 0x13, 0x94, 0x2e, 0x8e,
        ];
        self.now = self.now.max(now);
        self.fdc.advance(self.now, &mut self.wires);
        match rng.below(12) {
            0 => self.dma_in(1 + rng.below(20_000) as usize),
            1 => self.dma_out(1 + rng.below(20_000) as usize),
            2 => {
                let drive = rng.below(2) as usize;
                let disk = disk(drive, rng.below(3_000_000), rng.below(2) == 0).filter(|_| rng.below(2) == 0);
                self.fdc.change_disk(drive, disk, self.now);
            }
            3 => self.out(rng.below(8) as u16, rng.byte()),
            4..=7 => {
                self.out(5, COMMANDS[rng.below(24) as usize]);
                for _ in 0..rng.below(9) {
                    self.out(5, rng.below(5) as u8);
                }
            }
            8 => self.out(2, 0x1c),
            _ => return u64::from(self.inp(rng.below(8) as u16)),
        }
        0
    }

    fn advance(&mut self, now: VmTime) {
        self.now = self.now.max(now);
        self.fdc.advance(now, &mut self.wires);
    }

    fn next_event(&self) -> Option<VmTime> {
        self.fdc.next_event()
    }

    fn outputs(&self) -> u64 {
        u64::from(self.fdc.irq()) | u64::from(self.fdc.main_status()) << 1
    }
}

// Not exact: sectors pass and nothing is seen of it but data in memory.
chip_properties!(Pc, step_ns: 1_000_000, exact: false);
