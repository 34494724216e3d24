//! Runs a kernel in a bare machine and reports speed: a tool for measuring the CPU.
use vm::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let kernel = std::fs::read(&args[1]).unwrap();
    let cmdline = args.get(2).cloned().unwrap_or_default();
    let initrd = args.get(3).map(|p| std::fs::read(p).unwrap());
    let max: u64 = args.get(4).map_or(u64::MAX, |s| s.parse().unwrap());
    let config = MachineConfig {
        ram_bytes: 256 << 20,
        cpu: CpuModel::Qemu64,
        rtc_start: 1_700_000_000,
        bios: vec![],
        debug_exit_port: Some(0xf4),
        no_reboot: true,
    };
    let mut m = Machine::new(&config).unwrap();
    m.load_kernel(&kernel, initrd.as_deref(), &cmdline).unwrap();
    let t = std::time::Instant::now();
    loop {
        let limit =
            RunLimit { position: Icount((m.position().0 + 20_000_000).min(max)), time: VmTime(u64::MAX) };
        let exit = m.run(limit).unwrap();
        for (_, o) in m.take_output() {
            let (Output::Serial { byte, .. } | Output::Debugcon { byte, .. }) = o;
            {
                print!("{}", byte as char);
            }
        }
        use std::io::Write;
        std::io::stdout().flush().unwrap();
        if exit != Exit::Position || m.position().0 >= max {
            println!(
                "\n{exit:?} at {} pc {:#x} after {:.2}s hash {:x} {:.0} MIPS",
                m.position(),
                m.cpu().linear_pc(),
                t.elapsed().as_secs_f64(),
                m.hash(),
                m.position().0 as f64 / t.elapsed().as_secs_f64() / 1e6
            );
            return;
        }
    }
}
