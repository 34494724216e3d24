//! The register file (manual, chapter 13).

use super::regs::*;
use super::ring::{Register, Ring};
use super::{E1000, eeprom, phy};
use crate::board::cards::CardBus;
use crate::units::VmTime;

/// RDTR: the interrupt that waits comes now.
const FLUSH: u32 = 1 << 31;

impl E1000 {
    /// The ring and its register at an offset.
    fn ring(&mut self, offset: u32) -> Option<(&mut Ring, Register)> {
        let register = match offset & 0xff {
            0x00 => Register::BaseLow,
            0x04 => Register::BaseHigh,
            0x08 => Register::Length,
            0x10 => Register::Head,
            0x18 => Register::Tail,
            _ => return None,
        };
        match offset & !0xff {
            RDBAL => Some((&mut self.rx.ring, register)),
            TDBAL => Some((&mut self.tx.ring, register)),
            _ => None,
        }
    }

    /// The word of a table at an offset.
    fn table(&mut self, offset: u32) -> Option<&mut u32> {
        let (table, first): (&mut [u32], u32) = match offset {
            STATISTICS..=STATISTICS_LAST => (&mut self.statistics, STATISTICS),
            MTA..=MTA_LAST => (&mut self.rx.multicast, MTA),
            RAL..=RAL_LAST => (self.rx.addresses.as_flattened_mut(), RAL),
            VFTA..=VFTA_LAST => (&mut self.rx.vlans, VFTA),
            _ => return None,
        };
        table.get_mut((offset - first) as usize / 4)
    }

    pub(super) fn read_register(&mut self, offset: u32, now: VmTime) -> u32 {
        if let Some((ring, register)) = self.ring(offset) {
            return ring.read(register);
        }
        if let Some(word) = self.table(offset) {
            let counts = (STATISTICS..=STATISTICS_LAST).contains(&offset);
            return if counts { std::mem::take(word) } else { *word };
        }
        match offset {
            CTRL => self.ctrl,
            STATUS => phy::status(self.phy.link()),
            EECD => self.eecd.read(),
            EERD => self.eerd,
            MDIC => self.mdic,
            VET => self.vlan_type.into(),
            ICR => {
                let causes = std::mem::take(&mut self.causes);
                self.update_irq(now);
                causes
            }
            ITR => self.throttle.into(),
            IMS => self.mask,
            RCTL => self.rx.control,
            TCTL => self.tx.control,
            PBA => self.packet_buffer,
            RDTR => self.rx.delay.relative.into(),
            RADV => self.rx.delay.absolute.into(),
            RSRPD => self.rx.small,
            TIDV => self.tx.delay.relative.into(),
            TXDCTL => self.tx.descriptor_control,
            TADV => self.tx.delay.absolute.into(),
            RXCSUM => self.rx.checksums,
            ICS | IMC => 0,
            _ => match KEPT.iter().position(|kept| *kept == offset) {
                Some(index) => self.kept.get(index).copied().unwrap_or(0),
                None => {
                    tracing::debug!(offset, "read of a register that the 82540 does not have");
                    0
                }
            },
        }
    }

    pub(super) fn write_register(&mut self, offset: u32, value: u32, bus: &mut CardBus) {
        let now = bus.now;
        if let Some((ring, register)) = self.ring(offset) {
            ring.write(register, value);
            match offset {
                TDT => self.start_transmit(now),
                RDT => {
                    self.fill_descriptors(bus);
                }
                _ => {}
            }
            return;
        }
        if let Some(word) = self.table(offset) {
            if !(STATISTICS..=STATISTICS_LAST).contains(&offset) {
                *word = value;
            }
            return;
        }
        match offset {
            CTRL => self.write_control(value, now),
            EECD => self.eecd.write(value, &eeprom::words(self.mac)),
            EERD => self.eerd = eeprom::eerd(value, &eeprom::words(self.mac)),
            MDIC => {
                const INTERRUPT: u32 = 1 << 29;
                self.mdic = self.phy.mdic(value, now);
                if value & INTERRUPT != 0 {
                    self.raise(icr::MDIO_DONE, now);
                }
            }
            VET => self.vlan_type = value as u16,
            ICR => {
                self.causes &= !value;
                self.update_irq(now);
            }
            ITR => self.throttle = value as u16,
            ICS => self.raise(value & CAUSES, now),
            IMS => {
                self.mask |= value & CAUSES;
                self.update_irq(now);
            }
            IMC => {
                self.mask &= !value;
                self.update_irq(now);
            }
            RCTL => {
                self.rx.control = value;
                self.fill_descriptors(bus);
            }
            TCTL => {
                self.tx.control = value;
                self.start_transmit(now);
            }
            PBA => self.packet_buffer = value & 0xffff | (64u32.saturating_sub(value & 0xffff)) << 16,
            RDTR => {
                self.rx.delay.relative = value as u16;
                if value & FLUSH != 0 && self.rx.delay.flush() {
                    self.raise(icr::RX_TIMER, now);
                }
            }
            RADV => self.rx.delay.absolute = value as u16,
            RSRPD => self.rx.small = value & 0xfff,
            TIDV => self.tx.delay.relative = value as u16,
            TXDCTL => self.tx.descriptor_control = value,
            TADV => self.tx.delay.absolute = value as u16,
            RXCSUM => self.rx.checksums = value & 0x7ff,
            STATUS => {}
            _ => match KEPT.iter().position(|kept| *kept == offset) {
                Some(index) => {
                    if let Some(kept) = self.kept.get_mut(index) {
                        *kept = value;
                    }
                }
                None => tracing::debug!(offset, value, "write to a register that the 82540 does not have"),
            },
        }
    }

    fn write_control(&mut self, value: u32, now: VmTime) {
        if value & ctrl::RESET != 0 {
            self.reset_mac();
            return self.update_irq(now);
        }
        self.ctrl = value & !(ctrl::RESET | ctrl::PHY_RESET);
        if value & ctrl::PHY_RESET != 0 {
            self.phy.reset(now);
        }
    }
}
