use super::*;
use crate::board::test_support::{Chip, Rng, chip_properties};

const NOW: VmTime = VmTime(1_000);

fn put(apic: &mut LocalApic, offset: u16, value: u32) {
    apic.write(offset, 4, value.into(), NOW);
}

fn get(apic: &mut LocalApic, offset: u16) -> u32 {
    apic.read(offset, 4, NOW) as u32
}

fn enabled() -> LocalApic {
    let mut apic = LocalApic::new();
    put(&mut apic, 0xf0, 0x1ff);
    apic
}

fn fixed(apic: &mut LocalApic, vector: u8) {
    assert!(apic.message(Destination { id: 0, logical: false }, Delivery::Fixed, vector, false));
}

#[test]
fn after_reset_it_is_disabled_by_software_and_lets_the_8259_through() {
    let mut apic = LocalApic::new();
    assert_eq!(apic.base(), 0xfee0_0900);
    assert_eq!(get(&mut apic, 0x30), 0x0005_0014);
    assert_eq!(get(&mut apic, 0xf0), 0xff);
    assert_eq!(get(&mut apic, 0xe0), u32::MAX);
    assert_eq!(get(&mut apic, 0x320), 0x1_0000);
    assert!(apic.passes_pic());
    assert!(!apic.message(Destination { id: 0, logical: false }, Delivery::Fixed, 0x40, false));
    put(&mut apic, 0x350, 0x1_0700);
    assert!(!apic.passes_pic(), "LINT0 is masked");
    apic.set_base(0xfee0_0100);
    assert!(apic.passes_pic(), "no local APIC in between");
    assert_eq!(apic.offset(0xfee0_0020), None);
}

#[test]
fn a_write_to_its_addresses_is_a_message() {
    let mut apic = enabled();
    put(&mut apic, 0xd0, 0x0200_0000);
    for (addr, data, taken) in [
        (0xfee0_0000, 0x41, Some(0x41)),
        (0xfee0_1000, 0x42, None),
        (0xfeef_f000, 0x43, Some(0x43)),
        (0xfee0_2004, 0x144, Some(0x44)),
        (0xfee0_1004, 0x45, None),
        (0xfee0_0000, 0x8046, None), // a level's end
        (0xfee0_0000, 0xc047, Some(0x47)),
    ] {
        apic.signalled(addr, data);
        assert_eq!(apic.acknowledge(), taken, "{addr:#x}, {data:#x}");
        put(&mut apic, 0xb0, 0);
    }
    apic.signalled(0xfee0_0000, 0x400);
    assert!(apic.take_nmi());
}

#[test]
fn the_highest_vector_above_the_processor_priority_is_taken_first() {
    let mut apic = enabled();
    for vector in [0x31, 0x55, 0x51] {
        fixed(&mut apic, vector);
    }
    assert_eq!(get(&mut apic, 0x220), 0x22_0000, "IRR, vectors 64 to 95");
    assert_eq!(apic.acknowledge(), Some(0x55));
    assert_eq!(get(&mut apic, 0xa0), 0x50);
    assert_eq!(apic.pending(), None, "0x51 is of the same class");
    put(&mut apic, 0xb0, 0);
    assert_eq!(apic.acknowledge(), Some(0x51));
    put(&mut apic, 0xb0, 0);
    put(&mut apic, 0x80, 0x30);
    assert_eq!((apic.pending(), apic.cr8()), (None, 3));
    apic.set_cr8(2);
    assert_eq!(get(&mut apic, 0x80), 0x20);
    assert_eq!(apic.acknowledge(), Some(0x31));
    put(&mut apic, 0xb0, 0);
    assert_eq!(get(&mut apic, 0xa0), 0x20);
}

#[test]
fn logical_destinations_are_flat_sets_or_members_of_a_cluster() {
    let mut apic = enabled();
    put(&mut apic, 0xd0, 0x0200_0000);
    let to = |apic: &mut LocalApic, id| {
        apic.message(Destination { id, logical: true }, Delivery::Lowest, 0x60, false)
    };
    assert!(to(&mut apic, 0x03));
    assert!(!to(&mut apic, 0x01));
    put(&mut apic, 0xe0, 0x0fff_ffff);
    put(&mut apic, 0xd0, 0x3200_0000);
    assert!(to(&mut apic, 0x36));
    assert!(!to(&mut apic, 0x26), "another cluster");
    assert!(!to(&mut apic, 0x34), "another member");
    assert!(to(&mut apic, 0xff));
}

