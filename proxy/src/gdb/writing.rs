//! What a debugger writes: nothing in the recorded past, which is what it was; anything in a diversion.

use super::target::Debuggee;
use snapshots::{Chips, Stop};
use vm::{Icount, LinAddr};

/// The error for a write to the past. Debuggers show it in a line of theirs.
pub const PAST: &str = "the past cannot be changed; `monitor divert` leaves it here, and then it can";

impl Debuggee {
    /// Writes memory; an error in words.
    pub(super) fn write_memory(&mut self, addr: u64, bytes: &[u8]) -> Result<(), &'static str> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.must_be_diverted()?;
        if self.read_memory(addr, bytes.len()).len() < bytes.len() {
            return Err("not all of it is mapped here");
        }
        self.history.write_linear(LinAddr(addr), bytes);
        if self.read_memory(addr, bytes.len()) == bytes {
            Ok(())
        } else {
            Err("it is no memory that can be written to: ROM, a device, or nothing at all")
        }
    }

    /// Writes the register of this number; an error in words.
    pub(super) fn write_register(&mut self, number: usize, bytes: &[u8]) -> Result<(), &'static str> {
        self.must_be_diverted()?;
        let mut cpu = self.history.view().cpu();
        self.layout.write(number, &mut cpu, self.history.view().moment(), bytes)?;
        self.history.write_cpu(&cpu);
        Ok(())
    }

    /// Writes the registers of a `G` packet; an error in words.
    pub(super) fn write_registers(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.must_be_diverted()?;
        let mut cpu = self.history.view().cpu();
        self.layout.write_g(&mut cpu, self.history.view().moment(), bytes)?;
        self.history.write_cpu(&cpu);
        Ok(())
    }

    fn must_be_diverted(&self) -> Result<(), &'static str> {
        self.history.diverted_from().map(|_| ()).ok_or(PAST)
    }

    /// `monitor divert`: leaves the recording here.
    pub(super) fn divert(&mut self, chips: Chips) -> Result<String, String> {
        let already = self.history.diverted_from().is_some();
        self.history.divert(chips).map_err(|e| e.to_string())?;
        let chips = match chips {
            Chips::Live => "chips work, and recorded input comes",
            Chips::Quiet => "no interrupt is taken, nothing comes from outside",
        };
        if already {
            return Ok(format!("in the diversion, {chips}\n"));
        }
        let from = self.history.position();
        Ok(format!(
            "a diversion from position {from}: write what you like and go on;\n{chips};\n\
             `monitor divert off`, any seek, and going back leave it\n"
        ))
    }

    /// `monitor divert off`: back to where the diversion began.
    pub(super) fn end_diversion(&mut self) -> Result<Stop, String> {
        let from = self.history.diverted_from().ok_or("this is no diversion; `monitor divert` begins one")?;
        let mut interrupted = self.interrupter();
        self.history.seek(from, &mut interrupted).map_err(|e| e.to_string())
    }

    /// A stop reply's text with what is to be said of the diversion that the machine is in, or was in.
    /// One that `steps_on` knows it.
    pub(super) fn diversion_note(
        &self,
        was: Option<Icount>,
        steps_on: bool,
        text: Option<String>,
    ) -> Option<String> {
        match (was, self.history.diverted_from()) {
            (Some(_), Some(_)) if steps_on => text,
            (_, Some(from)) => {
                Some(format!("{}[diversion from position {from}]\n", text.unwrap_or_default()))
            }
            (Some(_), None) => {
                Some(format!("[the diversion is left: position {}]\n", self.history.position()))
            }
            (None, None) => text,
        }
    }
}
