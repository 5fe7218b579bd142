// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling contexts.

use sel4_abi::label;

use crate::{Badge, Cap, CapType, InvocationContext, Result, Time, Word, cap, cap_type};

impl<C: InvocationContext> Cap<cap_type::SchedControl, C> {
    /// Gives `sched_context` `budget` in every `period`, both in microseconds. `extra_refills` and the flags
    /// (`abi::sched::FLAG_*`) matter to sporadic contexts; `badge` is told in timeout faults.
    pub fn sched_control_configure_flags(
        self,
        sched_context: cap::SchedContext,
        budget: Time,
        period: Time,
        extra_refills: Word,
        badge: Badge,
        flags: Word,
    ) -> Result<()> {
        self.invoke(
            label::SCHED_CONTROL_CONFIGURE_FLAGS,
            [budget, period, extra_refills, badge, flags],
            [sched_context.bits()],
        )
        .map(drop)
    }
}

impl<C: InvocationContext> Cap<cap_type::SchedContext, C> {
    /// Binds it to a thread or a notification.
    pub fn sched_context_bind<T: CapType>(self, object: Cap<T>) -> Result<()> {
        self.invoke(label::SCHED_CONTEXT_BIND, [], [object.bits()]).map(drop)
    }

    /// Unbinds it from everything.
    pub fn sched_context_unbind(self) -> Result<()> {
        self.invoke(label::SCHED_CONTEXT_UNBIND, [], []).map(drop)
    }

    /// Unbinds it from a thread or a notification.
    pub fn sched_context_unbind_object<T: CapType>(self, object: Cap<T>) -> Result<()> {
        self.invoke(label::SCHED_CONTEXT_UNBIND_OBJECT, [], [object.bits()]).map(drop)
    }

    /// Time consumed since the last question, microseconds.
    pub fn sched_context_consumed(self) -> Result<Time> {
        self.invoke(label::SCHED_CONTEXT_CONSUMED, [], []).map(|reply| reply[0])
    }

    /// Lets its thread run before others of its priority; returns the time that it consumed, microseconds.
    pub fn sched_context_yield_to(self) -> Result<Time> {
        self.invoke(label::SCHED_CONTEXT_YIELD_TO, [], []).map(|reply| reply[0])
    }
}
