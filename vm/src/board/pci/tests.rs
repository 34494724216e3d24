use super::*;
use crate::board::test_support::{Chip, Rng, chip_properties, config};
use crate::units::VmTime;

fn with_firmware() -> Pci {
    Pci::new(&MachineConfig { bios: vec![0; 16], vga: Vga::Std, ..config() })
}

fn select(pci: &mut Pci, device: u32, function: u32, register: u32) {
    pci.write(CONFIG_ADDRESS, 4, ENABLE | device << 11 | function << 8 | register & 0xfc);
}

fn get(pci: &mut Pci, device: u32, function: u32, register: u32, size: u8) -> u32 {
    select(pci, device, function, register);
    pci.read(CONFIG_DATA + (register & 3) as u16, size)
}

fn set(pci: &mut Pci, device: u32, function: u32, register: u32, size: u8, value: u32) -> bool {
    select(pci, device, function, register);
    pci.write(CONFIG_DATA + (register & 3) as u16, size, value)
}

#[test]
fn a_scan_of_the_bus_finds_all_functions() {
    let mut pci = with_firmware();
    let mut found = Vec::new();
    for device in 0..32 {
        for function in 0..8 {
            let id = get(&mut pci, device, function, 0, 4);
            if id != u32::MAX {
                found.push((device, function, id, get(&mut pci, device, function, 8, 4)));
            }
        }
    }
    let expected = [
        (0, 0, 0x1237_8086, 0x0600_0002),
        (1, 0, 0x7000_8086, 0x0601_0000),
        (1, 1, 0x7010_8086, 0x0101_8000),
        (1, 3, 0x7113_8086, 0x0680_0003),
        (2, 0, 0x1111_1234, 0x0300_0002),
    ];
    assert_eq!(found, expected);
    assert_eq!(get(&mut pci, 0, 0, 0x2c, 4), 0x1100_1af4);
    assert_eq!(get(&mut pci, 1, 0, 0x0e, 1), 0x80, "device 1 has more functions");
    assert_eq!(get(&mut pci, 1, 3, 0x3d, 1), 1);
    pci.write(CONFIG_ADDRESS, 4, ENABLE | 1 << 16);
    assert_eq!(pci.read(CONFIG_DATA, 4), u32::MAX, "there is no bus 1");
}

#[test]
fn configuration_mechanism_1_is_detected_and_can_be_switched_off() {
    let mut pci = with_firmware();
    pci.write(CONFIG_ADDRESS, 4, ENABLE);
    assert_eq!(pci.read(CONFIG_ADDRESS, 4), ENABLE);
    pci.write(CONFIG_ADDRESS, 1, 0xff);
    pci.write(0xcfb, 1, 0x01);
    assert_eq!(pci.read(CONFIG_ADDRESS, 4), ENABLE, "bytes do not reach the address register");
    assert_eq!(pci.read(0xcf9, 1), u32::MAX);
    pci.write(CONFIG_ADDRESS, 4, !ENABLE);
    assert_eq!(pci.read(CONFIG_ADDRESS, 4), 0x00ff_fffc);
    assert_eq!(pci.read(CONFIG_DATA, 4), u32::MAX);
}

#[test]
fn accesses_of_1_2_and_4_bytes_agree() {
    let mut pci = with_firmware();
    assert_eq!(get(&mut pci, 0, 0, 2, 2), 0x1237);
    assert_eq!(get(&mut pci, 0, 0, 1, 1), 0x80);
    assert_eq!(get(&mut pci, 0, 0, 1, 2), 0x3780);
    set(&mut pci, 1, 0, 0x60, 4, 0x0b0a_0b0a);
    assert_eq!(get(&mut pci, 1, 0, 0x61, 1), 0x0b);
    set(&mut pci, 1, 0, 0x62, 2, 0x8080);
    assert_eq!(get(&mut pci, 1, 0, 0x60, 4), 0x8080_0b0a);
}

