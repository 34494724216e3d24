//! A machine that is put back to its start runs as a new one does, whatever it has executed since.

use retrograde_tests::{build_guest, workspace_root};
use std::fs;
use std::path::Path;
use vm::machine::RunLimit;
use vm::{CpuModel, Icount, Machine, MachineConfig, PAGE_SIZE, VmTime};

/// Run between the start and the second start: the guests are past their set-up.
const FIRST_RUN: Icount = Icount(100_000);

fn machine(kernel: &[u8]) -> Machine {
    let config = MachineConfig {
        ram_bytes: 16 << 20,
        cpu: CpuModel::default(),
        rtc_start: 0,
        bios: Vec::new(),
        debug_exit_port: Some(0xf4),
        no_reboot: true,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(&config).expect("a machine");
    machine.load_kernel(kernel, None, "").expect("a kernel");
    machine
}

fn run(machine: &mut Machine, position: Icount) {
    machine.run(RunLimit { position, time: VmTime(u64::MAX) }).expect("the engine runs");
    assert_eq!(machine.position(), position);
}

fn runs_again(kernel: &Path) {
    let kernel_bytes = fs::read(kernel).expect("the kernel");
    let mut used = machine(&kernel_bytes);
    let (start, ram) = (used.save(), used.storage().to_vec());
    run(&mut used, FIRST_RUN);
    for position in (0..40_000).step_by(397) {
        for (number, page) in ram.chunks_exact(PAGE_SIZE).enumerate() {
            if used.storage()[number * PAGE_SIZE..][..PAGE_SIZE] != *page {
                used.write_page(number, page.try_into().expect("a page"));
            }
        }
        used.restore(&start);
        run(&mut used, Icount(position));
        let mut new = machine(&kernel_bytes);
        run(&mut new, Icount(position));
        assert_eq!(used.cpu(), new.cpu(), "{} at position {position}", kernel.display());
        assert_eq!(used.hash(), new.hash(), "{} at position {position}", kernel.display());
    }
}

#[test]
fn the_16_bit_guest_copies_its_code_over_itself() {
    runs_again(&build_guest("real16"));
}

#[test]
fn the_long_mode_guest() {
    runs_again(&build_guest("longmode"));
}

#[test]
fn the_example() {
    runs_again(&workspace_root().join("examples/clobber/clobber.elf"));
}
