//! `monitor break`: breakpoints of the server's own, on code and on what the machine does, with conditions.

use crate::gdb::breakpoints::Spot;
use crate::gdb::expr::Expr;
use crate::gdb::scope::Scope;
use crate::gdb::target::Debuggee;
use crate::units::parse_count;
use vm::{LinAddr, PhysAddr, Trap, WatchKind};

/// What it is on, and perhaps ` if EXPR`.
pub fn add(debuggee: &mut Debuggee, text: &str) -> Result<String, String> {
    let (place, condition) = match text.split_once(" if ") {
        Some((place, condition)) => (place, Some(condition.trim())),
        None => (text, None),
    };
    let spot = spot(debuggee, place)?;
    let condition = match condition {
        Some(text) => Some((Expr::parse(text, &debuggee.layout)?, text.to_owned())),
        None => None,
    };
    let number = debuggee.breaks.add_monitor(debuggee.history.as_mut(), spot, condition)?;
    Ok(format!("monitor breakpoint {number} at {spot}\n"))
}

fn spot(debuggee: &Debuggee, place: &str) -> Result<Spot, String> {
    let words: Vec<_> = place.split_whitespace().collect();
    let trap = match words.as_slice() {
        ["io", ports] => port_trap(ports, WatchKind::Access)?,
        ["io", ports, "r"] => port_trap(ports, WatchKind::Read)?,
        ["io", ports, "w"] => port_trap(ports, WatchKind::Write)?,
        ["io", ..] => return Err("write a port, or two, and perhaps r or w: monitor break io 0x3f8 w".into()),
        ["irq", n] => Trap::Interrupt(vector(n)?),
        ["irq", ..] => return Err("write a vector: monitor break irq 0x20".into()),
        ["exception", n] => Trap::Exception(vector(n)?),
        ["exception", ..] => return Err("write a vector: monitor break exception 14".into()),
        ["cr3"] => Trap::AddressSpace(None),
        ["cr3", ..] => {
            let value = rest_behind(place, "cr3");
            Trap::AddressSpace(Some(address(debuggee, value)?.0))
        }
        ["phys"] => return Err("write a physical address: monitor break phys 0x100000".into()),
        ["phys", ..] => Trap::Execute(PhysAddr(address(debuggee, rest_behind(place, "phys"))?.0)),
        _ => return address(debuggee, place).map(Spot::Code),
    };
    Ok(Spot::Trap(trap))
}

fn rest_behind<'a>(text: &'a str, word: &str) -> &'a str {
    text.trim_start().strip_prefix(word).unwrap_or(text)
}

/// `PORT` or `FIRST-LAST`.
fn port_trap(text: &str, kind: WatchKind) -> Result<Trap, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("no port is from {first:#x} to {last:#x}"));
    }
    Ok(Trap::Port { first, last, kind })
}

/// A port's number.
pub fn port(text: &str) -> Result<u16, String> {
    let number = parse_count(text)?;
    u16::try_from(number).map_err(|_| format!("ports go from 0 to 0xffff, and {number:#x} is none"))
}

/// A vector.
pub fn vector(text: &str) -> Result<u8, String> {
    let number = parse_count(text)?;
    u8::try_from(number).map_err(|_| format!("vectors go from 0 to 255, and {number} is none"))
}

/// An address as an expression, which may name registers as they are now.
pub fn address(debuggee: &Debuggee, text: &str) -> Result<LinAddr, String> {
    let layout = &debuggee.layout;
    let expr = Expr::parse(text, layout)?;
    expr.value(&Scope::new(debuggee.history.view(), layout)).map(LinAddr).map_err(|e| e.to_string())
}

/// All, each on a line.
pub fn list(debuggee: &Debuggee) -> String {
    let lines = debuggee.breaks.monitor().into_iter().map(|(number, b)| {
        let condition = b.condition.map(|(_, text)| format!(" if {text}")).unwrap_or_default();
        let ignored = match b.ignored {
            0 => String::new(),
            n => format!(", ignored {n} more times"),
        };
        format!("{number:>4}  {}{condition}  (hit {} times{ignored})\n", b.spot, b.hits)
    });
    let text: String = lines.collect();
    if text.is_empty() {
        "there are none; for example: monitor break 0x1000 if $eax == 5\n".into()
    } else {
        text
    }
}

/// Passes the one with a number so many times.
pub fn ignore(debuggee: &mut Debuggee, number: &str, count: &str) -> Result<String, String> {
    let (number, count) = (parse_count(number)?, parse_count(count)?);
    match u32::try_from(number) {
        Ok(short) if debuggee.breaks.ignore(short, count) => {
            Ok(format!("monitor breakpoint {number} is passed {count} times, forward or backward\n"))
        }
        _ => Err(unknown(number)),
    }
}

/// The one with a number.
pub fn delete(debuggee: &mut Debuggee, number: &str) -> Result<String, String> {
    let number = parse_count(number)?;
    let known = u32::try_from(number)
        .is_ok_and(|number| debuggee.breaks.remove_monitor(debuggee.history.as_mut(), number));
    if known { Ok(String::new()) } else { Err(unknown(number)) }
}

fn unknown(number: u64) -> String {
    format!("there is no monitor breakpoint {number}; `monitor breaks` lists them")
}