#[test]
fn identities_and_hardwired_bits_are_read_only() {
    let mut pci = with_firmware();
    for (device, function) in [(0, 0), (1, 0), (1, 3)] {
        for register in (0..0x40).step_by(4).filter(|register| !matches!(register, 0x04 | 0x0c | 0x3c)) {
            let before = get(&mut pci, device, function, register, 4);
            set(&mut pci, device, function, register, 4, !before);
            assert_eq!(
                get(&mut pci, device, function, register, 4),
                before,
                "{device}.{function} {register:#x}"
            );
        }
    }
    set(&mut pci, 0, 0, 4, 2, 0);
    assert_eq!(get(&mut pci, 0, 0, 4, 2), 0x0006, "the host bridge is always a master of memory");
    set(&mut pci, 1, 3, 0xd2, 1, 0xff);
    assert_eq!(get(&mut pci, 1, 3, 0xd2, 1), 0, "no SMBus host");
}

#[test]
fn pam_registers_map_each_block() {
    let mut pci = with_firmware();
    let starts = || (0xc0000..0x10_0000u64).step_by(0x4000);
    assert!(starts().all(|block| pci.pam(PhysAddr(block)) == (false, false)), "ROM at reset");
    // (register, shift, first byte, last byte)
    let mut blocks = vec![(0x59, 4, 0xf0000, 0xf_ffff)];
    blocks.extend((0..12).map(|i| (0x5a + i / 2, i % 2 * 4, 0xc0000 + 0x4000 * i, 0xc3fff + 0x4000 * i)));
    for (register, shift, first, last) in blocks {
        for (attributes, expected) in [(1, (true, false)), (2, (false, true)), (3, (true, true))] {
            assert!(set(&mut pci, 0, 0, register, 1, attributes << shift));
            assert!(!set(&mut pci, 0, 0, register, 1, attributes << shift), "nothing changed");
            for block in starts() {
                let inside = (u64::from(first)..=u64::from(last)).contains(&block);
                let pam = pci.pam(PhysAddr(block));
                assert_eq!(pam, if inside { expected } else { (false, false) }, "{register:#x} {block:#x}");
            }
            assert_eq!(pci.pam(PhysAddr(u64::from(last))), expected);
        }
        set(&mut pci, 0, 0, register, 1, 0);
    }
    set(&mut pci, 0, 0, 0x58, 4, u32::MAX);
    assert_eq!(get(&mut pci, 0, 0, 0x58, 4) >> 8, 0x33_3330, "reserved bits stay 0");
}

#[test]
fn smram_opens_and_locks() {
    let mut pci = with_firmware();
    assert_eq!(get(&mut pci, 0, 0, 0x72, 1), 0x02);
    assert!(set(&mut pci, 0, 0, 0x72, 1, 0x4a));
    assert!(pci.smram_open());
    assert!(set(&mut pci, 0, 0, 0x72, 1, 0x5a), "locking closes");
    assert!(!pci.smram_open());
    assert!(!set(&mut pci, 0, 0, 0x72, 1, 0x4a));
    assert_eq!(get(&mut pci, 0, 0, 0x72, 1), 0x1a);
}

#[test]
fn pirq_routes_name_isa_interrupts() {
    let mut pci = with_firmware();
    assert_eq!([0, 1, 2, 3, 4].map(|line| pci.pirq_route(line)), [None; 5]);
    for (value, irq) in
        [(0x0a, Some(10)), (0x0b, Some(11)), (0x8a, None), (0x00, None), (0x0d, None), (0x7f, Some(15))]
    {
        set(&mut pci, 1, 0, 0x62, 1, value);
        assert_eq!(pci.pirq_route(2), irq, "{value:#x}");
    }
}

#[test]
fn the_power_management_block_has_a_base_and_is_enabled_apart() {
    let mut pci = with_firmware();
    assert_eq!(get(&mut pci, 1, 3, 0x40, 4), 1);
    set(&mut pci, 1, 3, 0x40, 4, 0xffff_b03f);
    assert_eq!(get(&mut pci, 1, 3, 0x40, 4), 0xb001);
    assert_eq!((pci.pm_base(), pci.pm_enabled()), (0xb000, false));
    set(&mut pci, 1, 3, 0x80, 1, 1);
    assert_eq!((pci.pm_base(), pci.pm_enabled()), (0xb000, true));
}

