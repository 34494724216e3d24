//! The board: the chips of an i440FX PC as fields of one struct, and the ports and lines that join them.
//!
//! | IRQ | line |
//! |---|---|
//! | 0 | timer, counter 0; timer 0 of the HPET in its place |
//! | 1 | keyboard |
//! | 3 | COM2, COM4 |
//! | 4 | COM1, COM3 |
//! | 6 | floppy controller |
//! | 7 | parallel port |
//! | 8 | real-time clock; timer 1 of the HPET in its place |
//! | 9 | ACPI (SCI) |
//! | 12 | mouse |
//! | 13 | x87 exceptions (FERR#) |
//! | 14, 15 | IDE channels |
//!
//! The ports are in `ports`. Lines are levels: after each access and each event they are copied to the interrupt
//! controller as they are. Chips are brought to the time of an access before it happens, in order of their events, so that
//! an edge cannot be lost or seen late by looking late.

pub mod cards;
pub mod clock;
mod cmos;
pub mod cpu_lines;
pub mod debug;
pub mod dma;
pub mod fdc;
pub mod feed;
pub mod flash;
mod floppies;
pub mod fw_cfg;
pub mod hpet;
pub mod i8042;
pub mod ide;
pub mod ioapic;
pub mod lapic;
mod lapic_timer;
pub mod lpt;
pub mod net;
pub mod pci;
pub mod pic;
pub mod pit;
mod pit_counter;
pub mod pm;
pub mod port61;
mod ports;
pub mod rtc;
mod rtc_calendar;
pub mod sound;
pub mod sysctl;
#[cfg(test)]
mod test_support;
pub mod uart;
pub mod vga;
pub mod virtio;

use self::cards::Cards;
use self::cpu_lines::CpuLines;
use self::debug::DebugPorts;
use self::dma::Dma;
use self::fdc::Fdc;
use self::flash::Flash;
use self::floppies::Wires;
use self::fw_cfg::FwCfg;
use self::hpet::Hpet;
use self::i8042::I8042;
use self::ide::Ide;
use self::ioapic::IoApic;
use self::lapic::LocalApic;
use self::lpt::Lpt;
use self::pci::Pci;
use self::pic::Pic;
use self::pit::Pit;
use self::pm::AcpiPm;
use self::port61::SystemControl;
use self::rtc::Rtc;
use self::sysctl::SysCtl;
use self::uart::Uart;
use self::vga::Adapter;
use self::vga::window::{WINDOW, WINDOW_BYTES};
use crate::config::{MachineConfig, SERIAL_PORTS, Vga};
use crate::input::{Input, Output};
use crate::media::Slot;
use crate::memory::{Memory, PhysMemory, Place, Windows};
use crate::units::{PhysAddr, Vector, VmTime};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an access may cause outside the chips. Never machine state.
#[derive(Default)]
pub struct Effects {
    /// Bytes that leave the machine.
    pub output: Vec<Output>,
    /// What the board asks of the machine.
    pub request: Option<Request>,
    /// The A20 gate, the PAM registers or something else changed of which memory has a copy: it is void.
    pub memory_map_changed: bool,
    /// Accesses that nothing answered.
    pub strays: Vec<Stray>,
}

/// An access that nothing answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Where.
    pub place: StrayPlace,
    /// What was written, if it was a write.
    pub written: Option<u64>,
}

/// Where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StrayPlace {
    /// An I/O port.
    Port(u16),
    /// A physical address.
    Address(PhysAddr),
}

impl fmt::Display for StrayPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StrayPlace::Port(port) => write!(f, "port {port:#x}"),
            StrayPlace::Address(addr) => write!(f, "address {addr}"),
        }
    }
}

/// What the board asks of the machine; carried out after the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Reset the CPU and the chips (port 0xcf9, 0x92, 8042).
    Reset,
    /// Power off (ACPI S5).
    PowerOff,
    /// isa-debug-exit was written.
    DebugExit(u32),
}

/// What a chip may use during an access.
pub struct Bus<'a> {
    /// Virtual time of the access.
    pub now: VmTime,
    /// Physical memory, for bus masters.
    pub mem: &'a mut dyn PhysMemory,
    /// What the access causes outside.
    pub fx: &'a mut Effects,
}

/// IA32_APIC_BASE.
const APIC_BASE: u32 = 0x1b;
/// IA32_TSC_DEADLINE.
pub const TSC_DEADLINE: u32 = 0x6e0;
/// Input of the I/O APIC that the timer is wired to.
const IOAPIC_TIMER_PIN: u32 = 2;

