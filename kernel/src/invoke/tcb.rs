// SPDX-License-Identifier: MIT OR Apache-2.0
//! Methods of threads.

use sel4_abi::{TCB_FLAG_FPU_DISABLED, label};

use super::Invocation;
use super::sched::{bind_thread, fits};
use crate::arch;
use crate::arch::context::{TIMEOUT_REPLY, canonical};
use crate::cap::Cap;
use crate::cdt::SlotRef;
use crate::delete;
use crate::error::{SysError, SysResult};
use crate::kernel::Kernel;
use crate::object::notification::NotificationState;
use crate::object::tcb::{Tcb, ThreadState, slot};
use crate::ptr::Ptr;
use crate::transfer::{derive, insert_derived};

/// Words of a `UserContext`.
const CONTEXT_WORDS: usize = 20;

/// Methods of a thread.
pub fn tcb(k: &mut Kernel, i: &Invocation, t: Ptr<Tcb>) -> SysResult<usize> {
    k.bring_home(t);
    match i.label {
        label::TCB_READ_REGISTERS => return read_registers(k, i, t),
        label::TCB_WRITE_REGISTERS => write_registers(k, i, t)?,
        label::TCB_COPY_REGISTERS => copy_registers(k, i, t)?,
        label::TCB_CONFIGURE => configure(k, i, t)?,
        label::TCB_SET_PRIORITY => {
            i.need(1, 1)?;
            let p = priority(i.cap(0)?, i.arg(0))?;
            set_priority(k, t, p);
        }
        label::TCB_SET_MC_PRIORITY => {
            i.need(1, 1)?;
            t.mcp.set(priority(i.cap(0)?, i.arg(0))?);
        }
        label::TCB_SET_SCHED_PARAMS => set_sched_params(k, i, t)?,
        label::TCB_SET_TIMEOUT_ENDPOINT => {
            i.need(0, 1)?;
            handler(i.cap(0)?, 1)?;
            set_slot(k, i, t, slot::TIMEOUT_HANDLER, i.cap_slot(0)?, i.cap(0)?)?;
        }
        label::TCB_SET_IPC_BUFFER => {
            i.need(1, 1)?;
            let buffer = buffer(i.arg(0), i.cap_slot(0)?)?;
            set_buffer(k, i, t, i.arg(0), i.cap_slot(0)?, buffer)?;
        }
        label::TCB_SET_SPACE => {
            i.need(2, 3)?;
            let cspace = cspace_root(i.cap_slot(1)?, i.arg(0))?;
            let vspace = vspace_root(i.cap_slot(2)?)?;
            handler(i.cap(0)?, 1)?;
            set_slot(k, i, t, slot::FAULT_HANDLER, i.cap_slot(0)?, i.cap(0)?)?;
            set_slot(k, i, t, slot::CSPACE, i.cap_slot(1)?, cspace)?;
            set_slot(k, i, t, slot::VSPACE, i.cap_slot(2)?, vspace)?;
        }
        label::TCB_SUSPEND => delete::suspend(k, t),
        label::TCB_RESUME => resume(k, t),
        label::TCB_BIND_NOTIFICATION => bind_notification(i, t)?,
        label::TCB_UNBIND_NOTIFICATION => {
            if t.bound_notification.get().is_none() {
                return Err(SysError::IllegalOperation);
            }
            delete::unbind_notification(t);
        }
        label::TCB_SET_TLS_BASE => {
            i.need(1, 0)?;
            arch::set_fs_base(t, canonical(i.arg(0)));
        }
        label::TCB_SET_FLAGS => {
            i.need(2, 0)?;
            let flags = t.flags.get() & !i.arg(0) | i.arg(1) & TCB_FLAG_FPU_DISABLED;
            t.flags.set(flags);
            if flags & TCB_FLAG_FPU_DISABLED != 0 {
                arch::fpu_forget(t);
            }
            return Ok(i.reply(&[flags]));
        }
        label::TCB_SET_EPT_ROOT => {
            i.need(0, 1)?;
            let Cap::EptPml4(r) = i.cap(0)? else { return Err(SysError::IllegalOperation) };
            if r.asid == 0 {
                return Err(SysError::IllegalOperation);
            }
            set_slot(k, i, t, slot::EPT_ROOT, i.cap_slot(0)?, i.cap(0)?)?;
        }
        _ => return Err(SysError::IllegalOperation),
    }
    Ok(0)
}

/// A priority that the thread in `authority` (extra capability 1) may give.
fn priority(authority: Cap, value: u64) -> SysResult<u8> {
    let Cap::Thread(a) = authority else { return Err(SysError::InvalidCapability(1)) };
    let max = u64::from(a.mcp.get());
    if value > max { Err(SysError::Range(0, max)) } else { Ok(value as u8) }
}

