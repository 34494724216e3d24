//! 8042 keyboard controller with the PS/2 keyboard and mouse on its two ports.
//!
//! | port | read                           | write                                                  |
//! |------|--------------------------------|--------------------------------------------------------|
//! | 0x60 | output buffer                  | data: to the keyboard, or as the last command wants it |
//! | 0x64 | status                         | controller command                                     |
//!
//! References: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller"; Intel 8042
//! data sheet.
//!
//! Time: commands take none, and answers appear at once in an empty output buffer. Between a read and the next byte of
//! a device lie [`BYTE_NS`] (the serial line would take about a millisecond), so that the interrupt line falls in between.

mod keyboard;
mod mouse;
mod scancodes;

use crate::units::VmTime;
use keyboard::Keyboard;
use mouse::Mouse;
use scancodes::Translator;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Data port.
pub const DATA: u16 = 0x60;
/// Status and command port.
pub const COMMAND: u16 = 0x64;

/// Virtual time between a read of the output buffer and the next byte of a device.
pub const BYTE_NS: u64 = 100_000;

/// Answers of the controller itself that may wait for an empty output buffer; more are lost.
const ANSWERS_MAX: usize = 16;

const STATUS_OUTPUT_FULL: u8 = 0x01;
const STATUS_SYSTEM: u8 = 0x04;
const STATUS_COMMAND: u8 = 0x08;
/// The keyboard lock is open.
const STATUS_UNLOCKED: u8 = 0x10;
const STATUS_AUX: u8 = 0x20;

const CONFIG_KEYBOARD_IRQ: u8 = 0x01;
const CONFIG_MOUSE_IRQ: u8 = 0x02;
const CONFIG_SYSTEM: u8 = 0x04;
const CONFIG_KEYBOARD_OFF: u8 = 0x10;
const CONFIG_MOUSE_OFF: u8 = 0x20;
const CONFIG_TRANSLATE: u8 = 0x40;

/// Output port (P2): bit 0 is the reset line, active low; bit 1 the A20 gate.
const OUTPUT_NOT_RESET: u8 = 0x01;
const OUTPUT_A20: u8 = 0x02;
const OUTPUT_KEYBOARD_IRQ: u8 = 0x10;
const OUTPUT_MOUSE_IRQ: u8 = 0x20;
/// Input port (P1): keyboard not locked.
const INPUT_PORT: u8 = 0x80;

const TEST_PASSED: u8 = 0x55;
const PORT_TEST_PASSED: u8 = 0x00;
const NO_PASSWORD: u8 = 0xf1;

/// Who a byte in the output buffer is from, as far as software can tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Source {
    Keyboard,
    Mouse,
}

/// What the next byte written to port 0x60 is for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Expect {
    Keyboard,
    /// Byte of the controller's RAM; 0 is the command byte.
    Ram(u8),
    OutputPort,
    KeyboardEcho,
    MouseEcho,
    Mouse,
}

/// The controller and what is plugged into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct I8042 {
    /// RAM of the controller; byte 0 is the command byte.
    ram: [u8; 32],
    /// The output buffer, which keeps its value after it was read.
    output: u8,
    output_full: bool,
    output_from: Source,
    answers: VecDeque<(u8, Source)>,
    expect: Expect,
    /// The last write went to port 0x64.
    last_was_command: bool,
    a20: bool,
    reset: bool,
    translator: Translator,
    /// When a device may fill the output buffer again.
    device_at: VmTime,
    keyboard: Keyboard,
    mouse: Mouse,
}

impl Default for I8042 {
    fn default() -> I8042 {
        I8042::new()
    }
}

impl I8042 {
    /// The controller as firmware leaves it: translation and interrupts on, both devices enabled, A20 open. Kernels
    /// that are booted without firmware rely on that.
    pub fn new() -> I8042 {
        let mut ram = [0; 32];
        ram[0] = CONFIG_KEYBOARD_IRQ | CONFIG_MOUSE_IRQ | CONFIG_TRANSLATE;
        I8042 {
            ram,
            output: 0,
            output_full: false,
            output_from: Source::Keyboard,
            answers: VecDeque::new(),
            expect: Expect::Keyboard,
            last_was_command: true,
            a20: true,
            reset: false,
            translator: Translator::default(),
            device_at: VmTime(0),
            keyboard: Keyboard::new(),
            mouse: Mouse::new(),
        }
    }

