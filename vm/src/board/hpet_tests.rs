use super::*;
use crate::board::test_support::{Chip, Rng, chip_properties};

const T0: u64 = 0x100;

fn running() -> Hpet {
    let mut hpet = Hpet::new(VmTime(0));
    hpet.write(0x10, 4, ENABLE | LEGACY, VmTime(0));
    hpet
}

#[test]
fn the_counter_counts_only_while_enabled_and_can_be_set() {
    let mut hpet = Hpet::new(VmTime(0));
    assert_eq!(hpet.read(0x00, 8, VmTime(0)), 0x0098_9680_8086_a201);
    assert_eq!(hpet.read(0xf0, 8, VmTime(1_000)), 0);
    hpet.write(0xf0, 8, 0xffff_fff0, VmTime(1_000));
    hpet.write(0x10, 4, ENABLE, VmTime(1_000));
    assert_eq!(hpet.read(0xf0, 8, VmTime(1_320)), 0x1_0000_0010);
    assert_eq!(hpet.read(0xf4, 4, VmTime(1_320)), 1);
    hpet.write(0x10, 4, 0, VmTime(1_320));
    assert_eq!(hpet.read(0xf0, 4, VmTime(9_000)), 0x10);
}

#[test]
fn a_periodic_timer_makes_an_edge_each_period() {
    let mut hpet = running();
    hpet.write(T0, 4, INTERRUPT | PERIODIC | SET_VALUE, VmTime(0));
    hpet.write(T0 + 8, 8, 1_000, VmTime(0));
    hpet.write(T0 + 8, 8, 200, VmTime(0));
    let mut rises = Vec::new();
    while let Some(at) = hpet.next_event().filter(|at| at.0 < 15_000) {
        hpet.advance(at);
        if hpet.legacy_irqs() == Some([true, false]) {
            rises.push(at.0);
        }
    }
    assert_eq!(rises, [10_000, 12_000, 14_000]);
    assert_eq!(hpet.read(T0 + 8, 8, VmTime(15_000)), 1_600);
}

#[test]
fn a_level_stays_until_its_status_is_cleared() {
    let mut hpet = running();
    hpet.write(T0 + 0x20, 4, INTERRUPT | LEVEL, VmTime(0));
    hpet.write(T0 + 0x28, 8, 100, VmTime(0));
    assert_eq!(hpet.next_event(), Some(VmTime(1_000)));
    assert_eq!(hpet.read(0x20, 4, VmTime(999)), 0);
    assert_eq!(hpet.read(0x20, 4, VmTime(1_000)), 2);
    assert_eq!(hpet.legacy_irqs(), Some([false, true]));
    hpet.write(0x20, 4, 2, VmTime(1_500));
    assert_eq!(hpet.legacy_irqs(), Some([false, false]));
}

#[test]
fn a_32_bit_timer_matches_again_when_the_counter_has_wrapped() {
    let mut hpet = running();
    hpet.write(T0, 4, INTERRUPT | LEVEL | BITS_32, VmTime(0));
    hpet.write(T0 + 8, 4, 100, VmTime(0));
    hpet.write(0x20, 4, 1, VmTime(2_000));
    assert_eq!(hpet.next_event(), Some(VmTime((100 + (1 << 32)) * TICK_NS)));
}

#[test]
fn a_match_while_the_interrupt_is_off_makes_no_edge_later() {
    let mut hpet = running();
    hpet.write(T0 + 8, 8, 100, VmTime(0));
    hpet.write(T0, 4, INTERRUPT, VmTime(5_000));
    assert_eq!(hpet.read(0xf0, 8, VmTime(5_000)), 500);
    assert_eq!(hpet.legacy_irqs(), Some([false, false]));
}

#[test]
fn a_route_that_is_not_wired_does_not_read_back() {
    let mut hpet = running();
    hpet.write(T0, 4, 2 << 9, VmTime(0));
    hpet.write(T0, 4, 5 << 9, VmTime(0));
    assert_eq!(hpet.read(T0, 4, VmTime(0)) & ROUTE, 2 << 9);
}

#[test]
fn a_timer_without_legacy_replacement_has_the_input_that_it_is_routed_to() {
    let mut hpet = running();
    for (timer, route) in [(0, 2), (1, 19), (2, 20)] {
        hpet.write(T0 + 0x20 * timer, 4, INTERRUPT | LEVEL | route << 9, VmTime(0));
        hpet.write(T0 + 0x20 * timer + 8, 8, 100, VmTime(0));
    }
    hpet.advance(VmTime(1_000));
    assert_eq!((hpet.legacy_irqs(), hpet.pins()), (Some([true, true]), 1 << 20));
    hpet.write(0x10, 4, ENABLE, VmTime(1_000));
    assert_eq!((hpet.legacy_irqs(), hpet.pins()), (None, 1 << 2 | 1 << 19 | 1 << 20));
    hpet.write(0x20, 4, 0b011, VmTime(1_000));
    assert_eq!(hpet.pins(), 1 << 20);
}

#[test]
fn a_periodic_timer_of_64_bits_is_set_in_halves() {
    let mut hpet = Hpet::new(VmTime(0));
    for half in [0, 4] {
        hpet.write(T0, 4, PERIODIC | SET_VALUE, VmTime(0));
        hpet.write(T0 + 8 + half, 4, 3, VmTime(0));
    }
    hpet.write(T0 + 8, 8, 1_000, VmTime(0)); // the period alone
    assert_eq!(hpet.read(T0 + 8, 8, VmTime(0)), 3 << 32 | 3);
    hpet.write(0xf0, 8, 3 << 32, VmTime(0));
    hpet.write(0x10, 4, ENABLE, VmTime(0));
    assert_eq!(hpet.read(T0 + 8, 8, VmTime(30)), 3 << 32 | 1_003);
}

#[test]
fn a_request_that_waits_survives_the_setting_of_another() {
    let mut hpet = running();
    hpet.write(T0, 4, INTERRUPT, VmTime(0));
    hpet.write(T0 + 8, 8, 100, VmTime(0));
    hpet.write(T0 + 8, 8, 10_000, VmTime(1_500));
    assert_eq!(hpet.legacy_irqs(), Some([true, false]));
    assert_eq!(hpet.next_event(), Some(VmTime(100_000 - 500)));
}

impl Chip for Hpet {
    fn power_on() -> Hpet {
        running()
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        let offsets = [0x00, 0x10, 0x20, 0xf0, 0x100, 0x108, 0x120, 0x128, 0x140, 0x148, 0x3f8];
        let offset = offsets[rng.below(11) as usize] + [0, 0, 4, rng.below(8)][rng.below(4) as usize];
        let size = 1 << rng.below(4);
        let value = rng.next() >> rng.below(48);
        match rng.below(4) {
            0 => return self.read(offset, size, now),
            1 if offset & !7 == 0x10 => self.write(0x10, 4, ENABLE | LEGACY, now),
            _ => self.write(offset, size, value, now),
        }
        0
    }

    fn advance(&mut self, now: VmTime) {
        Hpet::advance(self, now);
    }

    fn next_event(&self) -> Option<VmTime> {
        Hpet::next_event(self)
    }

    fn outputs(&self) -> u64 {
        (0..TIMERS).fold(0, |lines, n| lines | u64::from(self.line(n)) << n)
    }
}

chip_properties!(Hpet, step_ns: 1_000, exact: true);
