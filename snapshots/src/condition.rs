//! What decides whether a breakpoint that is met counts.

use std::fmt;
use std::rc::Rc;
use vm::{Event, LinAddr};

/// A function of the machine, standing before the instruction at the address.
pub type AtPlace<M> = Rc<dyn Fn(&M, LinAddr) -> bool>;
/// A function of the machine, standing behind the step that did this.
type AtEvent<M> = Rc<dyn Fn(&M, &Event) -> bool>;

/// The condition of a timeline's breakpoints and traps; without one, all that are met count. It must depend on nothing but the
/// machine: it is asked about one place several times, and in any order.
pub struct Condition<M> {
    place: Option<AtPlace<M>>,
    event: Option<AtEvent<M>>,
    /// Whether it would let everything count at present.
    idle: Option<Rc<dyn Fn() -> bool>>,
}

impl<M> Condition<M> {
    /// This one, for breakpoints.
    pub fn new(function: impl Fn(&M, LinAddr) -> bool + 'static) -> Condition<M> {
        Condition { place: Some(Rc::new(function)), ..Condition::default() }
    }

    /// With one for events.
    pub fn with_events(self, function: impl Fn(&M, &Event) -> bool + 'static) -> Condition<M> {
        Condition { event: Some(Rc::new(function)), ..self }
    }

    /// With one that tells when neither would refuse anything, so that they need not be asked.
    pub fn idle_when(self, function: impl Fn() -> bool + 'static) -> Condition<M> {
        Condition { idle: Some(Rc::new(function)), ..self }
    }

    /// Whether all breakpoints that are met count.
    pub(crate) fn is_none(&self) -> bool {
        let asked = self.place.is_some() || self.event.is_some();
        !asked || self.idle.as_ref().is_some_and(|idle| idle())
    }

    /// What a machine is to ask by itself about breakpoints.
    pub(crate) fn for_machine(&self) -> Option<AtPlace<M>> {
        self.place.clone().filter(|_| !self.is_none())
    }

    /// Whether the breakpoint at `addr` counts.
    pub fn holds(&self, machine: &M, addr: LinAddr) -> bool {
        self.place.as_ref().is_none_or(|function| function(machine, addr))
    }

    /// Whether the event counts that the step before did.
    pub fn holds_behind(&self, machine: &M, event: &Event) -> bool {
        self.event.as_ref().is_none_or(|function| function(machine, event))
    }
}

impl<M> Clone for Condition<M> {
    fn clone(&self) -> Condition<M> {
        Condition { place: self.place.clone(), event: self.event.clone(), idle: self.idle.clone() }
    }
}

impl<M> Default for Condition<M> {
    fn default() -> Condition<M> {
        Condition { place: None, event: None, idle: None }
    }
}

impl<M> fmt::Debug for Condition<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.place.is_some() { "Condition" } else { "None" })
    }
}
