//! Helpers of a long search: machines of their own, each in a thread, that run through other parts of the recording meanwhile.
//!
//! The parts are numbered from late to early. What is found in one counts only when nothing was found in those before it, so the
//! answer is that of a search by one machine, whoever is faster.

use super::checkpoints::Checkpoint;
use super::search::{Hit, Search};
use super::{Timeline, Watches};
use crate::Replayer;
use crate::recording::{Error, Recording};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vm::{Icount, LinAddr};

/// Which part of the memory budget helpers may take: one in so many.
const SHARE: usize = 4;
/// Parts that are known in advance for each that searches.
const AHEAD: usize = 2;
/// How long is waited before one looks again.
const PATIENCE: Duration = Duration::from_millis(1);

/// Steps from `from` to before `to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) from: Icount,
    pub(super) to: Icount,
}

/// What is looked for.
#[derive(Debug)]
struct Quest {
    breakpoints: BTreeSet<LinAddr>,
    watches: Watches,
    worth_a_wire: u64,
    /// Nobody wants to know any more.
    over: AtomicBool,
}

#[derive(Debug)]
struct Job {
    quest: Arc<Quest>,
    number: usize,
    part: Part,
}

/// What came of a part.
#[derive(Debug)]
enum Outcome {
    /// The last stop, and a checkpoint shortly before it.
    Found(Hit, Option<Checkpoint>),
    Nothing,
    /// It was not searched to its end.
    Given,
    Failed(Error),
}

#[derive(Debug)]
struct Done {
    helper: usize,
    quest: Arc<Quest>,
    number: usize,
    outcome: Outcome,
}

#[derive(Debug)]
struct Helper {
    jobs: Sender<Job>,
    busy: bool,
    /// Ends when `jobs` is dropped, and not before.
    thread: JoinHandle<()>,
}

/// The helpers. Their threads end when it is dropped.
#[derive(Debug)]
pub(super) struct Crew {
    helpers: Vec<Helper>,
    done: Receiver<Done>,
}

impl Crew {
    /// How many helpers a budget of so many bytes is enough for, and what each may take beside the guest's memory.
    pub(super) fn afford(jobs: usize, budget: usize, ram: usize) -> Option<(usize, usize)> {
        let share = budget / SHARE;
        let count = jobs.saturating_sub(1).min(share / ram.saturating_mul(2).max(1));
        (count > 0).then(|| (count, share / count - ram))
    }

    /// What is left of a budget for the timeline that has helpers.
    pub(super) fn rest(budget: usize) -> usize {
        budget - budget / SHARE
    }

    /// So many machines that follow `recording`, each with a budget of so many bytes for its checkpoints.
    pub(super) fn start<M: Replayer>(recording: &Arc<Recording>, count: usize, budget: usize) -> Crew {
        let (send, done) = channel();
        let start = |helper| {
            let (jobs, receive) = channel();
            let (recording, send) = (recording.clone(), send.clone());
            let thread = thread::spawn(move || help::<M>(helper, recording, budget, &receive, &send));
            Helper { jobs, busy: false, thread }
        };
        Crew { helpers: (0..count).map(start).collect(), done }
    }

    /// What was done for `quest`. Nobody has waited for those who were still at another one when that was over.
    fn take(&mut self, quest: &Arc<Quest>) -> Option<Done> {
        loop {
            let done = self.done.try_recv().ok()?;
            self.helpers[done.helper].busy = false;
            if Arc::ptr_eq(&done.quest, quest) {
                return Some(done);
            }
        }
    }

