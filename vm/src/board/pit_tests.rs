use super::*;
use crate::board::test_support::{Chip, Rng, chip_properties};

impl Chip for Pit {
    fn power_on() -> Pit {
        Pit::new()
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        let port = 0x40 + (rng.byte() & 3) as u16;
        match rng.below(8) {
            0..=2 => self.write(0x43, rng.byte(), now),
            // Small counts meet the corners of the modes.
            3..=5 => self.write(port & !3 | rng.below(3) as u16, (rng.next() >> rng.below(40)) as u8, now),
            6 => self.set_gate2(rng.below(2) == 1, now),
            _ => return u64::from(self.read(port, now)),
        }
        0
    }

    fn advance(&mut self, now: VmTime) {
        Pit::advance(self, now);
    }

    fn next_event(&self) -> Option<VmTime> {
        Pit::next_event(self)
    }

    fn outputs(&self) -> u64 {
        u64::from(self.out(0))
    }
}

chip_properties!(Pit, step_ns: 300, exact: true);

/// Time of CLK pulse `tick`.
fn at(tick: u64) -> VmTime {
    PIT_CLOCK.time_of(tick).expect("in range")
}

/// Counter 2 (whose gate can be moved) programmed at pulse 0 with the gate high.
fn counter2(control: u8, count: &[u8]) -> Pit {
    let mut pit = Pit::new();
    pit.set_gate2(true, at(0));
    pit.write(0x43, 0x80 | control, at(0));
    for &byte in count {
        pit.write(0x42, byte, at(0));
    }
    pit
}

/// OUT of counter 2 after each of the pulses `from..to`, as the data sheet draws it.
fn wave(pit: &mut Pit, from: u64, to: u64) -> String {
    (from..to)
        .map(|tick| {
            pit.advance(at(tick));
            if pit.out(2) { '-' } else { '_' }
        })
        .collect()
}

/// Counter 2's count after pulse `tick` (low byte).
fn count(pit: &mut Pit, tick: u64) -> u8 {
    pit.write(0x43, 0x80, at(tick));
    pit.read(0x42, at(tick))
}

#[test]
fn mode_0_goes_high_n_plus_1_pulses_after_the_count_and_waits_for_the_gate() {
    let mut pit = counter2(0x10, &[4]);
    assert_eq!(wave(&mut pit, 0, 8), "_____---");
    assert_eq!(count(&mut pit, 8), 0xfd, "it counts on below zero");

    let mut pit = counter2(0x10, &[4]);
    pit.advance(at(2));
    pit.set_gate2(false, at(2));
    assert_eq!(count(&mut pit, 50), 3);
    pit.set_gate2(true, at(50));
    assert_eq!(wave(&mut pit, 50, 55), "___--");
    pit.write(0x42, 2, at(55));
    assert_eq!(wave(&mut pit, 55, 60), "___--", "a new count starts over");
}

#[test]
fn mode_0_stops_at_the_first_byte_of_a_two_byte_count() {
    let mut pit = counter2(0x30, &[3, 0]);
    pit.write(0x42, 5, at(2));
    assert_eq!(wave(&mut pit, 2, 12), "__________");
    pit.write(0x42, 0, at(12));
    assert_eq!(wave(&mut pit, 12, 20), "______--");
}

#[test]
fn mode_1_is_a_one_shot_that_can_be_triggered_again() {
    let mut pit = counter2(0x12, &[3]);
    assert_eq!(wave(&mut pit, 0, 5), "-----", "no trigger yet");
    pit.set_gate2(false, at(5));
    pit.set_gate2(true, at(5));
    assert_eq!(wave(&mut pit, 5, 11), "-___--");
    pit.set_gate2(false, at(11));
    pit.set_gate2(true, at(11));
    assert_eq!(wave(&mut pit, 11, 14), "-__");
    pit.set_gate2(false, at(13));
    pit.set_gate2(true, at(13));
    assert_eq!(wave(&mut pit, 13, 19), "____--");
}

#[test]
fn mode_2_is_low_for_one_pulse_in_n() {
    let mut pit = counter2(0x14, &[3]);
    assert_eq!(wave(&mut pit, 0, 11), "---_--_--_-");
    pit.write(0x42, 5, at(10));
    assert_eq!(wave(&mut pit, 10, 24), "--_----_----_-", "a new count waits for the end of the period");
    pit.set_gate2(false, at(27));
    assert_eq!(wave(&mut pit, 27, 31), "----");
    pit.set_gate2(true, at(31));
    assert_eq!(wave(&mut pit, 31, 38), "-----_-", "the gate starts a whole period");
    assert!(!{
        pit.advance(at(41));
        pit.out(2)
    });
    pit.set_gate2(false, at(41));
    assert!(pit.out(2), "the gate sets OUT high at once");
}

#[test]
fn mode_3_is_high_for_the_longer_half() {
    let mut pit = counter2(0x16, &[4]);
    assert_eq!(wave(&mut pit, 0, 10), "---__--__-");
    let mut pit = counter2(0x16, &[5]);
    assert_eq!(wave(&mut pit, 0, 12), "----__---__-");
    assert_eq!((1..6).map(|t| count(&mut counter2(0x16, &[5]), t)).collect::<Vec<_>>(), [4, 2, 0, 4, 2]);
    pit.write(0x42, 2, at(11));
    assert_eq!(wave(&mut pit, 11, 18), "---_-_-", "a new count waits for the end of the half");
}

