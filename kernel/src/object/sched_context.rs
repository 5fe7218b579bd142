// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling contexts: the right to a budget of CPU time in every period. Times are in ticks of the time-stamp counter.
//!
//! The time is dealt out in refills. The current one is being used up; of the others it is known when they become usable. What is used of a
//! refill comes back as a new one, a period after the refill became usable, so at all times budget = remaining + used + to come.
//! Where there is no room for one more refill it is joined with the last one, which comes as late as either would have.
//!
//! A sporadic context gives no more than the budget in any period. Of another one the end of one refill and the whole of the next can be used in a
//! row, since the period of what is left isn't counted anew when its thread wakes up.

use core::cell::Cell;

use sel4_abi::object::REFILL_BYTES;
use sel4_abi::sched::FLAG_SPORADIC;

use super::notification::Notification;
use super::reply::Reply;
use super::tcb::Tcb;
use crate::arch;
use crate::ptr::Ptr;

/// A scheduling context; 128 bytes, and room for refills behind them.
#[repr(C)]
pub struct SchedContext {
    /// Ticks in every period; 0 while not configured.
    pub budget: Cell<u64>,
    /// Period in ticks; equal to the budget means round robin.
    pub period: Cell<u64>,
    /// Ticks left of the current refill; 0 while waiting for the next one.
    pub remaining: Cell<u64>,
    /// When the current refill became usable; while waiting, when the next one does.
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
    pub flags: Cell<u32>,
    /// Number of the processor on which it gives time.
    pub core: Cell<u8>,
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
    /// True when exhausting the budget only costs the thread its turn.
    pub fn is_round_robin(&self) -> bool {
        self.budget.get() == self.period.get()
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
        self.extra_refills.set(extra);
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
        let mut ticks = 0;
        while let Some(next) = self.next()
            && next.at.get() <= now
        {
            // Its period counts from when it became usable, unless it has been waiting for so long, or is joined with others.
            let in_time = ticks == 0 && next.at.get().saturating_add(self.period.get()) > now;
            self.refilled_at.set(if in_time && !self.is_sporadic() { next.at.get() } else { now });
            ticks += self.take_next();
        }
        self.remaining.set(ticks);
        if ticks == 0 {
            self.refilled_at.set(self.next().map_or(now, |next| next.at.get()));
        }
        ticks != 0
    }

    /// For a sporadic one, when its thread wakes up: the period of what is left of the refill counts from `now`.
    pub fn resume(&self, now: u64) {
        if self.remaining.get() != 0 && !self.is_round_robin() {
            self.bring_back_used();
            self.refilled_at.set(now.max(self.refilled_at.get()));
        }
    }

    /// What was used of the current refill becomes a refill to come.
    fn bring_back_used(&self) {
        let used = self.budget.get().saturating_sub(self.remaining.get() + self.to_come.get());
        if used == 0 {
            return;
        }
        let at = self.refilled_at.get().saturating_add(self.period.get());
        let (start, count) = self.ring.get();
        self.to_come.set(self.to_come.get() + used);
        if u64::from(count) <= self.extra_refills.get() {
            self.ring.set((start, count + 1));
            let last = self.place(count);
            last.at.set(at);
            last.ticks.set(used);
        } else {
            let last = self.place(count - 1);
            last.at.set(last.at.get().max(at));
            last.ticks.set(last.ticks.get() + used);
        }
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
mod tests {
    use super::*;

    /// A scheduling context with room for two more refills.
    #[repr(C)]
    struct Memory([u64; 20]);

    fn context(memory: &mut Memory, extra: u64, flags: u64) -> Ptr<SchedContext> {
        // SAFETY: all zeros is the initial state, and the memory outlives the test's use of it.
        let sc: Ptr<SchedContext> =
            unsafe { Ptr::from_addr(memory.0.as_mut_ptr() as u64).unwrap_unchecked() };
        sc.configure(100, 1000, extra, 0);
        sc.flags.set(flags as u32);
        sc
    }

    fn run(sc: Ptr<SchedContext>, ticks: u64) {
        sc.remaining.set(sc.remaining.get() - ticks);
    }

    #[test]
    fn a_budget_comes_back_a_period_after_it_became_usable() {
        let mut memory = Memory([0; 20]);
        let sc = context(&mut memory, 0, 0);
        run(sc, 100);
        assert!(!sc.refill(100));
        assert_eq!((sc.remaining.get(), sc.refilled_at.get()), (0, 1000));
        assert!(!sc.refill(999), "asking again changes nothing");
        assert!(sc.refill(1003));
        assert_eq!((sc.remaining.get(), sc.refilled_at.get()), (100, 1000));
        // What is given up is used; and a refill that waited for longer than a period counts from when it is taken.
        assert!(!sc.refill(1010));
        assert!(sc.refill(5000));
        assert_eq!((sc.remaining.get(), sc.refilled_at.get()), (100, 5000));
    }

    #[test]
    fn a_sporadic_one_gets_each_part_back_a_period_after_its_use() {
        let mut memory = Memory([0; 20]);
        let sc = context(&mut memory, 2, FLAG_SPORADIC);
        run(sc, 30);
        sc.resume(500);
        run(sc, 50);
        sc.resume(700);
        run(sc, 20);
        assert!(!sc.refill(720), "30 come at 1000, 50 at 1500, 20 at 1700");
        assert!(sc.refill(1001));
        assert_eq!(sc.remaining.get(), 30);
        run(sc, 30);
        assert!(!sc.refill(1031));
        assert_eq!(sc.refilled_at.get(), 1500);
        assert!(sc.refill(1800), "two are due");
        assert_eq!((sc.remaining.get(), sc.refilled_at.get()), (70, 1800));
        run(sc, 70);
        assert!(!sc.refill(1870));
        assert_eq!(sc.refilled_at.get(), 2001);
    }

    #[test]
    fn without_room_a_refill_joins_the_last_one_and_none_is_early() {
        let mut memory = Memory([0; 20]);
        let sc = context(&mut memory, 0, FLAG_SPORADIC);
        run(sc, 30);
        sc.resume(500);
        run(sc, 50);
        sc.resume(700);
        run(sc, 20);
        assert!(!sc.refill(1600));
        assert_eq!(sc.refilled_at.get(), 1700);
        assert!(sc.refill(1700));
        assert_eq!(sc.remaining.get(), 100);
    }
}
