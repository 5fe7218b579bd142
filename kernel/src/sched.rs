// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scheduler of a domain on a processor: strict priorities, round robin among equals, budgets.

use crate::arch;
use crate::fastpath::Other;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::Tcb;
use crate::postponed::Postponed;
use crate::processors::Place;
use crate::ptr::Ptr;

const PRIORITIES: usize = sel4_abi::sched::NUM_PRIORITIES;
/// Threads that get time again in one choice.
const DUE_AT_ONCE: usize = 2;
/// Threads without time that one choice sends to wait for it, with the refills that have to be looked at for that.
const SPENT_AT_ONCE: u64 = 8;

#[derive(Clone, Copy)]
struct Queue {
    head: Option<Ptr<Tcb>>,
    tail: Option<Ptr<Tcb>>,
}

/// Threads that can run, threads that wait for time, and the one that runs.
///
/// The current thread is in no queue. Its scheduling context's time is charged when the processor goes to another one, when the timer fires,
/// and when somebody asks.
pub struct Scheduler {
    ready: [Queue; PRIORITIES],
    bitmap: [u64; PRIORITIES / 64],
    /// Threads without budget, the earliest refill first.
    postponed: Postponed,
    /// Used up its budget, and has somebody who wants to know.
    timed_out: Option<Ptr<Tcb>>,
    /// The running thread; `None` when idle.
    pub current: Option<Ptr<Tcb>>,
    current_sc: Option<Ptr<SchedContext>>,
    charged_until: u64,
    armed: u64,
    resched: bool,
    /// After a choice there is more to do: a timeout, or the next slice of the domains' schedule.
    unfinished: bool,
    /// The slice is over.
    slice_over: bool,
    /// When the domain's slice ends.
    slice_end: u64,
    /// A thread whose system call is half done: the kernel does the other half before a choice.
    half: Option<Ptr<Tcb>>,
    /// Its processor and its domain.
    pub place: Place,
    /// While its processor waited for the kernel, what it runs was changed: what it came for is void.
    pub disturbed: bool,
}

impl Scheduler {
    /// Nothing to run, at `place`.
    pub const fn new(place: Place) -> Self {
        Self {
            ready: [Queue { head: None, tail: None }; PRIORITIES],
            bitmap: [0; PRIORITIES / 64],
            postponed: Postponed::new(),
            timed_out: None,
            current: None,
            current_sc: None,
            charged_until: 0,
            armed: u64::MAX,
            resched: false,
            unfinished: false,
            slice_over: false,
            slice_end: u64::MAX,
            half: None,
            place,
            disturbed: false,
        }
    }

    /// Asks for a choice at the end of this kernel entry.
    pub fn request(&mut self) {
        self.resched = true;
    }

    /// True if a choice was asked for.
    pub fn wants_choice(&self) -> bool {
        self.resched
    }

    fn push(&mut self, tcb: Ptr<Tcb>, front: bool) {
        if tcb.queued.get() {
            return;
        }
        let p = usize::from(tcb.priority.get());
        let q = &mut self.ready[p];
        if front {
            tcb.sched_prev.set(None);
            tcb.sched_next.set(q.head);
            match q.head.replace(tcb) {
                Some(old) => old.sched_prev.set(Some(tcb)),
                None => q.tail = Some(tcb),
            }
        } else {
            tcb.sched_next.set(None);
            tcb.sched_prev.set(q.tail);
            match q.tail.replace(tcb) {
                Some(old) => old.sched_next.set(Some(tcb)),
                None => q.head = Some(tcb),
            }
        }
        self.bitmap[p / 64] |= 1 << (p % 64);
        tcb.queued.set(true);
    }

    /// Takes `tcb` out of whatever queue of the scheduler it is in.
    pub fn dequeue(&mut self, tcb: Ptr<Tcb>) {
        if tcb.postponed.replace(false) {
            self.postponed.remove(tcb);
        }
        if !tcb.queued.replace(false) {
            return;
        }
        let (prev, next) = (tcb.sched_prev.take(), tcb.sched_next.take());
        let p = usize::from(tcb.priority.get());
        let q = &mut self.ready[p];
        match next {
            Some(n) => n.sched_prev.set(prev),
            None => q.tail = prev,
        }
        match prev {
            Some(p) => p.sched_next.set(next),
            None => q.head = next,
        }
        if q.head.is_none() {
            self.bitmap[p / 64] &= !(1 << (p % 64));
        }
    }