fn set_priority(k: &mut Kernel, t: Ptr<Tcb>, p: u8) {
    k.set_priority(t, p);
    // The queue of an endpoint or notification is in order of priority.
    if let Some(ep) = t.endpoint.get() {
        crate::ipc::leaves_queue(k, t);
        ep.queue.remove(t);
        let passed = ep.queue.insert(t);
        k.passed(passed);
    } else if let Some(n) = t.waiting_for.get() {
        n.queue.remove(t);
        let passed = n.queue.insert(t);
        k.passed(passed);
    }
}

fn resume(k: &mut Kernel, t: Ptr<Tcb>) {
    if !t.is_runnable() {
        crate::ipc::cancel(k, t);
        t.state.set(ThreadState::Running);
        k.wake(t);
    }
}

/// Replaces the capability in a slot of the thread by `cap`, derived from the one in `source`.
fn set_slot(
    k: &mut Kernel,
    i: &Invocation,
    t: Ptr<Tcb>,
    index: usize,
    source: SlotRef,
    cap: Cap,
) -> SysResult {
    let slot = t.slot(index);
    delete::delete(k, slot)?;
    // The deletion may have taken the source with it, or the thread.
    if cap != Cap::Null && source.raw().same_object(cap.encode()) && i.slot.cap() == Cap::Thread(t) {
        insert_derived(slot, cap, source);
        t.root_epoch.set(0);
    }
    Ok(())
}

fn cspace_root(source: SlotRef, data: u64) -> SysResult<Cap> {
    let Cap::CNode(c) = derive(source)? else { return Err(SysError::IllegalOperation) };
    if data == 0 {
        return Ok(Cap::CNode(c));
    }
    c.with_guard(data).map(Cap::CNode).ok_or(SysError::IllegalOperation)
}

fn vspace_root(source: SlotRef) -> SysResult<Cap> {
    match derive(source)? {
        cap @ Cap::Pml4(_) => Ok(cap),
        _ => Err(SysError::IllegalOperation),
    }
}

fn buffer(address: u64, source: SlotRef) -> SysResult<Cap> {
    if address == 0 {
        return Ok(Cap::Null);
    }
    match derive(source)? {
        Cap::Frame(f) if f.device => Err(SysError::IllegalOperation),
        cap @ Cap::Frame(_) if address.is_multiple_of(1024) => Ok(cap),
        Cap::Frame(_) => Err(SysError::Alignment),
        _ => Err(SysError::IllegalOperation),
    }
}

fn set_buffer(
    k: &mut Kernel,
    i: &Invocation,
    t: Ptr<Tcb>,
    address: u64,
    source: SlotRef,
    cap: Cap,
) -> SysResult {
    set_slot(k, i, t, slot::IPC_BUFFER, source, cap)?;
    t.ipc_buffer.set(address);
    Ok(())
}

/// Checks a fault handler: an endpoint that can be called, or nothing.
fn handler(cap: Cap, number: u64) -> SysResult {
    match cap {
        Cap::Null => Ok(()),
        Cap::Endpoint { rights, .. } if rights.write() && (rights.grant() || rights.grant_reply()) => Ok(()),
        _ => Err(SysError::InvalidCapability(number)),
    }
}

fn configure(k: &mut Kernel, i: &Invocation, t: Ptr<Tcb>) -> SysResult {
    i.need(3, 3)?;
    let frame = buffer(i.arg(2), i.cap_slot(2)?)?;
    let cspace = cspace_root(i.cap_slot(0)?, i.arg(0))?;
    let vspace = vspace_root(i.cap_slot(1)?)?;
    set_slot(k, i, t, slot::CSPACE, i.cap_slot(0)?, cspace)?;
    set_slot(k, i, t, slot::VSPACE, i.cap_slot(1)?, vspace)?;
    set_buffer(k, i, t, i.arg(2), i.cap_slot(2)?, frame)
}

fn set_sched_params(k: &mut Kernel, i: &Invocation, t: Ptr<Tcb>) -> SysResult {
    i.need(2, 3)?;
    let mcp = priority(i.cap(0)?, i.arg(0))?;
    let prio = priority(i.cap(0)?, i.arg(1))?;
    let sc = match i.cap(1)? {
        Cap::SchedContext { object, .. } => {
            let bound_elsewhere = object.tcb.get().is_some_and(|x| x != t);
            let unfit = t.sc.get().is_none() && !fits(object, t);
            if t.sc.get().is_some_and(|sc| sc != object) || bound_elsewhere || unfit {
                return Err(SysError::IllegalOperation);
            }
            Some(object)
        }
        Cap::Null => {
            if k.sched.current == Some(t) {
                return Err(SysError::IllegalOperation);
            }
            None
        }
        _ => return Err(SysError::InvalidCapability(2)),
    };
    handler(i.cap(2)?, 3)?;
    set_slot(k, i, t, slot::FAULT_HANDLER, i.cap_slot(2)?, i.cap(2)?)?;
    t.mcp.set(mcp);
    set_priority(k, t, prio);
    match (sc, t.sc.get()) {
        (Some(new), None) => bind_thread(k, new, t),
        (None, Some(old)) => delete::unbind_sc(k, old),
        _ => {}
    }
    Ok(())
}

