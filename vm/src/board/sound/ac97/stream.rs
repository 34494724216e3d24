//! A stream: up to 32 buffers in a ring, one after the other (82801AA, 13.2).

use crate::board::cards::CardBus;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

const LIST: u32 = 0x0;
const CURRENT: u32 = 0x4;
const LAST: u32 = 0x5;
const STATUS: u32 = 0x6;
const LEFT: u32 = 0x8;
const PREFETCHED: u32 = 0xa;
const CONTROL: u32 = 0xb;

const STATUS_HALTED: u16 = 1 << 0;
const STATUS_AT_LAST: u16 = 1 << 1;
const STATUS_LAST_DONE: u16 = 1 << 2;
const STATUS_DONE: u16 = 1 << 3;
const STATUS_FIFO: u16 = 1 << 4;

const CONTROL_RUN: u8 = 1 << 0;
const CONTROL_RESET: u8 = 1 << 1;
const CONTROL_LAST: u8 = 1 << 2;
const CONTROL_FIFO: u8 = 1 << 3;
const CONTROL_DONE: u8 = 1 << 4;
const CONTROL_BITS: u8 = 0x1f;

const BUFFERS: u8 = 32;
const ENTRY_BYTES: u32 = 8;
/// Entry of the list: an interrupt at its end.
const ENTRY_INTERRUPT: u32 = 1 << 31;
/// A buffer without samples takes this long.
const EMPTY_NS: u64 = 1000;

/// A stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stream {
    list: u32,
    current: u8,
    last: u8,
    prefetched: u8,
    status: u16,
    control: u8,
    /// The buffer that is current: where it is, its samples, and whether its end interrupts.
    address: u32,
    samples: u16,
    interrupts: bool,
    /// When it is done, while it runs.
    ends_at: Option<VmTime>,
    /// Samples left of it, while it stands still.
    paused: u16,
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            list: 0,
            current: 0,
            last: 0,
            prefetched: 0,
            status: STATUS_HALTED,
            control: 0,
            address: 0,
            samples: 0,
            interrupts: false,
            ends_at: None,
            paused: 0,
        }
    }
}

fn duration_ns(samples: u16, rate: u64) -> u64 {
    (u64::from(samples) * 1_000_000_000).div_ceil(rate.max(1)).max(EMPTY_NS)
}

impl Stream {
    /// Samples left of the current buffer.
    fn left(&self, rate: u64, now: VmTime) -> u16 {
        match self.ends_at {
            Some(end) => {
                let ns = u128::from(end.0.saturating_sub(now.0));
                let left = (ns * u128::from(rate)).div_ceil(1_000_000_000);
                u16::try_from(left).unwrap_or(u16::MAX).min(self.samples)
            }
            None => self.paused,
        }
    }

    pub(super) fn irq(&self) -> bool {
        let on = |status, control| self.status & status != 0 && self.control & control != 0;
        on(STATUS_DONE, CONTROL_DONE) || on(STATUS_LAST_DONE, CONTROL_LAST) || on(STATUS_FIFO, CONTROL_FIFO)
    }

    pub(super) fn read(&self, register: u32, size: u8, rate: u64, now: VmTime) -> u32 {
        let [status_low, status_high] = self.status.to_le_bytes();
        let [left_low, left_high] = self.left(rate, now).to_le_bytes();
        let [a, b, c, d] = self.list.to_le_bytes();
        let registers = [
            a,
            b,
            c,
            d,
            self.current,
            self.last,
            status_low,
            status_high,
            left_low,
            left_high,
            self.prefetched,
            self.control,
        ];
        let byte = |i: u32| registers.get((register + i) as usize).copied().unwrap_or(0xff);
        (0..u32::from(size.min(4))).fold(0, |value, i| value | u32::from(byte(i)) << (8 * i))
    }

