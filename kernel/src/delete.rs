// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deleting capabilities, and taking apart the objects whose last capability goes.
//!
//! Taking apart a CNode or a thread deletes the capabilities in its slots, which may be the last ones of further such objects, and
//! so on, in circles too. An endpoint or a notification may have any number of threads waiting, and a pool hundreds of address spaces, each of
//! which has to be told. Each object in the middle of that is a *zombie*: its last capability stays where it is, as a zombie
//! capability, so that the object's memory can't be reused; all zombies form a stack (`Kernel::dying`) whose top is worked on. A slot of
//! the top that holds a zombie further down (a circle) is exchanged with the slot that holds the top's own zombie: an object that
//! holds its own zombie is done when nothing else is left. Every step is a preemption point; the system call starts
//! again and finds the stack as it was.

use crate::arch;
use crate::asid;
use crate::cap::{Cap, Remains, Slot, Zombie};
use crate::cdt::{self, SlotRef};
use crate::error::SysResult;
use crate::ipc;
use crate::kernel::Kernel;
use crate::object::cnode::slot_at;
use crate::object::notification::Notification;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::{self, Tcb, ThreadState};
use crate::ptr::Ptr;
use crate::vspace;

/// Empties `target`.
///
/// # Errors
/// Preempted: the call is to be made again.
pub fn delete(k: &mut Kernel, target: SlotRef) -> SysResult {
    loop {
        match target.cap() {
            Cap::Null => return Ok(()),
            Cap::Zombie(_) => step(k)?,
            _ => take_out(k, target),
        }
        if target.is_empty() {
            return Ok(());
        }
        k.preempt()?;
    }
}

/// Deletes everything derived from `slot`.
///
/// # Errors
/// Preempted: the call is to be made again.
pub fn revoke(k: &mut Kernel, slot: SlotRef) -> SysResult {
    while let Some(child) = cdt::first_child(slot) {
        delete(k, child)?;
        k.preempt()?;
    }
    Ok(())
}

/// Empties a slot whose capability is no zombie; or, when it was the last one of an object with slots, makes it a zombie.
fn take_out(k: &mut Kernel, slot: SlotRef) {
    let cap = slot.cap();
    let last = cdt::is_final(slot);
    let zombie = match cap {
        Cap::CNode(c) if last => Some((Remains::CNode, c.slots.paddr(), c.len())),
        Cap::Thread(t) if last => {
            end_thread(k, t);
            Some((Remains::Thread, t.slot(0).paddr(), tcb::slot::COUNT as u64))
        }
        Cap::Endpoint { object, .. } if last && object.queue.head().is_some() => {
            Some((Remains::Endpoint, object.paddr(), 1))
        }
        Cap::Notification { object, .. } if last => {
            end_notification(object);
            object.queue.head().map(|_| (Remains::Notification, object.paddr(), 1))
        }
        Cap::AsidPool { paddr, .. } if last => {
            Some((Remains::AsidPool, paddr, u64::from(asid::POOL_ENTRIES)))
        }
        _ => None,
    };
    match zombie {
        Some((kind, paddr, remaining)) => {
            let below = k.dying.map_or(0, |s| s.paddr());
            slot.set(Cap::Zombie(Zombie { kind, paddr, remaining, below }));
            k.dying = Some(slot);
        }
        None => {
            finalize(k, cap, last);
            cdt::remove(slot);
            if let Cap::IrqHandler(irq) = cap
                && last
            {
                // What it signalled may be the last capability of a notification: it goes from here, where whoever deletes sees to it.
                let signalled = k.irqs.slot(irq);
                if !signalled.is_empty() {
                    cdt::move_to(slot, signalled, signalled.cap());
                    take_out(k, slot);
                }
            }
        }
    }
}

fn at(paddr: u64) -> Option<SlotRef> {
    // SAFETY: zombies' links are addresses of slots with zombies, which stay until they are popped.
    (paddr != 0).then(|| unsafe { Ptr::from_paddr(paddr) })
}

