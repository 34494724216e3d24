//! The one map of I/O ports.
//!
//! Chips on the ISA bus are a byte wide: a wider access is one access for each byte, lowest port first, as the bus
//! controller makes it. Only what is named in the first match of each function sees a wide access as one.

use super::dma::Dma;
use super::fdc;
use super::fw_cfg;
use super::ide;
use super::lpt;
use super::pci::{CONFIG_ADDRESS, CONFIG_DATA};
use super::pm::{APM_CONTROL, APM_STATUS, GPE0_BASE, GPE0_PORTS, PM_PORTS};
use super::sysctl::{PORT_A, RESET_CONTROL};
use super::vga::{Adapter, DISPI_DATA_ALIGNED, DISPI_INDEX};
use super::{Board, Bus, Stray, StrayPlace};
use crate::input::Output;

/// Last ports of the blocks that the chips give by their first.
const CONFIG_DATA_LAST: u16 = CONFIG_DATA + 3;
const FW_CFG_DMA_LAST: u16 = fw_cfg::DMA + 7;
const GPE0_LAST: u16 = GPE0_BASE + GPE0_PORTS - 1;

/// COM1 to COM4.
const UART_BASES: [u16; 4] = [0x3f8, 0x2f8, 0x3e8, 0x2e8];

/// LPT1.
const LPT: u16 = 0x378;
const LPT_LAST: u16 = LPT + lpt::REGISTERS - 1;

/// Register of the floppy controller at a port; 0x3f6 belongs to the disk controller.
fn fdc_register(port: u16) -> Option<u16> {
    port.checked_sub(fdc::BASE).filter(|register| matches!(register, 0..=5 | 7))
}

/// Serial port and register of a port.
fn uart_at(port: u16) -> Option<(usize, u16)> {
    let index = UART_BASES.iter().position(|&base| base == port & !7)?;
    Some((index, port & 7))
}

impl Board {
    /// Port within the power management block, where PCI has put that.
    fn pm_offset(&self, port: u16) -> Option<u16> {
        let offset = port.checked_sub(self.pci.pm_base())?;
        (self.pci.pm_enabled() && offset < PM_PORTS).then_some(offset)
    }

    /// What of the IDE controller an access reaches. Only its data register takes more than a byte at once.
    fn ide_place(&self, port: u16, size: u8) -> Option<ide::Place> {
        let config = self.pci.ide();
        let place = ide::Place::at(port, config.ide_enabled(), config.io_base(4))?;
        (size == 1 || matches!(place, ide::Place::Data(_))).then_some(place)
    }

    pub(super) fn port_read(&mut self, port: u16, size: u8, bus: &mut Bus) -> u32 {
        if let Some(place) = self.ide_place(port, size) {
            return self.ide.read(place, size, bus.now);
        }
        if let Some(place) = self.cards.at_port(port, &self.pci) {
            return self.cards.read(place, size, &self.pci, bus) as u32;
        }
        match (port, size) {
            (CONFIG_ADDRESS, 4) => self.pci.read(port, size),
            (CONFIG_DATA..=CONFIG_DATA_LAST, _) => match self.cards.at_window(port, &self.pci) {
                Some((place, length)) => self.cards.read(place, length, &self.pci, bus) as u32,
                None => self.pci.read(port, size),
            },
            (fw_cfg::SELECTOR..=fw_cfg::DATA | fw_cfg::DMA..=FW_CFG_DMA_LAST, _) => {
                self.fw_cfg.read(port, size, bus.mem)
            }
            (GPE0_BASE..=GPE0_LAST, _) => self.pm.read_gpe(port - GPE0_BASE, size),
            (DISPI_INDEX..=DISPI_DATA_ALIGNED, 2) => {
                self.vga.as_ref().map_or(u32::MAX, |vga| vga.read_dispi(port).into())
            }
            _ if self.debug.decodes(port) => self.debug.read(port),
            _ => match self.pm_offset(port) {
                Some(offset) => self.pm.read(offset, size, bus.now),
                None if size == 1 => u32::from(self.byte_read(port, bus)),
                None => (0..u16::from(size.min(4)))
                    .map(|i| (self.port_read(port.wrapping_add(i), 1, bus) & 0xff) << (8 * i))
                    .sum(),
            },
        }
    }