#[test]
fn the_processor_sends_to_itself_and_to_nobody_else() {
    let mut apic = enabled();
    put(&mut apic, 0x300, 0x4_0041);
    assert_eq!(apic.acknowledge(), Some(0x41), "to itself");
    put(&mut apic, 0xb0, 0);
    put(&mut apic, 0x300, 0xc_0042);
    assert_eq!(apic.pending(), None, "to all but itself");
    put(&mut apic, 0x310, 0x0500_0000);
    put(&mut apic, 0x300, 0x43);
    assert_eq!(apic.pending(), None, "to number 5");
    put(&mut apic, 0x300, 0x8_0444);
    assert!(apic.take_nmi(), "an NMI to all");
    assert_eq!(get(&mut apic, 0x300), 0x8_0444, "delivery status idle");
}

#[test]
fn errors_are_shown_when_the_status_register_is_written_and_raise_their_vector() {
    let mut apic = enabled();
    put(&mut apic, 0x370, 0x33);
    put(&mut apic, 0x300, 0x4_0005);
    assert_eq!(get(&mut apic, 0x280), 0, "not latched yet");
    put(&mut apic, 0x280, 0);
    assert_eq!(get(&mut apic, 0x280), 0x20);
    assert_eq!(apic.pending(), Some(0x33));
    put(&mut apic, 0x280, 0);
    assert_eq!(get(&mut apic, 0x280), 0);
}

#[test]
fn a_one_shot_timer_counts_down_and_fires_once() {
    let mut apic = enabled();
    put(&mut apic, 0x3e0, 0b1011);
    put(&mut apic, 0x320, 0x40);
    put(&mut apic, 0x380, 100);
    assert_eq!(apic.next_event(), Some(VmTime(1_100)), "divided by 1");
    assert_eq!(apic.read(0x390, 4, VmTime(1_030)), 70);
    apic.advance(VmTime(1_099));
    assert_eq!(apic.pending(), None);
    apic.advance(VmTime(1_100));
    assert_eq!(apic.acknowledge(), Some(0x40));
    assert_eq!((apic.next_event(), apic.read(0x390, 4, VmTime(1_101))), (None, 0));
    put(&mut apic, 0x3e0, 0);
    put(&mut apic, 0x380, 100);
    assert_eq!(apic.next_event(), Some(VmTime(1_200)), "divided by 2");
    put(&mut apic, 0x380, 0);
    assert_eq!(apic.next_event(), None, "stopped");
}

#[test]
fn a_periodic_timer_goes_on_without_drifting() {
    let mut apic = enabled();
    put(&mut apic, 0x3e0, 0b0011);
    put(&mut apic, 0x320, 0x2_0040);
    put(&mut apic, 0x380, 10);
    for at in [1_160, 1_320, 1_480] {
        assert_eq!(apic.next_event(), Some(VmTime(at)), "divided by 16");
        apic.advance(VmTime(at));
        assert_eq!(apic.next_event(), None, "it has asked");
        assert_eq!(apic.acknowledge(), Some(0x40));
        put(&mut apic, 0xb0, 0);
    }
    apic.advance(VmTime(1_000_000));
    assert_eq!(apic.acknowledge(), Some(0x40));
    assert_eq!(apic.next_event(), Some(VmTime(1_000_040)));
}

#[test]
fn a_deadline_is_met_when_the_time_stamp_counter_reaches_it() {
    let mut apic = enabled();
    let now = VmTime(1_000);
    apic.set_deadline(5_000, 1_000, now);
    assert_eq!(apic.deadline(now), 0, "in another mode it cannot be written");
    put(&mut apic, 0x320, 0x4_0040);
    put(&mut apic, 0x380, 1000);
    assert_eq!(apic.next_event(), None, "there is no count in this mode");
    apic.set_deadline(5_000, 1_000, now);
    assert_eq!((apic.deadline(now), get(&mut apic, 0x390)), (5_000, 0));
    assert_eq!(apic.next_event(), Some(VmTime(5_000)));
    apic.tsc_changed(3_000, now);
    assert_eq!(apic.next_event(), Some(VmTime(3_000)), "the counter was set on");
    apic.advance(VmTime(2_999));
    assert_eq!(apic.pending(), None);
    apic.advance(VmTime(3_000));
    assert_eq!((apic.acknowledge(), apic.deadline(VmTime(3_000))), (Some(0x40), 0), "once");
    put(&mut apic, 0xb0, 0);
    apic.set_deadline(6_000, 7_000, VmTime(4_000));
    assert_eq!(apic.acknowledge(), Some(0x40), "one that has passed is met at once");
    put(&mut apic, 0xb0, 0);
    apic.set_deadline(9_000, 8_000, VmTime(5_000));
    put(&mut apic, 0x320, 0x40);
    assert_eq!((apic.deadline(VmTime(5_000)), apic.next_event()), (0, None), "another mode disarms it");
}

