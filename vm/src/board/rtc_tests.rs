use super::*;
use crate::board::test_support::{Chip, Rng, chip_properties, config};

impl Chip for Rtc {
    fn power_on() -> Rtc {
        Rtc::new(&config())
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        let mut address = rng.below(14) as u8;
        if rng.below(8) == 0 {
            address = rng.byte();
        }
        self.write(0x70, address, now);
        if rng.below(3) == 0 {
            return u64::from(self.read(0x71, now));
        }
        let value = match (usize::from(address), rng.below(4)) {
            (reg::A, 1..) => 0x20 | rng.byte() & 15,
            (reg::B, 1..) => rng.byte() & 0x7f,
            (reg::SECONDS_ALARM | reg::MINUTES_ALARM | reg::HOURS_ALARM, 1) => 0xff,
            _ => rng.byte(),
        };
        self.write(0x71, value, now);
        0
    }

    fn advance(&mut self, now: VmTime) {
        Rtc::advance(self, now);
    }

    fn next_event(&self) -> Option<VmTime> {
        Rtc::next_event(self)
    }

    fn outputs(&self) -> u64 {
        u64::from(self.irq())
    }
}

// Not exact: with an invalid time or alarm the chip asks to be looked at every second.
chip_properties!(Rtc, step_ns: 40_000, exact: false);

const SECOND: u64 = 1_000_000_000;

fn get(rtc: &mut Rtc, register: usize, now: u64) -> u8 {
    rtc.write(0x70, register as u8, VmTime(now));
    rtc.read(0x71, VmTime(now))
}

fn set(rtc: &mut Rtc, register: usize, value: u8, now: u64) {
    rtc.write(0x70, register as u8, VmTime(now));
    rtc.write(0x71, value, VmTime(now));
}

fn time(rtc: &mut Rtc, now: u64) -> [u8; 6] {
    [reg::YEAR, reg::MONTH, reg::DAY, reg::HOURS, reg::MINUTES, reg::SECONDS].map(|r| get(rtc, r, now))
}

#[test]
fn starts_at_the_configured_second_and_counts_virtual_seconds() {
    let mut rtc = Rtc::new(&config());
    assert_eq!(time(&mut rtc, SECOND - 1), [0x23, 0x12, 0x31, 0x23, 0x59, 0x59]);
    assert_eq!(time(&mut rtc, SECOND), [0x24, 0x01, 0x01, 0x00, 0x00, 0x00]);
    assert_eq!(get(&mut rtc, reg::CENTURY, SECOND), 0x20);
    assert_eq!(get(&mut rtc, reg::DAY_OF_WEEK, SECOND), 2);
    assert_eq!(time(&mut rtc, 86_400 * 60 * SECOND), [0x24, 0x02, 0x29, 0x23, 0x59, 0x59]);
}

#[test]
fn a_long_sleep_is_many_short_ones() {
    let (mut slept, mut woken) = (Rtc::new(&config()), Rtc::new(&config()));
    let end = 400 * 86_400 + 12_345;
    slept.advance(VmTime(end * SECOND));
    for second in (0..=end).step_by(997) {
        woken.advance(VmTime(second * SECOND));
    }
    woken.advance(VmTime(end * SECOND));
    assert_eq!(slept, woken);
}

#[test]
fn uip_warns_244_microseconds_before_the_update_cycle() {
    let mut rtc = Rtc::new(&config());
    let warning = SECOND - 2_227_783; // 73 crystal ticks
    assert_eq!(get(&mut rtc, reg::A, warning - 1) & 0x80, 0);
    assert_eq!(get(&mut rtc, reg::A, warning) & 0x80, 0x80);
    assert_eq!(get(&mut rtc, reg::A, SECOND - 1) & 0x80, 0x80);
    assert_eq!(get(&mut rtc, reg::A, SECOND) & 0x80, 0);
    set(&mut rtc, reg::A, 0xff, SECOND);
    assert_eq!(get(&mut rtc, reg::A, SECOND) & 0x80, 0, "UIP is read-only");
}

