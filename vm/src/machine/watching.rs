//! Accesses to watched memory.

use super::{Core, effort};
use crate::trap::Event;
use crate::units::Icount;
use crate::watch::Noted;

impl Core {
    /// Whether a watched range was met during the step at `pos`.
    pub(super) fn note_watch(&mut self, pos: u64) {
        let Some(hit) = self.cpu.mem.take_watch_hit() else { return };
        if let Some(noted) = &mut self.noted {
            let value = self.cpu.mem.watched_value();
            match noted.last_mut().filter(|last| last.position.0 == pos) {
                Some(last) => last.value = value,
                None => noted.push(Noted { position: Icount(pos), hit, value }),
            }
        } else if self.watch.is_none() {
            self.watch = Some((pos, hit));
            self.leave_soon();
        }
    }

    /// A port was accessed by the step at `pos`.
    pub(super) fn note_port_event(&mut self, pos: u64, event: Event) {
        self.cpu.mem.note_event(event);
        self.note_watch(pos);
    }

    /// A store to a page of RAM whose stores are done here: it is watched, or a page table. False: it is not done, as it
    /// hits what follows in the running block, which must end before it.
    pub(super) fn watched_store(&mut self, at: u64, bytes: &[u8]) -> bool {
        if self.cpu.hits_running_block(at, bytes.len() as u64) {
            self.cpu.engine.sync_rip();
            if let Some(index) = self.cpu.index_of(self.cpu.env.linear_pc()) {
                self.cpu.mend_flags();
                self.cpu.cut_mmx(index);
                self.cpu.pos = self.cpu.current.start + index;
                self.undo_digest(self.cpu.pos);
                self.cpu.current.insns = 0;
                self.cpu.engine.limit_next_block(1);
                self.cpu.single = true;
                self.update_soft_limit();
                return false;
            }
        }
        self.cpu.mem.store(at, bytes);
        self.note_watch_by_engine();
        self.cpu.drop_stale();
        true
    }

    /// A load from a page of RAM whose loads are watched.
    pub(super) fn watched_load(&mut self, at: u64, size: u8) -> u64 {
        let mut bytes = [0; 8];
        self.cpu.mem.watched_load(at, &mut bytes[..usize::from(size.min(8))]);
        self.note_watch_by_engine();
        u64::from_le_bytes(bytes)
    }

    /// After an access that was done here for the engine.
    pub(super) fn note_watch_by_engine(&mut self) {
        self.takes(effort::ACCESS);
        if self.cpu.mem.has_watch_hit() {
            self.cpu.engine.sync_rip();
            let pos = self.cpu.position_here();
            self.note_watch(pos);
        }
    }
}
