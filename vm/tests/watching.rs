//! What a watchpoint says of a store that no instruction makes: a disk's data that comes by DMA.

use vm::watch::WatchHit;
use vm::{
    Drive, DriveKind, Exit, Icount, Machine, MachineConfig, Medium, PhysAddr, RunLimit, Slot, VmTime,
    WatchKind, WatchRange,
};

const TABLE: u32 = 0x11_0000;
const BUFFER: u32 = 0x12_0000;

fn out8(port: u16, value: u8) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    vec![0x66, 0xba, low, high, 0xb0, value, 0xee] // mov dx, port; mov al, value; out dx, al
}

fn out32(port: u16, value: u32) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    [vec![0x66, 0xba, low, high, 0xb8], value.to_le_bytes().to_vec(), vec![0xef]].concat()
}

fn store(addr: u32, value: u32) -> Vec<u8> {
    [vec![0xc7, 0x05], addr.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat()
}

/// Reads a sector of the first disk by the bus master, and counts meanwhile.
fn reader() -> Vec<u8> {
    let bus_master = 0xc000;
    let mut code = [
        out32(0xcf8, 0x8000_0920),
        out32(0xcfc, u32::from(bus_master) | 1),
        out32(0xcf8, 0x8000_0904),
        out32(0xcfc, 5),
        store(TABLE, BUFFER),
        store(TABLE + 4, 0x8000_0200),
        out32(bus_master + 4, TABLE),
        out8(0x1f6, 0xe0),
        out8(0x1f2, 1),
        out8(0x1f3, 0),
        out8(0x1f4, 0),
        out8(0x1f5, 0),
        out8(0x1f7, 0xc8),
        out8(bus_master, 9),
    ]
    .concat();
    code.extend([0x40, 0xeb, 0xfd]); // inc eax; jmp back
    code.resize(8192, 0xf4);
    code
}

fn machine() -> Machine {
    let medium = Medium { name: "disk".into(), bytes: 1 << 20, hash: 0, read_only: false };
    let config = MachineConfig {
        ram_bytes: 4 << 20,
        drives: vec![Drive { slot: Slot::Hda, kind: DriveKind::Disk, medium: Some(0) }],
        media: vec![medium],
        ..MachineConfig::default()
    };
    let mut machine = Machine::with_media(&config, vec![Box::new(vec![0x5a; 1 << 20])]).expect("a machine");
    machine.load_kernel(&reader(), None, "").expect("a kernel");
    machine
}

fn run_to(machine: &mut Machine, position: u64) -> Exit {
    machine.run(RunLimit { position: Icount(position), time: VmTime(u64::MAX) }).expect("the engine works")
}

fn buffer_at(position: u64) -> [u8; 512] {
    let mut machine = machine();
    assert_eq!(run_to(&mut machine, position), Exit::Position);
    let mut bytes = [0; 512];
    machine.read_phys(PhysAddr(BUFFER.into()), &mut bytes);
    bytes
}

#[test]
fn data_that_comes_by_dma_belongs_to_the_step_before_which_it_was_not_there() {
    let mut machine = machine();
    let addr = PhysAddr(u64::from(BUFFER) + 100);
    machine.set_watchpoints(&[WatchRange { addr, len: 4, kind: WatchKind::Write }]);
    let Exit::Watchpoint { position, hit } = run_to(&mut machine, 1_000_000) else { panic!("no hit") };
    assert_eq!(hit, WatchHit::Memory { addr, kind: WatchKind::Write });
    assert_eq!(machine.position().0, position.0 + 1);
    assert_eq!(buffer_at(position.0), [0; 512]);
    assert_eq!(buffer_at(position.0 + 1), [0x5a; 512]);
}

#[test]
fn a_run_that_ends_where_the_data_comes_meets_it() {
    let mut machine = machine();
    let addr = PhysAddr(BUFFER.into());
    let range = WatchRange { addr, len: 1, kind: WatchKind::Write };
    machine.set_watchpoints(&[range]);
    let Exit::Watchpoint { position, .. } = run_to(&mut machine, 1_000_000) else { panic!("no hit") };
    let mut machine = self::machine();
    machine.set_watchpoints(&[range]);
    assert_eq!(run_to(&mut machine, position.0), Exit::Position);
    assert!(
        matches!(run_to(&mut machine, position.0 + 1), Exit::Watchpoint { position: p, .. } if p == position)
    );
    assert_eq!(run_to(&mut machine, position.0 + 1), Exit::Position);
}

#[test]
fn data_that_is_there_already_is_no_change() {
    let same = PhysAddr(u64::from(BUFFER) + 100);
    let met = |first: u64, len: u64, kind: WatchKind| {
        let mut machine = machine();
        machine.write_phys(same, &[0x5a; 4]);
        machine.set_watchpoints(&[WatchRange { addr: PhysAddr(same.0 + first), len, kind }]);
        match run_to(&mut machine, 1_000_000) {
            Exit::Watchpoint { hit: WatchHit::Memory { addr, kind }, .. } => Some((addr.0 - same.0, kind)),
            exit => {
                assert_eq!(exit, Exit::Position);
                None
            }
        }
    };
    assert_eq!(met(0, 4, WatchKind::Change), None);
    assert_eq!(met(0, 4, WatchKind::Write), Some((0, WatchKind::Write)));
    assert_eq!(met(0, 5, WatchKind::Change), Some((4, WatchKind::Change)));
}
