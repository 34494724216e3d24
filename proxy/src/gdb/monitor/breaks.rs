//! `monitor break`: breakpoints of the server's own, with conditions.

use crate::gdb::expr::Expr;
use crate::gdb::scope::Scope;
use crate::gdb::target::Debuggee;
use crate::units::parse_count;
use vm::LinAddr;

/// `ADDR` or `ADDR if EXPR`.
pub fn add(debuggee: &mut Debuggee, text: &str) -> Result<String, String> {
    let (place, condition) = match text.split_once(" if ") {
        Some((place, condition)) => (place, Some(condition.trim())),
        None => (text, None),
    };
    let addr = address(debuggee, place)?;
    let condition = match condition {
        Some(text) => Some((Expr::parse(text, &debuggee.layout)?, text.to_owned())),
        None => None,
    };
    let number = debuggee.breaks.add_monitor(debuggee.history.as_mut(), addr, condition)?;
    Ok(format!("monitor breakpoint {number} at {addr}\n"))
}

/// An address as an expression, which may name registers as they are now.
pub fn address(debuggee: &Debuggee, text: &str) -> Result<LinAddr, String> {
    let layout = &debuggee.layout;
    let expr = Expr::parse(text, layout)?;
    expr.value(&Scope::new(debuggee.history.as_ref(), layout)).map(LinAddr).map_err(|e| e.to_string())
}

/// All, each on a line.
pub fn list(debuggee: &Debuggee) -> String {
    let lines = debuggee.breaks.monitor().into_iter().map(|(number, b)| {
        let condition = b.condition.map(|(_, text)| format!(" if {text}")).unwrap_or_default();
        format!("{number:>4}  {}{condition}  (hit {} times)\n", b.addr, b.hits)
    });
    let text: String = lines.collect();
    if text.is_empty() {
        "there are none; for example: monitor break 0x1000 if $eax == 5\n".into()
    } else {
        text
    }
}

/// The one with a number.
pub fn delete(debuggee: &mut Debuggee, number: &str) -> Result<String, String> {
    let number = parse_count(number)?;
    let known = u32::try_from(number)
        .is_ok_and(|number| debuggee.breaks.remove_monitor(debuggee.history.as_mut(), number));
    if known {
        Ok(String::new())
    } else {
        Err(format!("there is no monitor breakpoint {number}; `monitor breaks` lists them"))
    }
}
