// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling contexts: the right to a budget of CPU time in every period. Times are in ticks of the time-stamp counter.
//!
//! The time is dealt out in refills. The current one is being used up; of the others it is known when they become usable. What is used of a
//! refill comes back as a new one, a period after its use began, so at all times budget = remaining + used + to come.
//!
//! So in no stretch of a period is more used than the budget, wherever the stretch begins: the use of what is left begins anew each time that the processor
//! comes to the context. Of a sporadic one it begins anew when its thread wakes up, and not when it was interrupted: what others took of its time stays usable.
//!
//! What was used beyond the last tick, since an interrupt comes late, is owed: the next refill comes later by that, and is smaller.
//!
//! The refills to come are as many as there is room for, each for a part of the period: what would come back in the same part is joined, and comes as late
//! as the last of it.

use core::cell::Cell;

use sel4_abi::object::REFILL_BYTES;
use sel4_abi::sched::FLAG_SPORADIC;

use super::notification::Notification;
use super::reply::Reply;
use super::tcb::Tcb;
use crate::arch;
use crate::ptr::Ptr;

/// Refills beyond the first one to come that are kept apart, however much room there is: all may have to be looked at in one step.
const MOST_EXTRA_REFILLS: u64 = 15;

/// A scheduling context; 128 bytes, and room for refills behind them.
#[repr(C)]
pub struct SchedContext {
    /// Ticks in every period; 0 while not configured.
    pub budget: Cell<u64>,
    /// Period in ticks; equal to the budget means round robin.
    pub period: Cell<u64>,
    /// Ticks left of the current refill; 0 while waiting for the next one.
    pub remaining: Cell<u64>,
    /// When the use of the current refill began; while waiting, when the next one becomes usable.
    pub refilled_at: Cell<u64>,
    /// Ticks used since last asked.
    pub consumed: Cell<u64>,
    /// Badge of timeout faults.
    pub badge: Cell<u64>,
    /// The thread that runs on it.
    pub tcb: Cell<Option<Ptr<Tcb>>>,
    /// Head of the stack of calls through which it was donated.
    pub reply: Cell<Option<Ptr<Reply>>>,
    /// The notification that it is bound to.
    pub notification: Cell<Option<Ptr<Notification>>>,
    /// The thread whose `YieldTo` ends when it runs again.
    pub yield_from: Cell<Option<Ptr<Tcb>>>,
    /// `sel4_abi::sched::FLAG_SPORADIC`.
    pub flags: Cell<u8>,
    /// Number of the processor on which it gives time.
    pub core: Cell<u8>,
    /// There is an end to its time: it isn't round robin.
    limited: Cell<bool>,
    /// Ticks that were used beyond the last refill.
    owed: Cell<u32>,
    /// Ticks of the refills to come.
    to_come: Cell<u64>,
    /// Refills to come: the place of the first one, and how many there are.
    ring: Cell<(u32, u32)>,
    /// Refills beyond the two that every scheduling context has.
    extra_refills: Cell<u64>,
    /// The ring's first place. The others are behind the structure.
    first: Refill,
}

/// Time that becomes usable.
#[repr(C)]
struct Refill {
    at: Cell<u64>,
    ticks: Cell<u64>,
}

const _: () = assert!(core::mem::size_of::<Refill>() == REFILL_BYTES);
const _: () = assert!(
    core::mem::offset_of!(SchedContext, first) + REFILL_BYTES == core::mem::size_of::<SchedContext>()
);
const _: () = assert!(core::mem::size_of::<SchedContext>() == sel4_abi::object::SCHED_CONTEXT_CORE_BYTES);

impl SchedContext {
    /// True when it has been configured, so that a thread can run on it.
    pub fn is_active(&self) -> bool {
        self.budget.get() != 0
    }
    /// True when a thread could run on it at `now`.
    pub fn is_released(&self, now: u64) -> bool {
        self.is_active() && (self.remaining.get() != 0 || self.refilled_at.get() <= now)
    }
    /// True when exhausting the budget only costs the thread its turn.
    pub fn is_round_robin(&self) -> bool {
        !self.limited.get()
    }

    /// Microseconds used since last asked.
    pub fn take_consumed_us(&self) -> u64 {
        self.consumed.replace(0) / arch::ticks_per_us()
    }

    /// See the module's page.
    #[inline]
    pub fn is_sporadic(&self) -> bool {
        u64::from(self.flags.get()) & FLAG_SPORADIC != 0
    }

    /// Gives it a budget, all of it usable from `now`. The object has room for `extra` refills behind the structure.
    pub fn configure(&self, budget: u64, period: u64, extra: u64, now: u64) {
        self.budget.set(budget);
        self.period.set(period);
        self.remaining.set(budget);
        self.refilled_at.set(now);
        self.extra_refills.set(extra.min(MOST_EXTRA_REFILLS));
        self.limited.set(budget != period);
        self.owed.set(0);
        self.to_come.set(0);
        self.ring.set((0, 0));
    }

