//! What decides whether a breakpoint that is met counts.

use std::fmt;
use std::rc::Rc;
use vm::LinAddr;

/// A function of the machine, standing before the instruction at the address.
type Function<M> = Rc<dyn Fn(&M, LinAddr) -> bool>;

/// The condition of a timeline's breakpoints; without one, all that are met count. It must depend on nothing but the
/// machine: it is asked about one place several times, and in any order.
pub struct Condition<M>(Option<Function<M>>);

impl<M> Condition<M> {
    /// This one.
    pub fn new(function: impl Fn(&M, LinAddr) -> bool + 'static) -> Condition<M> {
        Condition(Some(Rc::new(function)))
    }

    /// Whether all breakpoints that are met count.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the breakpoint at `addr` counts.
    pub fn holds(&self, machine: &M, addr: LinAddr) -> bool {
        self.0.as_ref().is_none_or(|function| function(machine, addr))
    }
}

impl<M> Clone for Condition<M> {
    fn clone(&self) -> Condition<M> {
        Condition(self.0.clone())
    }
}

impl<M> Default for Condition<M> {
    fn default() -> Condition<M> {
        Condition(None)
    }
}

impl<M> fmt::Debug for Condition<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Condition" } else { "None" })
    }
}