    pub(super) fn write(&mut self, register: u32, size: u8, value: u32, rate: u64, bus: &mut CardBus) {
        match (register, size) {
            (LIST, 4) => self.list = value & !7,
            (LAST, _) => {
                self.last = value as u8 % BUFFERS;
                if self.control & CONTROL_RUN != 0 && self.status & STATUS_HALTED != 0 {
                    self.next_buffer(rate, bus);
                }
            }
            (STATUS, _) => self.status &= !(value as u16 & (STATUS_LAST_DONE | STATUS_DONE | STATUS_FIFO)),
            (CONTROL, _) => self.write_control(value as u8, rate, bus),
            // The driver of some systems writes last, status and control at once.
            (CURRENT, 4) => {
                let [_, last, status, _] = value.to_le_bytes();
                self.write(LAST, 1, last.into(), rate, bus);
                self.write(STATUS, 1, status.into(), rate, bus);
            }
            (CURRENT | LEFT | PREFETCHED, _) => {}
            _ => tracing::debug!(register, size, value, "write to a register that a stream does not have"),
        }
    }

    fn write_control(&mut self, value: u8, rate: u64, bus: &mut CardBus) {
        if value & CONTROL_RESET != 0 {
            // Only where it stands still; the interrupt enables stay (13.2.7).
            if self.control & CONTROL_RUN == 0 {
                let control = self.control & (CONTROL_LAST | CONTROL_FIFO | CONTROL_DONE);
                *self = Stream { control, ..Stream::default() };
            }
            return;
        }
        let (ran, runs) = (self.control & CONTROL_RUN != 0, value & CONTROL_RUN != 0);
        self.control = value & CONTROL_BITS & !CONTROL_RESET;
        if runs && !ran {
            if self.paused > 0 {
                self.ends_at = Some(bus.now.plus_ns(duration_ns(self.paused, rate)));
                self.status &= !STATUS_HALTED;
                self.paused = 0;
            } else {
                self.next_buffer(rate, bus);
            }
        } else if ran && !runs {
            self.paused = self.left(rate, bus.now);
            self.ends_at = None;
            self.status |= STATUS_HALTED;
        }
    }

    /// The prefetched buffer becomes the current one.
    fn next_buffer(&mut self, rate: u64, bus: &mut CardBus) {
        self.current = self.prefetched;
        self.prefetched = (self.prefetched + 1) % BUFFERS;
        let mut entry = [0; 8];
        bus.read(self.list.wrapping_add(u32::from(self.current) * ENTRY_BYTES).into(), &mut entry);
        let [a, b, c, d, e, f, g, h] = entry;
        let length = u32::from_le_bytes([e, f, g, h]);
        self.address = u32::from_le_bytes([a, b, c, d]) & !1;
        self.samples = length as u16;
        self.interrupts = length & ENTRY_INTERRUPT != 0;
        self.status &= !(STATUS_HALTED | STATUS_AT_LAST);
        self.ends_at = Some(bus.now.plus_ns(duration_ns(self.samples, rate)));
    }

    /// The rate changes from `before` to `after` samples a second.
    pub(super) fn change_rate(&mut self, before: u64, after: u64, now: VmTime) {
        if self.ends_at.is_some() {
            let left = self.left(before, now);
            self.ends_at = Some(now.plus_ns(duration_ns(left, after)));
        }
    }

    pub(super) fn next_event(&self) -> Option<VmTime> {
        self.ends_at
    }

    /// The end of the current buffer, if it has come.
    pub(super) fn advance(&mut self, records: bool, rate: u64, bus: &mut CardBus) {
        if self.ends_at.is_none_or(|at| at > bus.now) {
            return;
        }
        self.ends_at = None;
        if records {
            bus.write(self.address.into(), &vec![0; usize::from(self.samples) * 2]);
        }
        if self.interrupts {
            self.status |= STATUS_DONE;
        }
        if self.current == self.last {
            self.status |= STATUS_LAST_DONE | STATUS_AT_LAST | STATUS_HALTED;
        } else {
            self.next_buffer(rate, bus);
        }
    }
}