    /// The thread's own turn comes before that of others of its priority. It is in the ready queue.
    pub fn to_front(&mut self, tcb: Ptr<Tcb>) {
        self.dequeue(tcb);
        self.push(tcb, true);
    }

    /// The thread became able to run: it takes the processor at the end of this entry if its priority says so. It is the next one of its
    /// priority, but stands behind the others where the current thread, which goes on, is one of them.
    #[inline(always)]
    pub fn wake(&mut self, tcb: Ptr<Tcb>) {
        if Some(tcb) != self.current && tcb.is_schedulable() {
            if let Some(sc) = tcb.sc.get()
                && sc.is_sporadic()
            {
                self.resume_sporadic(sc);
            }
            let Some(c) = self.current else {
                self.resched = true;
                return self.push(tcb, false);
            };
            let (running, woken) = (c.priority.get(), tcb.priority.get());
            self.resched |= running < woken;
            self.push(tcb, running != woken || !c.is_runnable());
        }
    }

    #[cold]
    #[inline(never)]
    fn resume_sporadic(&self, sc: Ptr<SchedContext>) {
        if Some(sc) != self.current_sc {
            sc.resume(arch::now());
        }
    }

    /// Changes the priority of a thread, wherever it is queued here. Among those of its new priority it is the next one.
    pub fn set_priority(&mut self, tcb: Ptr<Tcb>, priority: u8) {
        let queued = tcb.queued.get();
        if queued {
            self.dequeue(tcb);
        }
        tcb.priority.set(priority);
        if queued {
            self.push(tcb, true);
        }
        self.resched = true;
    }

    #[inline(always)]
    fn highest(&self) -> Option<usize> {
        let word =
            |i: usize| (self.bitmap[i] != 0).then(|| i * 64 + 63 - self.bitmap[i].leading_zeros() as usize);
        word(3).or_else(|| word(2)).or_else(|| word(1)).or_else(|| word(0))
    }

    /// True when `tcb`, which is blocked, would be chosen if it had time and the current thread stopped: nothing that waits has a
    /// higher priority. Asked at entry from user level, with several processors or domains (`FULL`), or one of each.
    #[inline(always)]
    pub fn may_follow<const FULL: bool>(&self, current: Ptr<Tcb>, tcb: Ptr<Tcb>) -> bool {
        debug_assert!(!tcb.postponed.get(), "who waits for time isn't blocked");
        debug_assert!(
            FULL || !self.resched,
            "a choice that was asked for has been made before user level runs"
        );
        debug_assert!(FULL || tcb.place.get() == current.place.get());
        // Nothing that waits has a higher priority than the current thread, unless another processor asked for a choice.
        (!FULL || !self.resched && tcb.place.get() == current.place.get())
            && (tcb.priority.get() >= current.priority.get()
                || self.highest().is_none_or(|p| p <= usize::from(tcb.priority.get())))
    }

    /// Makes `tcb`, which [may follow](Scheduler::may_follow), the current thread on its own scheduling context; the one that was has
    /// stopped.
    ///
    /// # Errors
    /// Nothing is done. `Ordinary`: it has no time, or the timer has to be set. `Full`, without `FULL`: its time is limited, or the time of the
    /// one that was is over.
    #[inline(always)]
    pub fn switch_to<const FULL: bool>(&mut self, tcb: Ptr<Tcb>, sc: Ptr<SchedContext>) -> Result<(), Other> {
        let (now, left) = (arch::now(), sc.remaining.get());
        // The timer is armed for the first of those who wait for time already.
        if left == 0 || now.saturating_add(left) < self.armed {
            return Err(Other::Ordinary);
        }
        if FULL {
            if !sc.is_round_robin() {
                sc.resume(now);
            }
            self.charge_until(now);
        } else {
            if !sc.is_round_robin() || self.current_sc.is_some_and(|old| !old.charge(self.used_until(now))) {
                return Err(Other::Full);
            }
            self.charged_until = now;
        }
        self.current = Some(tcb);
        self.current_sc = Some(sc);
        Ok(())
    }

