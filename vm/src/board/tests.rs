use super::test_support::{Chip, FlatMemory, Rng, chip_properties, config};
use super::*;
use crate::config::CardConfig;

/// Runs `act` on the board at `now`; what it gave and what it caused.
fn on<R>(board: &mut Board, now: u64, act: impl FnOnce(&mut Board, &mut Bus) -> R) -> (R, Effects) {
    let (mut mem, mut fx) = (FlatMemory::new(0x1_0000), Effects::default());
    let mut bus = Bus { now: VmTime(now), mem: &mut mem, fx: &mut fx };
    board.advance(&mut bus);
    let result = act(board, &mut bus);
    (result, fx)
}

fn read(board: &mut Board, port: u16, size: u8, now: u64) -> u32 {
    on(board, now, |board, bus| board.io_read(port, size, bus)).0
}

fn write(board: &mut Board, port: u16, size: u8, value: u32, now: u64) -> Effects {
    on(board, now, |board, bus| board.io_write(port, size, value, bus)).1
}

fn inject(board: &mut Board, input: &Input, now: u64) -> Effects {
    on(board, now, |board, bus| board.inject(input, bus)).1
}

fn advance(board: &mut Board, now: u64) {
    on(board, now, |_, _| ());
}

/// A board whose interrupt controllers are programmed, all lines unmasked, and whose timer stands still.
fn board() -> Board {
    programmed(&config())
}

fn programmed(config: &MachineConfig) -> Board {
    let mut board = Board::new(config);
    write(&mut board, 0x43, 1, 0x32, 0);
    let bytes = [(0x20, [0x11, 0x08, 4, 1, 0]), (0xa0, [0x11, 0x70, 2, 1, 0])];
    for (base, [icw1, rest @ ..]) in bytes {
        write(&mut board, base, 1, icw1, 0);
        for value in rest {
            write(&mut board, base + 1, 1, value, 0);
        }
    }
    board
}

/// Ports at which something is, and some at which nothing is.
const PORTS: [u16; 55] = [
    0x3f2, 0x3f4, 0x3f5, 0x3f7, 0x00, 0x0b, 0x81, 0xc0, 0x378, 0x379, 0x37a, 0x20, 0x21, 0xa0, 0xa1, 0x4d0,
    0x4d1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x92, 0xb2, 0xb3, 0xe9, 0xf4, 0x402,
    0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x2f8, 0x2f9, 0x3e9, 0x2ef, 0xcf8, 0xcf9, 0xcfc, 0xcfe, 0x510,
    0x511, 0x514, 0x518, 0xafe0, 0xb000, 0xb004, 0xffff,
];

impl Chip for Board {
    const PAUSE_MAX_NS: u64 = 1_000_000;

    fn power_on() -> Board {
        board()
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        let port = PORTS[rng.below(PORTS.len() as u64) as usize];
        let size = [1, 1, 1, 2, 4][rng.below(5) as usize];
        let value = rng.next() as u32;
        match rng.below(12) {
            0 => {
                inject(self, &Input::Key { scancode: vec![rng.byte()] }, now.0);
            }
            1 => {
                let bytes = (0..rng.below(20)).map(|_| rng.byte()).collect();
                inject(self, &Input::Serial { port: rng.byte() & 7, bytes }, now.0);
            }
            2 => {
                let (dx, dy, buttons) = (rng.byte().into(), -i16::from(rng.byte()), rng.byte());
                inject(self, &Input::Mouse { dx, dy, dz: 1, buttons }, now.0);
                inject(self, &Input::PowerButton, now.0);
            }
            3 => {
                let vector = on(self, now.0, |board, bus| {
                    board.advance(bus);
                    board.acknowledge()
                });
                return u64::from(vector.0.0);
            }
            4 if rng.below(20) == 0 => {
                advance(self, now.0);
                self.reset();
            }
            4..=7 => return u64::from(read(self, port, size, now.0)),
            _ => {
                write(self, port, size, value, now.0);
            }
        }
        0
    }

