use super::*;
use crate::board::test_support::{Chip, Rng, chip_properties};
use crate::units::VmTime;

impl Chip for Pic {
    fn power_on() -> Pic {
        Pic::new()
    }

    fn poke(&mut self, rng: &mut Rng, _: VmTime) -> u64 {
        let port = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1][rng.below(6) as usize];
        match rng.below(4) {
            0 => self.write(port, rng.byte()),
            1 => return u64::from(self.read(port)),
            2 => self.set_irq(rng.byte() & 15, rng.below(2) == 1),
            _ => {
                let (peeked, intr) = (self.peek_vector(), self.intr());
                assert_eq!(peeked.is_some(), intr);
                let vector = self.acknowledge();
                assert!(peeked.is_none_or(|peeked| peeked == vector));
                return u64::from(vector.0);
            }
        }
        0
    }

    fn advance(&mut self, _: VmTime) {}

    fn next_event(&self) -> Option<VmTime> {
        None
    }

    fn outputs(&self) -> u64 {
        u64::from(self.intr())
    }
}

chip_properties!(Pic, step_ns: 1000, exact: true);

impl Pic {
    /// Sets one line.
    fn set_irq(&mut self, irq: u8, high: bool) {
        let levels = u16::from_le_bytes([self.master.lines, self.slave.lines]);
        self.set_irqs(if high { levels | 1 << irq } else { levels & !(1 << irq) });
    }
}

/// As a BIOS leaves them: vectors 0x08 and 0x70, all unmasked; `icw4` for both.
fn pair(icw4: u8) -> Pic {
    let mut pic = Pic::new();
    for (base, vectors, icw3) in [(0x20, 0x08, 0x04), (0xa0, 0x70, 0x02)] {
        pic.write(base, 0x11);
        pic.write(base + 1, vectors);
        pic.write(base + 1, icw3);
        pic.write(base + 1, icw4);
        pic.write(base + 1, 0x00);
    }
    pic
}

fn raise(pic: &mut Pic, irq: u8) {
    pic.set_irq(irq, false);
    pic.set_irq(irq, true);
}

fn take(pic: &mut Pic) -> Option<u8> {
    pic.intr().then(|| pic.acknowledge().0)
}

#[test]
fn lines_become_vectors_and_the_mask_holds_them_back() {
    let mut pic = pair(1);
    assert_eq!((take(&mut pic), pic.peek_vector()), (None, None));
    pic.write(0x21, 0x02);
    raise(&mut pic, 1);
    assert!(!pic.intr());
    assert_eq!(pic.read(0x20), 0x02, "a masked request shows in IRR");
    pic.write(0x21, 0x00);
    assert_eq!(pic.peek_vector(), Some(Vector(0x09)));
    assert_eq!(take(&mut pic), Some(0x09));
    pic.write(0x20, 0x0b);
    assert_eq!((pic.read(0x20), pic.read(0x21)), (0x02, 0x00), "ISR and IMR");
    pic.write(0x20, 0x20);
    assert_eq!(pic.read(0x20), 0);
}

#[test]
fn a_chip_asks_for_nothing_before_it_was_initialised() {
    let mut pic = Pic::new();
    pic.write(0x21, 0xfc);
    raise(&mut pic, 0);
    assert!(!pic.intr());
    assert_eq!((pic.read(0x20), pic.read(0x21)), (0x01, 0xfc), "requests and the mask are kept");
    pic.write(0x20, 0x11);
    for value in [0x08, 0x04] {
        pic.write(0x21, value);
        raise(&mut pic, 0);
        assert!(!pic.intr(), "in the middle of the sequence");
    }
    pic.write(0x21, 0x01);
    assert_eq!(take(&mut pic), Some(0x08));
}

#[test]
fn as_firmware_leaves_it_the_timer_is_vector_8_and_the_clock_0x70() {
    let mut pic = Pic::new();
    pic.set_up_like_firmware();
    raise(&mut pic, 4);
    assert!(!pic.intr(), "a serial port is masked");
    raise(&mut pic, 0);
    assert_eq!(take(&mut pic), Some(0x08));
    pic.write(0x20, 0x20);
    raise(&mut pic, 8);
    assert_eq!(take(&mut pic), Some(0x70));
}