fn bind_notification(i: &Invocation, t: Ptr<Tcb>) -> SysResult {
    i.need(0, 1)?;
    let Cap::Notification { object: n, rights, .. } = i.cap(0)? else {
        return Err(SysError::IllegalOperation);
    };
    let busy = n.bound.get().is_some() || n.state() == NotificationState::Waiting;
    if t.bound_notification.get().is_some() || !rights.read() || busy {
        return Err(SysError::IllegalOperation);
    }
    n.bound.set(Some(t));
    t.bound_notification.set(Some(n));
    Ok(())
}

fn read_registers(k: &mut Kernel, i: &Invocation, t: Ptr<Tcb>) -> SysResult<usize> {
    i.need(2, 0)?;
    let count = i.arg(1);
    if !(1..=CONTEXT_WORDS as u64).contains(&count) {
        return Err(SysError::Range(1, CONTEXT_WORDS as u64));
    }
    if k.sched.current == Some(t) {
        return Err(SysError::IllegalOperation);
    }
    if i.arg(0) & 1 != 0 {
        delete::suspend(k, t);
    }
    let words = context_words(t);
    Ok(i.reply(&words[..count as usize]))
}

/// A thread's `UserContext`.
fn context_words(t: Ptr<Tcb>) -> [u64; CONTEXT_WORDS] {
    let mut words = [0; CONTEXT_WORDS];
    for (w, register) in words.iter_mut().zip(&TIMEOUT_REPLY) {
        *w = t.context.at(*register).get();
    }
    if t.is_blocked() {
        words[0] = t.context.restart_rip();
    }
    arch::save_bases(t);
    words[18] = t.bases.fs.get();
    words[19] = t.bases.gs.get();
    words
}

fn write_registers(k: &mut Kernel, i: &Invocation, t: Ptr<Tcb>) -> SysResult {
    i.need(2, 0)?;
    let count = i.arg(1);
    if (i.length as u64 - 2) < count {
        return Err(SysError::Truncated);
    }
    if k.sched.current == Some(t) {
        return Err(SysError::IllegalOperation);
    }
    let mut words = context_words(t);
    for (n, w) in words.iter_mut().enumerate().take((count as usize).min(CONTEXT_WORDS)) {
        *w = i.arg(2 + n);
    }
    let running = t.is_runnable();
    store_context(k, t, &words);
    if i.arg(0) & 1 != 0 && !running {
        resume(k, t);
    }
    Ok(())
}

fn store_context(k: &mut Kernel, t: Ptr<Tcb>, words: &[u64; CONTEXT_WORDS]) {
    for (w, register) in words.iter().zip(&TIMEOUT_REPLY) {
        t.context.at(*register).set(*w);
    }
    if t.state.get() == ThreadState::Receiving {
        // These aren't its call's any more.
        k.forget_half(t);
        t.state.set(ThreadState::Running);
        k.wake(t);
    }
    t.context.sanitize();
    arch::set_fs_base(t, canonical(words[18]));
    arch::set_gs_base(t, canonical(words[19]));
}

fn copy_registers(k: &mut Kernel, i: &Invocation, t: Ptr<Tcb>) -> SysResult {
    i.need(1, 1)?;
    let Cap::Thread(source) = i.cap(0)? else { return Err(SysError::InvalidCapability(1)) };
    let flags = i.arg(0);
    k.bring_home(source);
    if flags & 1 != 0 {
        delete::suspend(k, source);
    }
    // Frame registers: all that a system call reads, changes or keeps; integer registers: the others, the bases of FS and GS.
    let (frame, integer) = (flags & 4 != 0, flags & 8 != 0);
    let from = context_words(source);
    let mut to = context_words(t);
    for (n, (to, from)) in to.iter_mut().zip(from).enumerate() {
        if if n < TIMEOUT_REPLY.len() { frame } else { integer } {
            *to = from;
        }
    }
    store_context(k, t, &to);
    if flags & 2 != 0 {
        resume(k, t);
    }
    Ok(())
}
