use super::*;
use crate::board::test_support::{Chip, Rng, chip_properties};

/// A guest that polls: carries the time along.
struct Guest {
    chip: I8042,
    now: VmTime,
}

impl Guest {
    fn new() -> Guest {
        Guest { chip: I8042::new(), now: VmTime(0) }
    }

    fn command(&mut self, command: u8) {
        self.chip.write(COMMAND, command, self.now);
    }

    fn data(&mut self, data: u8) {
        self.chip.write(DATA, data, self.now);
    }

    fn mouse(&mut self, byte: u8) {
        self.command(0xd4);
        self.data(byte);
    }

    fn config(&mut self, config: u8) {
        self.command(0x60);
        self.data(config);
    }

    fn key(&mut self, set1: &[u8]) {
        self.chip.key(set1, self.now);
    }

    /// All that comes before a held key repeats, each byte with its status.
    fn read_all(&mut self) -> Vec<(u8, u8)> {
        let mut bytes = Vec::new();
        loop {
            let status = self.chip.read(COMMAND, self.now);
            if status & STATUS_OUTPUT_FULL != 0 {
                bytes.push((status, self.chip.read(DATA, self.now)));
            } else if let Some(event) =
                self.chip.next_event().filter(|at| *at < self.now.plus_ns(240_000_000))
            {
                self.now = self.now.max(event);
            } else {
                return bytes;
            }
        }
    }

    fn read(&mut self) -> Vec<u8> {
        self.read_all().into_iter().map(|(_, byte)| byte).collect()
    }
}

#[test]
fn the_controller_tests_itself_and_its_ports() {
    let mut guest = Guest::new();
    for (command, answer) in [(0xaa, 0x55), (0xab, 0), (0xa9, 0), (0xc0, 0x80), (0xa4, 0xf1)] {
        guest.command(command);
        assert_eq!(guest.read(), [answer], "{command:#x}");
    }
    assert_eq!(guest.chip.read(COMMAND, guest.now), STATUS_UNLOCKED | STATUS_COMMAND | STATUS_SYSTEM);
    assert_eq!(guest.chip.read(DATA, guest.now), 0xf1, "an empty buffer keeps its last byte");
}

#[test]
fn the_command_byte_and_ram_read_back() {
    let mut guest = Guest::new();
    guest.config(0x65);
    guest.command(0x7f);
    guest.data(0xa5);
    guest.command(0x20);
    guest.command(0x3f);
    assert_eq!(guest.read(), [0x65, 0xa5]);
    for (command, config) in [(0xad, 0x75), (0xae, 0x65), (0xa8, 0x45), (0xa7, 0x65)] {
        guest.command(command);
        guest.command(0x20);
        assert_eq!(guest.read(), [config], "{command:#x}");
    }
}

#[test]
fn interrupts_need_their_enable_bit_and_name_the_device() {
    let mut guest = Guest::new();
    guest.key(&[0x1e]);
    assert!(guest.chip.irq1() && !guest.chip.irq12());
    guest.config(0x40);
    assert!(!guest.chip.irq1());
    guest.config(0x43);
    assert_eq!(guest.read_all(), [(STATUS_UNLOCKED | STATUS_OUTPUT_FULL, 0x1e)]);
    guest.command(0xd3);
    guest.data(0x77);
    assert!(guest.chip.irq12() && !guest.chip.irq1());
    assert_eq!(guest.read_all(), [(STATUS_UNLOCKED | STATUS_OUTPUT_FULL | STATUS_AUX, 0x77)]);
    guest.command(0xd2);
    guest.data(0x78);
    assert!(guest.chip.irq1());
    assert_eq!(guest.read(), [0x78]);
}

#[test]
fn the_interrupt_line_falls_between_two_bytes() {
    let mut guest = Guest::new();
    guest.key(&[0x1e, 0x9e]);
    assert_eq!(guest.chip.read(DATA, VmTime(50)), 0x1e);
    assert!(!guest.chip.irq1());
    assert_eq!(guest.chip.next_event(), Some(VmTime(50 + BYTE_NS)));
    guest.chip.advance(VmTime(50 + BYTE_NS - 1));
    assert!(!guest.chip.irq1());
    guest.chip.advance(VmTime(50 + BYTE_NS));
    assert!(guest.chip.irq1());
}