/// All chips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// All chips have done what they do up to and including this time.
    now: VmTime,
    pic: Pic,
    lapic: LocalApic,
    ioapic: IoApic,
    pit: Pit,
    hpet: Hpet,
    system_control: SystemControl,
    rtc: Rtc,
    keyboard: I8042,
    uarts: [Uart; SERIAL_PORTS as usize],
    lpt: Lpt,
    dma: Dma,
    fdc: Fdc,
    ide: Ide,
    pci: Pci,
    cpu_lines: CpuLines,
    pm: AcpiPm,
    sysctl: SysCtl,
    fw_cfg: FwCfg,
    debug: DebugPorts,
    vga: Option<Adapter>,
    cards: Cards,
    flash: Vec<Flash>,
    without_firmware: bool,
}

impl Board {
    /// The board at power-on.
    pub fn new(config: &MachineConfig) -> Board {
        let mut board = Board {
            now: VmTime(0),
            pic: Pic::new(),
            lapic: LocalApic::new(),
            ioapic: IoApic::new(),
            pit: Pit::new(),
            hpet: Hpet::new(VmTime(0)),
            system_control: SystemControl::new(),
            rtc: Rtc::new(config),
            keyboard: I8042::new(),
            uarts: std::array::from_fn(|_| Uart::new()),
            lpt: Lpt::new(),
            dma: Dma::new(!config.has_firmware()),
            fdc: floppies::controller(config),
            ide: Ide::new(config),
            pci: Pci::new(config),
            cpu_lines: CpuLines::default(),
            pm: AcpiPm::new(),
            sysctl: SysCtl::new(),
            fw_cfg: FwCfg::new(),
            debug: DebugPorts::new(config),
            vga: (config.vga == Vga::Std).then(|| Adapter::new(!config.has_firmware())),
            cards: Cards::new(config),
            flash: flash::chips(config),
            without_firmware: !config.has_firmware(),
        };
        board.hand_on();
        board
    }

    /// Without firmware: the timer and the interrupt controllers as it would leave them.
    fn hand_on(&mut self) {
        self.copy_lines();
        if self.without_firmware {
            self.pit.set_up_like_firmware(self.now);
            // The timer's output is high by now, and that edge was the firmware's.
            self.copy_lines();
            self.pic.set_up_like_firmware();
            self.copy_lines();
        }
    }

    /// IN of `size` 1, 2 or 4 bytes. As with every access, no event may be due: [`Board::advance`].
    pub fn io_read(&mut self, port: u16, size: u8, bus: &mut Bus) -> u32 {
        self.catch_up(bus);
        let value = self.port_read(port, size, bus);
        self.copy_lines();
        value & size_mask(size) as u32
    }

    /// OUT of `size` 1, 2 or 4 bytes.
    pub fn io_write(&mut self, port: u16, size: u8, value: u32, bus: &mut Bus) {
        self.catch_up(bus);
        let a20 = self.a20();
        self.port_write(port, size, value & size_mask(size) as u32, bus);
        if self.keyboard.take_reset() {
            bus.fx.request = Some(Request::Reset);
        }
        bus.fx.memory_map_changed |= a20 != self.a20();
        self.copy_lines();
    }

    /// A CPU read of `size` bytes (1, 2, 4, 8) from an address that is not RAM or ROM.
    pub fn mmio_read(&mut self, addr: PhysAddr, size: u8, bus: &mut Bus) -> u64 {
        if let Some(value) = self.video_read(addr, size, bus) {
            return value & size_mask(size);
        }
        self.catch_up(bus);
        if let Some(offset) = self.lapic.offset(addr.0) {
            return self.lapic.read(offset, size, bus.now);
        }
        if let Some(offset) = ioapic_offset(addr) {
            return u64::from(self.ioapic.read(offset)) & size_mask(size);
        }
        if let Some(offset) = hpet_offset(addr) {
            return self.hpet.read(offset, size, bus.now);
        }
        if let Some(place) = self.cards.at_address(addr, &self.pci) {
            let value = self.cards.read(place, size, &self.pci, bus);
            self.copy_lines();
            return value & size_mask(size);
        }
        if let Some(chip) = self.flash.iter().find(|chip| chip.decodes(addr)) {
            return chip.read(addr, size, bus.mem);
        }
        bus.fx.strays.push(Stray { place: StrayPlace::Address(addr), written: None });
        size_mask(size)
    }