    /// The scheduling context of the current thread at entry from user level: the one which is being charged.
    #[inline(always)]
    pub fn lendable(&self, current: Ptr<Tcb>) -> Option<Ptr<SchedContext>> {
        debug_assert!(current.sc.get() == self.current_sc);
        self.current_sc
    }

    /// Makes `to`, which [may follow](Scheduler::may_follow) and has no scheduling context, the current thread on the one of `from`. The time goes on.
    #[inline(always)]
    pub fn lend(&mut self, sc: Ptr<SchedContext>, from: Ptr<Tcb>, to: Ptr<Tcb>) {
        from.sc.set(None);
        sc.tcb.set(Some(to));
        to.sc.set(Some(sc));
        self.current = Some(to);
    }

    /// Charges the running scheduling context up to now. Gives the current time.
    #[inline]
    pub fn charge(&mut self) -> u64 {
        let now = arch::now();
        self.charge_until(now);
        now
    }

    #[inline(always)]
    fn charge_until(&mut self, now: u64) {
        let used = self.used_until(now);
        if let Some(sc) = self.current_sc
            && !sc.charge(used)
        {
            sc.overrun(used);
        }
        self.charged_until = now;
    }

    #[inline(always)]
    fn used_until(&self, now: u64) -> u64 {
        // Another processor's clock may have been a little ahead.
        now.saturating_sub(self.charged_until)
    }

    /// A scheduling context is going away or changes hands: forgets it.
    pub fn forget_sc(&mut self, sc: Ptr<SchedContext>) {
        if self.current_sc == Some(sc) {
            self.charge();
            self.current_sc = None;
            self.resched = true;
        }
    }

    /// The thread's scheduling context has no time left: it loses its turn, or waits for the next refill.
    #[inline]
    fn exhausted(&mut self, tcb: Ptr<Tcb>, sc: Ptr<SchedContext>, now: u64) {
        debug_assert!(tcb.sc.get() == Some(sc));
        if !sc.refill(now) {
            self.postpone(tcb, sc.refilled_at.get());
        }
    }

    /// The same for the thread that was running: it may be a timeout.
    #[cold]
    #[inline(never)]
    fn end_of_turn(&mut self, tcb: Ptr<Tcb>, sc: Ptr<SchedContext>, now: u64) {
        if tcb.wants_timeouts() && !sc.is_round_robin() {
            self.timed_out = Some(tcb);
            self.unfinished = true;
        }
        self.exhausted(tcb, sc, now);
    }

    fn postpone(&mut self, tcb: Ptr<Tcb>, until: u64) {
        self.postponed.insert(tcb, until);
        tcb.postponed.set(true);
    }

    /// True if the thread's scheduling context has no time left, and none is due.
    #[cold]
    #[inline(never)]
    pub fn is_out_of_time(&mut self, tcb: Ptr<Tcb>) -> bool {
        let now = self.charge();
        tcb.sc.get().is_some_and(|sc| sc.remaining.get() == 0 && !sc.refill(now))
    }

    /// Gives up the rest of the current refill.
    pub fn yield_now(&mut self) {
        let now = self.charge();
        if let (Some(tcb), Some(sc)) = (self.current, self.current_sc) {
            self.current = None;
            self.exhausted(tcb, sc, now);
            if tcb.is_schedulable() {
                self.push(tcb, false);
            }
            self.resched = true;
        }
    }

    /// The timer fired.
    pub fn timer_fired(&mut self) {
        self.armed = u64::MAX;
        self.resched = true;
        if self.slice_end != u64::MAX {
            self.arm_for_the_end_of_the_slice();
        }
    }