    /// IN from port 0x60 or 0x64.
    pub fn read(&mut self, port: u16, now: VmTime) -> u8 {
        self.advance(now);
        match port {
            DATA => self.read_output(now),
            COMMAND => self.status(),
            _ => 0xff,
        }
    }

    /// OUT to port 0x60 or 0x64.
    pub fn write(&mut self, port: u16, value: u8, now: VmTime) {
        self.advance(now);
        match port {
            DATA => self.write_data(value),
            COMMAND => self.write_command(value),
            _ => return,
        }
        self.last_was_command = port == COMMAND;
        self.fill_output(now);
    }

    /// A key is pressed or released, as its scan code set 1 sequence; the keyboard sends it in the set it is in.
    pub fn key(&mut self, scancode_set1: &[u8], now: VmTime) {
        self.advance(now);
        self.keyboard.key(scancode_set1, now);
        self.fill_output(now);
    }

    /// The mouse is moved by so many counts (to the right, downwards, the wheel towards the user), and has these buttons
    /// pressed (bit 0 left, 1 middle, 2 right, 3 and 4 at the sides).
    pub fn mouse(&mut self, by: [i16; 3], buttons: u8, now: VmTime) {
        self.advance(now);
        self.mouse.moved(by, buttons, now);
        self.advance(now);
    }

    /// The keyboard's interrupt line.
    pub fn irq1(&self) -> bool {
        self.interrupts(Source::Keyboard, CONFIG_KEYBOARD_IRQ)
    }

    /// The mouse's interrupt line.
    pub fn irq12(&self) -> bool {
        self.interrupts(Source::Mouse, CONFIG_MOUSE_IRQ)
    }

    /// The A20 gate: address bit 20 is passed through.
    pub fn a20(&self) -> bool {
        self.a20
    }

    /// Moves the A20 gate from outside: port 0x92 drives the same line.
    pub fn set_a20(&mut self, open: bool) {
        self.a20 = open;
    }

