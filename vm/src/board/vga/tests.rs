use super::*;
use crate::board::test_support::{Chip, FlatMemory, Rng, chip_properties};
use crate::config::VIDEO_BYTES;

/// An adapter with its memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Card {
    adapter: Adapter,
    memory: FlatMemory,
}

/// Memory of the cards that are driven at random: a part, so that they are quickly copied and compared.
const SMALL: usize = 0x1000;

impl Card {
    fn new(bytes: usize) -> Card {
        Card { adapter: Adapter::new(true), memory: FlatMemory::new(bytes) }
    }

    fn out(&mut self, port: u16, index: u8, value: u8) {
        self.adapter.write(port, index);
        self.adapter.write(port + 1, value);
    }

    fn attribute(&mut self, index: u8, value: u8) {
        self.adapter.read(0x3da, VmTime(0));
        self.adapter.write(0x3c0, index);
        self.adapter.write(0x3c0, value);
        self.adapter.write(0x3c0, PALETTE_ADDRESS_SOURCE);
    }

    fn dispi(&mut self, register: u16, value: u16) {
        self.adapter.write_dispi(DISPI_INDEX, register, &mut self.memory);
        self.adapter.write_dispi(DISPI_DATA, value, &mut self.memory);
    }

    fn write(&mut self, offset: u64, size: u8, value: u64) {
        self.adapter.window_write(offset, size, value, &mut self.memory);
    }

    fn read(&mut self, offset: u64, size: u8) -> u64 {
        self.adapter.window_read(offset, size, &self.memory)
    }

    /// Sixteen colours in planes at 0xa0000, as mode 0x12.
    fn planar() -> Card {
        let mut card = Card::new(VIDEO_BYTES as usize);
        card.memory.0.fill(0);
        card.out(0x3c4, 1, 0x01);
        card.out(0x3c4, 2, 0x0f);
        card.out(0x3c4, 4, 0x06);
        card.out(0x3ce, 5, 0x00);
        card.out(0x3ce, 6, 0x05);
        card.out(0x3d4, 9, 0x40);
        card.attribute(0x10, 0x01);
        card.attribute(0x13, 0x00);
        card
    }

    fn cell(&self, cell: usize) -> [u8; 4] {
        self.memory.0[4 * cell..4 * cell + 4].try_into().unwrap()
    }

    /// The colour of a pixel at time zero.
    fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let picture = self.adapter.picture(&self.memory.0, VmTime(0));
        let at = 3 * (y * picture.width + x) as usize;
        picture.rgb[at..at + 3].try_into().unwrap()
    }
}

impl Chip for Card {
    fn power_on() -> Card {
        Card::new(SMALL)
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        let value = rng.next();
        match rng.below(8) {
            0 => self.adapter.read(0x3b0 + rng.below(0x30) as u16, now).into(),
            1 | 2 => {
                let port = [0x3c0, 0x3c2, 0x3c4, 0x3c5, 0x3c8, 0x3c9, 0x3ce, 0x3cf, 0x3d4, 0x3d5];
                self.adapter.write(port[rng.below(10) as usize], value as u8);
                0
            }
            3 => {
                self.dispi(rng.below(12) as u16, (value >> rng.below(14)) as u16);
                self.adapter.read_dispi(DISPI_DATA).into()
            }
            4 => {
                self.write(rng.below(0x2_0000), 1 << rng.below(4), value);
                0
            }
            5 => self.read(rng.below(0x2_0000), 1 << rng.below(4)),
            6 => self.adapter.read_block(rng.below(0x1000), 1 << rng.below(4), now),
            _ => {
                let size = 1 << rng.below(4);
                self.adapter.write_block(rng.below(0x1000), size, value, &mut self.memory);
                0
            }
        }
    }

    fn advance(&mut self, _: VmTime) {}

    fn next_event(&self) -> Option<VmTime> {
        None
    }

    fn outputs(&self) -> u64 {
        0
    }
}

chip_properties!(Card, step_ns: 1000, exact: false);

