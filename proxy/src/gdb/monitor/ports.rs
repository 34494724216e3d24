//! `monitor io`: accesses to ports around here, and what a port would give.

use super::breaks::port;
use crate::gdb::resume::did;
use crate::gdb::target::Debuggee;
use snapshots::Answer;
use std::fmt::Write;
use vm::watch::WatchHit;
use vm::{Trap, WatchKind};

/// Accesses that are shown before and after the present position.
const SHOWN: usize = 8;

/// Accesses to all ports around here.
pub fn around(debuggee: &mut Debuggee) -> Result<String, String> {
    let here = debuggee.history.position();
    let all = Trap::Port { first: 0, last: u16::MAX, kind: WatchKind::Access };
    let mut interrupted = debuggee.interrupter();
    let noted = match debuggee.history.around(all, &mut interrupted).map_err(|e| e.to_string())? {
        Answer::Is(noted) => noted,
        _ => return Ok("interrupted\n".into()),
    };
    let next = noted.partition_point(|n| n.position < here);
    let shown = next.saturating_sub(SHOWN)..noted.len().min(next + SHOWN);
    if shown.is_empty() {
        return Ok("no port is accessed near here\n".into());
    }
    let mut text = String::new();
    for (index, n) in noted[shown.clone()].iter().enumerate() {
        if shown.start + index == next {
            text.push_str("  -- here --\n");
        }
        if let WatchHit::Event(event) = &n.hit {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:>14}  {}", n.position.0, did(event));
        }
    }
    Ok(text)
}

/// What a port would give here.
pub fn peek(debuggee: &Debuggee, text: &str, size: u8) -> Result<String, String> {
    let port = port(text)?;
    let (value, changes) = debuggee.history.view().peek_port(port, size);
    let width = usize::from(size) * 2 + 2;
    let note =
        if changes { "\n(a guest that reads it changes the chip; nothing was changed here)" } else { "" };
    Ok(format!("port {port:#x}: {value:#0width$x}{note}\n"))
}
