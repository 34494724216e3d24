//! Presses the keys of a script, at a pace that a guest can follow.

use crate::keys::Chord;
use std::collections::VecDeque;
use vm::VmTime;

/// Virtual time from one press or release to the next.
const KEY_NS: u64 = 10_000_000;

/// Keys on their way to the guest.
#[derive(Debug, Default)]
pub struct Typist {
    queue: VecDeque<(VmTime, Vec<u8>)>,
}

impl Typist {
    /// Types `chords` one after the other, beginning `now`: the keys of a chord go down in order and come up in
    /// reverse.
    pub fn type_chords(&mut self, chords: &[Chord], now: VmTime) {
        let mut at = self.queue.back().map_or(now, |(last, _)| last.plus_ns(KEY_NS));
        for chord in chords {
            let presses = chord.iter().map(|key| key.make());
            let releases = chord.iter().rev().map(|key| key.release());
            for scancode in presses.chain(releases) {
                self.queue.push_back((at, scancode));
                at = at.plus_ns(KEY_NS);
            }
        }
    }

    /// The next scan code, if its time has come (or time stands still).
    pub fn due(&mut self, now: VmTime, time_stands_still: bool) -> Option<Vec<u8>> {
        let (at, _) = self.queue.front()?;
        if *at > now && !time_stands_still {
            return None;
        }
        self.queue.pop_front().map(|(_, scancode)| scancode)
    }

    /// When the next scan code is due.
    pub fn next(&self) -> Option<VmTime> {
        self.queue.front().map(|(at, _)| *at)
    }

    /// Nothing is on its way.
    pub fn is_done(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::chord;

    #[test]
    fn a_chord_goes_down_in_order_and_comes_up_in_reverse() {
        let mut typist = Typist::default();
        typist.type_chords(&[chord("shift-a").unwrap(), chord("b").unwrap()], VmTime(5));
        let mut codes = Vec::new();
        let mut now = VmTime(5);
        while !typist.is_done() {
            codes.extend(typist.due(now, false));
            assert_eq!(typist.due(now, false), None);
            now = now.plus_ns(KEY_NS);
        }
        assert_eq!(codes.concat(), [0x2a, 0x1e, 0x9e, 0xaa, 0x30, 0xb0]);
    }

    #[test]
    fn keys_come_although_time_stands_still() {
        let mut typist = Typist::default();
        typist.type_chords(&[chord("a").unwrap()], VmTime(0));
        assert!(typist.due(VmTime(0), true).is_some());
        assert!(typist.due(VmTime(0), true).is_some());
        assert!(typist.is_done());
    }
}
