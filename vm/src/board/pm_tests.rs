use super::*;
use crate::board::test_support::{Chip, Rng, chip_properties};

const SECOND: u64 = 1_000_000_000;

fn acpi_mode() -> AcpiPm {
    let mut pm = AcpiPm::new();
    pm.write_apm(APM_CONTROL, APM_ACPI_ENABLE);
    pm
}

#[test]
fn the_timer_counts_3579545_hertz_without_drift() {
    let mut pm = AcpiPm::new();
    for (ns, ticks) in [(0, 0), (279, 0), (280, 1), (SECOND, 3_579_545), (2 * SECOND, 7_159_090)] {
        assert_eq!(pm.read(8, 4, VmTime(ns)), ticks);
    }
    let hour = 3600 * 3_579_545u64;
    assert_eq!(u64::from(pm.read(8, 4, VmTime(3600 * SECOND))), hour & 0xff_ffff);
    assert_eq!(pm.read(9, 2, VmTime(SECOND)), 3_579_545 >> 8);
}

#[test]
fn half_a_timer_round_sets_its_status_and_raises_sci() {
    let mut pm = acpi_mode();
    pm.write(2, 2, 0x0001, VmTime(0));
    let first = pm.next_event().expect("armed");
    assert_eq!(first.0, (8_388_608u128 * 1_000_000_000).div_ceil(3_579_545) as u64);
    pm.advance(VmTime(first.0 - 1));
    assert!(!pm.sci());
    assert_eq!(pm.read(8, 4, VmTime(first.0 - 1)), 0x7f_ffff);
    pm.advance(first);
    assert!(pm.sci());
    assert_eq!(pm.read(8, 4, first), 0x80_0000);
    assert_eq!(pm.read(0, 2, first), 0x0001);
    assert_eq!(pm.next_event(), None);
    pm.write(0, 2, 0x0001, first);
    assert!(!pm.sci());
    let second = pm.next_event().expect("armed again");
    assert_eq!(second.0, (16_777_216u128 * 1_000_000_000).div_ceil(3_579_545) as u64);
    assert_eq!(pm.read(8, 4, second), 0);
}

#[test]
fn the_power_button_raises_sci_in_acpi_mode_only() {
    let mut pm = AcpiPm::new();
    pm.write(2, 2, 0x0100, VmTime(0));
    pm.power_button(VmTime(5));
    assert!(!pm.sci());
    pm.write_apm(APM_CONTROL, APM_ACPI_ENABLE);
    assert_eq!(pm.read(4, 2, VmTime(5)), 1);
    assert!(pm.sci());
    pm.write(1, 1, 0x01, VmTime(6)); // status, high byte
    assert!(!pm.sci());
    pm.write_apm(APM_CONTROL, APM_ACPI_DISABLE);
    assert_eq!(pm.read(4, 2, VmTime(6)), 0);
}

#[test]
fn soft_off_is_sleep_type_0_or_2_with_sleep_enable() {
    for (control, off) in [(0x2001, true), (0x2801, true), (0x0001, false), (0x1401, false), (0x2401, false)]
    {
        let mut pm = acpi_mode();
        let request = pm.write(4, 2, control, VmTime(0));
        assert_eq!(request == Some(Request::PowerOff), off, "{control:#x}");
        assert_eq!(pm.read(4, 2, VmTime(0)), control & 0x1c03, "SLP_EN reads 0");
    }
    let mut pm = acpi_mode();
    assert_eq!(pm.write(5, 1, 0x20, VmTime(0)), Some(Request::PowerOff), "high byte alone");
}

#[test]
fn a_sleep_that_keeps_power_ends_at_once() {
    let mut pm = acpi_mode();
    pm.write(4, 2, 0x2401, VmTime(0));
    assert_eq!(pm.read(0, 2, VmTime(0)), 0x8000);
}

#[test]
fn general_purpose_events_enable_byte_by_byte() {
    let mut pm = acpi_mode();
    pm.write_gpe(2, 2, 0xabcd);
    assert_eq!(pm.read_gpe(0, 4), 0xabcd_0000);
    pm.write_gpe(3, 1, 0x12);
    assert_eq!(pm.read_gpe(2, 2), 0x12cd);
    pm.gpe_status = 0x0004;
    assert!(pm.sci());
    pm.write_gpe(0, 1, 0x04);
    assert!(!pm.sci());
}

#[test]
fn apm_ports_hold_what_is_written() {
    let mut pm = AcpiPm::new();
    pm.write_apm(APM_CONTROL, 0x42);
    pm.write_apm(APM_STATUS, 0x24);
    assert_eq!((pm.read_apm(APM_CONTROL), pm.read_apm(APM_STATUS)), (0x42, 0x24));
}

#[test]
fn a_reset_clears_registers_and_not_the_timer() {
    let mut pm = acpi_mode();
    pm.write(2, 2, 0xffff, VmTime(0));
    pm.reset(VmTime(10 * SECOND));
    assert_eq!(pm.read(0, 4, VmTime(10 * SECOND)), 0);
    assert_eq!(pm.read(8, 4, VmTime(10 * SECOND)), 35_795_450 & 0xff_ffff);
}

impl Chip for AcpiPm {
    fn power_on() -> AcpiPm {
        AcpiPm::new()
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        let (offset, size, value) = (rng.next() as u16, 1 << rng.below(3), rng.next() as u32);
        match rng.below(8) {
            0 => self.power_button(now),
            1 => self.write_apm(APM_CONTROL, if value & 7 == 0 { APM_ACPI_DISABLE } else { APM_ACPI_ENABLE }),
            2 => self.write_gpe(offset & 3, size, value),
            3 => return u64::from(self.read_gpe(offset, size)),
            4 => return self.write(offset, size, value, now).map_or(0, |_| 1),
            5 | 6 => return self.write(offset & 3, size, value, now).map_or(0, |_| 1),
            _ => return u64::from(self.read(offset & 15, size, now)),
        }
        0
    }

    fn advance(&mut self, now: VmTime) {
        AcpiPm::advance(self, now);
    }

    fn next_event(&self) -> Option<VmTime> {
        AcpiPm::next_event(self)
    }

    fn outputs(&self) -> u64 {
        u64::from(self.sci())
    }
}

// Not exact: where another source holds the SCI up, the timer's turn changes nothing.
chip_properties!(AcpiPm, step_ns: 20_000_000, exact: false);
