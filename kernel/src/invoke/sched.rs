// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling contexts, their control, and domains.

use sel4_abi::label;
use sel4_abi::object::{REFILL_BYTES, SCHED_CONTEXT_CORE_BYTES};
use sel4_abi::sched::{FLAG_SPORADIC, MIN_BUDGET_US};

use super::Invocation;
use crate::arch;
use crate::cap::Cap;
use crate::delete::{forget_callers, unbind_sc};
use crate::error::{SysError, SysResult};
use crate::kernel::Kernel;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;

/// `SchedControl_ConfigureFlags`.
pub fn control(k: &mut Kernel, i: &Invocation, core: u8) -> SysResult<usize> {
    if i.label != label::SCHED_CONTROL_CONFIGURE_FLAGS {
        return Err(SysError::IllegalOperation);
    }
    i.need(5, 1)?;
    let (budget, period, extra, badge, flags) = (i.arg(0), i.arg(1), i.arg(2), i.arg(3), i.arg(4));
    let per_us = arch::ticks_per_us();
    let max = u64::MAX / per_us / 8;
    for time in [budget, period] {
        if !(MIN_BUDGET_US..=max).contains(&time) {
            return Err(SysError::Range(MIN_BUDGET_US, max));
        }
    }
    if budget > period {
        return Err(SysError::Range(MIN_BUDGET_US, period));
    }
    let Cap::SchedContext { object: sc, size_bits } = i.cap(0)? else {
        return Err(SysError::InvalidCapability(1));
    };
    let room = ((1u64 << size_bits) - SCHED_CONTEXT_CORE_BYTES as u64) / REFILL_BYTES as u64;
    if extra > room {
        return Err(SysError::Range(0, room));
    }
    k.forget_sc(sc);
    sc.configure(budget * per_us, period * per_us, extra, arch::now());
    sc.badge.set(badge);
    sc.flags.set((flags & FLAG_SPORADIC) as u8);
    sc.core.set(core);
    if let Some(t) = sc.tcb.get() {
        k.dequeue(t);
        k.move_to(t, core);
        if t != i.tcb {
            k.wake(t);
        }
        k.sched.request();
    }
    Ok(0)
}

/// Methods of a scheduling context.
pub fn context(k: &mut Kernel, i: &Invocation, sc: Ptr<SchedContext>) -> SysResult<usize> {
    match i.label {
        label::SCHED_CONTEXT_BIND => {
            i.need(0, 1)?;
            bind(k, sc, i.cap(0)?)?;
        }
        label::SCHED_CONTEXT_UNBIND => {
            if sc.tcb.get().is_some() && sc.tcb.get() == k.sched.current {
                return Err(SysError::IllegalOperation);
            }
            unbind_sc(k, sc);
            unbind_notification(sc);
            forget_callers(sc);
        }
        label::SCHED_CONTEXT_UNBIND_OBJECT => {
            i.need(0, 1)?;
            match i.cap(0)? {
                Cap::Thread(t) if sc.tcb.get() == Some(t) && k.sched.current != Some(t) => unbind_sc(k, sc),
                Cap::Notification { object, .. } if sc.notification.get() == Some(object) => {
                    unbind_notification(sc)
                }
                Cap::Thread(_) | Cap::Notification { .. } => return Err(SysError::IllegalOperation),
                _ => return Err(SysError::InvalidCapability(1)),
            }
        }
        label::SCHED_CONTEXT_CONSUMED => {
            k.charge(sc);
            return Ok(i.reply(&[sc.take_consumed_us()]));
        }
        label::SCHED_CONTEXT_YIELD_TO => return yield_to(k, i, sc),
        _ => return Err(SysError::IllegalOperation),
    }
    Ok(0)
}

/// `SchedContext_YieldTo()`: the context's thread goes first, if it can run and is of the caller's priority; the caller gets the time
/// that the context has used when it runs again, at once otherwise.
///
/// # Errors
/// IllegalOperation: nobody runs on the context, or the caller itself, or somebody of a higher priority than the caller may give.
fn yield_to(k: &mut Kernel, i: &Invocation, sc: Ptr<SchedContext>) -> SysResult<usize> {
    let Some(t) = sc.tcb.get() else { return Err(SysError::IllegalOperation) };
    if t == i.tcb || t.priority.get() > i.tcb.mcp.get() {
        return Err(SysError::IllegalOperation);
    }
    if t.is_schedulable() && t.place.get() == k.sched.place {
        if t.priority.get() < i.tcb.priority.get() {
            k.sched.to_front(t);
        } else {
            if let Some(other) = sc.yield_from.get() {
                other.end_yield();
            }
            sc.yield_from.set(Some(i.tcb));
            i.tcb.yield_to.set(Some(sc));
            k.sched.let_go_first(t);
            return Ok(0);
        }
    }
    Ok(i.reply(&[sc.take_consumed_us()]))
}

fn bind(k: &mut Kernel, sc: Ptr<SchedContext>, cap: Cap) -> SysResult {
    match cap {
        Cap::Thread(t) => {
            if sc.tcb.get().is_some() || t.sc.get().is_some() || !fits(sc, t) {
                return Err(SysError::IllegalOperation);
            }
            bind_thread(k, sc, t);
        }
        Cap::Notification { object, .. } => {
            // With a thread too: it gives the context back when it waits for the notification.
            if sc.notification.get().is_some() || object.sc.get().is_some() {
                return Err(SysError::IllegalOperation);
            }
            object.sc.set(Some(sc));
            sc.notification.set(Some(object));
        }
        _ => return Err(SysError::InvalidCapability(1)),
    }
    Ok(())
}

/// A thread that waits gets only a context that has time.
pub fn fits(sc: Ptr<SchedContext>, t: Ptr<Tcb>) -> bool {
    !t.is_blocked() || sc.is_released(arch::now())
}

/// Gives a thread without one a scheduling context.
pub fn bind_thread(k: &mut Kernel, sc: Ptr<SchedContext>, t: Ptr<Tcb>) {
    k.give_sc(sc, t);
    k.wake(t);
}

fn unbind_notification(sc: Ptr<SchedContext>) {
    if let Some(n) = sc.notification.take() {
        n.sc.set(None);
    }
}

/// Methods of the domain capability.
pub fn domain(k: &mut Kernel, i: &Invocation) -> SysResult<usize> {
    match i.label {
        label::DOMAIN_SET_SET => {
            i.need(1, 1)?;
            let domain = i.arg(0) & 0xff;
            if domain >= k.domains.count().into() {
                return Err(SysError::InvalidArgument(0));
            }
            let Cap::Thread(t) = i.cap(0)? else { return Err(SysError::InvalidArgument(1)) };
            k.set_domain(t, domain as u8);
        }
        label::DOMAIN_SCHEDULE_CONFIGURE => {
            i.need(3, 0)?;
            k.domains.configure(i.arg(0), i.arg(1) & 0xff, i.arg(2))?;
        }
        label::DOMAIN_SCHEDULE_SET_START => {
            i.need(1, 0)?;
            k.domains.set_start(i.arg(0), arch::now())?;
            k.change_domain();
        }
        _ => return Err(SysError::IllegalOperation),
    }
    Ok(0)
}