#[test]
fn looking_through_the_window_leaves_the_latches_alone() {
    let mut card = Card::planar();
    for plane in 0..4u8 {
        card.out(0x3c4, 2, 1 << plane);
        card.write(5, 1, 0x10 + u64::from(plane));
    }
    card.read(9, 1);
    let before = card.clone();
    for plane in 0..4 {
        card.out(0x3ce, 4, plane);
        assert_eq!(card.adapter.look(5, &card.memory), 0x10 + plane);
    }
    assert_eq!(card.adapter.latches, before.adapter.latches);
    assert_eq!(card.adapter.look(0x1_8000, &card.memory), 0xff, "the window ends before");
}

#[test]
fn whatever_the_registers_hold_a_picture_can_be_drawn() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut card = Card::power_on();
        for _ in 0..300 {
            card.poke(&mut rng, VmTime(seed));
        }
        // Large pictures take long and are no different.
        card.dispi(2, 8);
        let picture = card.adapter.picture(&card.memory.0, VmTime(rng.next()));
        assert_eq!(picture.rgb.len(), 3 * (picture.width * picture.height) as usize);
        card.adapter.text(&card.memory.0);
    }
}

#[test]
fn text_is_read_from_its_mode() {
    let mut card = Card::new(VIDEO_BYTES as usize);
    Adapter::fill_text_memory(&[], &mut card.memory);
    for (at, byte) in (0x1_8000 + 160..).step_by(2).zip(*b"Hello \x82\xdb!") {
        card.write(at, 2, u64::from(byte) | 0x1f00);
    }
    let text = card.adapter.text(&card.memory.0).unwrap();
    assert_eq!(text.len(), 25);
    assert_eq!(text[1], "Hello é█!");
    assert!(text.iter().enumerate().all(|(row, text)| row == 1 || text.is_empty()));
    assert_eq!(card.read(0x1_8000 + 160, 4), 0x1f65_1f48);
    let picture = card.adapter.picture(&card.memory.0, VmTime(0));
    assert_eq!((picture.width, picture.height), (720, 400));
    assert_eq!(card.pixel(0, 16), [0, 0, 0xaa], "blue behind the H, which has no shape without a font");
}

#[test]
fn a_split_screen_shows_the_start_of_memory_below() {
    let mut card = Card::new(VIDEO_BYTES as usize);
    Adapter::fill_text_memory(&[], &mut card.memory);
    card.write(0x1_8000, 2, 0x1f00 | u64::from(b'A'));
    card.write(0x1_8000 + 160, 2, 0x1f00 | u64::from(b'B'));
    card.out(0x3d4, 0x0d, 80);
    card.out(0x3d4, 0x11, 0x0e);
    card.out(0x3d4, 0x07, 0x0f);
    card.out(0x3d4, 0x09, 0x0f);
    card.out(0x3d4, 0x18, 159);
    let text = card.adapter.text(&card.memory.0).unwrap();
    let marked: Vec<(usize, &str)> =
        text.iter().map(String::as_str).enumerate().filter(|(_, t)| !t.is_empty()).collect();
    assert_eq!(marked, [(0, "B"), (10, "A"), (11, "B")]);
}

#[test]
fn a_font_is_written_to_plane_2() {
    let mut card = Card::new(VIDEO_BYTES as usize);
    card.out(0x3c4, 2, 0x04);
    card.out(0x3c4, 4, 0x06);
    card.out(0x3ce, 5, 0x00);
    card.out(0x3ce, 6, 0x04);
    card.write(32 * 65, 1, 0x81);
    assert_eq!(card.cell(32 * 65), [0, 0, 0x81, 0]);
    card.out(0x3c4, 2, 0x03);
    card.out(0x3c4, 4, 0x02);
    card.out(0x3ce, 5, 0x10);
    card.out(0x3ce, 6, 0x0e);
    card.write(0x1_8000, 2, 0x0f41);
    let white = [0xff; 3];
    assert_eq!([card.pixel(0, 0), card.pixel(1, 0), card.pixel(7, 0)], [white, [0; 3], white]);
}