    /// A helper that panicked takes the search with it, as it would have without helpers.
    fn mind_panics(&mut self) {
        while let Some(dead) = self.helpers.iter().position(|helper| helper.thread.is_finished()) {
            if let Err(panic) = self.helpers.swap_remove(dead).thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

/// What a helper does until its crew is gone.
fn help<M: Replayer>(
    helper: usize,
    recording: Arc<Recording>,
    budget: usize,
    jobs: &Receiver<Job>,
    done: &Sender<Done>,
) {
    let mut timeline: Option<Timeline<M>> = None;
    for Job { quest, number, part } in jobs {
        let outcome = match &mut timeline {
            Some(timeline) => search(timeline, &quest, part),
            none => match Timeline::on(recording.clone()) {
                Ok(new) => {
                    let timeline = none.insert(new);
                    timeline.set_memory_budget(budget);
                    search(timeline, &quest, part)
                }
                Err(error) => Outcome::Failed(error),
            },
        };
        if done.send(Done { helper, quest, number, outcome }).is_err() {
            return;
        }
    }
}

fn search<M: Replayer>(timeline: &mut Timeline<M>, quest: &Quest, part: Part) -> Outcome {
    timeline.breakpoints.clone_from(&quest.breakpoints);
    timeline.watches.clone_from(&quest.watches);
    timeline.worth_a_wire = quest.worth_a_wire;
    match timeline.last_in(part.from, part.to, &mut || quest.over.load(Ordering::Relaxed)) {
        Ok(Search::Found(hit)) => {
            let checkpoint = timeline.checkpoints.in_memory_before(hit.position);
            Outcome::Found(hit, checkpoint)
        }
        Ok(Search::Nothing) => Outcome::Nothing,
        Ok(Search::Interrupted) => Outcome::Given,
        Err(error) => Outcome::Failed(error),
    }
}

/// One search by all.
struct Hunt<'a> {
    crew: &'a mut Crew,
    quest: Arc<Quest>,
    /// Parts that nobody has begun with, with their numbers.
    ready: VecDeque<(usize, Part)>,
    /// The others in order, and what came of them.
    begun: BTreeMap<usize, Begun>,
}

/// A part that somebody has begun with.
struct Begun {
    part: Part,
    /// `None` while somebody is at it.
    outcome: Option<Outcome>,
}

impl Hunt<'_> {
    /// Takes in what the helpers have done, and gives them more to do.
    fn manage(&mut self) {
        self.crew.mind_panics();
        while let Some(done) = self.crew.take(&self.quest) {
            self.end(done.number, done.outcome);
        }
        for helper in self.crew.helpers.iter_mut().filter(|helper| !helper.busy) {
            let Some((number, part)) = self.ready.pop_front() else { return };
            self.begun.insert(number, Begun { part, outcome: None });
            helper.busy = true;
            let quest = self.quest.clone();
            // It fails only if the thread has panicked.
            let _ = helper.jobs.send(Job { quest, number, part });
        }
    }

    /// This came of part `number`.
    fn end(&mut self, number: usize, outcome: Outcome) {
        if let Some(begun) = self.begun.get_mut(&number) {
            begun.outcome = Some(outcome);
        }
    }

    /// Whether something was found before part `number`.
    fn is_idle_work(&self, number: usize) -> bool {
        let ends = |begun: &Begun| matches!(begun.outcome, Some(Outcome::Found(..) | Outcome::Failed(_)));
        self.begun.range(..number).any(|(_, begun)| ends(begun))
    }

    /// Takes the first part that was begun, if it is done.
    fn take_first(&mut self) -> Option<(Part, Outcome)> {
        let first = self.begun.first_entry().filter(|first| first.get().outcome.is_some())?.remove();
        Some((first.part, first.outcome?))
    }
}

impl<M: Replayer> Timeline<M> {
    /// The last stop at or after `low` and before `high`, by this machine and its helpers; `None` if there is too little to do for
    /// them, or no helper.
    pub(super) fn search_back_together(
        &mut self,
        low: Icount,
        high: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Search>, Error> {
        if self.jobs < 2 || !self.traps.is_empty() || !self.session.condition().is_none() {
            return Ok(None);
        }
        let mut high = high;
        let mut ready = VecDeque::new();
        let mut count = 0;
        self.parts_ahead(low, &mut high, &mut ready, &mut count, self.jobs + 1)?;
        if ready.len() <= self.jobs {
            return Ok(None);
        }
        let Some(mut crew) = self.crew.take().or_else(|| self.hire()) else { return Ok(None) };
        let quest = Quest {
            breakpoints: self.breakpoints.clone(),
            watches: self.watches.clone(),
            worth_a_wire: self.worth_a_wire,
            over: AtomicBool::new(false),
        };
        let mut hunt = Hunt { crew: &mut crew, quest: Arc::new(quest), ready, begun: BTreeMap::new() };
        let found = self.hunt(&mut hunt, low, &mut high, &mut count, interrupted);
        hunt.quest.over.store(true, Ordering::Relaxed);
        self.crew = Some(crew);
        found.map(Some)
    }

    fn hunt(
        &mut self,
        hunt: &mut Hunt,
        low: Icount,
        high: &mut Icount,
        count: &mut usize,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Search, Error> {
        loop {
            self.parts_ahead(low, high, &mut hunt.ready, count, self.jobs * AHEAD)?;
            // What comes first is for this machine, which has not to be waited for.
            let mine = hunt.ready.pop_front();
            if let Some((number, part)) = mine {
                hunt.begun.insert(number, Begun { part, outcome: None });
            }
            hunt.manage();
            if let Some((number, part)) = mine {
                let mut stopped = false;
                let result = self.last_in(part.from, part.to, &mut || {
                    stopped |= interrupted();
                    hunt.manage();
                    stopped || hunt.is_idle_work(number)
                });
                let outcome = match result {
                    _ if stopped => return Ok(Search::Interrupted),
                    Ok(Search::Found(hit)) => Outcome::Found(hit, None),
                    Ok(Search::Nothing) => Outcome::Nothing,
                    Ok(Search::Interrupted) => Outcome::Given,
                    Err(error) => Outcome::Failed(error),
                };
                hunt.end(number, outcome);
            } else {
                if hunt.begun.is_empty() {
                    return Ok(Search::Nothing);
                }
                if interrupted() {
                    return Ok(Search::Interrupted);
                }
                thread::sleep(PATIENCE);
            }
            hunt.manage();
            while let Some((part, outcome)) = hunt.take_first() {
                match outcome {
                    Outcome::Found(hit, checkpoint) => {
                        checkpoint.into_iter().for_each(|c| self.checkpoints.add(c));
                        return Ok(Search::Found(hit));
                    }
                    Outcome::Failed(error) => return Err(error),
                    Outcome::Nothing => self.note_unmet(part.from, part.to),
                    // Only when the search is over.
                    Outcome::Given => return Ok(Search::Interrupted),
                }
            }
        }
    }

    /// Finds parts from late to early that may have a stop, until so many are ready.
    fn parts_ahead(
        &mut self,
        low: Icount,
        high: &mut Icount,
        ready: &mut VecDeque<(usize, Part)>,
        count: &mut usize,
        enough: usize,
    ) -> Result<(), Error> {
        while ready.len() < enough && *high > low {
            let before = Icount(high.0 - 1);
            if let Some(barren) = self.barren(before)? {
                *high = barren.from.max(low);
                continue;
            }
            let from = self.checkpoints.stored_before(before).max(low);
            ready.push_back((*count, Part { from, to: *high }));
            *count += 1;
            *high = from;
        }
        Ok(())
    }

    /// Helpers, if there may be any.
    fn hire(&mut self) -> Option<Crew> {
        // Of disks there is only what was written.
        let ram = usize::try_from(self.recording().config().ram_bytes).ok()?;
        let (count, budget) = Crew::afford(self.jobs, self.budget, ram)?;
        self.share_budget(Crew::rest(self.budget));
        Some(Crew::start::<M>(self.session.recording(), count, budget))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_and_their_machines_fit_into_a_quarter_of_the_budget() {
        assert_eq!(Crew::afford(1, 1 << 30, 128 << 20), None);
        assert_eq!(Crew::afford(2, 1 << 30, 128 << 20), Some((1, 128 << 20)));
        assert_eq!(Crew::afford(8, 1 << 30, 128 << 20), Some((1, 128 << 20)));
        assert_eq!(Crew::afford(2, 1 << 30, 129 << 20), None);
        assert_eq!(Crew::afford(4, 1 << 30, 32 << 20), Some((3, (256 << 20) / 3 - (32 << 20))));
        assert_eq!(Crew::afford(2, 0, 0), None);
        assert_eq!(Crew::rest(1 << 30), 768 << 20);
    }
}
