use super::*;
use crate::board::test_support::{Chip, Rng, chip_properties};

/// Character time at 115200 bit/s, 8N1: 10 bits of 8.68 us.
const CHARACTER_NS: u64 = 86_806;

const T0: VmTime = VmTime(1_000_000);

fn after(ns: u64) -> VmTime {
    T0.plus_ns(ns)
}

/// 115200 8N1, OUT2 on, with these FCR and IER.
fn programmed(fcr: u8, ier: u8) -> Uart {
    let mut uart = Uart::new();
    for (offset, value) in [(3, 0x83), (0, 1), (1, 0), (3, 0x03), (2, fcr), (4, 0x0b), (1, ier)] {
        assert_eq!(uart.write(offset, value, T0), None);
    }
    uart
}

#[test]
fn registers_read_back_the_bits_that_exist() {
    let mut uart = Uart::new();
    for (offset, expected) in [(1, 0x0f), (3, 0xff), (4, 0x1f), (7, 0xff)] {
        uart.write(3, 0, T0);
        uart.write(offset, 0xff, T0);
        assert_eq!(uart.read(offset, T0), expected, "register {offset}");
    }
}

#[test]
fn the_divisor_latch_hides_data_and_interrupt_enable() {
    let mut uart = Uart::new();
    uart.write(1, 0x05, T0);
    uart.write(3, 0x80, T0);
    assert_eq!(uart.write(0, 0x34, T0), None);
    uart.write(1, 0x12, T0);
    assert_eq!((uart.read(0, T0), uart.read(1, T0)), (0x34, 0x12));
    uart.write(3, 0x03, T0);
    assert_eq!(uart.read(1, T0), 0x05);
}

#[test]
fn a_polling_console_never_waits() {
    let mut uart = programmed(0, 0);
    for byte in b"panic" {
        assert_eq!(uart.read(5, T0) & 0x60, 0x60);
        assert_eq!(uart.write(0, *byte, T0), Some(*byte));
    }
    assert_eq!(uart.next_event(), None);
}

#[test]
fn enabling_the_transmitter_interrupt_raises_it_and_reading_iir_clears_it() {
    let mut uart = programmed(0, 0x02);
    assert!(uart.irq());
    assert_eq!(uart.read(2, T0), 0x02);
    assert!(!uart.irq());
    assert_eq!(uart.read(2, T0), 0x01);
    uart.write(1, 0, T0);
    uart.write(1, 0x02, T0);
    assert_eq!(uart.read(2, T0), 0x02, "enabling raises it again: what drivers test for");
}

#[test]
fn the_transmitter_interrupt_comes_when_the_fifo_has_drained() {
    let mut uart = programmed(0x01, 0x02);
    for byte in 0..16 {
        uart.write(0, byte, T0);
    }
    assert!(!uart.irq());
    assert_eq!(uart.next_event(), Some(after(16 * TRANSMIT_NS)));
    uart.advance(after(16 * TRANSMIT_NS - 1));
    assert!(!uart.irq());
    uart.advance(after(16 * TRANSMIT_NS));
    assert!(uart.irq());
    assert_eq!(uart.read(2, after(16 * TRANSMIT_NS)), 0xc2);
}

#[test]
fn writing_without_waiting_does_not_push_the_interrupt_away() {
    let mut uart = programmed(0x01, 0x02);
    for _ in 0..10_000 {
        uart.write(0, b'x', T0);
    }
    assert_eq!(uart.next_event(), Some(after(16 * TRANSMIT_NS)));
}

#[test]
fn a_received_byte_interrupts_after_its_character_time() {
    let mut uart = programmed(0, 0x01);
    uart.receive(b"a", T0);
    assert!(!uart.irq());
    assert_eq!(uart.next_event(), Some(after(CHARACTER_NS)));
    uart.advance(after(CHARACTER_NS));
    assert!(uart.irq());
    let now = after(CHARACTER_NS);
    assert_eq!((uart.read(2, now), uart.read(5, now), uart.read(0, now)), (0x04, 0x61, b'a'));
    assert!(!uart.irq());
    assert_eq!(uart.read(5, now), 0x60);
}