#[test]
fn translated_keys_are_what_was_injected() {
    let mut guest = Guest::new();
    // Every key is released again, so that none repeats.
    for code in (1..0x60u8).filter(|code| scancodes::set2_from_set1(*code).is_some()) {
        for sequence in [vec![code], vec![code | 0x80], vec![0xe0, code], vec![0xe0, code | 0x80]] {
            guest.key(&sequence);
            assert_eq!(guest.read(), sequence);
        }
    }
    let pause = [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5];
    guest.key(&pause);
    assert_eq!(guest.read(), pause);
}

#[test]
fn every_key_of_a_102_key_keyboard_has_a_code_in_sets_2_and_3() {
    for code in (0x01..=0x53).chain(0x56..=0x58) {
        assert!(scancodes::set2_from_set1(code).is_some(), "{code:#x}");
        assert!(scancodes::set3_from_set1(code, false).is_some(), "{code:#x}");
    }
    let keys = (0..0x80).flat_map(|code| [(code, false), (code, true)]);
    let mut set3: Vec<u8> = keys.filter_map(|(code, ext)| scancodes::set3_from_set1(code, ext)).collect();
    let count = set3.len();
    set3.sort_unstable();
    set3.dedup();
    // SysRq is Print Screen with Alt: two codes of set 1, one key of set 3.
    assert_eq!(set3.len(), count - 1);
}

#[test]
fn scan_code_sets_1_2_and_3_are_sent_raw_without_translation() {
    let sequences: [&[u8]; 4] = [&[0x1e, 0x9e], &[0xe0, 0x48, 0xe0, 0xc8], &[0x2a, 0xaa], &[0x41]];
    let expected: [(u8, [&[u8]; 4]); 3] = [
        (1, sequences),
        (2, [&[0x1c, 0xf0, 0x1c], &[0xe0, 0x75, 0xe0, 0xf0, 0x75], &[0x12, 0xf0, 0x12], &[0x83]]),
        // In set 3 only the shifting keys have break codes until the guest asks for more.
        (3, [&[0x1c], &[0x63], &[0x12, 0xf0, 0x12], &[0x37]]),
    ];
    let mut guest = Guest::new();
    guest.config(0x01);
    for (set, codes) in expected {
        guest.data(0xf0);
        guest.data(set);
        guest.data(0xf0);
        guest.data(0);
        assert_eq!(guest.read(), [0xfa, 0xfa, 0xfa, 0xfa, set]);
        for (sequence, codes) in sequences.iter().zip(codes) {
            guest.key(sequence);
            assert_eq!(guest.read(), codes, "set {set}");
        }
    }
    guest.data(0xfc); // make and break for the key A
    guest.data(0x1c);
    guest.data(0xf4); // ends the list
    assert_eq!(guest.read(), [0xfa, 0xfa, 0xfa]);
    guest.key(&[0x9e, 0x9f]);
    assert_eq!(guest.read(), [0xf0, 0x1c]);
    guest.data(0xf8);
    guest.key(&[0x9f]);
    assert_eq!(guest.read(), [0xfa, 0xf0, 0x1b]);
}

#[test]
fn the_keyboard_answers_its_commands() {
    let mut guest = Guest::new();
    guest.config(0x01);
    let dialogues: [(&[u8], &[u8]); 9] = [
        (&[0xff], &[0xfa, 0xaa]),
        (&[0xee], &[0xee]),
        (&[0xf2], &[0xfa, 0xab, 0x83]),
        (&[0xed, 0x07], &[0xfa, 0xfa]),
        (&[0xed, 0xf4], &[0xfa, 0xfa]),
        (&[0xf3, 0x20], &[0xfa, 0xfa]),
        (&[0xf0, 0x09], &[0xfa, 0xfe]),
        (&[0x42], &[0xfe]),
        (&[0xf6], &[0xfa]),
    ];
    for (commands, answers) in dialogues {
        commands.iter().for_each(|byte| guest.data(*byte));
        assert_eq!(guest.read(), answers, "{commands:x?}");
    }
    guest.data(0xee);
    guest.read();
    guest.data(0xfe);
    assert_eq!(guest.read(), [0xee], "the last byte again");
}

#[test]
fn the_id_is_translated_like_everything() {
    let mut guest = Guest::new();
    guest.data(0xf2);
    assert_eq!(guest.read(), [0xfa, 0xab, 0x41]);
}