#[test]
fn write_mode_0_sets_resets_rotates_and_masks() {
    let mut card = Card::planar();
    card.write(0, 1, 0xff);
    assert_eq!(card.cell(0), [0xff; 4]);
    card.out(0x3ce, 0, 0x05);
    card.out(0x3ce, 1, 0x0d);
    card.out(0x3ce, 3, 0x04);
    card.write(1, 1, 0x21);
    assert_eq!(
        card.cell(1),
        [0xff, 0x12, 0xff, 0],
        "planes 0, 2 and 3 are set and reset, plane 1 is rotated"
    );
    card.out(0x3ce, 1, 0);
    card.out(0x3ce, 3, 0);
    card.read(1, 1);
    card.out(0x3ce, 8, 0x0f);
    card.out(0x3c4, 2, 0x07);
    card.write(1, 1, 0xa5);
    assert_eq!(card.cell(1), [0xf5, 0x15, 0xf5, 0], "plane 3 is not enabled");
}

#[test]
fn write_mode_1_copies_latches() {
    let mut card = Card::planar();
    card.memory.0[..4].copy_from_slice(&[1, 2, 3, 4]);
    card.out(0x3ce, 5, 0x01);
    card.read(0, 1);
    card.write(7, 1, 0xff);
    assert_eq!(card.cell(7), [1, 2, 3, 4]);
}

#[test]
fn write_mode_2_writes_a_colour() {
    let mut card = Card::planar();
    card.out(0x3ce, 5, 0x02);
    card.out(0x3ce, 8, 0x81);
    card.write(0, 1, 0x0a);
    assert_eq!(card.cell(0), [0, 0x81, 0, 0x81]);
    assert_eq!(card.pixel(7, 0), [0x55, 0xff, 0x55]);
    card.out(0x3ce, 3, 0x18);
    card.read(0, 1);
    card.write(0, 1, 0x03);
    assert_eq!(card.cell(0), [0x81, 0, 0, 0x81], "exclusive or");
}

#[test]
fn write_mode_3_masks_the_set_colour() {
    let mut card = Card::planar();
    card.out(0x3ce, 5, 0x03);
    card.out(0x3ce, 0, 0x06);
    card.out(0x3ce, 8, 0xf0);
    card.write(0, 1, 0x3c);
    assert_eq!(card.cell(0), [0, 0x30, 0x30, 0]);
}

#[test]
fn reads_choose_a_plane_or_compare_colours() {
    let mut card = Card::planar();
    card.memory.0[..4].copy_from_slice(&[0xf0, 0xcc, 0xaa, 0x00]);
    card.out(0x3ce, 4, 2);
    assert_eq!(card.read(0, 1), 0xaa);
    card.out(0x3ce, 5, 0x08);
    card.out(0x3ce, 2, 0x03);
    card.out(0x3ce, 7, 0x0f);
    assert_eq!(card.read(0, 1), 0xf0 & 0xcc & !0xaa & 0xff);
    card.out(0x3ce, 7, 0x03);
    assert_eq!(card.read(0, 1), 0xf0 & 0xcc);
    card.out(0x3ce, 7, 0x00);
    assert_eq!(card.read(0, 1), 0xff);
}

#[test]
fn the_memory_map_is_where_it_says() {
    let mut card = Card::planar();
    for (map, inside, outside) in [
        (0, 0x1_ffff, None),
        (1, 0xffff, Some(0x1_0000)),
        (2, 0x1_0000, Some(0x1_8000)),
        (3, 0x1_8000, Some(0)),
    ] {
        card.out(0x3ce, 6, map << 2 | 1);
        card.write(inside, 1, 0x77);
        assert_eq!(card.read(inside, 1), 0x77);
        if let Some(outside) = outside {
            assert_eq!(card.read(outside, 1), 0xff);
        }
    }
    card.adapter.write(0x3c2, 0x65);
    assert_eq!(card.read(0x1_8000, 1), 0x77, "misc output does not shut the window");
}