#[test]
fn pasted_text_is_not_lost_and_the_line_falls_between_bytes() {
    let text: Vec<u8> = (0..5_000u32).map(|i| i as u8).collect();
    for fcr in [0x00, 0x01, 0x41, 0x81, 0xc1] {
        let mut uart = programmed(fcr, 0x01);
        uart.receive(&text, T0);
        let mut read = Vec::new();
        while let Some(event) = uart.next_event() {
            uart.advance(event);
            while uart.irq() {
                read.push(uart.read(0, event));
            }
        }
        assert_eq!(read, text, "FCR {fcr:#x}");
        assert_eq!(uart.read(5, VmTime(u64::MAX)) & 0x03, 0);
    }
}

#[test]
fn a_full_fifo_holds_the_sender() {
    let mut uart = programmed(0xc1, 0x00);
    uart.receive(&[7; 40], T0);
    uart.advance(after(1_000 * CHARACTER_NS));
    assert_eq!(uart.rx.len(), 16);
    assert_eq!(uart.line.len(), 24);
    assert_eq!(uart.next_event(), None);
    uart.read(0, after(2_000 * CHARACTER_NS));
    assert_eq!(uart.next_event(), Some(after(2_001 * CHARACTER_NS)));
    assert_eq!(uart.read(5, after(3_000 * CHARACTER_NS)) & LSR_OVERRUN, 0);
}

#[test]
fn the_trigger_level_and_the_time_out_of_four_characters() {
    for (fcr, level) in [(0x41, 4), (0x81, 8), (0xc1, 14)] {
        let mut uart = programmed(fcr, 0x01);
        uart.receive(&vec![0x55; level], T0);
        uart.advance(after((level as u64 - 1) * CHARACTER_NS));
        assert!(!uart.irq());
        uart.advance(after(level as u64 * CHARACTER_NS));
        assert_eq!(uart.read(2, after(level as u64 * CHARACTER_NS)), 0xc4);
    }
    let mut uart = programmed(0xc1, 0x01);
    uart.receive(b"ab", T0);
    uart.advance(after(6 * CHARACTER_NS - 1));
    assert!(!uart.irq());
    uart.advance(after(6 * CHARACTER_NS));
    let now = after(7 * CHARACTER_NS);
    assert_eq!(uart.read(2, now), 0xcc);
    assert_eq!(uart.read(0, now), b'a');
    assert!(!uart.irq(), "a read clears the time-out");
    uart.advance(after(11 * CHARACTER_NS));
    assert_eq!(uart.read(2, after(11 * CHARACTER_NS)), 0xcc, "and starts it again");
}

#[test]
fn interrupts_are_reported_by_priority() {
    let mut uart = programmed(0x01, 0x0f);
    uart.write(4, 0x10, T0); // loopback: the modem lines fall
    for _ in 0..17 {
        uart.write(0, b'x', T0);
    }
    let now = after(20 * CHARACTER_NS);
    assert_eq!(uart.read(2, now), 0xc6, "overrun");
    assert_eq!(uart.read(5, now), 0x63);
    assert_eq!(uart.read(5, now), 0x61, "reading LSR clears the error");
    assert_eq!(uart.read(2, now), 0xc4);
    uart.write(2, 0x03, now);
    assert_eq!(uart.read(2, now), 0xc2);
    assert_eq!(uart.read(2, now), 0xc0);
    uart.read(6, now);
    assert_eq!(uart.read(2, now), 0xc1);
}

#[test]
fn loopback_returns_bytes_and_modem_lines() {
    let mut uart = programmed(0, 0x01);
    for (mcr, msr) in [(0x11, 0x20), (0x12, 0x10), (0x14, 0x40), (0x18, 0x80), (0x1a, 0x90), (0x10, 0x00)] {
        uart.write(4, mcr, T0);
        assert_eq!(uart.read(6, T0) & 0xf0, msr, "MCR {mcr:#x}");
    }
    uart.write(4, 0x1f, T0);
    assert_eq!(uart.write(0, b'q', T0), None);
    assert!(uart.irq(), "interrupts work in loopback (data sheet, 8.6.7)");
    assert_eq!(uart.read(0, T0), b'q');
    uart.write(0, 1, T0);
    uart.write(0, 2, T0);
    assert_eq!(uart.read(5, T0) & LSR_OVERRUN, LSR_OVERRUN);
    assert_eq!(uart.read(0, T0), 2, "without FIFO the new byte replaces the old one");
}