#[test]
fn software_disabling_masks_the_local_vectors() {
    let mut apic = enabled();
    put(&mut apic, 0x320, 0x40);
    put(&mut apic, 0xf0, 0xff);
    assert_eq!(get(&mut apic, 0x320), 0x1_0040);
    put(&mut apic, 0x320, 0x41);
    assert_eq!(get(&mut apic, 0x320), 0x1_0041);
    put(&mut apic, 0xf0, 0x1ff);
    put(&mut apic, 0x320, 0x41);
    assert_eq!(get(&mut apic, 0x320), 0x41);
}

#[test]
fn inputs_give_a_vector_or_an_nmi_as_their_entries_say() {
    let mut apic = enabled();
    put(&mut apic, 0x350, 0x71);
    apic.set_lint0(true);
    assert_eq!(apic.acknowledge(), Some(0x71));
    apic.set_lint0(false);
    put(&mut apic, 0xb0, 0);
    put(&mut apic, 0x350, 0x8071);
    apic.set_lint0(true);
    assert_eq!(apic.acknowledge(), Some(0x71), "a level");
    assert_eq!(apic.pending(), None, "is being served");
    put(&mut apic, 0xb0, 0);
    assert_eq!(apic.pending(), Some(0x71), "and still there");
    put(&mut apic, 0x360, 0x400);
    apic.set_lint1(true);
    assert!(apic.take_nmi() && !apic.take_nmi());
}

impl Chip for LocalApic {
    fn power_on() -> LocalApic {
        LocalApic::new()
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        self.advance(now);
        let offset = rng.below(0x40) as u16 * 16 + if rng.below(20) == 0 { rng.below(16) as u16 } else { 0 };
        match rng.below(10) {
            0..=4 => {
                let value = rng.next() as u32 >> rng.below(28);
                self.write(offset, [4, 4, 4, 8, 1][rng.below(5) as usize], value.into(), now);
                0
            }
            5 => self.acknowledge().map_or(256, u64::from),
            6 => u64::from(self.message(
                Destination { id: rng.byte(), logical: rng.below(2) == 0 },
                Delivery::of(rng.next() as u32),
                rng.byte(),
                rng.below(2) == 0,
            )),
            7 => {
                self.set_lint0(rng.below(2) == 0);
                self.set_lint1(rng.below(2) == 0);
                if rng.below(50) == 0 {
                    self.set_base(rng.next() & 0xff_ffff_f000 | rng.below(16) << 8);
                }
                u64::from(self.take_nmi()) | self.take_ended().map_or(0, |v| u64::from(v) << 8)
            }
            8 => {
                self.write(0xf0, 4, 0x1ff, now);
                let tsc = now.0.wrapping_add(rng.below(3) << 20);
                match rng.below(4) {
                    0 => self.write(0x320, 4, 0x4_0020 | rng.below(256), now),
                    1 => self.set_deadline(tsc.wrapping_add(rng.below(2_000_000)), tsc, now),
                    2 => self.tsc_changed(tsc, now),
                    _ => {}
                }
                self.deadline(now)
            }
            _ => self.read(offset, 4, now),
        }
    }

    fn advance(&mut self, now: VmTime) {
        LocalApic::advance(self, now);
    }

    fn next_event(&self) -> Option<VmTime> {
        LocalApic::next_event(self)
    }

    fn outputs(&self) -> u64 {
        let irr = self.irr.iter().fold(0u64, |h, w| h.rotate_left(7) ^ u64::from(*w));
        irr ^ u64::from(self.passes_pic()) << 63 ^ self.pending().map_or(0, u64::from) << 40
    }
}

chip_properties!(LocalApic, step_ns: 7_919, exact: false);