    /// A CPU write to an address that is not RAM or ROM.
    pub fn mmio_write(&mut self, addr: PhysAddr, size: u8, value: u64, bus: &mut Bus) {
        if self.video_write(addr, size, value, bus) {
            return;
        }
        self.catch_up(bus);
        if let Some(offset) = self.lapic.offset(addr.0) {
            self.lapic.write(offset, size, value, bus.now);
            while let Some(vector) = self.lapic.take_ended() {
                self.ioapic.end_of_interrupt(vector, &mut self.lapic);
            }
        } else if let Some(offset) = ioapic_offset(addr) {
            self.ioapic.write(offset, value as u32, &mut self.lapic);
        } else if let Some(offset) = hpet_offset(addr) {
            self.hpet.write(offset, size, value, bus.now);
        } else if lapic::MESSAGES.contains(&addr.0) {
            self.lapic.signalled(addr.0, value as u32);
        } else if let Some(place) = self.cards.at_address(addr, &self.pci) {
            self.cards.write(place, size, value, &self.pci, bus);
        } else if let Some(chip) = self.flash.iter_mut().find(|chip| chip.decodes(addr)) {
            bus.fx.memory_map_changed |= chip.write(addr, size, value, bus);
        } else {
            bus.fx.strays.push(Stray { place: StrayPlace::Address(addr), written: Some(value) });
        }
        self.copy_lines();
    }

    /// Where in the window to video memory an address is.
    fn window(addr: PhysAddr) -> Option<u64> {
        addr.0.checked_sub(WINDOW).filter(|offset| *offset < WINDOW_BYTES)
    }

    /// Where in the display adapter's block of registers an address is.
    fn video_block(&self, addr: PhysAddr) -> Option<u64> {
        addr.0.checked_sub(self.pci.vga()?.memory_base(2)?).filter(|offset| *offset < pci::VIDEO_BLOCK_BYTES)
    }

    /// A CPU write in the window to video memory, as [`Board::mmio_write`] makes it; whether it was one.
    pub fn video_memory_write(
        &mut self,
        addr: PhysAddr,
        size: u8,
        value: u64,
        mem: &mut dyn PhysMemory,
    ) -> bool {
        match (Board::window(addr), &mut self.vga) {
            (Some(offset), Some(vga)) => {
                vga.window_write(offset, size, value, mem);
                true
            }
            _ => false,
        }
    }

    /// Fills in what the CPU would read in the window to video memory, and changes nothing.
    pub fn look(&self, addr: PhysAddr, buf: &mut [u8], mem: &Memory) {
        let Some(vga) = &self.vga else { return };
        // What lies before the window, and behind it, stays as it is.
        let first = WINDOW.saturating_sub(addr.0);
        let end = (WINDOW + WINDOW_BYTES).saturating_sub(addr.0).min(buf.len() as u64);
        for at in first..end {
            let addr = mem.bus_address(addr.0 + at);
            if let (Some(offset), Place::Device) = (Board::window(PhysAddr(addr)), mem.place(addr, false)) {
                buf[at as usize] = vga.look(offset, mem);
            }
        }
    }

    /// The offset in video memory of the byte that the CPU would read at an address in the window to it.
    pub fn video_at(&self, addr: PhysAddr) -> Option<u64> {
        self.vga.as_ref()?.stored_at(Board::window(addr)?)
    }

    fn video_read(&mut self, addr: PhysAddr, size: u8, bus: &mut Bus) -> Option<u64> {
        if let Some(offset) = Board::window(addr) {
            return Some(self.vga.as_mut()?.window_read(offset, size, bus.mem));
        }
        let offset = self.video_block(addr)?;
        Some(self.vga.as_mut()?.read_block(offset, size, bus.now))
    }

    /// Whether the display adapter took the write.
    fn video_write(&mut self, addr: PhysAddr, size: u8, value: u64, bus: &mut Bus) -> bool {
        if self.video_memory_write(addr, size, value, bus.mem) {
            return true;
        }
        match (self.video_block(addr), &mut self.vga) {
            (Some(offset), Some(vga)) => {
                vga.write_block(offset, size, value, bus.mem);
                true
            }
            _ => false,
        }
    }

    /// Lets every chip do what it does up to and including `bus.now`, event by event in order of time, so that the
    /// result does not depend on how often this is called.
    pub fn advance(&mut self, bus: &mut Bus) {
        while let Some(event) = self.next_event().filter(|event| *event <= bus.now) {
            self.advance_chips(event, bus);
            self.copy_lines();
        }
        self.catch_up(bus);
    }

