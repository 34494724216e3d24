//! The same run in one go, step by step, and in random strides has the same states at the same positions: the kernel of
//! `examples/clobber` (interrupts, a page fault), and small programs for what makes positions hard to count.

use vm::{CpuModel, Exit, Icount, InterruptTaken, Machine, MachineConfig, RunLimit, VmTime};

fn machine(kernel: &[u8]) -> Machine {
    let config = MachineConfig {
        ram_bytes: 4 << 20,
        cpu: CpuModel::Qemu64,
        rtc_start: 1_700_000_000,
        bios: Vec::new(),
        debug_exit_port: Some(0xf4),
        no_reboot: true,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(&config).expect("a machine");
    machine.load_kernel(kernel, None, "").expect("a kernel");
    machine
}

fn run_to(machine: &mut Machine, position: u64) -> Exit {
    machine.run(RunLimit { position: Icount(position), time: VmTime(u64::MAX) }).expect("the engine works")
}

/// Runs `kernel` freely until it ends or reaches `most`; returns the end and the interrupts that were taken.
fn record(kernel: &[u8], most: u64) -> (Machine, Vec<InterruptTaken>) {
    let mut machine = machine(kernel);
    while !matches!(run_to(&mut machine, most), Exit::Position | Exit::DebugExit(_) | Exit::HaltedForever) {}
    let log = machine.take_interrupts();
    (machine, log)
}

/// A small generator of strides: xorshift64.
struct Strides(u64);

impl Strides {
    fn next(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        1 + self.0 % most
    }
}

/// Replays `kernel` in strides of 1 to `most_stride` steps and compares with the free run at the end, and with a replay
/// without strides at every 64th stop.
fn compare(kernel: &[u8], most: u64, most_stride: u64) {
    let (free, log) = record(kernel, most);
    let end = free.position().0;
    let mut strider = machine(kernel);
    strider.follow(Some(log.clone()));
    let mut straight = machine(kernel);
    straight.follow(Some(log));
    let mut strides = Strides(0x9e37_79b9_7f4a_7c15 ^ most_stride);
    let mut stops = 0;
    while strider.position().0 < end {
        let goal = (strider.position().0 + strides.next(most_stride)).min(end);
        while strider.position().0 < goal {
            let exit = run_to(&mut strider, goal);
            assert!(matches!(exit, Exit::Position), "{exit:?} at {}", strider.position());
        }
        assert_eq!(strider.position().0, goal);
        stops += 1;
        if stops % 64 == 0 || goal == end {
            run_to(&mut straight, goal);
            assert_eq!(straight.position().0, goal);
            assert_eq!(straight.cpu(), strider.cpu(), "at position {goal}");
            assert_eq!(straight.hash(), strider.hash(), "at position {goal}");
        }
    }
    assert_eq!(free.cpu(), strider.cpu(), "at the end");
    assert_eq!(free.hash(), strider.hash(), "at the end");
}

/// A flat 32-bit program from its bytes.
fn program(code: &[u8]) -> Vec<u8> {
    let mut bytes = code.to_vec();
    bytes.resize(8192, 0xf4);
    bytes
}

#[test]
fn a_kernel_with_interrupts_is_the_same_in_any_strides() {
    let kernel = include_bytes!("../../examples/clobber/clobber.elf");
    compare(kernel, 300_000, 1);
    compare(kernel, 3_000_000, 300);
}

#[test]
fn rep_instructions_are_the_same_in_any_strides() {
    // xor ebx, ebx
    // again: mov edi, 0x200000; mov ecx, 37; mov al, 0x5a; rep stosb
    //        mov edi, 0x200000; mov ecx, 100; repe scasb; xor ecx, ecx; rep stosb; inc ebx; cmp ebx, 200; jb again; hlt
    let code = program(&[
        0x31, 0xdb, 0xbf, 0x00, 0x00, 0x20, 0x00, 0xb9, 0x25, 0x00, 0x00, 0x00, 0xb0, 0x5a, 0xf3, 0xaa, 0xbf,
        0x00, 0x00, 0x20, 0x00, 0xb9, 0x64, 0x00, 0x00, 0x00, 0xf3, 0xae, 0x31, 0xc9, 0xf3, 0xaa, 0x43, 0x81,
        0xfb, 0xc8, 0x00, 0x00, 0x00, 0x72, 0xd9, 0xf4,
    ]);
    compare(&code, 1_000_000, 1);
    compare(&code, 1_000_000, 50);
    // A REP with count 0 is one step, and SCASB stops at the 38th byte, which differs.
    assert_eq!(record(&code, 1_000_000).0.position().0, 1 + 200 * (3 + 37 + 2 + 38 + 1 + 1 + 3) + 1);
}

/// The engine does not report the first block that it translates.
#[test]
fn a_loop_that_a_machine_begins_in_is_run_without_deciding_at_each_iteration() {
    // again: inc ebx; jnz again
    let code = program(&[0x43, 0x75, 0xfd]);
    let mut first = machine(&code);
    run_to(&mut first, 100);
    let mut restored = machine(&code);
    restored.restore(&first.save());
    restored.set_effort(1000);
    let exit = run_to(&mut restored, 10_000);
    assert!(matches!(exit, Exit::Position), "{exit:?} at {}", restored.position());
}

#[test]
fn long_string_instructions_are_the_same_in_any_strides() {
    // 40 times, with counts and addresses from a generator in EBP, in 16 KiB from 0x200000 on: rep stosd; rep movsb; rep movsd to 3
    // bytes behind its source; rep movsw; std, rep movsb, cld; 5000 times rep stosw across pages; rep stosb by DI.
    let code = program(&[
        0x31, 0xdb, 0xbd, 0x39, 0x30, 0x00, 0x00, 0x69, 0xed, 0x6d, 0x4e, 0xc6, 0x41, 0x81, 0xc5, 0x39, 0x30,
        0x00, 0x00, 0x89, 0xe9, 0xc1, 0xe9, 0x12, 0x81, 0xe1, 0xff, 0x0f, 0x00, 0x00, 0x89, 0xee, 0xc1, 0xee,
        0x05, 0x81, 0xe6, 0xff, 0x3f, 0x00, 0x00, 0x81, 0xc6, 0x00, 0x00, 0x20, 0x00, 0x89, 0xef, 0xc1, 0xef,
        0x09, 0x81, 0xe7, 0xff, 0x3f, 0x00, 0x00, 0x81, 0xc7, 0x00, 0x00, 0x20, 0x00, 0x89, 0xe8, 0xf3, 0xab,
        0x89, 0xe9, 0xc1, 0xe9, 0x14, 0xf3, 0xa4, 0x8d, 0x7e, 0x03, 0xb9, 0x2c, 0x01, 0x00, 0x00, 0xf3, 0xa5,
        0xb9, 0x64, 0x00, 0x00, 0x00, 0xf3, 0x66, 0xa5, 0xfd, 0xb9, 0x32, 0x00, 0x00, 0x00, 0xf3, 0xa4, 0xfc,
        0xbf, 0xfe, 0x0f, 0x20, 0x00, 0xb9, 0x88, 0x13, 0x00, 0x00, 0xf3, 0x66, 0xab, 0xb9, 0x46, 0x00, 0x00,
        0x00, 0x67, 0xf3, 0xaa, 0x43, 0x83, 0xfb, 0x28, 0x72, 0x86, 0xf4,
    ]);
    compare(&code, 10_000_000, 1);
    compare(&code, 10_000_000, 3000);
    assert!(record(&code, 10_000_000).0.position().0 > 300_000);
}

#[test]
fn code_that_overwrites_itself_is_the_same_in_any_strides() {
    // xor ebx, ebx; xor edx, edx
    // again: inc byte [0x100011] (the immediate of the mov below); mov eax, 1 (its immediate was just changed);
    //        add edx, eax; inc ebx; cmp ebx, 1000; jb again; hlt
    let code = program(&[
        0x31, 0xdb, 0x31, 0xd2, 0x90, 0xfe, 0x05, 0x11, 0x00, 0x10, 0x00, 0x90, 0x90, 0x90, 0x90, 0x90, 0xb8,
        0x01, 0x00, 0x00, 0x00, 0x01, 0xc2, 0x43, 0x81, 0xfb, 0xe8, 0x03, 0x00, 0x00, 0x72, 0xe4, 0xf4,
    ]);
    compare(&code, 1_000_000, 1);
    compare(&code, 1_000_000, 40);
    let (machine, _) = record(&code, 1_000_000);
    assert_eq!(machine.position().0, 2 + 12 * 1000 + 1);
    let sum: u64 = (1..=1000u64).map(|i| (1 + i) & 0xff).sum();
    assert_eq!(machine.cpu().gpr[2] & 0xffff_ffff, sum, "EDX adds up the immediates as they were changed");
}

#[test]
fn a_program_may_make_more_code_than_the_engine_has_room_for() {
    // The same loop with more iterations, each of which is translated anew: cmp ebx, 150000.
    let code = program(&[
        0x31, 0xdb, 0x31, 0xd2, 0x90, 0xfe, 0x05, 0x11, 0x00, 0x10, 0x00, 0x90, 0x90, 0x90, 0x90, 0x90, 0xb8,
        0x01, 0x00, 0x00, 0x00, 0x01, 0xc2, 0x43, 0x81, 0xfb, 0xf0, 0x49, 0x02, 0x00, 0x72, 0xe4, 0xf4,
    ]);
    let (machine, _) = record(&code, 10_000_000);
    assert_eq!(machine.position().0, 2 + 12 * 150_000 + 1);
    let sum: u64 = (1..=150_000u64).map(|i| (1 + i) & 0xff).sum();
    assert_eq!(machine.cpu().gpr[2] & 0xffff_ffff, sum);
}

#[test]
fn page_tables_changed_without_invlpg_are_seen_at_once_in_any_strides() {
    // Identity paging by one table at 0x201000, whose entry 768 maps 0x300000. 500 times: read the page, clear the
    // entry's accessed bit, read the page again and add the bit to EDX; write EBX to the page, map 0x301000 there or
    // back, read and write the page again. Then HLT. No INVLPG anywhere.
    let code = program(&[
        0xbf, 0x00, 0x00, 0x20, 0x00, 0xc7, 0x07, 0x07, 0x10, 0x20, 0x00, 0xbf, 0x00, 0x10, 0x20, 0x00, 0xb8,
        0x07, 0x00, 0x00, 0x00, 0xb9, 0x00, 0x04, 0x00, 0x00, 0xab, 0x05, 0x00, 0x10, 0x00, 0x00, 0xe2, 0xf8,
        0xb8, 0x00, 0x00, 0x20, 0x00, 0x0f, 0x22, 0xd8, 0x0f, 0x20, 0xc0, 0x0d, 0x00, 0x00, 0x00, 0x80, 0x0f,
        0x22, 0xc0, 0x31, 0xdb, 0x31, 0xd2, 0xa1, 0x00, 0x00, 0x30, 0x00, 0x83, 0x25, 0x00, 0x1c, 0x20, 0x00,
        0xdf, 0xa1, 0x04, 0x00, 0x30, 0x00, 0xa1, 0x00, 0x1c, 0x20, 0x00, 0xc1, 0xe8, 0x05, 0x83, 0xe0, 0x01,
        0x01, 0xc2, 0x89, 0x1d, 0x08, 0x00, 0x30, 0x00, 0xa1, 0x00, 0x1c, 0x20, 0x00, 0x35, 0x00, 0x10, 0x00,
        0x00, 0xa3, 0x00, 0x1c, 0x20, 0x00, 0xa1, 0x08, 0x00, 0x30, 0x00, 0x89, 0x15, 0x08, 0x00, 0x30, 0x00,
        0x43, 0x81, 0xfb, 0xf4, 0x01, 0x00, 0x00, 0x72, 0xb9, 0xf4,
    ]);
    compare(&code, 1_000_000, 1);
    compare(&code, 1_000_000, 100);
    let (machine, _) = record(&code, 1_000_000);
    assert_eq!(machine.cpu().gpr[2] & 0xffff_ffff, 500, "each time the accessed bit is set again");
}

#[test]
fn an_instruction_that_is_too_long_is_one_where_another_block_has_been() {
    // A gate for #GP to the HLT at the end; call 0x100080 (15 times nop, ret); fill it with 32 prefixes F2; jmp there; hlt
    let mut code = program(&[
        0xbc, 0x00, 0x00, 0x30, 0x00, 0x8c, 0xc8, 0xc1, 0xe0, 0x10, 0x66, 0xb8, 0x4c, 0x00, 0xa3, 0x68, 0x00,
        0x20, 0x00, 0xc7, 0x05, 0x6c, 0x00, 0x20, 0x00, 0x00, 0x8e, 0x10, 0x00, 0x66, 0xc7, 0x05, 0xf8, 0x0f,
        0x20, 0x00, 0xff, 0x07, 0xc7, 0x05, 0xfa, 0x0f, 0x20, 0x00, 0x00, 0x00, 0x20, 0x00, 0x0f, 0x01, 0x1d,
        0xf8, 0x0f, 0x20, 0x00, 0xe8, 0x44, 0x00, 0x00, 0x00, 0xbf, 0x80, 0x00, 0x10, 0x00, 0xb9, 0x20, 0x00,
        0x00, 0x00, 0xb0, 0xf2, 0xf3, 0xaa, 0xeb, 0x34, 0xf4,
    ]);
    code[0x80..0x8f].fill(0x90);
    code[0x8f] = 0xc3;
    compare(&code, 1000, 1);
    compare(&code, 1000, 5);
    let (machine, _) = record(&code, 1000);
    assert_eq!(machine.position().0, 10 + 16 + 3 + 32 + 1 + 1 + 1);
    assert_eq!(machine.cpu().rip, 0x10_004d, "behind the handler's HLT");
}
