//! Code in ROM: stores into it change nothing, not even in the block that is running, and not when the RAM behind it takes them.

use vm::{Exit, Icount, Machine, MachineConfig, RunLimit, VmTime};

const BIOS_BYTES: usize = 64 << 10;

#[rustfmt::skip]
const CODE: &[u8] = &[
    0xb8, 0x00, 0xf0,                           // 00 mov ax, 0xf000
    0x8e, 0xd8,                                 // 03 mov ds, ax
    0xb9, 0x02, 0x00,                           // 05 mov cx, 2
    0xc6, 0x06, 0x0e, 0x00, 0x22,               // 08 again: mov byte [0x0e], 0x22
    0xb3, 0x11,                                 // 0d mov bl, 0x11
    0x66, 0xb8, 0x58, 0x00, 0x00, 0x80,         // 0f mov eax, 0x80000058: the host bridge, PAM0 in byte 1
    0xba, 0xf8, 0x0c,                           // 15 mov dx, 0xcf8
    0x66, 0xef,                                 // 18 out dx, eax
    0xba, 0xfd, 0x0c,                           // 1a mov dx, 0xcfd
    0xb0, 0x20,                                 // 1d mov al, 0x20: stores go to RAM, loads come from ROM
    0xee,                                       // 1f out dx, al
    0xe2, 0xe6,                                 // 20 loop again
    0xf4,                                       // 22 hlt
];

#[test]
fn stores_into_code_in_rom_change_nothing() {
    let mut bios = vec![0xff; BIOS_BYTES];
    bios[..CODE.len()].copy_from_slice(CODE);
    // The reset vector: jmp 0xf000:0.
    bios[BIOS_BYTES - 16..][..5].copy_from_slice(&[0xea, 0, 0, 0, 0xf0]);
    let config = MachineConfig { bios, ram_bytes: 16 << 20, ..MachineConfig::default() };
    let run = |strides: u64| {
        let mut machine = Machine::new(&config).expect("a machine");
        loop {
            let position = machine.position().0 + strides;
            let limit = RunLimit { position: Icount(position), time: VmTime(1_000_000_000) };
            match machine.run(limit).expect("no error of ours") {
                Exit::Position => {}
                exit => return (exit, machine.cpu(), machine.position()),
            }
        }
    };
    let (exit, cpu, position) = run(1000);
    assert_eq!(exit, Exit::HaltedForever);
    assert_eq!(cpu.gpr[3] & 0xff, 0x11);
    assert_eq!(run(1), (exit, cpu, position));
}