    /// Brings every chip to `bus.now`. Up to and including that no event may be due, so that no line changes: who makes an
    /// access has called [`Board::advance`] where one was.
    fn catch_up(&mut self, bus: &mut Bus) {
        debug_assert!(self.next_event().is_none_or(|event| event > bus.now), "an event was passed over");
        if self.now < bus.now {
            self.advance_chips(bus.now, bus);
        }
    }

    /// To `time`, which no event precedes. A chip that would name an event again that it has been brought to cannot hold
    /// the loop up: [`Board::next_event`] is always later than `now`.
    fn advance_chips(&mut self, time: VmTime, bus: &mut Bus) {
        self.now = time;
        self.lapic.advance(time);
        self.pit.advance(time);
        self.hpet.advance(time);
        self.rtc.advance(time);
        self.keyboard.advance(time);
        for uart in &mut self.uarts {
            uart.advance(time);
        }
        self.lpt.advance(time);
        self.fdc.advance(time, &mut Wires { dma: &mut self.dma, mem: bus.mem });
        let may_master = self.pci.ide().is_master();
        self.ide.advance(time, may_master, bus.mem);
        self.pm.advance(time);
        self.cards.advance(time, &self.pci, bus);
    }

    /// When the board's outputs may next change by themselves: later than the last [`Board::advance`] or access.
    pub fn next_event(&self) -> Option<VmTime> {
        let chips = [
            self.lapic.next_event(),
            self.pit.next_event(),
            self.hpet.next_event(),
            self.rtc.next_event(),
            self.keyboard.next_event(),
            self.lpt.next_event(),
            self.fdc.next_event(),
            self.ide.next_event(),
            self.pm.next_event(),
            self.cards.next_event(),
        ];
        let uarts = self.uarts.iter().map(Uart::next_event);
        chips.into_iter().chain(uarts).flatten().filter(|event| *event > self.now).min()
    }

    /// When memory may next change by itself: a CPU must not pass this time without [`Board::advance`], for it could see that.
    /// Everything else can be caught up with at the next access.
    pub fn next_memory_event(&self) -> Option<VmTime> {
        [self.fdc.memory_event(), self.ide.memory_event(), self.cards.memory_event()]
            .into_iter()
            .flatten()
            .filter(|event| *event > self.now)
            .min()
    }

    /// Brings the lines of the chips to the interrupt controller.
    fn copy_lines(&mut self) {
        self.cards.copy_lines(&mut self.pci, &mut self.lapic);
        let [com1, com2, com3, com4] = self.uarts.each_ref().map(Uart::irq);
        let [timer, clock] = self.hpet.legacy_irqs().unwrap_or_else(|| [self.pit.out(0), self.rtc.irq()]);
        let [disks, more_disks] = self.ide.irqs();
        let lines = [
            (0, timer),
            (1, self.keyboard.irq1()),
            (3, com2 || com4),
            (4, com1 || com3),
            (6, self.fdc.irq()),
            (7, self.lpt.irq()),
            (8, clock),
            (9, self.pm.sci()),
            (12, self.keyboard.irq12()),
            (13, self.cpu_lines.irq13()),
            (ide::IRQS[0], disks),
            (ide::IRQS[1], more_disks),
        ];
        let isa = lines.into_iter().fold(0, |set, (irq, high)| set | u16::from(high) << irq);
        let irqs = isa | self.pci.irqs();
        self.pic.set_irqs(irqs);
        // The timer has input 2 of the I/O APIC.
        let pins = u32::from(irqs & !1) | u32::from(irqs & 1) << IOAPIC_TIMER_PIN | self.hpet.pins();
        self.ioapic.set_pins(pins | u32::from(self.pic.intr()) << ioapic::PIC_PIN, &mut self.lapic);
        self.lapic.set_lint0(self.pic.intr());
        self.lapic.set_lint1(self.system_control.nmi() && !self.rtc.nmi_masked());
        if self.lapic.take_nmi() {
            self.cpu_lines.raise_nmi();
        }
    }

    /// The INTR line of the CPU.
    pub fn intr(&self) -> bool {
        self.lapic.pending().is_some() || (self.pic.intr() && self.passes_pic())
    }

    /// Whether the CPU takes interrupts of the 8259 pair itself.
    fn passes_pic(&self) -> bool {
        self.lapic.passes_pic() || self.ioapic.passes_pic(&self.lapic)
    }