#[test]
fn set_holds_updates_off_without_losing_their_phase() {
    let mut rtc = Rtc::new(&config());
    set(&mut rtc, reg::B, 0x92, 0);
    assert_eq!(get(&mut rtc, reg::B, 0), 0x82, "SET clears UIE");
    set(&mut rtc, reg::SECONDS, 0x10, 0);
    assert_eq!(get(&mut rtc, reg::A, 3 * SECOND - 1) & 0x80, 0);
    assert_eq!(get(&mut rtc, reg::SECONDS, 3 * SECOND + SECOND / 2), 0x10);
    set(&mut rtc, reg::B, 0x02, 3 * SECOND + SECOND / 2);
    assert_eq!(get(&mut rtc, reg::SECONDS, 4 * SECOND - 1), 0x10);
    assert_eq!(get(&mut rtc, reg::SECONDS, 4 * SECOND), 0x11);
}

#[test]
fn a_divider_reset_starts_a_new_second_half_a_second_before_its_first_update() {
    let mut rtc = Rtc::new(&config());
    set(&mut rtc, reg::A, 0x76, SECOND / 4);
    assert_eq!(get(&mut rtc, reg::SECONDS, 10 * SECOND), 0x59);
    set(&mut rtc, reg::A, 0x26, 10 * SECOND + SECOND / 4);
    assert_eq!(get(&mut rtc, reg::SECONDS, 10 * SECOND + SECOND * 3 / 4 - 1), 0x59);
    assert_eq!(get(&mut rtc, reg::SECONDS, 10 * SECOND + SECOND * 3 / 4), 0x00);
}

#[test]
fn binary_and_12_hour_formats_are_counted_as_such() {
    let mut rtc = Rtc::new(&config());
    set(&mut rtc, reg::B, 0x80, 0);
    for (register, value) in [(reg::HOURS, 0x11), (reg::MINUTES, 0x59), (reg::SECONDS, 0x59)] {
        set(&mut rtc, register, value, 0);
    }
    set(&mut rtc, reg::B, 0x00, 0);
    assert_eq!(time(&mut rtc, SECOND)[3..], [0x92, 0, 0], "12 PM");
    set(&mut rtc, reg::B, 0x86, SECOND);
    for (register, value) in [(reg::HOURS, 9), (reg::MINUTES, 59), (reg::SECONDS, 59)] {
        set(&mut rtc, register, value, SECOND);
    }
    set(&mut rtc, reg::B, 0x06, SECOND);
    assert_eq!(time(&mut rtc, 2 * SECOND)[3..], [10, 0, 0]);
}

#[test]
fn periodic_rates_are_powers_of_two_of_the_crystal() {
    let rates = [0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2];
    for (rs, hertz) in rates.into_iter().enumerate() {
        let mut rtc = Rtc::new(&config());
        set(&mut rtc, reg::A, 0x20 | rs as u8, 0);
        set(&mut rtc, reg::B, 0x42, 0);
        let mut interrupts = 0;
        while let Some(event) = rtc.next_event().filter(|event| event.0 <= 5 * SECOND) {
            rtc.advance(VmTime(event.0 - 1));
            assert!(!rtc.irq());
            rtc.advance(event);
            assert!(rtc.irq());
            assert_eq!(get(&mut rtc, reg::C, event.0) & 0xc0, 0xc0);
            assert!(!rtc.irq(), "reading C takes the line back");
            interrupts += 1;
        }
        assert_eq!(interrupts, 5 * hertz, "rate {rs}");
    }
}

