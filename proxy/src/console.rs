//! `retrograde console`: the guest's output, made again by replaying.

use crate::cli::ConsoleArgs;
use crate::open;
use crate::place::Place;
use anyhow::Result;
use snapshots::{Error, Recording, Stop, Timeline};
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use vm::{Icount, Output, SERIAL_PORTS, VmTime};

/// Steps that are replayed between two looks at the output and the clock.
const SLICE_STEPS: u64 = 100_000;

/// A line longer than this is shown in parts.
const LINE_MAX_BYTES: usize = 64 << 10;

/// Replays `recording` from `start` to `end` and hands out what the guest wrote, in order, with its position and virtual time. Ends
/// early when `sink` says false, or `interrupted`, which is asked again and again, true.
pub fn follow(
    recording: &Arc<Recording>,
    start: Icount,
    end: Icount,
    sink: &mut dyn FnMut(Icount, VmTime, Output) -> bool,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<(), Error> {
    let mut timeline = Timeline::new(Arc::clone(recording))?;
    if timeline.seek(start, interrupted)? == Stop::Interrupted {
        return Ok(());
    }
    let mut session = timeline.into_session();
    session.keep_output();
    loop {
        let here = session.position();
        if here < end {
            session.run_to(Icount(here.0.saturating_add(SLICE_STEPS)).min(end))?;
        } else if end == recording.end() {
            session.run_out()?;
        }
        for (position, output) in session.take_output() {
            if !sink(position, recording.time_at(position)?, output) {
                return Ok(());
            }
        }
        if here >= end || interrupted() {
            return Ok(());
        }
    }
}

/// Runs the subcommand; the exit status.
pub fn run(args: &ConsoleArgs) -> Result<u8> {
    let (_, recording) = open::recording(&args.file, &args.media)?;
    let last = recording.end();
    let (end, time) = match args.at {
        Place::TimeNs(ns) => (last, Some(VmTime(ns))),
        place => {
            let position = place.position(last, open::bounds(&recording), &mut |at| recording.time_at(at))?;
            (position.unwrap_or(last), None)
        }
    };
    let mut lines = Lines::new(std::io::stdout().lock());
    let mut broken = None;
    follow(
        &recording,
        recording.start(),
        end,
        &mut |position, now, output| {
            if time.is_some_and(|limit| now > limit) {
                return false;
            }
            let (channel, byte) = match output {
                Output::Serial { port, byte } if !args.debugcon => (usize::from(port), byte),
                Output::Debugcon { byte, .. } if args.debugcon => (0, byte),
                _ => return true,
            };
            match lines.push(channel, byte, position, now) {
                Ok(()) => true,
                Err(e) => {
                    broken = Some(e);
                    false
                }
            }
        },
        &mut || false,
    )?;
    if let Some(e) = broken.or_else(|| lines.finish().err()) {
        // Whoever reads us (`head`) has had enough.
        if e.kind() != ErrorKind::BrokenPipe {
            return Err(e.into());
        }
    }
    Ok(0)
}

/// Collects bytes to lines, one for each port, and writes each with the position and time of its first byte.
struct Lines<W: Write> {
    out: W,
    open: Vec<Option<(Icount, VmTime, Vec<u8>)>>,
}

impl<W: Write> Lines<W> {
    fn new(out: W) -> Lines<W> {
        Lines { out, open: Vec::new() }
    }

    fn push(&mut self, channel: usize, byte: u8, position: Icount, now: VmTime) -> std::io::Result<()> {
        if self.open.len() <= channel {
            self.open.resize(channel + 1, None);
        }
        let line = self.open[channel].get_or_insert_with(|| (position, now, Vec::new()));
        if byte != b'\n' {
            line.2.push(byte);
        }
        if byte == b'\n' || line.2.len() >= LINE_MAX_BYTES {
            return self.end_line(channel);
        }
        Ok(())
    }

    fn end_line(&mut self, channel: usize) -> std::io::Result<()> {
        let Some((position, now, mut bytes)) = self.open[channel].take() else { return Ok(()) };
        while bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let port = if self.open.len() > 1 { format!("{} ", port_name(channel)) } else { String::new() };
        write!(self.out, "{position:>12} {:>14}  {port}", seconds(now))?;
        self.out.write_all(&bytes)?;
        self.out.write_all(b"\n")
    }

    fn finish(&mut self) -> std::io::Result<()> {
        for channel in 0..self.open.len() {
            self.end_line(channel)?;
        }
        self.out.flush()
    }
}

/// What a serial port is called: hvc0 is what Linux calls the first on a card.
fn port_name(port: usize) -> String {
    match port.checked_sub(SERIAL_PORTS.into()) {
        None => format!("COM{}", port + 1),
        Some(console) => format!("hvc{console}"),
    }
}

fn seconds(time: VmTime) -> String {
    format!("{}.{:06}", time.0 / 1_000_000_000, time.0 % 1_000_000_000 / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_the_position_and_time_of_their_first_byte() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        for (index, byte) in (0..).zip(*b"ab\r\ncd") {
            lines.push(0, byte, Icount(100 + index), VmTime(1_500_000_000 + index)).unwrap();
        }
        lines.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "         100       1.500000  ab\n         104       1.500000  cd\n");
    }

    #[test]
    fn an_endless_line_is_shown_in_parts() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        for _ in 0..LINE_MAX_BYTES * 2 {
            lines.push(0, b'a', Icount(0), VmTime(0)).unwrap();
        }
        lines.finish().unwrap();
        assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 2);
    }
}