    fn byte_read(&mut self, port: u16, bus: &mut Bus) -> u8 {
        let now = bus.now;
        match port {
            0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1 => self.pic.read(port),
            0x40..=0x43 => self.pit.read(port, now),
            0x60 | 0x64 => self.keyboard.read(port, now),
            0x61 => self.system_control.read(&mut self.pit, now),
            0x70 | 0x71 => self.rtc.read(port, now),
            PORT_A | RESET_CONTROL => self.sysctl.read(port, &self.keyboard),
            APM_CONTROL | APM_STATUS => self.pm.read_apm(port),
            LPT..=LPT_LAST => self.lpt.read(port - LPT, now),
            _ if Dma::decodes(port) => self.dma.read(port),
            _ if Adapter::decodes(port) => self.vga.as_mut().map_or(0xff, |vga| vga.read(port, now)),
            _ => match (uart_at(port), fdc_register(port)) {
                (Some((index, register)), _) => self.uarts[index].read(register, now),
                (_, Some(register)) => self.fdc.read(register, now),
                _ => {
                    bus.fx.strays.push(Stray { place: StrayPlace::Port(port), written: None });
                    0xff
                }
            },
        }
    }

    pub(super) fn port_write(&mut self, port: u16, size: u8, value: u32, bus: &mut Bus) {
        if let Some(place) = self.ide_place(port, size) {
            return self.ide.write(place, size, value, bus.now);
        }
        if let Some(place) = self.cards.at_port(port, &self.pci) {
            return self.cards.write(place, size, value.into(), &self.pci, bus);
        }
        match (port, size) {
            (CONFIG_ADDRESS, 4) | (CONFIG_DATA..=CONFIG_DATA_LAST, _) => {
                if port != CONFIG_ADDRESS
                    && let Some((place, length)) = self.cards.at_window(port, &self.pci)
                {
                    return self.cards.write(place, length, value.into(), &self.pci, bus);
                }
                bus.fx.memory_map_changed |= self.pci.write(port, size, value);
                if self.pci.ide().is_master() {
                    self.ide.may_master(bus.now);
                }
            }
            (fw_cfg::SELECTOR..=fw_cfg::DATA | fw_cfg::DMA..=FW_CFG_DMA_LAST, _) => {
                self.fw_cfg.write(port, size, value, bus);
            }
            (GPE0_BASE..=GPE0_LAST, _) => self.pm.write_gpe(port - GPE0_BASE, size, value),
            (DISPI_INDEX..=DISPI_DATA_ALIGNED, 2) => {
                if let Some(vga) = &mut self.vga {
                    vga.write_dispi(port, value as u16, bus.mem);
                }
            }
            _ if self.debug.decodes(port) => self.debug.write(port, value, bus.fx),
            _ => match self.pm_offset(port) {
                Some(offset) => {
                    if let Some(request) = self.pm.write(offset, size, value, bus.now) {
                        bus.fx.request = Some(request);
                    }
                }
                None if size == 1 => self.byte_write(port, value as u8, bus),
                None => {
                    for (i, byte) in (0..u16::from(size)).zip(value.to_le_bytes()) {
                        self.port_write(port.wrapping_add(i), 1, u32::from(byte), bus);
                    }
                }
            },
        }
    }

    fn byte_write(&mut self, port: u16, value: u8, bus: &mut Bus) {
        let now = bus.now;
        match port {
            0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1 => self.pic.write(port, value),
            0x40..=0x43 => self.pit.write(port, value, now),
            0x60 | 0x64 => self.keyboard.write(port, value, now),
            0x61 => self.system_control.write(value, &mut self.pit, now),
            0x70 | 0x71 => self.rtc.write(port, value, now),
            0xf0 | 0xf1 => self.cpu_lines.acknowledge_ferr(),
            PORT_A | RESET_CONTROL => {
                if let Some(request) = self.sysctl.write(port, value, &mut self.keyboard) {
                    bus.fx.request = Some(request);
                }
            }
            APM_CONTROL | APM_STATUS => self.pm.write_apm(port, value),
            LPT..=LPT_LAST => {
                if let Some(byte) = self.lpt.write(port - LPT, value, now) {
                    bus.fx.output.push(Output::Parallel { port: 0, byte });
                }
            }
            _ if Dma::decodes(port) => self.dma.write(port, value, bus.mem),
            _ if Adapter::decodes(port) => {
                if let Some(vga) = &mut self.vga {
                    vga.write(port, value);
                }
            }
            _ => match (uart_at(port), fdc_register(port)) {
                (Some((index, register)), _) => {
                    if let Some(byte) = self.uarts[index].write(register, value, now) {
                        bus.fx.output.push(Output::Serial { port: index as u8, byte });
                    }
                }
                (_, Some(register)) => self.fdc.write(register, value, now),
                _ => {
                    let written = Some(value.into());
                    bus.fx.strays.push(Stray { place: StrayPlace::Port(port), written });
                }
            },
        }
    }
}