#[test]
fn an_edge_is_one_interrupt_and_a_level_repeats() {
    let mut pic = pair(1);
    raise(&mut pic, 5);
    assert_eq!(take(&mut pic), Some(0x0d));
    pic.write(0x20, 0x20);
    assert_eq!(take(&mut pic), None, "the line has to fall first");
    pic.write(0x4d0, 0xff);
    assert_eq!(pic.read(0x4d0), 0xf8, "IRQ 0 to 2 are always edges");
    assert_eq!(take(&mut pic), Some(0x0d));
    pic.write(0x20, 0x20);
    assert_eq!(take(&mut pic), Some(0x0d));
    pic.set_irq(5, false);
    pic.write(0x20, 0x20);
    assert_eq!(take(&mut pic), None);
    pic.write(0x4d1, 0xff);
    assert_eq!(pic.read(0x4d1), 0xde, "nor are 8 and 13");
}

#[test]
fn icw1_wants_new_edges_and_ltim_levels() {
    let mut pic = pair(1);
    pic.set_irq(3, true);
    for (icw1, expected) in [(0x11, None), (0x19, Some(0x0b))] {
        for (port, value) in [(0x20, icw1), (0x21, 8), (0x21, 4), (0x21, 1)] {
            pic.write(port, value);
        }
        assert_eq!(take(&mut pic), expected);
    }
}

#[test]
fn icw3_is_skipped_in_single_mode_and_icw4_where_it_is_not_announced() {
    let mut pic = Pic::new();
    for (port, value) in [(0x20, 0x12), (0x21, 0x40), (0x21, 0xa5)] {
        pic.write(port, value);
    }
    assert_eq!(pic.read(0x21), 0xa5, "the third byte is OCW1");
}

#[test]
fn priorities_are_fully_nested() {
    let mut pic = pair(1);
    raise(&mut pic, 4);
    assert_eq!(take(&mut pic), Some(0x0c));
    raise(&mut pic, 4);
    raise(&mut pic, 6);
    assert_eq!(take(&mut pic), None, "same and lower levels wait");
    raise(&mut pic, 1);
    assert_eq!(take(&mut pic), Some(0x09));
    pic.write(0x20, 0x20);
    assert_eq!(take(&mut pic), None, "the EOI was for level 1");
    pic.write(0x20, 0x64);
    assert_eq!(take(&mut pic), Some(0x0c));
    pic.write(0x20, 0x20);
    assert_eq!(take(&mut pic), Some(0x0e));
}

#[test]
fn a_request_that_goes_away_is_spurious_7_or_15() {
    let mut pic = pair(1);
    raise(&mut pic, 3);
    pic.set_irq(3, false);
    assert!(!pic.intr());
    assert_eq!(pic.acknowledge(), Vector(0x0f));
    pic.write(0x20, 0x0b);
    assert_eq!(pic.read(0x20), 0, "no ISR bit is set");

    // The slave's request vanishes between the master's two INTA pulses: make the master believe it still stands.
    raise(&mut pic, 12);
    pic.slave.set_line(4, false);
    assert_eq!(pic.peek_vector(), Some(Vector(0x77)));
    assert_eq!(pic.acknowledge(), Vector(0x77));
    assert_eq!(pic.read(0x20), 0x04, "the master has served its level 2");
}

#[test]
fn slave_interrupts_need_both_eois() {
    let mut pic = pair(1);
    raise(&mut pic, 12);
    raise(&mut pic, 8);
    assert_eq!(take(&mut pic), Some(0x70));
    assert_eq!(take(&mut pic), None);
    pic.write(0xa0, 0x20);
    assert_eq!(take(&mut pic), None, "level 2 of the master is in service");
    pic.write(0x20, 0x20);
    assert_eq!(take(&mut pic), Some(0x74));
}

#[test]
fn special_fully_nested_lets_the_slave_nest_but_not_lower_levels() {
    let mut pic = pair(0x11);
    raise(&mut pic, 12);
    assert_eq!(take(&mut pic), Some(0x74));
    raise(&mut pic, 3);
    assert_eq!(take(&mut pic), None);
    raise(&mut pic, 8);
    assert_eq!(take(&mut pic), Some(0x70));
    let mut plain = pair(0x01);
    raise(&mut plain, 12);
    take(&mut plain);
    raise(&mut plain, 8);
    assert_eq!(take(&mut plain), None);
}