#[test]
fn a_stopped_or_disabled_keyboard_is_silent() {
    let mut guest = Guest::new();
    guest.data(0xf5);
    guest.key(&[0x1e]);
    assert_eq!(guest.read(), [0xfa]);
    guest.data(0xf4);
    guest.read();
    guest.command(0xad);
    guest.key(&[0x1e]);
    assert_eq!(guest.read(), []);
    guest.command(0xae);
    assert_eq!(guest.read(), [0x1e], "a disabled interface holds the codes back");
}

#[test]
fn answers_go_before_waiting_keys_even_inside_one() {
    let mut guest = Guest::new();
    guest.key(&[0x1e, 0xe0, 0xc8]);
    guest.data(0xee);
    assert_eq!(guest.read(), [0x1e, 0xee, 0xe0, 0xc8]);
}

#[test]
fn typed_text_is_not_lost_and_a_flood_is_bounded() {
    let mut guest = Guest::new();
    for _ in 0..500 {
        guest.key(&[0x1e, 0x9e]);
    }
    assert_eq!(guest.read(), [0x1e, 0x9e].repeat(500));
    for _ in 0..100_000 {
        guest.key(&[0xe0, 0x48]);
        guest.data(0xf2);
    }
    guest.key(&[0xe0, 0xc8]);
    // One byte in the output buffer, five whole answers, and as many whole sequences of two as there was room for.
    assert_eq!(guest.read().len(), 1 + 5 * 3 + 4095);
}

#[test]
fn strange_sequences_of_keys_do_nothing() {
    let mut guest = Guest::new();
    for sequence in [&[][..], &[0xe0], &[0xe1], &[0xe1, 0x1d], &[0x00], &[0x80]] {
        guest.key(sequence);
        assert_eq!(guest.read(), [], "{sequence:x?}");
    }
}

#[test]
fn the_mouse_answers_its_commands() {
    let mut guest = Guest::new();
    let dialogues: [(&[u8], &[u8]); 12] = [
        (&[0xff], &[0xfa, 0xaa, 0x00]),
        (&[0xf2], &[0xfa, 0x00]),
        (&[0xf3, 200], &[0xfa, 0xfa]),
        (&[0xf3, 77], &[0xfa, 0xfe]),
        (&[0xe8, 3], &[0xfa, 0xfa]),
        (&[0xe7, 0xf0, 0xf4], &[0xfa, 0xfa, 0xfa]),
        (&[0xe9], &[0xfa, 0x70, 3, 200]),
        (&[0xeb], &[0xfa, 0x08, 0, 0]),
        (&[0xee, 0x55, 0xf4, 0xec], &[0xfa, 0x55, 0xf4, 0xfa]),
        (&[0xf6], &[0xfa]),
        (&[0xe9], &[0xfa, 0x00, 2, 100]),
        (&[0x00], &[0xfe]),
    ];
    for (commands, answers) in dialogues {
        commands.iter().for_each(|byte| guest.mouse(*byte));
        let read = guest.read_all();
        assert!(read.iter().all(|(status, _)| status & STATUS_AUX != 0));
        assert_eq!(read.iter().map(|(_, byte)| *byte).collect::<Vec<u8>>(), answers, "{commands:x?}");
    }
}

#[test]
fn a20_is_a_line_with_several_drivers() {
    let mut guest = Guest::new();
    assert!(guest.chip.a20());
    guest.command(0xdd);
    assert!(!guest.chip.a20());
    guest.command(0xdf);
    assert!(guest.chip.a20());
    guest.command(0xd1);
    guest.data(0xdd);
    assert!(!guest.chip.a20());
    guest.command(0xd0);
    assert_eq!(guest.read(), [0x01]);
    guest.chip.set_a20(true);
    guest.command(0xd0);
    assert_eq!(guest.read(), [0x03]);
    assert!(!guest.chip.take_reset());
}

#[test]
fn a_pulse_of_line_0_or_its_low_level_resets() {
    let mut guest = Guest::new();
    guest.command(0xff);
    guest.command(0xf1);
    assert!(!guest.chip.take_reset());
    guest.command(0xfe);
    assert!(guest.chip.take_reset());
    assert!(!guest.chip.take_reset(), "once");
    guest.command(0xd1);
    guest.data(0x02);
    assert!(guest.chip.take_reset());
}