    fn advance(&mut self, now: VmTime) {
        advance(self, now.0);
    }

    fn next_event(&self) -> Option<VmTime> {
        Board::next_event(self)
    }

    fn outputs(&self) -> u64 {
        u64::from(self.intr())
    }
}

chip_properties!(Board, step_ns: 20_000, exact: false);

#[test]
fn a_virtio_card_shows_its_registers_in_a_window_of_configuration_space() {
    let cards = vec![CardConfig::VirtioNet { mac: [2, 0, 0, 0, 0, 7] }];
    let mut board = Board::new(&MachineConfig { cards, ..config() });
    let mut register = |at: u32, value: Option<u32>| {
        write(&mut board, 0xcf8, 4, 0x8000_1800 | at, 0);
        match value {
            Some(value) => {
                write(&mut board, 0xcfc, 4, value, 0);
                0
            }
            None => read(&mut board, 0xcfc, 4, 0),
        }
    };
    // Four bytes of the device's own configuration: the station address.
    for (at, value) in [(0x88, 4), (0x8c, 0x2000), (0x90, 4)] {
        register(at, Some(value));
    }
    assert_eq!(register(0x94, None), 2);
    // The device status is a byte.
    for (at, value) in [(0x8c, 0x14), (0x90, 1), (0x94, 3)] {
        register(at, Some(value));
    }
    assert_eq!(register(0x94, None), 3);
}

#[test]
fn an_error_is_an_nmi_unless_port_0x70_masks_it() {
    let mut board = board();
    write(&mut board, 0x70, 1, 0x8f, 0);
    board.report_error(port61::Error::IoCheck);
    assert!(!board.nmi());
    assert_eq!(read(&mut board, 0x61, 1, 0) & 0xc0, 0x40);
    write(&mut board, 0x70, 1, 0x0f, 0);
    assert!(board.nmi());
    board.take_nmi();
    write(&mut board, 0x70, 1, 0x0f, 0);
    assert!(!board.nmi(), "one edge is one NMI");
    write(&mut board, 0x61, 1, 0x08, 0);
    assert_eq!(read(&mut board, 0x61, 1, 0) & 0xc0, 0);
}

#[test]
fn the_8259_reaches_the_processor_by_the_io_apic_too() {
    let mut board = board();
    let mmio = |board: &mut Board, addr, value| {
        on(board, 0, |board, bus| board.mmio_write(PhysAddr(addr), 4, value, bus));
    };
    mmio(&mut board, 0xfee0_00f0, 0x1ff);
    mmio(&mut board, 0xfee0_0350, 0x1_0000); // LINT0
    inject(&mut board, &Input::Key { scancode: vec![0x1e] }, 0);
    advance(&mut board, 100_000_000);
    assert!(!board.intr());
    on(&mut board, 100_000_000, |board, bus| {
        board.mmio_write(PhysAddr(0xfec0_0000), 4, 0x10, bus);
        board.mmio_write(PhysAddr(0xfec0_0010), 4, 0x700, bus);
    });
    assert!(board.intr());
    assert_eq!(board.peek_vector(), Some(Vector(9)));
    assert_eq!(board.acknowledge(), Vector(9));
    assert!(!board.intr());
}

#[test]
fn a_write_beside_the_local_apic_is_a_message_to_it() {
    let mut board = board();
    on(&mut board, 0, |board, bus| {
        board.mmio_write(PhysAddr(0xfee0_00f0), 4, 0x1ff, bus);
        board.mmio_write(PhysAddr(0xfeef_f000), 4, 0x61, bus);
    });
    assert_eq!(board.acknowledge(), Vector(0x61));
}

