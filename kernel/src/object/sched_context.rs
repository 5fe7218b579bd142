// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling contexts: the right to a budget of CPU time in every period. Times are in ticks of the time-stamp counter.

use core::cell::Cell;

use super::notification::Notification;
use super::reply::Reply;
use super::tcb::Tcb;
use crate::ptr::Ptr;

/// A scheduling context; 128 bytes, and room for refills behind them.
#[repr(C)]
pub struct SchedContext {
    /// Ticks in every period; 0 while not configured.
    pub budget: Cell<u64>,
    /// Period in ticks; equal to the budget means round robin.
    pub period: Cell<u64>,
    /// Ticks left of the current refill.
    pub remaining: Cell<u64>,
    /// When the current refill became usable; the next one comes a period later.
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
    /// CPU number.
    pub core: Cell<u64>,
    /// `sel4_abi::sched::FLAG_SPORADIC`.
    pub flags: Cell<u64>,
    /// Refills beyond the two that every scheduling context has.
    pub extra_refills: Cell<u64>,
    reserved: [Cell<u64>; 4],
}

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
}