/// One step of taking apart the object on top of the stack.
fn step(k: &mut Kernel) -> SysResult {
    let Some(top) = k.dying else { return Ok(()) };
    let Cap::Zombie(z) = top.cap() else { return Ok(()) };
    if z.remaining == 0 {
        k.search = None;
        k.dying = at(z.below);
        cdt::remove(top);
        return Ok(());
    }
    if let Some(remaining) = rest_of(k, z) {
        top.set(Cap::Zombie(Zombie { remaining, ..z }));
        return Ok(());
    }
    // SAFETY: the zombie's object has at least `remaining` slots, and its memory is held by the zombie.
    let slot = unsafe { slot_at(Ptr::<Slot>::from_paddr(z.paddr), z.remaining - 1) };
    match slot.cap() {
        Cap::Zombie(_) if slot != top => return relink(k, slot, top),
        Cap::Null | Cap::Zombie(_) => {}
        _ => {
            take_out(k, slot);
            if !slot.is_empty() {
                return Ok(());
            }
        }
    }
    top.set(Cap::Zombie(Zombie { remaining: z.remaining - 1, ..z }));
    Ok(())
}

/// One step of taking apart an object that has no slots: how much of it remains. `None` if it has slots.
fn rest_of(k: &mut Kernel, z: Zombie) -> Option<u64> {
    let more = match z.kind {
        Remains::CNode | Remains::Thread => return None,
        Remains::Endpoint => {
            // SAFETY: the zombie holds its object's memory.
            ipc::cancel_some(k, unsafe { Ptr::from_paddr(z.paddr) })
        }
        Remains::Notification => {
            // SAFETY: as above.
            ipc::cancel_some_signals(k, unsafe { Ptr::from_paddr(z.paddr) })
        }
        Remains::AsidPool => return Some(asid::release_some(k, z.paddr, z.remaining)),
    };
    Some(u64::from(more))
}

/// How far the stack has been searched for the zombie right above the one in `slot`, which the object whose zombie is in `top` holds.
#[derive(Clone, Copy)]
pub struct Search {
    top: SlotRef,
    slot: SlotRef,
    at: SlotRef,
}

/// Zombies that one step of a search looks at.
const SEARCHED_AT_ONCE: u32 = 16;

/// Exchanges the zombie on top of the stack with the one in `slot`, further down, and mends the stack's links.
///
/// # Errors
/// Preempted: nothing is exchanged yet.
fn relink(k: &mut Kernel, slot: SlotRef, top: SlotRef) -> SysResult {
    let mut above = k.search.take().filter(|s| (s.top, s.slot) == (top, slot)).map_or(top, |s| s.at);
    let mut looked_at = 0;
    while let Cap::Zombie(z) = above.cap() {
        if z.below == slot.paddr() {
            above.set(Cap::Zombie(Zombie { below: top.paddr(), ..z }));
            break;
        }
        let Some(next) = at(z.below) else { break };
        above = next;
        looked_at += 1;
        if looked_at % SEARCHED_AT_ONCE == 0 {
            k.search = Some(Search { top, slot, at: above });
            k.preempt()?;
        }
    }
    k.search = None;
    cdt::swap(slot, top);
    k.dying = Some(slot);
    Ok(())
}