#[test]
fn flags_are_set_without_their_enables_and_cleared_by_reading_c() {
    let mut rtc = Rtc::new(&config());
    assert_eq!(get(&mut rtc, reg::C, 0), 0);
    rtc.advance(VmTime(SECOND));
    assert!(!rtc.irq());
    set(&mut rtc, reg::B, 0x12, SECOND);
    assert!(rtc.irq(), "an enable that meets a set flag raises the line");
    assert_eq!(get(&mut rtc, reg::C, SECOND), 0xf0, "midnight met the alarm at 0:00:00 too");
    assert_eq!(get(&mut rtc, reg::C, SECOND), 0);
    set(&mut rtc, reg::C, 0xff, SECOND);
    assert_eq!(get(&mut rtc, reg::C, SECOND), 0, "C is read-only");
    assert_eq!(get(&mut rtc, reg::D, SECOND), 0x80);
}

#[test]
fn update_ended_interrupt_comes_every_second() {
    let mut rtc = Rtc::new(&config());
    set(&mut rtc, reg::B, 0x12, 0);
    for second in 1..5 {
        assert_eq!(rtc.next_event(), Some(VmTime(second * SECOND)));
        assert_eq!(get(&mut rtc, reg::C, second * SECOND) & 0x90, 0x90);
    }
}

#[test]
fn alarms_come_at_their_time_and_at_every_time_they_do_not_care_about() {
    // The clock is at 23:59:59 and shows 00:00:00 after one second.
    let cases = [
        ([0x00, 0x00, 0x00], 1),
        ([0x59, 0x59, 0x23], 86_400),
        ([0x30, 0xff, 0xc0], 31),
        ([0xff, 0xff, 0xff], 1),
        ([0xc1, 0x05, 0xff], 301),
        ([0x10, 0x20, 0xff], 1211),
        ([0x59, 0x59, 0xff], 3600),
        ([0xff, 0xff, 0x23], 1 + 23 * 3600),
    ];
    for (alarm, seconds) in cases {
        let mut rtc = Rtc::new(&config());
        for (register, value) in
            [reg::SECONDS_ALARM, reg::MINUTES_ALARM, reg::HOURS_ALARM].into_iter().zip(alarm)
        {
            set(&mut rtc, register, value, 0);
        }
        set(&mut rtc, reg::B, 0x22, 0);
        assert_eq!(rtc.next_event(), Some(VmTime(seconds * SECOND)), "{alarm:02x?}");
        for second in 0..seconds {
            rtc.advance(VmTime(second * SECOND));
            assert!(!rtc.irq(), "{alarm:02x?} at {second}");
        }
        rtc.advance(VmTime(seconds * SECOND));
        assert!(rtc.irq(), "{alarm:02x?}");
    }
    let mut rtc = Rtc::new(&config());
    set(&mut rtc, reg::MINUTES_ALARM, 0x60, 0);
    set(&mut rtc, reg::B, 0x22, 0);
    assert_eq!(rtc.next_event(), None, "there is no minute 60");
}

#[test]
fn ram_is_kept_and_the_nmi_mask_is_bit_7_of_the_address() {
    let mut rtc = Rtc::new(&config());
    set(&mut rtc, 0x7f, 0x5a, 0);
    assert_eq!(get(&mut rtc, 0x7f, 0), 0x5a);
    rtc.write(0x70, 0xff, VmTime(0));
    assert!(rtc.nmi_masked());
    assert_eq!(rtc.read(0x71, VmTime(0)), 0x5a);
    assert_eq!(rtc.read(0x70, VmTime(0)), 0xff);
}

#[test]
fn reset_turns_interrupts_off_and_keeps_time_and_ram() {
    let mut rtc = Rtc::new(&config());
    set(&mut rtc, 0x40, 0x77, 0);
    set(&mut rtc, reg::B, 0x7a, 0);
    rtc.advance(VmTime(SECOND));
    assert!(rtc.irq());
    rtc.reset();
    assert!(!rtc.irq());
    assert_eq!(get(&mut rtc, reg::B, SECOND), 0x02);
    assert_eq!(get(&mut rtc, reg::C, SECOND), 0x00);
    assert_eq!(get(&mut rtc, 0x40, SECOND), 0x77);
    assert_eq!(time(&mut rtc, SECOND), [0x24, 1, 1, 0, 0, 0]);
}