#[test]
fn protected_registers_keep_their_values_but_for_line_compare() {
    let mut card = Card::new(0);
    card.out(0x3d4, 0x00, 0x11);
    card.out(0x3d4, 0x07, 0x00);
    assert_eq!((card.adapter.crtc[0], card.adapter.crtc[7]), (0x5f, 0x0f));
    card.out(0x3d4, 0x11, 0x0e);
    card.out(0x3d4, 0x00, 0x11);
    assert_eq!(card.adapter.crtc[0], 0x11);
}

#[test]
fn the_crt_controller_is_at_one_of_two_places() {
    let mut card = Card::new(0);
    assert_eq!(card.adapter.read(0x3b5, VmTime(0)), 0xff);
    card.out(0x3d4, 0x0e, 0x12);
    card.adapter.write(0x3c2, 0x66);
    assert_eq!(card.adapter.read(0x3d5, VmTime(0)), 0xff);
    assert_eq!(card.adapter.read(0x3b5, VmTime(0)), 0x12);
}

#[test]
fn the_flip_flop_tells_index_from_data() {
    let mut card = Card::new(0);
    card.attribute(0x03, 0x2a);
    assert_eq!(card.adapter.read(0x3c0, VmTime(0)), PALETTE_ADDRESS_SOURCE);
    card.adapter.read(0x3da, VmTime(0));
    card.adapter.write(0x3c0, 0x23);
    assert_eq!(card.adapter.read(0x3c1, VmTime(0)), 0x2a);
}

#[test]
fn colours_are_written_as_a_whole_and_read_back() {
    let mut card = Card::new(0);
    card.adapter.write(0x3c8, 0xfe);
    for value in [1, 2, 3, 0xff, 5, 6] {
        card.adapter.write(0x3c9, value);
    }
    assert_eq!(card.adapter.read(0x3c7, VmTime(0)), 0);
    card.adapter.write(0x3c7, 0xfe);
    assert_eq!(card.adapter.read(0x3c7, VmTime(0)), 3);
    let read: Vec<u8> = (0..6).map(|_| card.adapter.read(0x3c9, VmTime(0))).collect();
    assert_eq!(read, [1, 2, 3, 0x3f, 5, 6]);
}

#[test]
fn retrace_comes_with_every_picture() {
    let mut card = Card::new(0);
    let mut starts = Vec::new();
    let mut before = 0;
    // Mode 3: 449 lines of 900 dots at 28.322 MHz, 70.09 pictures a second.
    for now in (0..100_000_000).step_by(1000) {
        let status = card.adapter.read(0x3da, VmTime(now));
        assert!(status & 0x08 == 0 || status & 0x01 != 0, "nothing is shown in retrace");
        if status & !before & 0x08 != 0 {
            starts.push(now);
        }
        before = status;
    }
    assert_eq!(starts.len(), 7);
    assert!(starts.windows(2).all(|pair| (pair[1] - pair[0]).abs_diff(14_268_000) <= 1000), "{starts:?}");
}

#[test]
fn blinking_follows_virtual_time() {
    let mut card = Card::new(VIDEO_BYTES as usize);
    Adapter::fill_text_memory(&[], &mut card.memory);
    let cursor_rows = |now: u64| {
        let picture = card.adapter.picture(&card.memory.0, VmTime(now));
        picture.rgb.iter().filter(|byte| **byte != 0).count()
    };
    let eight_pictures = 8 * 14_268_000;
    assert_eq!(cursor_rows(0), 2 * 9 * 3, "two lines of nine dots");
    assert_eq!(cursor_rows(eight_pictures + 1_000_000), 0);
    assert_eq!(cursor_rows(2 * eight_pictures + 1_000_000), 2 * 9 * 3);
}