    /// After the last tick was used, or given up: what was used of the current refill comes back later, and what is due by `now` becomes the
    /// current refill. False if nothing is due.
    #[inline]
    pub fn refill(&self, now: u64) -> bool {
        if self.is_round_robin() {
            self.remaining.set(self.budget.get());
            self.refilled_at.set(now);
            return true;
        }
        self.refill_from_ring(now)
    }

    #[inline(never)]
    fn refill_from_ring(&self, now: u64) -> bool {
        self.remaining.set(0);
        self.bring_back_used();
        // What is owed is at most the budget, all of which is to come.
        while let Some(next) = self.next()
            && next.ticks.get() <= u64::from(self.owed.get())
        {
            let (at, ticks) = (next.at.get(), self.take_next());
            self.owed.set(self.owed.get() - ticks as u32);
            self.add(at.saturating_add(self.period.get()), ticks);
        }
        let ready = self.take_due(now);
        self.refilled_at.set(if ready { now } else { self.next_at().unwrap_or(now) });
        ready
    }

    /// The processor comes to it, or, if it is sporadic, its thread wakes up: the use of what is left begins anew.
    #[inline(never)]
    pub fn resume(&self, now: u64) {
        if self.remaining.get() != 0 && !self.is_round_robin() {
            self.bring_back_used();
            self.take_due(now);
            self.refilled_at.set(now.max(self.refilled_at.get()));
        }
    }

    /// Charges `used` ticks, if they are left.
    #[inline(always)]
    pub fn charge(&self, used: u64) -> bool {
        let Some(left) = self.remaining.get().checked_sub(used) else { return false };
        self.remaining.set(left);
        self.consumed.set(self.consumed.get().wrapping_add(used));
        true
    }

    /// Charges `used` ticks, more than are left.
    #[cold]
    #[inline(never)]
    pub fn overrun(&self, used: u64) {
        self.consumed.set(self.consumed.get().wrapping_add(used));
        let beyond = used - self.remaining.replace(0);
        if !self.is_round_robin() {
            let owed = self.budget.get().min(u64::from(self.owed.get()).saturating_add(beyond));
            self.owed.set(u32::try_from(owed).unwrap_or(u32::MAX));
        }
    }

    /// Takes what is due by `now` into the current refill. Whether something was.
    fn take_due(&self, now: u64) -> bool {
        let before = self.remaining.get();
        while self.next_at().is_some_and(|at| at <= now) {
            self.remaining.set(self.remaining.get() + self.take_next() - u64::from(self.owed.replace(0)));
        }
        self.remaining.get() != before
    }

    /// What was used of the current refill becomes a refill to come.
    fn bring_back_used(&self) {
        let used = self.budget.get().saturating_sub(self.remaining.get() + self.to_come.get());
        if used != 0 {
            self.add(self.refilled_at.get().saturating_add(self.period.get()), used);
        }
    }

    /// Adds a refill to those to come.
    fn add(&self, at: u64, ticks: u64) {
        let (start, count) = self.ring.get();
        let places = self.extra_refills.get() + 1;
        let part = self.period.get() / places + 1;
        self.to_come.set(self.to_come.get() + ticks);
        if count != 0 {
            let last = self.place(count - 1);
            if u64::from(count) == places || at / part == last.at.get() / part {
                last.at.set(last.at.get().max(at));
                last.ticks.set(last.ticks.get() + ticks);
                return;
            }
        }
        self.ring.set((start, count + 1));
        let last = self.place(count);
        last.at.set(at);
        last.ticks.set(ticks);
    }

    /// When the next refill becomes usable.
    fn next_at(&self) -> Option<u64> {
        self.next().map(|next| next.at.get().saturating_add(u64::from(self.owed.get())))
    }

    /// How many refills are to come.
    pub fn refills_to_come(&self) -> u64 {
        self.ring.get().1.into()
    }

    fn next(&self) -> Option<Ptr<Refill>> {
        (self.ring.get().1 != 0).then(|| self.place(0))
    }

    /// Takes the next refill off the ring; gives its ticks.
    fn take_next(&self) -> u64 {
        let ticks = self.place(0).ticks.get();
        let (start, count) = self.ring.get();
        let places = self.extra_refills.get() as u32 + 1;
        self.ring.set(((start + 1) % places, count - 1));
        self.to_come.set(self.to_come.get() - ticks);
        ticks
    }

    /// Refill `n` of those to come.
    fn place(&self, n: u32) -> Ptr<Refill> {
        let index = (u64::from(self.ring.get().0) + u64::from(n)) % (self.extra_refills.get() + 1);
        let first = &raw const self.first as u64;
        // SAFETY: `first` is the end of the structure, and by `configure` there are `extra_refills` more behind it in the object's memory,
        // which is all zeros at the beginning.
        unsafe { Ptr::from_addr(first + index * REFILL_BYTES as u64).unwrap_unchecked() }
    }
}

#[cfg(test)]
#[path = "sched_context_tests.rs"]
mod tests;