#[test]
fn without_firmware_the_bus_is_set_up_for_a_kernel() {
    let mut pci = Pci::new(&config());
    assert_eq!((pci.pm_base(), pci.pm_enabled()), (0x600, true));
    assert_eq!(get(&mut pci, 1, 3, 0x3c, 1), 9);
    for block in (0xc0000..0x10_0000).step_by(0x4000) {
        assert_eq!(pci.pam(PhysAddr(block)), (true, false), "{block:#x}");
    }
}

impl Chip for Pci {
    fn power_on() -> Pci {
        with_firmware()
    }

    fn poke(&mut self, rng: &mut Rng, _now: VmTime) -> u64 {
        let port = 0xcf8 + rng.below(8) as u16;
        let (size, value) = (1 << rng.below(3), rng.next() as u32);
        match rng.below(3) {
            0 => return u64::from(self.read(port, size)),
            1 => select(self, value & 1, value >> 2 & 3, value >> 8),
            _ => return u64::from(self.write(port, size, value)),
        }
        self.pam(PhysAddr(0xc0000 + rng.below(0x40000))).0.into()
    }

    fn advance(&mut self, _now: VmTime) {}

    fn next_event(&self) -> Option<VmTime> {
        None
    }

    fn outputs(&self) -> u64 {
        0
    }
}

chip_properties!(Pci, step_ns: 1, exact: true);

#[test]
fn the_size_of_a_range_is_found_by_writing_ones_and_it_moves() {
    let mut pci = with_firmware();
    for (register, expected) in [(0x10, 0xff00_0008), (0x14, 0), (0x18, 0xffff_f000), (0x30, 0xffff_0001)] {
        set(&mut pci, 2, 0, register, 4, u32::MAX);
        assert_eq!(get(&mut pci, 2, 0, register, 4), expected, "{register:#x}");
    }
    set(&mut pci, 1, 1, 0x20, 4, u32::MAX);
    assert_eq!(get(&mut pci, 1, 1, 0x20, 4), 0xffff_fff1);
    set(&mut pci, 2, 0, 0x10, 4, 0xe000_0000);
    assert_eq!(pci.vga().unwrap().memory_base(0), None, "memory is not decoded yet");
    assert!(set(&mut pci, 2, 0, 4, 2, 2), "the frame buffer appears");
    assert_eq!(pci.vga().unwrap().memory_base(0), Some(0xe000_0000));
    assert!(set(&mut pci, 2, 0, 0x10, 4, 0xf000_0000), "and moves");
    set(&mut pci, 2, 0, 0x30, 4, 0xfe00_0001);
    assert_eq!(pci.vga().unwrap().rom_base(), Some(0xfe00_0000));
}

#[test]
fn an_asserted_pin_reaches_the_irq_that_its_line_is_routed_to() {
    let mut endpoint = vga().pin(1);
    assert_eq!(endpoint.asserted_pin(), None);
    endpoint.set_interrupt(true);
    assert_eq!(endpoint.asserted_pin(), Some(0));
    endpoint.write(5, 4);
    assert_eq!(endpoint.asserted_pin(), None, "INTx is off");
    endpoint.write(5, 0);
    let mut pci = with_firmware();
    pci.vga = Some(endpoint);
    assert_eq!(pci.irqs(), 0, "no route");
    set(&mut pci, 1, 0, 0x61, 1, 5);
    assert_eq!(pci.irqs(), 1 << 5, "slot 2, INTA#: PIRQB#");
}

#[test]
fn without_firmware_devices_decode_where_firmware_would_put_them() {
    let pci = Pci::new(&MachineConfig { vga: Vga::Std, ..config() });
    assert_eq!(pci.ide().io_base(4), Some(FIRST_PORT));
    assert_eq!(pci.vga().unwrap().memory_base(0), Some(FIRST_MEMORY.into()));
    assert_eq!(pci.vga().unwrap().memory_base(2), Some(u64::from(FIRST_MEMORY) + VIDEO_BYTES));
}
