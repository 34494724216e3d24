//! What page tables map, seen as a whole: the same as address by address, in every mode.

use vm::cpu::Mapping;
use vm::{CpuState, LinAddr, Machine, MachineConfig, PhysAddr};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 1 << 7;
const ALL: u64 = PRESENT | WRITABLE | USER;
const PAGING: u64 = 1 << 31 | 1;
const PSE: u64 = 1 << 4;
const PAE: u64 = 1 << 5;
const LONG: u64 = 1 << 8 | 1 << 10;
const ROOT: u64 = 0x1000;

/// A machine with these entries (address, value) of so many bytes.
fn machine(cr4: u64, efer: u64, bytes: usize, entries: &[(u64, u64)]) -> Machine {
    let config = MachineConfig { ram_bytes: 4 << 20, ..MachineConfig::default() };
    let mut machine = Machine::with_media(&config, Vec::new()).expect("a machine");
    for (at, value) in entries {
        machine.write_phys(PhysAddr(*at), &value.to_le_bytes()[..bytes]);
    }
    let mut cpu = CpuState { cr0: PAGING, cr3: ROOT, cr4, ..machine.cpu() };
    cpu.msr.efer = efer;
    machine.set_cpu(&cpu);
    machine
}

/// What is mapped from an address on: linear address, size, physical address, and rights.
fn mapped(machine: &Machine, from: u64) -> Vec<(u64, u64, u64, u64)> {
    let mut found = Vec::new();
    let paging = machine.mappings(LinAddr(from), &mut |m: &Mapping| {
        for offset in [0, m.size / 2, m.size - 1] {
            let translated = machine.translate(LinAddr(m.linear + offset));
            assert_eq!(translated, Some(PhysAddr(m.phys + offset)), "{m:x?}");
        }
        let rights = if m.user { USER } else { 0 } | if m.writable { WRITABLE } else { 0 };
        found.push((m.linear, m.size, m.phys, rights));
        true
    });
    assert!(paging);
    found
}

#[test]
fn with_two_levels_and_large_pages() {
    let pse36 = 0x12 << 13;
    let entries = [
        (ROOT + 4, 0x40_0000 | pse36 | LARGE | PRESENT | USER),
        (ROOT + 8, 0x2000 | PRESENT | WRITABLE),
        (0x2000 + 12, 0x5000 | ALL),
        (ROOT + 4092, 0x3000 | ALL),
        (0x3000 + 4092, 0x6000 | PRESENT | USER),
    ];
    let machine = machine(PSE, 0, 4, &entries);
    let all = [
        (0x40_0000, 4 << 20, 0x12_0040_0000, USER),
        (0x80_3000, 4096, 0x5000, WRITABLE),
        (0xffff_f000, 4096, 0x6000, USER),
    ];
    assert_eq!(mapped(&machine, 0), all);
    assert_eq!(mapped(&machine, 0x7f_ffff), all);
    assert_eq!(mapped(&machine, 0x80_0000), all[1..]);
    assert_eq!(mapped(&machine, 0x80_4000), all[2..]);
    let mut seen = 0;
    assert!(machine.mappings(LinAddr(0), &mut |_| {
        seen += 1;
        false
    }));
    assert_eq!(seen, 1);
}

#[test]
fn with_three_levels_whose_first_has_no_rights() {
    let entries = [
        (ROOT + 24, 0x2000 | PRESENT),
        (0x2000 + 8, 0x3000 | ALL),
        (0x3000, 0x5000 | ALL),
        (0x2000 + 4088, 0x20_0000 | LARGE | PRESENT | WRITABLE),
        // The fifth is none.
        (ROOT + 32, 0x2000 | PRESENT),
    ];
    let machine = machine(PAE, 0, 8, &entries);
    let all = [(0xc020_0000, 4096, 0x5000, USER | WRITABLE), (0xffe0_0000, 2 << 20, 0x20_0000, WRITABLE)];
    assert_eq!(mapped(&machine, 0), all);
}

#[test]
fn with_four_levels_and_an_upper_half() {
    let entries = [
        (ROOT, 0x2000 | ALL),
        (0x2000, 0x3000 | PRESENT | USER),
        (0x3000 + 8, 0x20_0000 | LARGE | ALL),
        (ROOT + 256 * 8, 0x4000 | ALL),
        (0x4000, 0x5000 | ALL),
        (0x5000, 0x6000 | ALL),
        (0x6000 + 8, 0x7000 | ALL),
    ];
    let machine = machine(PAE, LONG, 8, &entries);
    let all = [(0x20_0000, 2 << 20, 0x20_0000, USER), (0xffff_8000_0000_1000, 4096, 0x7000, USER | WRITABLE)];
    assert_eq!(mapped(&machine, 0), all);
    assert_eq!(mapped(&machine, 0x40_0000), all[1..]);
    assert_eq!(mapped(&machine, u64::MAX), []);
    assert_eq!(machine.translate(LinAddr(0x1234_0000_0020_0000)), None, "it is not canonical");
}

#[test]
fn without_paging_nothing_is_said() {
    let config = MachineConfig { ram_bytes: 4 << 20, ..MachineConfig::default() };
    let machine = Machine::with_media(&config, Vec::new()).expect("a machine");
    assert!(!machine.mappings(LinAddr(0), &mut |_| unreachable!()));
}