    /// Interrupt acknowledge cycle: the vector, which is now in service.
    pub fn acknowledge(&mut self) -> Vector {
        match self.lapic.acknowledge() {
            Some(vector) => Vector(vector),
            None => {
                let vector = self.pic.acknowledge();
                self.copy_lines();
                vector
            }
        }
    }

    /// The vector that [`Board::acknowledge`] would give.
    pub fn peek_vector(&self) -> Option<Vector> {
        let pic = || self.pic.peek_vector().filter(|_| self.passes_pic());
        self.lapic.pending().map(Vector).or_else(pic)
    }

    /// The latch of the CPU's NMI line: an edge waits to be taken.
    pub fn nmi(&self) -> bool {
        self.cpu_lines.nmi()
    }

    /// The CPU takes the NMI.
    pub fn take_nmi(&mut self) {
        self.cpu_lines.take_nmi();
    }

    /// A device reports an error, which is an NMI if the guest lets it be one (ports 0x61 and 0x70).
    pub fn report_error(&mut self, error: port61::Error) {
        self.system_control.report(error);
        self.copy_lines();
    }

    /// Whether anything could raise an NMI without the CPU's doing.
    pub fn nmi_can_come(&self) -> bool {
        self.lapic.nmi_can_come() || self.ioapic.nmi_can_come()
    }

    /// FERR#: an x87 exception waits, and CR0.NE is clear. Whether the CPU may go on all the same (IGNNE#).
    pub fn ferr(&mut self) -> bool {
        let ignored = self.cpu_lines.ferr();
        self.copy_lines();
        ignored
    }

    /// Whether it matters when no x87 exception waits any more.
    pub fn watches_ferr(&self) -> bool {
        self.cpu_lines.watches_ferr()
    }

    /// No x87 exception waits any more.
    pub fn ferr_falls(&mut self) {
        self.cpu_lines.ferr_falls();
    }

    /// CR8.
    pub fn tpr(&self) -> u8 {
        self.lapic.cr8()
    }

    /// MOV to CR8.
    pub fn set_tpr(&mut self, value: u8) {
        self.lapic.set_cr8(value);
    }

    /// IA32_APIC_BASE.
    pub fn apic_base(&self) -> u64 {
        self.lapic.base()
    }

    /// Writes IA32_APIC_BASE; the reserved bits are clear.
    pub fn set_apic_base(&mut self, value: u64) {
        self.lapic.set_base(value);
        self.copy_lines();
    }

    /// Whether there is a local APIC, as CPUID says it.
    pub fn has_local_apic(&self) -> bool {
        self.lapic.is_enabled()
    }

    /// Whether an MSR is the board's and not the CPU's: IA32_APIC_BASE, IA32_TSC_DEADLINE, x2APIC.
    pub fn has_msr(msr: u32) -> bool {
        matches!(msr, APIC_BASE | TSC_DEADLINE | 0x800..=0x8ff)
    }

    /// RDMSR of one of them. `None`: it does not exist.
    pub fn read_msr(&mut self, msr: u32, now: VmTime) -> Option<u64> {
        match msr {
            APIC_BASE => Some(self.apic_base()),
            TSC_DEADLINE => Some(self.lapic.deadline(now)),
            _ => None,
        }
    }

    /// WRMSR of one of them, while the time-stamp counter is `tsc`. False: it does not exist, or cannot hold this value.
    pub fn write_msr(&mut self, msr: u32, value: u64, tsc: u64, now: VmTime) -> bool {
        // Bootstrap processor (8), enable (11), address up to 40 bits.
        const WRITABLE: u64 = 0xff_ffff_f900;
        match msr {
            APIC_BASE if value & !WRITABLE == 0 => self.set_apic_base(value),
            TSC_DEADLINE => self.lapic.set_deadline(value, tsc, now),
            _ => return false,
        }
        true
    }

    /// The time-stamp counter was written, and is `tsc` now.
    pub fn tsc_changed(&mut self, tsc: u64, now: VmTime) {
        self.lapic.tsc_changed(tsc, now);
    }

    /// The A20 gate: address bit 20 is passed through.
    pub fn a20(&self) -> bool {
        self.keyboard.a20()
    }

    /// Whether reads of the 16 KiB block (32 KiB below 0xc8000.. as the PAM registers divide it) at `addr`
    /// (0xc0000..0x100000) come from RAM instead of ROM/PCI, and whether writes go to RAM.
    pub fn pam(&self, addr: PhysAddr) -> (bool, bool) {
        self.pci.pam(addr)
    }

