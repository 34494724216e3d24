//! Ports for people who write firmware and kernels: debug consoles (0xe9, 0x402), isa-debug-exit, and the POST code
//! latch (0x80).

use crate::board::{Effects, Request};
use crate::config::MachineConfig;
use crate::input::Output;
use serde::{Deserialize, Serialize};

/// The POST code latch.
pub const POST_CODE: u16 = 0x80;
/// The debug console of Bochs.
pub const CONSOLE_BOCHS: u16 = 0xe9;
/// The debug console of SeaBIOS and OVMF.
pub const CONSOLE_FIRMWARE: u16 = 0x402;

/// What a debug console reads as, so that software can tell that one is there.
const CONSOLE_SIGNATURE: u32 = 0xe9;
/// Ports that isa-debug-exit decodes.
const EXIT_PORTS: u16 = 4;

/// The debugging ports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DebugPorts {
    exit_port: Option<u16>,
    post_code: u8,
}

impl DebugPorts {
    /// The ports at power-on.
    pub fn new(config: &MachineConfig) -> DebugPorts {
        DebugPorts { exit_port: config.debug_exit_port, post_code: 0 }
    }

    /// Whether `port` is one of these.
    pub fn decodes(&self, port: u16) -> bool {
        matches!(port, POST_CODE | CONSOLE_BOCHS | CONSOLE_FIRMWARE) || self.is_exit(port)
    }

    /// The last POST code.
    pub fn post_code(&self) -> u8 {
        self.post_code
    }

    /// IN of any size.
    pub fn read(&self, port: u16) -> u32 {
        match port {
            _ if self.is_exit(port) => 0,
            POST_CODE => u32::from(self.post_code),
            CONSOLE_BOCHS | CONSOLE_FIRMWARE => CONSOLE_SIGNATURE,
            _ => u32::MAX,
        }
    }

    /// OUT of any size; consoles and POST latch are one byte wide and take the lowest.
    pub fn write(&mut self, port: u16, value: u32, fx: &mut Effects) {
        match port {
            _ if self.is_exit(port) => fx.request = Some(Request::DebugExit(value)),
            POST_CODE => self.post_code = value as u8,
            CONSOLE_BOCHS | CONSOLE_FIRMWARE => fx.output.push(Output::Debugcon { port, byte: value as u8 }),
            _ => {}
        }
    }

    fn is_exit(&self, port: u16) -> bool {
        self.exit_port.is_some_and(|first| port.wrapping_sub(first) < EXIT_PORTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::test_support::config;

    fn written(ports: &mut DebugPorts, port: u16, value: u32) -> Effects {
        let mut fx = Effects::default();
        ports.write(port, value, &mut fx);
        fx
    }

    #[test]
    fn consoles_show_themselves_and_pass_bytes_on() {
        let mut ports = DebugPorts::new(&config());
        for port in [0xe9, 0x402] {
            assert_eq!(ports.read(port), 0xe9);
            let fx = written(&mut ports, port, 0x41);
            assert_eq!(fx.output, [Output::Debugcon { port, byte: b'A' }]);
            assert_eq!(fx.request, None);
        }
    }

    #[test]
    fn debug_exit_ends_the_run_with_the_value() {
        let mut ports = DebugPorts::new(&config());
        for port in 0xf4..0xf8 {
            assert!(ports.decodes(port));
            assert_eq!(ports.read(port), 0);
            assert_eq!(written(&mut ports, port, 0x1234_5678).request, Some(Request::DebugExit(0x1234_5678)));
        }
        assert!(!ports.decodes(0xf8) && !ports.decodes(0xf3));
    }

    #[test]
    fn without_debug_exit_its_ports_are_free() {
        let mut ports = DebugPorts::new(&MachineConfig { debug_exit_port: None, ..config() });
        assert!(!ports.decodes(0xf4));
        assert_eq!(written(&mut ports, 0xf4, 1).request, None);
        assert_eq!(ports.read(0xf4), u32::MAX);
    }

    #[test]
    fn the_post_code_is_latched() {
        let mut ports = DebugPorts::new(&config());
        assert!(written(&mut ports, 0x80, 0x1ab).output.is_empty());
        assert_eq!((ports.read(0x80), ports.post_code()), (0xab, 0xab));
    }
}