/// All that comes within `ns`, each byte read at once.
fn read_for(guest: &mut Guest, ns: u64) -> Vec<u8> {
    let end = guest.now.plus_ns(ns);
    let mut bytes = Vec::new();
    loop {
        if guest.chip.read(COMMAND, guest.now) & STATUS_OUTPUT_FULL != 0 {
            bytes.push(guest.chip.read(DATA, guest.now));
        }
        match guest.chip.next_event().filter(|at| *at <= end) {
            Some(at) => guest.now = guest.now.max(at),
            None if guest.chip.read(COMMAND, guest.now) & STATUS_OUTPUT_FULL == 0 => break,
            None => {}
        }
    }
    guest.now = end;
    bytes
}

#[test]
fn a_held_key_repeats_after_a_delay_and_at_a_rate() {
    let mut guest = Guest::new();
    guest.key(&[0x1e]);
    assert_eq!(read_for(&mut guest, 499_000_000), [0x1e]);
    // 10.9 a second.
    assert_eq!(read_for(&mut guest, 1_000_000_000), [0x1e; 11]);
    guest.key(&[0x30]);
    assert_eq!(read_for(&mut guest, 600_000_000), [0x30, 0x30, 0x30], "the last key pressed");
    guest.key(&[0x9e]);
    assert_eq!(read_for(&mut guest, 200_000_000), [0x9e, 0x30, 0x30]);
    guest.key(&[0xb0]);
    assert_eq!(read_for(&mut guest, 2_000_000_000), [0xb0]);
    guest.data(0xf3);
    guest.data(0x00); // 30 a second after 250 ms
    assert_eq!(read_for(&mut guest, 1_000_000), [0xfa, 0xfa]);
    guest.key(&[0xe0, 0x48]);
    assert_eq!(read_for(&mut guest, 249_000_000), [0xe0, 0x48]);
    assert_eq!(read_for(&mut guest, 100_000_000), [0xe0, 0x48].repeat(3));
}

#[test]
fn repeats_that_nobody_reads_do_not_pile_up() {
    let mut guest = Guest::new();
    guest.key(&[0x1e]);
    guest.now = VmTime(1_000_000_000_000_000);
    guest.chip.advance(guest.now);
    assert_eq!(guest.chip.next_event(), None, "and nothing is left to do");
    guest.key(&[0x9e]);
    assert_eq!(guest.read(), [vec![0x1e; 17], vec![0x9e]].concat());
}

#[test]
fn set_3_repeats_keys_by_their_type() {
    let mut guest = Guest::new();
    guest.config(0x01);
    guest.data(0xf0);
    guest.data(3);
    guest.read();
    let held = |guest: &mut Guest, set1: u8| {
        guest.key(&[set1]);
        let bytes = read_for(guest, 600_000_000);
        guest.key(&[set1 | 0x80]);
        (bytes.len(), read_for(guest, 1_000_000).len())
    };
    assert_eq!(held(&mut guest, 0x1e), (3, 0), "A: typematic");
    assert_eq!(held(&mut guest, 0x2a), (1, 2), "Shift: make and break");
    assert_eq!(held(&mut guest, 0x3b), (1, 0), "F1: make only");
    for (command, a) in [(0xf7, (3, 0)), (0xf8, (1, 2)), (0xf9, (1, 0)), (0xfa, (3, 2))] {
        guest.data(command);
        guest.read();
        assert_eq!(held(&mut guest, 0x1e), a, "{command:#x}");
    }
    guest.data(0xfd);
    guest.data(0x1c);
    guest.data(0xf4);
    guest.read();
    assert_eq!(held(&mut guest, 0x1e), (1, 0));
    assert_eq!(held(&mut guest, 0x1f), (3, 2));
}

/// Sends bytes to the mouse and reads what comes of it.
fn tell_mouse(guest: &mut Guest, bytes: &[u8]) -> Vec<u8> {
    bytes.iter().for_each(|byte| guest.mouse(*byte));
    guest.read()
}

