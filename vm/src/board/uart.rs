//! 16550A UART: eight registers, two FIFOs of 16 bytes, one interrupt line.
//!
//! | offset | DLAB = 0             | DLAB = 1      |
//! |--------|----------------------|---------------|
//! | 0      | RBR (r), THR (w)     | divisor low   |
//! | 1      | IER                  | divisor high  |
//! | 2      | IIR (r), FCR (w)     | same          |
//! | 3..7   | LCR MCR LSR MSR SCR  | same          |
//!
//! Reference: National Semiconductor PC16550D/NS16550AF data sheet.
//!
//! Time, and where this differs from the chip on purpose:
//! - A written byte is on the line at once and LSR always says that the transmitter is empty, so that a console that
//!   polls runs at the speed of the CPU. The transmitter-empty *interrupt* comes a microsecond for each character later,
//!   whatever the programmed rate, so that the line falls in between, as an edge-triggered controller needs it. At the
//!   programmed rate a guest that switches itself off would take the end of its output with it.
//! - A byte from outside takes its character time to arrive. While the receiver has no room the sender waits (as with
//!   perfect flow control), so nothing that is pasted is lost; overruns happen in loopback mode only.
//! - The outside line has no word length and no parity: bytes pass whole whatever LCR says, so parity and framing
//!   errors and breaks do not occur. LCR does set the character time.
//! - The far end always asserts CTS, DSR and DCD and never RI.

use crate::units::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const FIFO_BYTES: usize = 16;
/// Time to the transmitter-empty interrupt for each character.
const TRANSMIT_NS: u64 = 1_000;
const CRYSTAL_HZ: u64 = 1_843_200;

const IER_RECEIVED: u8 = 0x01;
const IER_THR_EMPTY: u8 = 0x02;
const IER_LINE_STATUS: u8 = 0x04;
const IER_MODEM_STATUS: u8 = 0x08;

const IIR_NONE: u8 = 0x01;
const IIR_LINE_STATUS: u8 = 0x06;
const IIR_RECEIVED: u8 = 0x04;
const IIR_TIMEOUT: u8 = 0x0c;
const IIR_THR_EMPTY: u8 = 0x02;
const IIR_MODEM_STATUS: u8 = 0x00;
const IIR_FIFOS_ON: u8 = 0xc0;

const FCR_ENABLE: u8 = 0x01;
const FCR_RESET_RX: u8 = 0x02;
const FCR_RESET_TX: u8 = 0x04;

const LCR_DLAB: u8 = 0x80;

const MCR_DTR: u8 = 0x01;
const MCR_RTS: u8 = 0x02;
const MCR_OUT1: u8 = 0x04;
const MCR_OUT2: u8 = 0x08;
const MCR_LOOP: u8 = 0x10;

const LSR_DATA_READY: u8 = 0x01;
const LSR_OVERRUN: u8 = 0x02;
const LSR_TX_EMPTY: u8 = 0x60;

const MSR_DELTAS: u8 = 0x0f;
const MSR_CTS: u8 = 0x10;
const MSR_DSR: u8 = 0x20;
const MSR_RI: u8 = 0x40;
const MSR_DCD: u8 = 0x80;
const MSR_TRAILING_RI: u8 = 0x04;

/// A 16550A with the line that leads to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uart {
    divisor: u16,
    ier: u8,
    /// The bits of FCR that last: enable and trigger level.
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    overrun: bool,
    /// Change bits of the modem status register (low nibble).
    msr_deltas: u8,
    /// Receiver FIFO; holds at most one byte while FIFOs are off.
    rx: VecDeque<u8>,
    /// Bytes that the far end has sent and that have not arrived.
    line: VecDeque<u8>,
    /// When the first byte of `line` arrives. `None`: the line is empty, or its sender is held.
    line_at: Option<VmTime>,
    /// When the character time-out begins, counted from the last arrival or read.
    timeout_at: Option<VmTime>,
    timeout: bool,
    /// The transmitter-empty interrupt is latched.
    thr_empty: bool,
    /// When the transmitter-empty interrupt is latched. Kept only while that interrupt is enabled.
    tx_done_at: Option<VmTime>,
}

impl Default for Uart {
    fn default() -> Uart {
        Uart::new()
    }
}

impl Uart {
    /// The chip after master reset, at 9600 bit/s (the divisor is undefined by the data sheet).
    pub fn new() -> Uart {
        Uart {
            divisor: 12,
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scratch: 0,
            overrun: false,
            msr_deltas: 0,
            rx: VecDeque::new(),
            line: VecDeque::new(),
            line_at: None,
            timeout_at: None,
            timeout: false,
            thr_empty: false,
            tx_done_at: None,
        }
    }

    /// Master reset. What the far end has sent and has not arrived is not lost.
    pub fn reset(&mut self, now: VmTime) {
        let line = std::mem::take(&mut self.line);
        *self = Uart { line, ..Uart::new() };
        self.release_line(now);
    }

