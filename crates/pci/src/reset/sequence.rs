// SPDX-License-Identifier: MIT OR Apache-2.0
//! A reset from beginning to end: each wait is a state, each method is verified, and where one has changed nothing the next is tried.

use super::{Methods, Reset, Saved};
use crate::address::Address;
use crate::config::{ConfigSpace, command, register};
use crate::sriov::ENABLE_MS;
use serde::{Deserialize, Serialize};

/// Milliseconds between two looks at a function that isn't ready.
pub const LOOK_MS: u64 = 100;
/// How often outstanding requests are waited for before the reset is done all the same.
pub const DRAIN_LOOKS: u8 = 10;
/// How often a function that isn't back is waited for: with the first wait more than the second that PCI Express gives it (Base 4.0,
/// section 6.6.2).
pub const RECOVERY_LOOKS: u8 = 10;

/// How far a method is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Phase {
    /// Requests that are under way come to their end.
    Draining,
    /// The first half is done: the bus is held, the function is in D3hot.
    Held,
    /// The function recovers.
    Recovering,
    /// It is back, and its virtual functions come.
    Enabling,
}

/// A reset that isn't over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sequence {
    method: Reset,
    phase: Phase,
    looks: u8,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The function must not be touched for so many milliseconds.
    Wait(u64),
    /// The function is reset, and holds what firmware had chosen; quiet.
    Done,
    /// It isn't back, or no method has changed anything.
    Failed,
}

impl Sequence {
    /// One that touches nothing yet and goes on with its first method; `None` if there is none. The function is quiet, or in a reset of which
    /// nobody knows any more how far it is.
    pub fn later(methods: &Methods) -> Option<Self> {
        Some(Self { method: methods.after(None)?, phase: Phase::Draining, looks: 0 })
    }

    /// Quiets a function and begins with its first method; `None` if it has none.
    pub fn begin<C: ConfigSpace + ?Sized>(
        space: &C,
        at: Address,
        methods: &Methods,
        saved: &Saved,
    ) -> Option<(Self, Progress)> {
        let mut sequence = Self::later(methods)?;
        // Neither new requests nor interrupts from here on.
        space.write16(at, register::COMMAND, command::INTX_DISABLE);
        let progress = sequence.go_on(space, at, methods, saved);
        Some((sequence, progress))
    }

    /// Goes on after a wait.
    pub fn go_on<C: ConfigSpace + ?Sized>(
        &mut self,
        space: &C,
        at: Address,
        methods: &Methods,
        saved: &Saved,
    ) -> Progress {
        match self.phase {
            Phase::Draining if saved.has_pending(space, at) && self.looks < DRAIN_LOOKS => {
                self.looks += 1;
                Progress::Wait(LOOK_MS)
            }
            Phase::Draining => {
                let (wait, held) = self.method.start(space, at);
                *self = Self { phase: if held { Phase::Held } else { Phase::Recovering }, looks: 0, ..*self };
                Progress::Wait(wait)
            }
            Phase::Held => {
                self.phase = Phase::Recovering;
                Progress::Wait(self.method.release(space, at))
            }
            Phase::Recovering => self.recover(space, at, methods, saved),
            Phase::Enabling => {
                let absent = saved.virtuals().and_then(|virtuals| virtuals.absent(space, at));
                match absent {
                    None => Progress::Done,
                    Some(_) if self.looks < RECOVERY_LOOKS => {
                        self.looks += 1;
                        Progress::Wait(LOOK_MS)
                    }
                    Some(_) => Progress::Failed,
                }
            }
        }
    }