    /// So that the timer is armed for it at the latest, whatever is chosen. When it has come the next slice is entered.
    #[cold]
    #[inline(never)]
    fn arm_for_the_end_of_the_slice(&mut self) {
        let now = arch::now();
        if now < self.slice_end {
            self.set_timer(self.slice_end, now);
        }
    }

    /// Chooses the thread to run next and arms the timer. Called by [`Kernel::schedule`](crate::kernel::Kernel::schedule), again if it says `true`: then
    /// nothing is chosen, since a system call is half done ([`Scheduler::take_half`]); or a thread has used up its budget and its timeout fault is to be
    /// raised ([`Scheduler::take_timed_out`]); or the slice is over.
    #[inline]
    pub fn schedule(&mut self) -> bool {
        if !self.resched && self.current.is_some_and(|t| t.is_schedulable()) {
            return false;
        }
        self.choose();
        self.unfinished
    }

    /// The other half of the current thread's system call is to be done before the next choice.
    pub fn keep_half(&mut self, tcb: Ptr<Tcb>) {
        self.half = Some(tcb);
        self.resched = true;
    }

    /// The other half of the thread's system call isn't to be done any more.
    pub fn forget_half(&mut self, tcb: Ptr<Tcb>) {
        self.half = self.half.filter(|t| *t != tcb);
    }

    /// The thread whose system call is half done.
    pub fn take_half(&mut self) -> Option<Ptr<Tcb>> {
        let half = self.half.take()?;
        self.unfinished = self.slice_over;
        Some(half)
    }

    /// The thread whose timeout fault is to be raised. If there is none the slice is over.
    pub fn take_timed_out(&mut self) -> Option<Ptr<Tcb>> {
        self.unfinished = self.slice_over;
        self.timed_out.take()
    }

    /// The slice is over: [`Kernel::schedule`](crate::kernel::Kernel::schedule) goes over to the next one.
    pub fn end_slice(&mut self) {
        self.slice_over = true;
        self.unfinished = true;
        self.resched = true;
    }

    /// The domain's turn ends: what runs is the next one of its priority. Gives what the processor's next scheduler goes on with.
    pub fn leave(&mut self) -> (u64, bool) {
        self.charge();
        self.current_sc = None;
        if let Some(tcb) = self.current.take()
            && tcb.is_schedulable()
        {
            self.push(tcb, true);
        }
        self.slice_over = false;
        self.unfinished = false;
        (self.armed, self.disturbed)
    }

    /// The domain's turn begins, and lasts until `ends`. `armed` and `disturbed` are what [`Scheduler::leave`] gave.
    pub fn arrive(&mut self, (armed, disturbed): (u64, bool), ends: u64) {
        (self.armed, self.disturbed) = (armed, disturbed);
        self.slice_end = ends;
        if ends < self.armed {
            self.set_timer(ends, arch::now());
        }
        self.resched = true;
    }

    /// The current thread steps aside for `to`, which is in the ready queue of the same priority, and is the next one after it.
    pub fn let_go_first(&mut self, to: Ptr<Tcb>) {
        self.charge();
        if let Some(tcb) = self.current.take() {
            self.push(tcb, true);
        }
        self.to_front(to);
        self.resched = true;
    }