#[test]
fn a_full_fifo_keeps_its_bytes_in_an_overrun() {
    let mut uart = programmed(0x01, 0);
    uart.write(4, 0x10, T0);
    for byte in 0..=255 {
        uart.write(0, byte, T0);
    }
    let read: Vec<u8> =
        std::iter::from_fn(|| (uart.read(5, T0) & 1 != 0).then(|| uart.read(0, T0))).collect();
    assert_eq!(read, (0..16).collect::<Vec<u8>>());
}

#[test]
fn modem_changes_set_deltas_and_ri_only_at_its_end() {
    let mut uart = programmed(0, 0x08);
    uart.write(4, 0x1b, T0);
    assert_eq!(uart.read(6, T0), 0xb0);
    uart.write(4, 0x1e, T0);
    assert_eq!(uart.read(6, T0), 0xd2, "DSR fell; RI rose without a delta");
    uart.write(4, 0x1a, T0);
    assert_eq!(uart.read(2, T0), 0x00);
    assert_eq!(uart.read(6, T0), 0x94);
    assert_eq!(uart.read(2, T0), 0x01);
}

#[test]
fn the_interrupt_line_is_open_without_out2() {
    let mut uart = programmed(0, 0x02);
    uart.write(4, 0x00, T0);
    assert!(uart.irq());
}

#[test]
fn switching_or_resetting_fifos_clears_them() {
    for fcr in [0x00, 0x03] {
        let mut uart = programmed(0xc1, 0x01);
        uart.receive(b"abc", T0);
        let now = after(10 * CHARACTER_NS);
        uart.advance(now);
        assert!(uart.irq());
        uart.write(2, fcr, now);
        assert!(!uart.irq());
        assert_eq!(uart.read(5, now), 0x60);
    }
    let mut uart = programmed(0xc0, 0);
    assert_eq!(uart.read(2, T0), 0x01, "without bit 0 nothing is programmed");
    uart.write(2, 0x01, T0);
    assert_eq!(uart.read(2, T0), 0xc1);
}

#[test]
fn the_character_time_follows_divisor_and_format() {
    // (LCR, half bits of a character)
    for (lcr, half_bits) in [(0x00, 14), (0x03, 20), (0x04, 15), (0x07, 22), (0x0b, 22), (0x1f, 24)] {
        let mut uart = Uart::new();
        uart.lcr = lcr;
        uart.divisor = 3; // 38400 bit/s
        assert_eq!(uart.character_ns(), (half_bits * 1_000_000_000u64).div_ceil(2 * 38_400), "LCR {lcr:#x}");
    }
}

#[test]
fn reset_keeps_what_has_not_arrived() {
    let mut uart = programmed(0x01, 0x01);
    uart.receive(b"late", T0);
    uart.reset(T0);
    assert_eq!(uart.line.len(), 4);
    assert!(uart.next_event().is_some());
    assert!(!uart.irq());
}

impl Chip for Uart {
    fn power_on() -> Uart {
        Uart::new()
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        let offset = rng.below(8) as u16;
        match rng.below(8) {
            0 => self.receive(&vec![rng.byte(); rng.below(40) as usize], now),
            1 => drop(self.write(2, [0x01, 0x41, 0xc1, 0x03, 0x00][rng.below(5) as usize], now)),
            2 => drop(self.write(3, [0x03, 0x83, 0x1b][rng.below(3) as usize], now)),
            3 | 4 => return u64::from(self.read(offset, now)),
            _ => return self.write(offset, rng.byte(), now).map_or(0x100, u64::from),
        }
        0
    }

    fn advance(&mut self, now: VmTime) {
        Uart::advance(self, now);
    }

    fn next_event(&self) -> Option<VmTime> {
        Uart::next_event(self)
    }

    fn outputs(&self) -> u64 {
        let bits = [self.irq(), self.timeout, self.thr_empty].map(u64::from);
        (self.line.len() as u64) << 3 | bits[0] << 2 | bits[1] << 1 | bits[2]
    }
}

chip_properties!(Uart, step_ns: 40_000, exact: true);
