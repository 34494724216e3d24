//! `retrograde live`: a machine that is recorded while a debugger is attached.

use crate::cli::LiveArgs;
use crate::gdb::arch::{ArchChoice, Width};
use crate::gdb::live::Live;
use crate::gdb::target::Debuggee;
use crate::record::{Run, report};
use crate::serve::{Server, announce};
use crate::signals::Signals;
use crate::socket::{Address, Listener};
use anyhow::Result;
use std::path::Path;
use std::rc::Rc;
use vm::{CpuModel, Machine};

/// Runs the subcommand; the exit status, which is that of `record`.
pub fn run(args: &LiveArgs) -> Result<u8> {
    let address = Address::parse("--gdb", &args.gdb)?;
    let control = args.qmp.as_ref().map(|text| Address::parse("--qmp", text)).transpose()?;
    // First of all the ports, so that a busy one is known at once.
    let listener = Listener::bind("--gdb", &address)?;
    let control = control.map(|address| Listener::bind("--qmp", &address)).transpose()?;
    let signals = Rc::new(Signals::catch()?);
    let (run, terminal) = Run::begin(&args.record, Rc::clone(&signals))?;
    let width = width(args, run.machine());
    let name = args.record.output.display().to_string();
    let mut debuggee = Debuggee::new(Box::new(Live::new(name.clone(), run)), width, signals.flag());
    debuggee.pause(args.wait);
    let control_address = control.as_ref().map(|listener| listener.address().clone());
    let mut server = Server::new(listener, &signals)?;
    if let Some(control) = control {
        server.control(control, &mut debuggee)?;
    }
    announce(&format!("{name}: recording"), server.address(), control_address);
    if terminal.is_some() {
        crate::note!("retrograde: Ctrl-A x ends the recording, Ctrl-A h helps");
    }
    let served = server.run(&mut debuggee, &signals, false);
    let ended = debuggee.history().finish();
    drop(terminal);
    served?;
    // A branch has another name than the recording that it began with.
    let name = debuggee.history().name().to_owned();
    Ok(ended?.map_or(0, |ended| report(&args.record, Path::new(&name), &ended)))
}

/// Which registers the debugger is shown. A machine that has not run yet has its mode before it.
fn width(args: &LiveArgs, machine: &Machine) -> Width {
    if args.arch != ArchChoice::Auto {
        return args.arch.width(&machine.cpu());
    }
    let wide = matches!(machine.config().cpu, CpuModel::Qemu64 | CpuModel::Max);
    let kernel = args.record.machine.kernel.as_ref();
    match kernel.map(|path| is_linux(path)) {
        None | Some(true) if wide => Width::Bits64,
        _ => Width::Bits32,
    }
}

/// Whether a kernel has the header of the Linux boot protocol; the others start in 32-bit mode.
fn is_linux(path: &Path) -> bool {
    const HEADER_AT: usize = 0x202;
    std::fs::read(path).is_ok_and(|bytes| bytes.get(HEADER_AT..HEADER_AT + 4) == Some(b"HdrS"))
}