/// What else has to happen when a capability goes; `last` says that it was its object's last.
fn finalize(k: &mut Kernel, cap: Cap, last: bool) {
    match cap {
        // It may have been a thread's, which may run.
        Cap::Pml4(root) => {
            k.asids.epoch += 1;
            arch::drop_elsewhere(root);
        }
        Cap::EptPml4(_) => k.stop_guests(),
        _ => {}
    }
    match cap {
        Cap::Frame(f) => vspace::unmap_frame(k, f),
        Cap::Reply { object, .. } if last => {
            if let Some(t) = object.tcb.get() {
                if t.state.get() == ThreadState::BlockedOnReceive {
                    // It goes on waiting, and will not be able to answer a call.
                    t.reply.set(None);
                    object.tcb.set(None);
                } else {
                    ipc::cancel(k, t);
                }
            }
            crate::object::reply::Reply::unlink(object);
        }
        Cap::SchedContext { object, .. } if last => end_sched_context(k, object),
        Cap::Table(t) if last => vspace::unmap_table(k, t, false),
        Cap::EptTable(t) if last => vspace::unmap_table(k, t, true),
        Cap::Pml4(r) | Cap::EptPml4(r) if last => asid::release(k, r),
        Cap::IrqHandler(irq) if last => crate::irq::end_handler(k, irq),
        Cap::IoPort { first, last: end, map } => {
            #[cfg(target_os = "none")]
            crate::virt::iomap::close(map, first, end);
            if map != 0 {
                k.stop_guests();
                k.took(1);
            }
            if last {
                k.ports.free(first, end);
            }
        }
        #[cfg(target_os = "none")]
        Cap::IoSpace { rid, domain } if last && domain != 0 => crate::object::iospace::end_space(rid, domain),
        #[cfg(target_os = "none")]
        Cap::IoPageTable(t) if last => crate::object::iospace::end_table(t),
        #[cfg(target_os = "none")]
        Cap::Vcpu(paddr) if last => crate::object::vcpu::end_vcpu(k, paddr),
        #[cfg(target_os = "none")]
        Cap::IoPermissionMap(paddr) if last => crate::object::vcpu::end_permission_map(k, paddr),
        _ => {}
    }
}

/// Stops a thread.
pub fn suspend(k: &mut Kernel, t: Ptr<Tcb>) {
    k.stop(t);
    ipc::cancel(k, t);
    if t.state.get() == ThreadState::RunningVm {
        #[cfg(target_os = "none")]
        crate::object::vcpu::leave(t);
    }
    t.state.set(ThreadState::Inactive);
    t.end_yield();
    k.dequeue(t);
    if k.sched.current == Some(t) {
        k.sched.request();
    }
}

fn end_thread(k: &mut Kernel, t: Ptr<Tcb>) {
    suspend(k, t);
    unbind_notification(t);
    if let Some(sc) = t.sc.get() {
        unbind_sc(k, sc);
    }
    k.drop_current(t);
    #[cfg(target_os = "none")]
    crate::object::vcpu::unbind_thread(k, t);
    // What its processor holds of it is of no interest any more.
    let cpu = t.place.get().cpu();
    if cpu == k.sched.place.cpu() {
        arch::fpu_forget(t);
        arch::forget_thread(t);
    } else {
        arch::take_state(&t, cpu);
    }
}

fn end_notification(n: Ptr<Notification>) {
    if let Some(t) = n.bound.take() {
        t.bound_notification.set(None);
    }
    if let Some(sc) = n.sc.take() {
        sc.notification.set(None);
    }
}

/// Unbinds a thread's notification.
pub fn unbind_notification(t: Ptr<Tcb>) {
    if let Some(n) = t.bound_notification.take() {
        n.bound.set(None);
    }
}

/// Takes the scheduling context away from its thread.
pub fn unbind_sc(k: &mut Kernel, sc: Ptr<SchedContext>) {
    k.forget_sc(sc);
    if let Some(t) = sc.yield_from.get() {
        t.end_yield();
    }
    if let Some(t) = sc.tcb.take() {
        k.dequeue(t);
        t.sc.set(None);
        k.sched.request();
    }
}

fn end_sched_context(k: &mut Kernel, sc: Ptr<SchedContext>) {
    unbind_sc(k, sc);
    if let Some(n) = sc.notification.take() {
        n.sc.set(None);
    }
    forget_callers(sc);
}

/// The callers who lent the scheduling context don't get it back with their replies.
pub fn forget_callers(sc: Ptr<SchedContext>) {
    if let Some(r) = sc.reply.take() {
        r.sc.set(None);
    }
}