    /// IN from register `offset` (0 to 7).
    pub fn read(&mut self, offset: u16, now: VmTime) -> u8 {
        self.advance(now);
        match offset & 7 {
            0 if self.dlab() => self.divisor as u8,
            0 => self.read_received(now),
            1 if self.dlab() => (self.divisor >> 8) as u8,
            1 => self.ier,
            2 => self.read_iir(),
            3 => self.lcr,
            4 => self.mcr,
            5 => self.read_lsr(),
            6 => self.read_msr(),
            _ => self.scratch,
        }
    }

    /// OUT to register `offset` (0 to 7). Returns the byte that goes out on the line, if one does.
    pub fn write(&mut self, offset: u16, value: u8, now: VmTime) -> Option<u8> {
        self.advance(now);
        match offset & 7 {
            0 if self.dlab() => self.divisor = self.divisor & 0xff00 | u16::from(value),
            0 => return self.transmit(value, now),
            1 if self.dlab() => self.divisor = self.divisor & 0x00ff | u16::from(value) << 8,
            1 => self.write_ier(value),
            2 => self.write_fcr(value, now),
            3 => self.lcr = value,
            4 => self.write_mcr(value, now),
            // LSR and MSR are meant to be read only; writing them is for factory tests.
            5 | 6 => {}
            _ => self.scratch = value,
        }
        None
    }

    /// Bytes sent by the far end, any number of them.
    pub fn receive(&mut self, bytes: &[u8], now: VmTime) {
        self.advance(now);
        self.line.extend(bytes);
        self.release_line(now);
    }

    /// The chip's interrupt line. The first PCs had a buffer behind it that OUT2 opens; here it is always open, as in QEMU:
    /// there are kernels that never set OUT2.
    pub fn irq(&self) -> bool {
        self.pending() != IIR_NONE
    }

    /// Does what happens up to and including `now`.
    pub fn advance(&mut self, now: VmTime) {
        while let Some(at) = self.next_event().filter(|at| *at <= now) {
            // A character that arrives together with the end of the time-out restarts it.
            if self.line_at == Some(at) {
                self.arrive(at);
            }
            if self.timeout_at == Some(at) {
                self.timeout_at = None;
                self.timeout = true;
            }
            if self.tx_done_at == Some(at) {
                self.tx_done_at = None;
                self.thr_empty = true;
            }
        }
    }

    /// When the next byte arrives or the next interrupt condition comes up by itself.
    pub fn next_event(&self) -> Option<VmTime> {
        [self.line_at, self.timeout_at, self.tx_done_at].into_iter().flatten().min()
    }

    fn dlab(&self) -> bool {
        self.lcr & LCR_DLAB != 0
    }

    fn fifos_on(&self) -> bool {
        self.fcr & FCR_ENABLE != 0
    }

    fn looped(&self) -> bool {
        self.mcr & MCR_LOOP != 0
    }

    /// Bytes that each direction holds.
    fn depth(&self) -> usize {
        if self.fifos_on() { FIFO_BYTES } else { 1 }
    }

    fn trigger_level(&self) -> usize {
        match (self.fifos_on(), self.fcr >> 6) {
            (false, _) | (true, 0) => 1,
            (true, 1) => 4,
            (true, 2) => 8,
            (true, _) => 14,
        }
    }

    /// Duration of a character, start and stop bits included. The divisor 0, which stops the real clock, counts as 1.
    fn character_ns(&self) -> u64 {
        let data_bits = 5 + u64::from(self.lcr & 3);
        let parity_bits = u64::from(self.lcr >> 3 & 1);
        let half_stop_bits = match (self.lcr & 4 != 0, data_bits) {
            (false, _) => 2,
            (true, 5) => 3,
            (true, _) => 4,
        };
        let half_bits = 2 * (1 + data_bits + parity_bits) + half_stop_bits;
        let crystal_cycles = half_bits * 8 * u64::from(self.divisor.max(1));
        (crystal_cycles * 1_000_000_000).div_ceil(CRYSTAL_HZ)
    }

    /// Lets the sender go on if it waits and there is room.
    fn release_line(&mut self, now: VmTime) {
        let room = self.rx.len() < self.depth() && !self.looped();
        if !room || self.line.is_empty() {
            self.line_at = None;
        } else if self.line_at.is_none() {
            self.line_at = Some(now.plus_ns(self.character_ns()));
        }
    }

    /// The first byte of the line has arrived.
    fn arrive(&mut self, at: VmTime) {
        self.line_at = None;
        if let Some(byte) = self.line.pop_front() {
            self.push_received(byte, at);
        }
        self.release_line(at);
    }

    fn push_received(&mut self, byte: u8, now: VmTime) {
        if self.rx.len() < self.depth() {
            self.rx.push_back(byte);
        } else {
            // LSR bit 1: without FIFOs the new character replaces the old one, a full FIFO keeps what it has.
            self.overrun = true;
            if !self.fifos_on() {
                self.rx[0] = byte;
            }
        }
        self.restart_timeout(now);
    }