#[test]
fn ports_where_nothing_is_read_as_ones_of_the_size() {
    let mut board = board();
    for port in [0x0010, 0x0068, 0x0300, 0x1234, 0x5658, 0xfff8] {
        assert_eq!(read(&mut board, port, 1, 0), 0xff);
        assert_eq!(read(&mut board, port, 2, 0), 0xffff);
        assert_eq!(read(&mut board, port, 4, 0), 0xffff_ffff);
        assert_eq!(write(&mut board, port, 4, 0, 0).request, None);
        let stray = Stray { place: StrayPlace::Port(port), written: Some(7) };
        assert_eq!(write(&mut board, port, 1, 7, 0).strays, [stray]);
    }
    let (values, _) = on(&mut board, 0, |board, bus| {
        [1, 2, 4, 8].map(|size| board.mmio_read(PhysAddr(0xfeb0_0000), size, bus))
    });
    assert_eq!(values, [0xff, 0xffff, 0xffff_ffff, u64::MAX]);
}

#[test]
fn wide_accesses_to_byte_wide_chips_are_split_lowest_port_first() {
    let mut board = board();
    write(&mut board, 0x70, 2, 0x5a40, 0); // address 0x40, then its data
    write(&mut board, 0x70, 1, 0x40, 0);
    assert_eq!(read(&mut board, 0x71, 1, 0), 0x5a);
    assert_eq!(read(&mut board, 0x70, 2, 0), 0x5aff);
    write(&mut board, 0x20, 2, 0xa520, 0);
    assert_eq!(read(&mut board, 0x1f, 4, 0) >> 16 & 0xff, 0xa5, "across the start of a chip");
}

#[test]
fn the_timer_is_irq_0_at_its_exact_nanosecond() {
    let mut board = board();
    for (port, value) in [(0x43, 0x34), (0x40, 0x9c), (0x40, 0x2e)] {
        write(&mut board, port, 1, value, 0);
    }
    let rise = pit::PIT_CLOCK.time_of(0x2e9c + 1).expect("in range").0;
    advance(&mut board, rise - 1);
    assert!(!board.intr());
    advance(&mut board, rise);
    assert_eq!(board.peek_vector(), Some(Vector(0x08)));
    assert_eq!(board.acknowledge(), Vector(0x08));
    assert!(!board.intr());
}

#[test]
fn no_edge_is_lost_by_looking_late() {
    // Edge triggered and unacknowledged: the request is there however late the board is looked at.
    for late in [0, 1_000, 1_000_000_000] {
        let mut board = board();
        for (port, value) in [(0x43, 0x34), (0x40, 0x00), (0x40, 0x10)] {
            write(&mut board, port, 1, value, 0);
        }
        advance(&mut board, 4_000_000 + late);
        assert_eq!(board.peek_vector(), Some(Vector(0x08)), "{late}");
    }
}

#[test]
fn the_clock_is_irq_8_and_stays_until_register_c_is_read() {
    let mut board = board();
    write(&mut board, 0x70, 2, 0x120b, 0);
    advance(&mut board, 1_000_000_000);
    assert_eq!(board.acknowledge(), Vector(0x70));
    write(&mut board, 0xa0, 1, 0x20, 1_000_000_000);
    write(&mut board, 0x20, 1, 0x20, 1_000_000_000);
    assert!(!board.intr(), "the level alone is no second edge");
    write(&mut board, 0x70, 1, 0x0c, 1_000_000_000);
    assert_eq!(read(&mut board, 0x71, 1, 1_000_000_000) & 0x90, 0x90);
    advance(&mut board, 2_000_000_000);
    assert_eq!(board.peek_vector(), Some(Vector(0x70)));
}

