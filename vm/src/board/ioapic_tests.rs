use super::*;
use crate::board::test_support::{Chip, Rng, chip_properties};
use crate::units::VmTime;

fn lapic() -> LocalApic {
    let mut lapic = LocalApic::new();
    lapic.write(0xf0, 4, 0x1ff, VmTime(0));
    lapic
}

fn set(io: &mut IoApic, lapic: &mut LocalApic, index: u8, value: u32) {
    io.write(0, index.into(), lapic);
    io.write(0x10, value, lapic);
}

fn get(io: &mut IoApic, lapic: &mut LocalApic, index: u8) -> u32 {
    io.write(0, index.into(), lapic);
    io.read(0x10)
}

fn end(io: &mut IoApic, lapic: &mut LocalApic) {
    lapic.write(0xb0, 4, 0, VmTime(0));
    while let Some(vector) = lapic.take_ended() {
        io.end_of_interrupt(vector, lapic);
    }
}

#[test]
fn registers_are_reached_by_index() {
    let (mut io, mut lapic) = (IoApic::new(), lapic());
    assert_eq!(get(&mut io, &mut lapic, 1), 0x0017_0011);
    set(&mut io, &mut lapic, 0, 0xffff_ffff);
    assert_eq!(get(&mut io, &mut lapic, 0), 0x0f00_0000);
    assert_eq!(get(&mut io, &mut lapic, 2), 0x0f00_0000);
    assert_eq!(get(&mut io, &mut lapic, 0x10), 0x1_0000, "masked");
    set(&mut io, &mut lapic, 0x3e, 0xffff_ffff);
    set(&mut io, &mut lapic, 0x3f, 0xffff_ffff);
    assert_eq!(get(&mut io, &mut lapic, 0x3e), 0x0001_afff, "status bits are read-only");
    assert_eq!(get(&mut io, &mut lapic, 0x3f), 0xff00_0000);
    assert_eq!(get(&mut io, &mut lapic, 0x40), 0);
}

#[test]
fn an_edge_is_sent_once_and_lost_while_masked() {
    let (mut io, mut lapic) = (IoApic::new(), lapic());
    io.set_pins(1 << 4, &mut lapic);
    set(&mut io, &mut lapic, 0x18, 0x34);
    assert_eq!(lapic.pending(), None);
    io.set_pins(0, &mut lapic);
    io.set_pins(1 << 4, &mut lapic);
    assert_eq!(lapic.acknowledge(), Some(0x34));
    end(&mut io, &mut lapic);
    assert_eq!(lapic.pending(), None);
}

#[test]
fn a_level_is_sent_again_after_its_end_while_it_lasts() {
    let (mut io, mut lapic) = (IoApic::new(), lapic());
    set(&mut io, &mut lapic, 0x24, 0x8055);
    io.set_pins(1 << 10, &mut lapic);
    assert_eq!(get(&mut io, &mut lapic, 0x24), 0xc055, "remote IRR");
    assert_eq!(lapic.acknowledge(), Some(0x55));
    end(&mut io, &mut lapic);
    assert_eq!(lapic.acknowledge(), Some(0x55));
    io.set_pins(0, &mut lapic);
    end(&mut io, &mut lapic);
    assert_eq!(lapic.pending(), None);
    assert_eq!(get(&mut io, &mut lapic, 0x24), 0x8055);
}

#[test]
fn a_level_that_was_masked_is_sent_when_it_is_unmasked() {
    let (mut io, mut lapic) = (IoApic::new(), lapic());
    io.set_pins(1 << 11, &mut lapic);
    set(&mut io, &mut lapic, 0x26, 0x1_8061);
    assert_eq!(lapic.pending(), None);
    set(&mut io, &mut lapic, 0x26, 0x8061);
    assert_eq!(lapic.pending(), Some(0x61));
}

#[test]
fn an_entry_for_another_processor_reaches_nobody() {
    let (mut io, mut lapic) = (IoApic::new(), lapic());
    set(&mut io, &mut lapic, 0x27, 0x0300_0000);
    set(&mut io, &mut lapic, 0x26, 0x8061);
    io.set_pins(1 << 11, &mut lapic);
    assert_eq!(lapic.pending(), None);
    assert_eq!(get(&mut io, &mut lapic, 0x26), 0x8061, "nobody accepted it");
}

#[test]
fn an_ext_int_entry_at_the_input_of_the_8259_lets_it_through() {
    let (mut io, mut lapic) = (IoApic::new(), lapic());
    assert!(!io.passes_pic(&lapic));
    set(&mut io, &mut lapic, 0x10, 0x700);
    assert!(io.passes_pic(&lapic));
    set(&mut io, &mut lapic, 0x11, 0x0100_0000);
    assert!(!io.passes_pic(&lapic), "for another processor");
    set(&mut io, &mut lapic, 0x11, 0);
    set(&mut io, &mut lapic, 0x10, 0x1_0700);
    assert!(!io.passes_pic(&lapic), "masked");
    set(&mut io, &mut lapic, 0x10, 0x30);
    io.set_pins(1, &mut lapic);
    assert_eq!(lapic.pending(), Some(0x30), "any other entry there has its own vector");
}

/// Both APICs, as each alone has no outputs of interest.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Pair(IoApic, LocalApic);

impl Chip for Pair {
    fn power_on() -> Pair {
        Pair(IoApic::new(), lapic())
    }

    fn poke(&mut self, rng: &mut Rng, _: VmTime) -> u64 {
        match rng.below(4) {
            0 => self.0.write(rng.below(32) as u16, rng.next() as u32 >> rng.below(20), &mut self.1),
            1 => self.0.set_pins(rng.next() as u32, &mut self.1),
            2 => {
                let taken = self.1.acknowledge();
                end(&mut self.0, &mut self.1);
                return taken.map_or(256, u64::from);
            }
            _ => return self.0.read(rng.below(32) as u16).into(),
        }
        0
    }

    fn advance(&mut self, _: VmTime) {}

    fn next_event(&self) -> Option<VmTime> {
        None
    }

    fn outputs(&self) -> u64 {
        self.1.pending().map_or(256, u64::from)
    }
}

chip_properties!(Pair, step_ns: 1_000, exact: false);