    fn choose(&mut self) {
        if self.half.is_some() {
            self.unfinished = true;
            return;
        }
        self.resched = false;
        // With a timer that has not fired and no change of scheduling context nothing needs to be charged, but the time is needed anyhow.
        let now = self.charge();
        if let Some(tcb) = self.current.take()
            && tcb.is_schedulable()
        {
            let mut front = true;
            // Not `current_sc`: the thread may have lent what it was charged for, and run on another one now.
            if let Some(sc) = tcb.sc.get()
                && sc.remaining.get() == 0
            {
                self.end_of_turn(tcb, sc, now);
                front = false;
            }
            if tcb.is_schedulable() {
                self.push(tcb, front);
            }
        }
        for _ in 0..DUE_AT_ONCE {
            // If there are more the timer is armed for them, and fires at once.
            let Some((tcb, _)) = self.postponed.first().filter(|(_, due)| *due <= now) else { break };
            self.dequeue(tcb);
            if tcb.is_schedulable() {
                self.push(tcb, false);
            }
        }
        let mut spent = 0;
        let next = loop {
            let Some(p) = self.highest() else { break None };
            if spent >= SPENT_AT_ONCE {
                // Whoever is to run is found at the next entry, which is at once.
                self.set_timer(now, now);
                break None;
            }
            let Some(tcb) = self.ready[p].head else { break None };
            self.dequeue(tcb);
            let Some(sc) = tcb.sc.get() else { continue };
            if sc.remaining.get() == 0 {
                spent += 4 + sc.refills_to_come();
                self.exhausted(tcb, sc, now);
                if tcb.is_schedulable() {
                    self.push(tcb, false);
                }
                continue;
            }
            break Some(tcb);
        };
        self.current = next;
        let before = self.current_sc;
        self.current_sc = next.and_then(|t| t.sc.get());
        if let Some(sc) = self.current_sc
            && !sc.is_round_robin()
            && !sc.is_sporadic()
            && before != Some(sc)
        {
            sc.resume(now);
        }
        self.arm(now);
        if let Some(tcb) = next
            && tcb.yield_to.get().is_some()
        {
            tcb.end_yield();
        }
    }

    /// The timer may fire too early, never too late: an early one costs an interrupt, a re-armed one a device write on every switch.
    #[inline]
    fn arm(&mut self, now: u64) {
        let mut want = u64::MAX;
        if let Some(sc) = self.current_sc {
            want = now.saturating_add(sc.remaining.get());
        }
        if let Some((_, due)) = self.postponed.first() {
            want = want.min(due);
        }
        if want < self.armed {
            self.set_timer(want, now);
        }
    }
    #[cold]
    fn set_timer(&mut self, at: u64, now: u64) {
        self.armed = at;
        arch::set_timer(at.saturating_sub(now));
    }
}

/// The ready threads with the priority of their queue, and the postponed ones.
#[cfg(test)]
pub(crate) type Queues = (std::vec::Vec<(u8, Ptr<Tcb>)>, std::vec::Vec<Ptr<Tcb>>);

impl Scheduler {
    /// The thread stops being the one that runs: it goes away, or to another processor.
    pub fn drop_current(&mut self) {
        self.charge();
        self.current = None;
        self.resched = true;
    }
}

#[cfg(test)]
impl Scheduler {
    /// The thread that runs goes on, whoever waits.
    pub(crate) fn keep_current(&mut self) {
        self.resched = false;
    }

    /// The thread whose system call is half done.
    pub(crate) fn half(&self) -> Option<Ptr<Tcb>> {
        self.half
    }

    /// When the timer is to fire.
    pub(crate) fn timer(&self) -> u64 {
        self.armed
    }

    /// The scheduling context that is being charged.
    pub(crate) fn charged(&self) -> Option<Ptr<SchedContext>> {
        self.current_sc
    }

    /// The threads in the ready queues, with the queues' priorities, and those that wait for time, in order; links checked.
    pub(crate) fn queues(&self) -> Queues {
        let list = |head: Option<Ptr<Tcb>>| {
            let mut all: std::vec::Vec<Ptr<Tcb>> = std::vec::Vec::new();
            let mut at = head;
            while let Some(t) = at {
                assert_eq!(t.sched_prev.get(), all.last().copied(), "the backward link in a queue");
                all.push(t);
                at = t.sched_next.get();
                assert!(all.len() < 1000, "a queue is a circle");
            }
            all
        };
        let mut ready = std::vec::Vec::new();
        for (p, queue) in self.ready.iter().enumerate() {
            assert_eq!(self.bitmap[p / 64] >> (p % 64) & 1 != 0, queue.head.is_some(), "the bit of a queue");
            if queue.head.is_none() {
                continue;
            }
            let threads = list(queue.head);
            assert_eq!(queue.tail, threads.last().copied(), "the end of a queue");
            ready.extend(threads.into_iter().map(|t| (p as u8, t)));
        }
        (ready, self.postponed.all().into_iter().map(|(_, t)| t).collect())
    }
}