#[test]
fn serial_ports_share_irq_3_and_4() {
    for (port, base, vector) in [(0, 0x3f8, 0x0c), (1, 0x2f8, 0x0b), (2, 0x3e8, 0x0c), (3, 0x2e8, 0x0b)] {
        let mut board = board();
        write(&mut board, base + 1, 1, 0x01, 0); // receive interrupt
        write(&mut board, base + 4, 1, 0x0b, 0); // DTR, RTS, OUT2
        inject(&mut board, &Input::Serial { port, bytes: b"x".to_vec() }, 0);
        advance(&mut board, 100_000_000);
        assert_eq!(board.peek_vector(), Some(Vector(vector)), "port {port}");
        assert_eq!(read(&mut board, base, 1, 100_000_000), u32::from(b'x'));
        assert!(!board.intr());
        let fx = write(&mut board, base, 1, u32::from(b'y'), 100_000_000);
        assert_eq!(fx.output, [Output::Serial { port, byte: b'y' }]);
    }
    let fx = inject(&mut board(), &Input::Serial { port: 9, bytes: vec![1] }, 0);
    assert!(fx.output.is_empty(), "there is no such port");
}

#[test]
fn both_a20_registers_move_one_gate() {
    let mut board = board();
    for open in [true, false, true] {
        let before = board.a20();
        let fx = write(&mut board, 0x92, 1, if open { 2 } else { 0 }, 0);
        assert_eq!(board.a20(), open);
        assert_eq!(fx.memory_map_changed, before != open);
    }
    write(&mut board, 0x64, 1, 0xd1, 1_000_000);
    let fx = write(&mut board, 0x60, 1, 0xdd, 2_000_000);
    assert!(!board.a20() && fx.memory_map_changed);
    write(&mut board, 0x64, 1, 0xd1, 3_000_000);
    write(&mut board, 0x60, 1, 0xdf, 4_000_000);
    assert!(board.a20());
}

#[test]
fn every_way_to_reset_asks_for_it() {
    assert_eq!(write(&mut board(), 0x64, 1, 0xfe, 0).request, Some(Request::Reset));
    assert_eq!(write(&mut board(), 0x92, 1, 0x01, 0).request, Some(Request::Reset));
    assert_eq!(write(&mut board(), 0xcf9, 1, 0x06, 0).request, Some(Request::Reset));
    assert_eq!(write(&mut board(), 0xf4, 1, 0x21, 0).request, Some(Request::DebugExit(0x21)));
}

#[test]
fn reset_restores_power_on_except_the_clock() {
    let config = MachineConfig { bios: vec![0; 1 << 16], ..config() };
    let mut board = programmed(&config);
    for (port, value) in [(0x43, 0x34), (0x40, 0x00), (0x40, 0x10), (0x61, 3), (0x3fb, 0x03), (0x92, 0)] {
        write(&mut board, port, 1, value, 0);
    }
    write(&mut board, 0x70, 2, 0x5a40, 0);
    advance(&mut board, 5_000_000_000);
    assert!(board.intr());
    // Carried out, and not asked for once more.
    assert_eq!(inject(&mut board, &Input::Reset, 5_000_000_000).request, None);
    assert!(!board.intr() && board.a20());
    let mut fresh = Board::new(&config);
    advance(&mut fresh, 5_000_000_000);
    assert_eq!(
        (board.pit.clone(), board.pci.clone(), board.uarts.clone()),
        (fresh.pit, fresh.pci, fresh.uarts)
    );
    write(&mut board, 0x70, 1, 0x40, 5_000_000_000);
    assert_eq!(read(&mut board, 0x71, 1, 5_000_000_000), 0x5a);
}

#[test]
fn a_kernel_without_firmware_gets_the_timer_at_vector_8_and_not_before_its_time() {
    for reset in [false, true] {
        let mut board = Board::new(&config());
        if reset {
            advance(&mut board, 1_000_000_000);
            inject(&mut board, &Input::Reset, 1_000_000_000);
        }
        let start = if reset { 1_000_000_000 } else { 0 };
        advance(&mut board, start + 54_000_000);
        assert!(!board.intr());
        advance(&mut board, start + 56_000_000);
        assert_eq!(board.peek_vector(), Some(Vector(0x08)));
    }
}
