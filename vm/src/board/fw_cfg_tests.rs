use super::*;
use crate::board::Effects;
use crate::board::test_support::{Chip, FlatMemory as Ram, Rng, chip_properties};
use crate::memory::PhysMemory;
use crate::units::VmTime;

fn out(device: &mut FwCfg, ram: &mut Ram, port: u16, size: u8, value: u32) {
    let mut fx = Effects::default();
    device.write(port, size, value, &mut Bus { now: VmTime(0), mem: ram, fx: &mut fx });
}

fn read(device: &mut FwCfg, port: u16, size: u8) -> u32 {
    device.read(port, size, &Ram(Vec::new()))
}

fn read_item(device: &mut FwCfg, item: u16, bytes: usize) -> Vec<u8> {
    out(device, &mut Ram(Vec::new()), SELECTOR, 2, u32::from(item));
    (0..bytes).map(|_| read(device, DATA, 1) as u8).collect()
}

/// Runs a request placed at address 0x10; returns what became of its control field.
fn dma(device: &mut FwCfg, ram: &mut Ram, control: u32, length: u32, target: u64) -> u32 {
    let request = [&control.to_be_bytes()[..], &length.to_be_bytes(), &target.to_be_bytes()].concat();
    ram.write(PhysAddr(0x10), &request);
    out(device, ram, DMA, 4, 0);
    out(device, ram, DMA + 4, 4, 0x10u32.swap_bytes());
    let mut control = [0; 4];
    ram.read(PhysAddr(0x10), &mut control);
    u32::from_be_bytes(control)
}

#[test]
fn the_device_says_what_it_is() {
    let mut device = FwCfg::new();
    assert_eq!(read_item(&mut device, 0x00, 6), b"QEMU\0\0");
    assert_eq!(read(&mut device, DMA, 4).to_le_bytes(), *b"QEMU");
    assert_eq!(read(&mut device, DMA + 4, 4).to_le_bytes(), *b" CFG");
    assert_eq!(read(&mut device, DMA + 7, 1), u32::from(b'G'));
    assert_eq!(read(&mut device, SELECTOR, 2), u32::MAX);
}

#[test]
fn items_are_read_byte_by_byte_and_zeros_past_the_end() {
    let mut device = FwCfg::new();
    assert_eq!(read_item(&mut device, 0x21, 12), b"0123456789\0\0");
    assert_eq!(read_item(&mut device, 0x4021, 2), b"01", "the write bit names the same item");
    assert_eq!(read_item(&mut device, 0x7777, 2), [0, 0]);
}

#[test]
fn dma_selects_skips_and_reads_with_zeros_past_the_end() {
    let (mut device, mut ram) = (FwCfg::new(), Ram(vec![0xee; 256]));
    assert_eq!(dma(&mut device, &mut ram, 0x21 << 16 | DMA_SELECT | DMA_SKIP, 4, 0), 0);
    assert_eq!(dma(&mut device, &mut ram, DMA_READ, 4, 0x80), 0);
    assert_eq!(ram.0[0x80..0x85], *b"4567\xee");
    assert_eq!(dma(&mut device, &mut ram, DMA_READ, 4, 0x90), 0);
    assert_eq!(ram.0[0x90..0x95], *b"89\0\0\xee");
    assert_eq!(read(&mut device, DATA, 1), 0);
}

#[test]
fn dma_refuses_writes_and_endless_reads() {
    let (mut device, mut ram) = (FwCfg::new(), Ram(vec![0xee; 256]));
    assert_eq!(dma(&mut device, &mut ram, DMA_WRITE, 1, 0x80), DMA_ERROR);
    assert_eq!(dma(&mut device, &mut ram, DMA_READ, u32::MAX, 0x80), DMA_ERROR);
    assert_eq!(ram.0[0x80], 0xee);
    assert_eq!(dma(&mut device, &mut ram, DMA_SKIP, u32::MAX, 0), 0);
    assert_eq!(dma(&mut device, &mut ram, DMA_SKIP, u32::MAX, 0), 0);
    assert_eq!(dma(&mut device, &mut ram, DMA_READ, 4, u64::MAX - 1), 0);
}

#[test]
fn the_dma_address_has_64_bits_and_is_zero_after_a_transfer() {
    let (mut device, mut ram) = (FwCfg::new(), Ram(vec![0; 256]));
    ram.write(PhysAddr(0x10), &DMA_WRITE.to_be_bytes());
    out(&mut device, &mut ram, DMA, 4, 1u32.swap_bytes());
    out(&mut device, &mut ram, DMA + 4, 4, 0x10u32.swap_bytes());
    assert_eq!(ram.0[0x10..0x14], DMA_WRITE.to_be_bytes(), "the request was sought at 4 GiB + 16");
    out(&mut device, &mut ram, DMA + 4, 4, 0x10u32.swap_bytes());
    assert_eq!(ram.0[0x10..0x14], DMA_ERROR.to_be_bytes());
}

impl Chip for FwCfg {
    fn power_on() -> FwCfg {
        FwCfg::new()
    }

    fn poke(&mut self, rng: &mut Rng, _now: VmTime) -> u64 {
        let port = SELECTOR + rng.below(12) as u16;
        let size = 1 << rng.below(3);
        let mut ram = Ram((0..64).map(|_| rng.byte() & 0x1f).collect());
        match rng.below(3) {
            0 => return u64::from(read(self, port, size)),
            1 => out(self, &mut ram, SELECTOR, 2, rng.below(0x24) as u32),
            _ => out(self, &mut ram, port, size, (rng.below(48) as u32).swap_bytes()),
        }
        ram.0.iter().map(|byte| u64::from(*byte)).sum()
    }

    fn advance(&mut self, _now: VmTime) {}

    fn next_event(&self) -> Option<VmTime> {
        None
    }

    fn outputs(&self) -> u64 {
        0
    }
}

chip_properties!(FwCfg, step_ns: 1, exact: true);
