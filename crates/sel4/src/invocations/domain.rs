// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling domains. The kernel has one.

use sel4_abi::label;

use crate::{Cap, InvocationContext, Result, Word, cap, cap_type};

impl<C: InvocationContext> Cap<cap_type::DomainSet, C> {
    /// Sets the domain of a thread.
    pub fn domain_set_set(self, domain: u8, tcb: cap::Tcb) -> Result<()> {
        self.invoke(label::DOMAIN_SET_SET, [domain.into()], [tcb.bits()]).map(drop)
    }

    /// Sets an entry of the domain schedule.
    pub fn domain_set_schedule_configure(self, index: Word, domain: u8, duration: Word) -> Result<()> {
        self.invoke(label::DOMAIN_SCHEDULE_CONFIGURE, [index, domain.into(), duration], []).map(drop)
    }

    /// Sets the entry that the domain schedule starts with.
    pub fn domain_set_schedule_set_start(self, index: Word) -> Result<()> {
        self.invoke(label::DOMAIN_SCHEDULE_SET_START, [index], []).map(drop)
    }
}