    /// What the CPU sees where the bus is programmed to show it.
    pub fn windows(&self) -> Windows {
        let vga = self.pci.vga();
        Windows {
            frame_buffer: vga.and_then(|vga| vga.memory_base(0)),
            expansion_rom: vga.and_then(pci::Endpoint::rom_base),
            flash_answers: std::array::from_fn(|chip| self.flash.get(chip).is_some_and(Flash::answers)),
        }
    }

    /// Where the power management registers are, or would be if they were enabled.
    pub fn pm_base(&self) -> u16 {
        self.pci.pm_base()
    }

    /// The display adapter, if there is one.
    pub fn vga(&self) -> Option<&Adapter> {
        self.vga.as_ref()
    }

    /// Whether a frame that arrives now for a network card would be kept.
    pub fn can_receive(&self, card: usize) -> bool {
        self.cards.can_receive(card)
    }

    /// An input arrives.
    pub fn inject(&mut self, input: &Input, bus: &mut Bus) {
        self.catch_up(bus);
        match input {
            Input::Serial { port, bytes } => match self.uarts.get_mut(usize::from(*port)) {
                Some(uart) => uart.receive(bytes, bus.now),
                None => self.cards.receive_serial(*port, bytes, &self.pci, bus),
            },
            Input::Key { scancode } => self.keyboard.key(scancode, bus.now),
            Input::Mouse { dx, dy, dz, buttons } => self.keyboard.mouse([*dx, *dy, *dz], *buttons, bus.now),
            Input::Reset => self.reset(),
            Input::PowerButton => self.pm.power_button(bus.now),
            Input::Net { card, frame } => {
                self.cards.receive(usize::from(*card), &frame.0, &self.pci, bus);
            }
            Input::Media { slot, medium } => {
                let shape = medium.and_then(|number| bus.mem.medium(number));
                match Slot::FLOPPY.iter().position(|place| place == slot) {
                    Some(drive) => self.fdc.change_disk(drive, shape, bus.now),
                    None => self.ide.change_medium(*slot, shape),
                }
            }
        }
        self.copy_lines();
    }

    /// Leaves to a kernel what firmware would have programmed, beside what [`Board::new`] does without firmware: keyboard with
    /// interrupts and translation, the mouse waiting for a driver; the local APIC in virtual wire mode.
    pub fn hand_over(&mut self) {
        let now = self.now;
        [(0x64, 0x60), (0x60, 0x61)]
            .into_iter()
            .for_each(|(port, value)| self.keyboard.write(port, value, now));
        let lapic = [(0xf0, 0x1ff), (0x350, 0x8700), (0x360, 0x8400)];
        lapic.into_iter().for_each(|(register, value)| self.lapic.write(register, 4, value, now));
        self.copy_lines();
    }

    /// All chips as after power-on, except what a reset line does not reach (RTC and its RAM).
    pub fn reset(&mut self) {
        let now = self.now;
        self.pic.reset();
        self.lapic = LocalApic::new();
        self.ioapic = IoApic::new();
        self.pit.reset(now);
        self.hpet = Hpet::new(now);
        self.system_control = SystemControl::new();
        self.rtc.reset();
        self.keyboard = I8042::new();
        for uart in &mut self.uarts {
            uart.reset(now);
        }
        self.lpt = Lpt::new();
        self.dma.reset();
        self.fdc.reset();
        self.ide.reset();
        self.cards.reset();
        self.flash.iter_mut().for_each(Flash::reset);
        self.pci.reset(self.cards.endpoints());
        self.cpu_lines = CpuLines::default();
        self.pm.reset(now);
        self.sysctl = SysCtl::new();
        self.fw_cfg = FwCfg::new();
        if let Some(vga) = &mut self.vga {
            vga.reset();
        }
        self.hand_on();
    }
}

/// Where in the HPET's window an address is.
fn hpet_offset(addr: PhysAddr) -> Option<u64> {
    addr.0.checked_sub(hpet::BASE).filter(|offset| *offset < hpet::WINDOW)
}

/// Where in the I/O APIC's window an address is.
fn ioapic_offset(addr: PhysAddr) -> Option<u16> {
    addr.0.checked_sub(ioapic::BASE).filter(|offset| *offset < ioapic::WINDOW).map(|offset| offset as u16)
}

/// The bits that an access of `size` bytes has.
fn size_mask(size: u8) -> u64 {
    match size {
        1 => 0xff,
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests;