    fn recover<C: ConfigSpace + ?Sized>(
        &mut self,
        space: &C,
        at: Address,
        methods: &Methods,
        saved: &Saved,
    ) -> Progress {
        let present = saved.is_present(space, at);
        if present && !saved.survived(space, at) {
            saved.restore(space, at);
            if saved.is_back(space, at) {
                let Some(virtuals) = saved.virtuals() else { return Progress::Done };
                virtuals.enable(space, at);
                *self = Self { phase: Phase::Enabling, looks: 0, ..*self };
                return Progress::Wait(ENABLE_MS);
            }
        } else if !present && self.looks < RECOVERY_LOOKS {
            self.looks += 1;
            return Progress::Wait(LOOK_MS);
        }
        // Nothing has changed, or too much: the next method.
        let Some(method) = methods.after(Some(self.method)) else { return Progress::Failed };
        *self = Self { method, phase: Phase::Draining, looks: 0 };
        space.write16(at, register::COMMAND, command::INTX_DISABLE);
        self.go_on(space, at, methods, saved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::id;
    use crate::testing::Machine;

    const BAR: u32 = 0xfeb0_0000;

    /// A function with all four methods, behind a bridge.
    fn machine() -> (Machine, Address, Methods) {
        let machine = Machine::new();
        let bridge = machine.bridge("00:04.0", 1, 1);
        machine.writable32(bridge, 0x3c, 0xffff_0000);
        let at = machine.endpoint("01:00.0", 0x8086, 0x10d3);
        machine.bar(at, 0, 0, BAR.into(), 0x2_0000);
        machine.capabilities(at, &[(0x40, id::EXPRESS), (0x80, id::ADVANCED_FEATURES), (0x90, id::POWER)]);
        machine.set32(at, 0x44, 1 << 28);
        machine.set8(at, 0x83, 3);
        machine.writable32(at, 0x48, 0x7fff);
        machine.writable32(at, 0x94, 3);
        machine.writable32(at, 4, 0x407);
        let methods = Methods { bus: Some(bridge), ..Methods::read(&machine, at) };
        machine.writes.borrow_mut().clear();
        (machine, at, methods)
    }

    /// Runs to the end, with what `meanwhile` does at each wait; the waits and the end.
    fn run(
        machine: &Machine,
        at: Address,
        methods: &Methods,
        saved: &Saved,
        mut meanwhile: impl FnMut(usize),
    ) -> (std::vec::Vec<u64>, Progress) {
        let (mut sequence, mut progress) = Sequence::begin(machine, at, methods, saved).unwrap();
        let mut waits = std::vec::Vec::new();
        while let Progress::Wait(milliseconds) = progress {
            waits.push(milliseconds);
            meanwhile(waits.len());
            progress = sequence.go_on(machine, at, methods, saved);
            assert!(waits.len() < 100, "it ends");
        }
        (waits, progress)
    }

    /// As after a reset.
    fn clear(machine: &Machine, at: Address) {
        machine.set16(at, register::COMMAND, 0);
        machine.set32(at, 0x10, 0);
    }

    #[test]
    fn the_first_method_that_works_is_the_only_one() {
        let (machine, at, methods) = machine();
        let saved = Saved::read(&machine, at);
        let (waits, end) = run(&machine, at, &methods, &saved, |_| clear(&machine, at));
        assert_eq!((waits.as_slice(), end), ([100].as_slice(), Progress::Done));
        assert_eq!(machine.read32(at, 0x10), BAR);
        assert_eq!(machine.read16(at, register::COMMAND), command::INTX_DISABLE);
        let writes = machine.writes.borrow();
        assert_eq!((writes[0].1, writes[0].3), (register::COMMAND, 0x400), "quiet before anything else");
        assert_eq!((writes[1].1, writes[1].3), (0x48, 0x8000));
        assert!(writes.iter().all(|write| write.1 != 0x84 && write.1 != 0x94 && write.1 != 0x3e));
    }

    #[test]
    fn what_changes_nothing_is_followed_by_the_next_one() {
        // After how many waits the function is reset: by AF, by D3hot and back, by the bus.
        for (after, waits) in
            [(2, &[100, 100][..]), (4, &[100, 100, 10, 10]), (6, &[100, 100, 10, 10, 1, 100])]
        {
            let (machine, at, methods) = machine();
            let saved = Saved::read(&machine, at);
            let found = run(&machine, at, &methods, &saved, |n| {
                if n == after {
                    clear(&machine, at);
                }
            });
            assert_eq!(found, (waits.to_vec(), Progress::Done), "{after}");
            let bridge = methods.bus.unwrap();
            assert_eq!(machine.read16(bridge, register::BRIDGE_CONTROL), 0, "no bus is held");
            assert_eq!(machine.read8(at, 0x94) & 3, 0, "it is in D0");
        }
    }

    #[test]
    fn a_function_that_no_method_changes_is_not_reset() {
        let (machine, at, methods) = machine();
        let saved = Saved::read(&machine, at);
        let (waits, end) = run(&machine, at, &methods, &saved, |_| {});
        assert_eq!((waits.len(), end), (6, Progress::Failed));
        // One register that survives is enough.
        for residue in [false, true] {
            let (machine, at, methods) = self::machine();
            let saved = Saved::read(&machine, at);
            let found = run(&machine, at, &methods, &saved, |_| {
                clear(&machine, at);
                if residue {
                    machine.set16(at, register::COMMAND, command::INTX_DISABLE);
                } else {
                    machine.set32(at, 0x10, BAR);
                }
            });
            assert_eq!(found.1, Progress::Failed);
        }
        assert_eq!(Sequence::begin(&machine, at, &Methods::default(), &saved), None);
    }

    #[test]
    fn outstanding_requests_are_waited_for_but_not_for_ever() {
        const PENDING: u16 = 1 << 5;
        let (machine, at, methods) = machine();
        let saved = Saved::read(&machine, at);
        machine.set16(at, 0x4a, PENDING);
        let (waits, end) = run(&machine, at, &methods, &saved, |n| match n {
            3 => machine.set16(at, 0x4a, 0),
            4 => clear(&machine, at),
            _ => assert!(machine.writes.borrow().iter().all(|write| write.1 != 0x48), "no reset yet"),
        });
        assert_eq!((waits, end), (std::vec![100; 4], Progress::Done));

        let (machine, at, methods) = self::machine();
        machine.set16(at, 0x4a, PENDING);
        let (waits, end) = run(&machine, at, &methods, &saved, |n| {
            if n == usize::from(DRAIN_LOOKS) + 1 {
                clear(&machine, at);
            }
        });
        assert_eq!((waits.len(), end), (usize::from(DRAIN_LOOKS) + 1, Progress::Done));
    }

    #[test]
    fn a_function_that_is_slow_is_waited_for_and_one_that_is_gone_is_given_up() {
        let (machine, at, methods) = machine();
        let saved = Saved::read(&machine, at);
        let ids = machine.read32(at, 0);
        // Configuration Request Retry Status shows as vendor 1 (PCI Express Base 4.0, section 2.3.2).
        let (waits, end) = run(&machine, at, &methods, &saved, |n| {
            clear(&machine, at);
            machine.set32(at, 0, if n < 8 { 0xffff_0001 } else { ids });
        });
        assert_eq!((waits, end), (std::vec![100; 8], Progress::Done));

        machine.remove(at);
        let (waits, end) = run(&machine, at, &methods, &saved, |_| {});
        assert_eq!(end, Progress::Failed);
        assert!(waits.iter().sum::<u64>() < 6000, "and that within seconds: {waits:?}");
    }
}