#[test]
fn a_stream_of_reports_follows_the_mouse_at_the_sample_rate() {
    let mut guest = Guest::new();
    guest.chip.mouse([5, 5, 0], 0, guest.now);
    assert_eq!(guest.read(), [], "not enabled");
    tell_mouse(&mut guest, &[0xf4]);
    guest.now = guest.now.plus_ns(1_000_000_000);
    guest.chip.mouse([5, -3, 0], 0x01, guest.now);
    guest.chip.mouse([-10, 0, 1], 0x06, guest.now);
    let start = guest.now;
    assert_eq!(guest.read(), [0x09, 5, 3, 0x1e, 0xf6, 0]);
    assert!(guest.now.0 - start.0 >= 10_000_000, "100 reports a second");
    guest.chip.mouse([300, 300, 0], 0x06, guest.now);
    assert_eq!(
        guest.read(),
        [0x2e, 255, 1, 0x2e, 45, 0xd3],
        "what is too much for one report goes into the next"
    );
    guest.chip.mouse([0, 0, 0], 0x06, guest.now);
    assert_eq!(guest.read(), [], "no news");
}

#[test]
fn remote_wrap_and_scaling_modes() {
    let mut guest = Guest::new();
    tell_mouse(&mut guest, &[0xf0, 0xf4]);
    guest.chip.mouse([4, 0, 0], 0x04, guest.now);
    assert_eq!(guest.read(), [], "remote mode waits to be asked");
    assert_eq!(tell_mouse(&mut guest, &[0xeb]), [0xfa, 0x0a, 4, 0]);
    assert_eq!(tell_mouse(&mut guest, &[0xeb]), [0xfa, 0x0a, 0, 0]);
    assert_eq!(tell_mouse(&mut guest, &[0xe9]), [0xfa, 0x61, 2, 100]);
    tell_mouse(&mut guest, &[0xea, 0xe7]);
    guest.chip.mouse([4, 2, 0], 0, guest.now);
    assert_eq!(guest.read(), [0x28, 6, 0xff]);
    guest.chip.mouse([-7, 0, 0], 0, guest.now);
    assert_eq!(guest.read(), [0x18, 0xf2, 0]);
    tell_mouse(&mut guest, &[0xee]);
    guest.chip.mouse([1, 1, 0], 0, guest.now);
    assert_eq!(guest.read(), []);
}

#[test]
fn a_knock_turns_the_mouse_into_one_with_wheel_and_more_buttons() {
    let mut guest = Guest::new();
    assert_eq!(tell_mouse(&mut guest, &[0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2]).pop(), Some(3));
    tell_mouse(&mut guest, &[0xf4]);
    guest.chip.mouse([1, 0, -1], 0x08, guest.now);
    assert_eq!(guest.read(), [0x08, 1, 0, 0xff]);
    assert_eq!(tell_mouse(&mut guest, &[0xf3, 200, 0xf3, 200, 0xf3, 80, 0xf2]).pop(), Some(4));
    guest.chip.mouse([0, 0, 1], 0x18, guest.now);
    assert_eq!(guest.read(), [0x08, 0, 0, 0x31]);
    guest.chip.mouse([0, 0, -1], 0x00, guest.now);
    assert_eq!(guest.read(), [0x08, 0, 0, 0x0f]);
    tell_mouse(&mut guest, &[0xf6]);
    assert_eq!(tell_mouse(&mut guest, &[0xf2]), [0xfa, 4], "defaults keep it");
    assert_eq!(tell_mouse(&mut guest, &[0xff]), [0xfa, 0xaa, 0]);
}

impl Chip for I8042 {
    fn power_on() -> I8042 {
        I8042::new()
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        let port = if rng.below(3) == 0 { COMMAND } else { DATA };
        match rng.below(7) {
            0 => self.key(&[rng.byte(), rng.byte(), rng.byte()], now),
            6 => self.mouse(
                [rng.byte().into(), -i16::from(rng.byte()), i16::from(rng.byte() & 1)],
                rng.byte(),
                now,
            ),
            1 => self.write(COMMAND, 0xd4, now),
            2 => self.write(port, rng.byte(), now),
            3 => self.write(port, 0xe0 | rng.byte(), now),
            _ => return u64::from(self.read(port, now)),
        }
        u64::from(self.take_reset())
    }

    fn advance(&mut self, now: VmTime) {
        I8042::advance(self, now);
    }

    fn next_event(&self) -> Option<VmTime> {
        I8042::next_event(self)
    }

    fn outputs(&self) -> u64 {
        u64::from(self.irq1()) | u64::from(self.irq12()) << 1 | u64::from(self.status()) << 2
    }
}

// Not exact: a break prefix that translation swallows fills nothing.
chip_properties!(I8042, step_ns: 2_000, exact: false);