    /// Whether a reset of the CPU was asked for since the last call.
    pub fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.reset)
    }

    /// Does what happens up to and including `now`, event by event.
    pub fn advance(&mut self, now: VmTime) {
        while let Some(at) = self.device_event().filter(|at| *at <= now) {
            self.fill_output(at);
            self.mouse.advance(at);
            self.keyboard.advance(at, self.keyboard_stuck());
            self.fill_output(at);
        }
        self.fill_output(now);
        self.keyboard.advance(now, self.keyboard_stuck());
    }

    /// When a device next does something, or fills the output buffer, by itself.
    pub fn next_event(&self) -> Option<VmTime> {
        let waits = !self.output_full && (self.keyboard_sends() || self.mouse_sends());
        waits.then_some(self.device_at).into_iter().chain(self.device_event()).min()
    }

    /// When a key repeats or a movement is reported.
    fn device_event(&self) -> Option<VmTime> {
        let key = self.keyboard.next_event(self.keyboard_stuck());
        key.into_iter().chain(self.mouse.next_event()).min()
    }

    /// What the keyboard sends stays there until software acts.
    fn keyboard_stuck(&self) -> bool {
        self.output_full || self.config() & CONFIG_KEYBOARD_OFF != 0
    }

    fn config(&self) -> u8 {
        self.ram[0]
    }

    fn set_config(&mut self, mask: u8, on: bool) {
        if on {
            self.ram[0] |= mask;
        } else {
            self.ram[0] &= !mask;
        }
    }

    fn interrupts(&self, source: Source, enable: u8) -> bool {
        self.output_full && self.output_from == source && self.config() & enable != 0
    }

    fn keyboard_sends(&self) -> bool {
        self.config() & CONFIG_KEYBOARD_OFF == 0 && self.keyboard.has_byte()
    }

    fn mouse_sends(&self) -> bool {
        self.config() & CONFIG_MOUSE_OFF == 0 && self.mouse.has_byte()
    }

    /// Fills an empty output buffer: answers of the controller first, then the keyboard, then the mouse.
    fn fill_output(&mut self, now: VmTime) {
        if self.output_full {
            return;
        }
        if let Some((byte, source)) = self.answers.pop_front() {
            self.set_output(byte, source);
        }
        // Translation swallows the break prefix of set 2, so that one byte of the keyboard may fill nothing.
        while !self.output_full && now >= self.device_at && self.keyboard_sends() {
            let Some(sent) = self.keyboard.send() else { break };
            let translate = self.config() & CONFIG_TRANSLATE != 0;
            if let Some(byte) = self.translator.pass(sent, translate) {
                self.set_output(byte, Source::Keyboard);
            }
        }
        let mouse_sends = !self.output_full && now >= self.device_at && self.mouse_sends();
        if let Some(byte) = mouse_sends.then(|| self.mouse.send()).flatten() {
            self.set_output(byte, Source::Mouse);
        }
    }

    fn set_output(&mut self, byte: u8, source: Source) {
        self.output = byte;
        self.output_from = source;
        self.output_full = true;
    }

    fn answer(&mut self, byte: u8, source: Source) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back((byte, source));
        }
    }

    fn read_output(&mut self, now: VmTime) -> u8 {
        let byte = self.output;
        if std::mem::take(&mut self.output_full) {
            self.device_at = now.plus_ns(BYTE_NS);
            self.fill_output(now);
        }
        byte
    }

    fn status(&self) -> u8 {
        let mut status = STATUS_UNLOCKED;
        if self.output_full {
            status |= STATUS_OUTPUT_FULL;
            if self.output_from == Source::Mouse {
                status |= STATUS_AUX;
            }
        }
        if self.config() & CONFIG_SYSTEM != 0 {
            status |= STATUS_SYSTEM;
        }
        if self.last_was_command {
            status |= STATUS_COMMAND;
        }
        status
    }

    fn write_command(&mut self, command: u8) {
        self.expect = Expect::Keyboard;
        match command {
            0x20..=0x3f => self.answer(self.ram[usize::from(command & 0x1f)], Source::Keyboard),
            0x60..=0x7f => self.expect = Expect::Ram(command & 0x1f),
            0xa4 => self.answer(NO_PASSWORD, Source::Keyboard),
            0xa7 => self.set_config(CONFIG_MOUSE_OFF, true),
            0xa8 => self.set_config(CONFIG_MOUSE_OFF, false),
            0xa9 | 0xab => self.answer(PORT_TEST_PASSED, Source::Keyboard),
            0xaa => {
                self.set_config(CONFIG_SYSTEM, true);
                self.answer(TEST_PASSED, Source::Keyboard);
            }
            0xad => self.set_config(CONFIG_KEYBOARD_OFF, true),
            0xae => self.set_config(CONFIG_KEYBOARD_OFF, false),
            0xc0 => self.answer(INPUT_PORT, Source::Keyboard),
            0xd0 => self.answer(self.output_port(), Source::Keyboard),
            0xd1 => self.expect = Expect::OutputPort,
            0xd2 => self.expect = Expect::KeyboardEcho,
            0xd3 => self.expect = Expect::MouseEcho,
            0xd4 => self.expect = Expect::Mouse,
            // A20 off and on in one command, an extension that many controllers have.
            0xdd => self.a20 = false,
            0xdf => self.a20 = true,
            // Pulses those of the lower four output lines whose bits are 0; line 0 resets the CPU.
            0xf0..=0xff => self.reset |= command & OUTPUT_NOT_RESET == 0,
            _ => {}
        }
    }

    fn write_data(&mut self, value: u8) {
        match std::mem::replace(&mut self.expect, Expect::Keyboard) {
            // Talking to a device opens its line.
            Expect::Keyboard => {
                self.set_config(CONFIG_KEYBOARD_OFF, false);
                self.keyboard.command(value);
            }
            Expect::Mouse => {
                self.set_config(CONFIG_MOUSE_OFF, false);
                self.mouse.command(value);
            }
            Expect::Ram(at) => self.ram[usize::from(at & 0x1f)] = value,
            Expect::OutputPort => {
                self.a20 = value & OUTPUT_A20 != 0;
                self.reset |= value & OUTPUT_NOT_RESET == 0;
            }
            Expect::KeyboardEcho => self.answer(value, Source::Keyboard),
            Expect::MouseEcho => self.answer(value, Source::Mouse),
        }
    }

    fn output_port(&self) -> u8 {
        let lines =
            [(self.a20, OUTPUT_A20), (self.irq1(), OUTPUT_KEYBOARD_IRQ), (self.irq12(), OUTPUT_MOUSE_IRQ)];
        lines.iter().filter(|(on, _)| *on).fold(OUTPUT_NOT_RESET, |port, (_, bit)| port | bit)
    }
}

#[cfg(test)]
mod tests;
