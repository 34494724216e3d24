//! The ACPI tables that firmware reads name the power management registers where it has put them by then.

use vm::{Exit, Icount, Machine, MachineConfig, PhysAddr, RunLimit, VmTime};

const BIOS_BYTES: usize = 64 << 10;

#[rustfmt::skip]
const CODE: &[u8] = &[
    0x66, 0xb8, 0x40, 0x0b, 0x00, 0x80,         // mov eax, 0x80000b40: the PIIX4, PMBASE
    0xba, 0xf8, 0x0c,                           // mov dx, 0xcf8
    0x66, 0xef,                                 // out dx, eax
    0xba, 0xfc, 0x0c,                           // mov dx, 0xcfc
    0x66, 0xb8, 0x01, 0xb0, 0x00, 0x00,         // mov eax, 0xb001
    0x66, 0xef,                                 // out dx, eax
    0xba, 0x10, 0x05,                           // mov dx, 0x510
    0xb8, 0x21, 0x00,                           // mov ax, 0x21: the second file
    0xef,                                       // out dx, ax
    0x42,                                       // inc dx
    0xb8, 0x00, 0x10,                           // mov ax, 0x1000
    0x8e, 0xc0,                                 // mov es, ax
    0x31, 0xff,                                 // xor di, di
    0xb9, 0x00, 0x40,                           // mov cx, 0x4000
    0xf3, 0x6c,                                 // rep insb
    0xf4,                                       // hlt
];
/// Steps of all but the last two instructions.
const UP_TO_READING: u64 = 15;

#[test]
fn the_tables_name_the_power_management_registers_where_firmware_has_put_them() {
    let mut bios = vec![0xff; BIOS_BYTES];
    bios[..CODE.len()].copy_from_slice(CODE);
    // The reset vector: jmp 0xf000:0.
    bios[BIOS_BYTES - 16..][..5].copy_from_slice(&[0xea, 0, 0, 0, 0xf0]);
    let config = MachineConfig { bios, ram_bytes: 16 << 20, ..MachineConfig::default() };
    let new = || Machine::new(&config).expect("a machine");
    let run = |machine: &mut Machine, position| {
        let limit = RunLimit { position: Icount(position), time: VmTime(1_000_000_000) };
        machine.run(limit).expect("no error of ours")
    };

    let mut machine = new();
    assert_eq!(run(&mut machine, UP_TO_READING), Exit::Position);
    let mut restored = new();
    restored.restore(&machine.save());
    for machine in [&mut machine, &mut restored] {
        assert_eq!(run(machine, u64::MAX), Exit::HaltedForever);
        assert_eq!(ports_of_fadt(machine), [0xb000, 0xb004, 0xb008]);
    }
    assert_eq!(restored.save(), machine.save());
}

/// PM1a_EVT_BLK, PM1a_CNT_BLK and PM_TMR_BLK of the table that the program has read.
fn ports_of_fadt(machine: &Machine) -> [u32; 3] {
    let mut tables = vec![0; 0x4000];
    machine.read_phys(PhysAddr(0x1_0000), &mut tables);
    let fadt = tables.windows(4).position(|at| at == b"FACP").expect("a FADT");
    [56, 64, 76].map(|field| u32::from_le_bytes(*tables[fadt + field..].first_chunk().expect("all of it")))
}