    /// "FIFO Interrupt Mode Operation": four character times without an arrival or a read while the FIFO is not empty.
    fn restart_timeout(&mut self, now: VmTime) {
        let armed = self.fifos_on() && !self.rx.is_empty() && !self.timeout;
        self.timeout_at = armed.then(|| now.plus_ns(4 * self.character_ns()));
    }

    fn read_received(&mut self, now: VmTime) -> u8 {
        let byte = self.rx.pop_front().unwrap_or(0);
        self.timeout = false;
        self.restart_timeout(now);
        self.release_line(now);
        byte
    }

    fn transmit(&mut self, byte: u8, now: VmTime) -> Option<u8> {
        self.thr_empty = false;
        if self.ier & IER_THR_EMPTY != 0 {
            // What a polling writer sends faster than the rate does not pile up beyond what the chip holds.
            let full = now.plus_ns(self.depth() as u64 * TRANSMIT_NS);
            let queued = self.tx_done_at.unwrap_or(now).plus_ns(TRANSMIT_NS);
            self.tx_done_at = Some(queued.min(full));
        }
        if self.looped() {
            self.push_received(byte, now);
            return None;
        }
        Some(byte)
    }

    /// Enabling the transmitter-empty interrupt while LSR shows an empty transmitter raises it at once: drivers test
    /// for it.
    fn write_ier(&mut self, value: u8) {
        let enabled = value & !self.ier & IER_THR_EMPTY != 0;
        self.ier = value & 0x0f;
        if enabled || self.ier & IER_THR_EMPTY == 0 {
            self.thr_empty = enabled;
            self.tx_done_at = None;
        }
    }

    fn write_fcr(&mut self, value: u8, now: VmTime) {
        let switched = (value ^ self.fcr) & FCR_ENABLE != 0;
        let on = value & FCR_ENABLE != 0;
        // "Bit 0 must be a 1 when other FCR bits are written to or they will not be programmed."
        self.fcr = if on { value & 0xc1 } else { 0 };
        if switched || on && value & FCR_RESET_RX != 0 {
            self.rx.clear();
            self.timeout = false;
            self.timeout_at = None;
        }
        if (switched || on && value & FCR_RESET_TX != 0) && self.tx_done_at.take().is_some() {
            self.thr_empty = true;
        }
        self.release_line(now);
    }

    fn write_mcr(&mut self, value: u8, now: VmTime) {
        let before = self.modem_lines();
        self.mcr = value & 0x1f;
        let after = self.modem_lines();
        let changed = before ^ after;
        self.msr_deltas |= (changed & !MSR_RI) >> 4;
        if before & MSR_RI != 0 && after & MSR_RI == 0 {
            self.msr_deltas |= MSR_TRAILING_RI;
        }
        self.release_line(now);
    }

    /// High nibble of MSR: the far end's lines, or our own in loopback mode.
    fn modem_lines(&self) -> u8 {
        if !self.looped() {
            return MSR_CTS | MSR_DSR | MSR_DCD;
        }
        let wires = [(MCR_DTR, MSR_DSR), (MCR_RTS, MSR_CTS), (MCR_OUT1, MSR_RI), (MCR_OUT2, MSR_DCD)];
        wires.iter().filter(|(output, _)| self.mcr & output != 0).map(|(_, input)| input).sum()
    }

    /// What IIR reports, FIFO bits aside: the condition of highest priority that is enabled.
    fn pending(&self) -> u8 {
        let enabled = |bit| self.ier & bit != 0;
        if enabled(IER_LINE_STATUS) && self.overrun {
            IIR_LINE_STATUS
        } else if enabled(IER_RECEIVED) && self.rx.len() >= self.trigger_level() {
            IIR_RECEIVED
        } else if enabled(IER_RECEIVED) && self.timeout {
            IIR_TIMEOUT
        } else if enabled(IER_THR_EMPTY) && self.thr_empty {
            IIR_THR_EMPTY
        } else if enabled(IER_MODEM_STATUS) && self.msr_deltas != 0 {
            IIR_MODEM_STATUS
        } else {
            IIR_NONE
        }
    }

    fn read_iir(&mut self) -> u8 {
        let pending = self.pending();
        if pending == IIR_THR_EMPTY {
            self.thr_empty = false;
        }
        if self.fifos_on() { pending | IIR_FIFOS_ON } else { pending }
    }

    fn read_lsr(&mut self) -> u8 {
        let mut lsr = LSR_TX_EMPTY;
        if !self.rx.is_empty() {
            lsr |= LSR_DATA_READY;
        }
        if std::mem::take(&mut self.overrun) {
            lsr |= LSR_OVERRUN;
        }
        lsr
    }

    fn read_msr(&mut self) -> u8 {
        self.modem_lines() | std::mem::take(&mut self.msr_deltas) & MSR_DELTAS
    }
}

#[cfg(test)]
#[path = "uart_tests.rs"]
mod tests;