#[test]
fn auto_eoi_leaves_nothing_in_service_also_across_the_cascade() {
    let mut pic = pair(0x03);
    raise(&mut pic, 8);
    raise(&mut pic, 9);
    raise(&mut pic, 4);
    let taken: Vec<_> = std::iter::from_fn(|| take(&mut pic)).take(9).collect();
    assert_eq!(taken, [0x70, 0x71, 0x0c]);
    pic.write(0x20, 0x0b);
    assert_eq!(pic.read(0x20), 0);
}

#[test]
fn every_rotation_makes_the_served_level_the_lowest() {
    let order = |pic: &mut Pic| {
        for irq in [0, 1, 3, 4, 5, 6, 7] {
            raise(pic, irq);
        }
        let mut order = Vec::new();
        while let Some(vector) = take(pic) {
            order.push(vector & 7);
            pic.write(0x20, 0x60 | (vector & 7));
        }
        order
    };
    let mut pic = pair(1);
    assert_eq!(order(&mut pic), [0, 1, 3, 4, 5, 6, 7]);
    pic.write(0x20, 0xc3); // set priority: 3 lowest
    assert_eq!(order(&mut pic), [4, 5, 6, 7, 0, 1, 3]);
    raise(&mut pic, 5);
    take(&mut pic);
    pic.write(0x20, 0xa0); // rotate on non-specific EOI
    assert_eq!(order(&mut pic), [6, 7, 0, 1, 3, 4, 5]);
    raise(&mut pic, 0);
    take(&mut pic);
    pic.write(0x20, 0xe0); // rotate on specific EOI
    assert_eq!(order(&mut pic), [1, 3, 4, 5, 6, 7, 0]);

    let mut auto = pair(3);
    auto.write(0x20, 0x80); // rotate in automatic EOI mode
    raise(&mut auto, 1);
    raise(&mut auto, 4);
    assert_eq!(take(&mut auto), Some(0x09));
    raise(&mut auto, 1);
    assert_eq!(take(&mut auto), Some(0x0c), "level 1 went to the end");
    auto.write(0x20, 0x00);
    assert_eq!(take(&mut auto), Some(0x09));
    raise(&mut auto, 5);
    raise(&mut auto, 4);
    assert_eq!(take(&mut auto), Some(0x0d), "no longer rotating: 4 is still the lowest");
}

#[test]
fn special_mask_mode_lets_lower_levels_through_a_masked_one() {
    let mut pic = pair(1);
    raise(&mut pic, 1);
    assert_eq!(take(&mut pic), Some(0x09));
    raise(&mut pic, 6);
    assert_eq!(take(&mut pic), None);
    pic.write(0x21, 0x02);
    assert_eq!(take(&mut pic), None);
    pic.write(0x20, 0x68);
    assert_eq!(take(&mut pic), Some(0x0e));
    pic.write(0x20, 0x20);
    pic.write(0x20, 0x20);
    pic.write(0x20, 0x0b);
    assert_eq!(pic.read(0x20), 0x02, "a non-specific EOI passes the masked level over");
    pic.write(0x20, 0x08);
    pic.write(0x20, 0x48);
    pic.write(0x20, 0x20);
    assert_eq!(pic.read(0x20), 0x00, "out of the mode it ends it");
}

#[test]
fn poll_acknowledges_without_a_vector() {
    let mut pic = pair(1);
    pic.write(0x20, 0x0c);
    assert_eq!(pic.read(0x20), 0x00);
    raise(&mut pic, 14);
    pic.write(0x20, 0x0c);
    assert_eq!(pic.read(0x20), 0x82);
    pic.write(0xa0, 0x0c);
    assert_eq!(pic.read(0xa1), 0x86, "any read is the acknowledge");
    assert_eq!(pic.read(0xa1), 0x00, "once");
    assert!(!pic.intr());
    pic.write(0x20, 0x0b);
    assert_eq!(pic.read(0x20), 0x04);
}