#[test]
fn mode_4_strobes_once_after_n_pulses() {
    let mut pit = counter2(0x18, &[3]);
    assert_eq!(wave(&mut pit, 0, 8), "----_---");
    assert_eq!(wave(&mut pit, 8, 70_000).matches('_').count(), 0);
    pit.write(0x42, 2, at(70_000));
    assert_eq!(wave(&mut pit, 70_000, 70_005), "---_-");
}

#[test]
fn mode_5_strobes_n_pulses_after_the_gate() {
    let mut pit = counter2(0x1a, &[3]);
    assert_eq!(wave(&mut pit, 0, 5), "-----");
    pit.set_gate2(false, at(5));
    pit.set_gate2(true, at(5));
    assert_eq!(wave(&mut pit, 5, 12), "----_--");
}

#[test]
fn a_count_of_0_is_the_whole_modulus_in_binary_and_bcd() {
    for (control, modulus, first) in [(0x30, 65_536, 0xff), (0x31, 10_000, 0x99)] {
        let mut pit = counter2(control, &[0, 0]);
        assert_eq!(count(&mut pit, 2), first);
        pit.advance(at(modulus));
        assert!(!pit.out(2));
        pit.advance(at(modulus + 1));
        assert!(pit.out(2));
    }
}

#[test]
fn bcd_counts_in_decimal() {
    let mut pit = counter2(0x31, &[0x00, 0x10]);
    pit.advance(at(2));
    assert_eq!([pit.read(0x42, at(2)), pit.read(0x42, at(2))], [0x99, 0x09]);
}

#[test]
fn a_latched_count_stays_until_it_is_read_and_comes_low_byte_first() {
    let mut pit = counter2(0x30, &[0x34, 0x12]);
    pit.write(0x43, 0x80, at(1));
    pit.write(0x43, 0x80, at(100));
    assert_eq!([pit.read(0x42, at(200)), pit.read(0x42, at(300))], [0x34, 0x12]);
    assert_eq!([pit.read(0x42, at(300)), pit.read(0x42, at(301))], [0x09, 0x11], "then the count itself");
}

#[test]
fn read_back_latches_status_before_count_and_several_counters() {
    let mut pit = counter2(0x34, &[0x00]);
    pit.write(0x43, 0xe8, at(0));
    assert_eq!(pit.read(0x42, at(0)), 0xf4, "OUT, null count, two bytes, mode 2");
    pit.write(0x42, 0x10, at(0));
    pit.write(0x43, 0xc8, at(3));
    assert_eq!(pit.read(0x42, at(3)), 0xb4, "loaded");
    assert_eq!([pit.read(0x42, at(4)), pit.read(0x42, at(5))], [0xfe, 0x0f]);
    pit.write(0x43, 0x1b, at(10));
    pit.write(0x43, 0xe2 | 0x0c, at(10));
    assert_eq!(pit.read(0x40, at(10)), 0xdb, "high byte, mode 5, BCD");
    assert_eq!(pit.read(0x42, at(10)), 0xb4);
}

#[test]
fn access_of_one_byte_reads_and_writes_that_byte() {
    let mut pit = counter2(0x20, &[0x12]);
    pit.advance(at(1));
    assert_eq!([pit.read(0x42, at(1)), pit.read(0x42, at(2))], [0x12, 0x11]);
    let mut pit = counter2(0x10, &[0x12]);
    assert_eq!([pit.read(0x42, at(1)), pit.read(0x42, at(2))], [0x12, 0x11]);
}

#[test]
fn the_control_register_cannot_be_read() {
    assert_eq!(Pit::new().read(0x43, at(1)), 0xff);
}

#[test]
fn a_tick_of_18_point_2_hertz_does_not_drift() {
    let mut pit = Pit::new();
    for (port, value) in [(0x43, 0x34), (0x40, 0), (0x40, 0)] {
        pit.write(port, value, VmTime(0));
    }
    let (mut now, mut rises) = (VmTime(0), 0);
    while let Some(event) = pit.next_event().filter(|event| event.0 <= 3600 * 1_000_000_000) {
        pit.advance(event);
        rises += u64::from(pit.out(0));
        now = event;
    }
    assert_eq!(rises, 3600 * 1_193_182 / 65_536);
    assert_eq!(now, at(rises * 65_536 + 1));
}

#[test]
fn leaps_agree_with_single_pulses_in_every_mode() {
    let mut rng = Rng::new(7);
    for _ in 0..3000 {
        let mut counter = Counter::new(rng.below(2) == 1);
        let mut tick = 0;
        for _ in 0..12 {
            match rng.below(5) {
                0 => counter.program(rng.byte() | 0x10),
                1 | 2 => counter.write((rng.next() >> rng.below(40)) as u8),
                3 => counter.set_gate(rng.below(2) == 1),
                _ => {}
            }
            let mut single = counter.clone();
            let scale = rng.below(12);
            tick += rng.below(1 << scale);
            counter.advance(tick);
            single.advance_by_single_clocks(tick);
            assert_eq!(counter, single);
        }
    }
}