#[test]
fn the_extensions_show_their_modes() {
    let mut card = Card::new(VIDEO_BYTES as usize);
    for (bits, bytes, colour) in [
        (15, &[0x1f, 0x7c][..], [0xff, 0, 0xff]),
        (16, &[0xe0, 0x07], [0, 0xff, 0]),
        (24, &[1, 2, 3], [3, 2, 1]),
        (32, &[1, 2, 3, 4], [3, 2, 1]),
    ] {
        card.dispi(4, 0);
        card.dispi(1, 640);
        card.dispi(2, 480);
        card.dispi(3, bits);
        card.dispi(4, 0x41);
        let at = (640 * 5 + 3) * bytes.len();
        card.memory.0[at..at + bytes.len()].copy_from_slice(bytes);
        let picture = card.adapter.picture(&card.memory.0, VmTime(0));
        assert_eq!((picture.width, picture.height), (640, 480));
        assert_eq!(card.pixel(3, 5), colour, "{bits} bits");
        assert!(card.adapter.text(&card.memory.0).is_none());
    }
    card.dispi(6, 800);
    card.dispi(8, 4);
    card.dispi(9, 5);
    assert_eq!(card.adapter.read_dispi(DISPI_DATA), 5);
    card.memory.0[4 * (800 * 5 + 4)..][..3].copy_from_slice(&[9, 8, 7]);
    assert_eq!(card.pixel(0, 0), [7, 8, 9]);
}

#[test]
fn banks_show_64_kib_of_linear_memory() {
    let mut card = Card::new(VIDEO_BYTES as usize);
    card.dispi(1, 1024);
    card.dispi(2, 768);
    card.dispi(3, 8);
    card.dispi(4, 0x01);
    card.dispi(5, 2);
    card.write(0x123, 4, 0x4433_2211);
    assert_eq!(card.memory.0[0x2_0123..0x2_0127], [0x11, 0x22, 0x33, 0x44]);
    assert_eq!(card.read(0x123, 4), 0x4433_2211);
    card.dispi(4, 0);
    assert!(card.adapter.read_dispi(DISPI_DATA) & 1 == 0);
}

#[test]
fn impossible_modes_become_possible_ones() {
    let mut card = Card::new(SMALL);
    card.dispi(1, 15_999);
    card.dispi(2, 11_999);
    card.dispi(3, 32);
    card.dispi(4, 0x41);
    card.dispi(9, 60_000);
    let dispi = &card.adapter.dispi;
    assert_eq!(dispi.width, 15_992);
    assert!(dispi.start() + dispi.pitch() * u64::from(dispi.height) <= VIDEO_BYTES, "{dispi:?}");
    card.dispi(4, 0x43);
    let capabilities = [1, 2, 3, 10].map(|register| {
        card.adapter.write_dispi(DISPI_INDEX, register, &mut card.memory);
        card.adapter.read_dispi(DISPI_DATA)
    });
    assert_eq!(capabilities, [16_000, 12_000, 32, 256]);
}

#[test]
fn the_block_in_memory_has_the_same_registers() {
    let mut card = Card::new(SMALL);
    assert_eq!(card.adapter.read_block(0x500, 2, VmTime(0)), 0xb0c5);
    card.adapter.write_block(0x502, 2, 800, &mut card.memory);
    assert_eq!(card.adapter.read_block(0x502, 2, VmTime(0)), 800);
    assert_eq!(card.adapter.read_block(0x40c, 1, VmTime(0)), 0x67, "misc output");
    card.adapter.write_block(0x414, 2, 0x550e, &mut card.memory);
    assert_eq!(card.adapter.crtc[0x0e], 0x55);
    assert_eq!(card.adapter.read_block(0x600, 8, VmTime(0)), 0x1e1e_1e1e_0000_0008);
}

#[test]
fn the_monitor_says_what_it_is() {
    let mut card = Card::new(SMALL);
    let block: Vec<u8> = (0..128).map(|at| card.adapter.read_block(at, 1, VmTime(0)) as u8).collect();
    assert_eq!(block[..8], [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    assert_eq!(block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    // Its own timing: upper bits of the active pixels and lines are in one byte with those of the blanking.
    let timing = &block[54..72];
    let active = |at: usize| u16::from(timing[at]) | u16::from(timing[at + 2] >> 4) << 8;
    assert_eq!((active(2), active(5)), (1280, 800));
    assert_eq!(card.adapter.read_block(0x80, 8, VmTime(0)), 0, "no extensions");
}
