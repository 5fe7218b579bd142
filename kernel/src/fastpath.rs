// SPDX-License-Identifier: MIT OR Apache-2.0
//! The short way through the system calls that a server and its clients live by: a call that finds its server waiting, a
//! reply whose server has nobody else to serve, and a signal for which nobody waits. Each function first checks everything, changing nothing, and says so where another
//! way has to be taken; then it does exactly what that would do, and gives the thread that runs next. Nothing but
//! its state in the processor has to be loaded for it.
//!
//! A thread's root CNode is flat: with one more level the ordinary way is taken. A server has a scheduling context of its own, or it is passive and the caller lends it its own.
//!
//! `FULL` says that there may be more than one processor or domain, and time with a limit, and other receivers; without it
//! what only these make necessary is left out, and where it is found to be necessary the full version is asked for. It calls nothing that returns: the registers that
//! would have to be kept are instructions too.

use sel4_abi::object::tag;

use crate::arch::context::MESSAGE;
use crate::cspace::FlatRoot;
use crate::fault::Fault;
use crate::kernel::Kernel;
use crate::object::endpoint::EndpointState;
use crate::object::notification::{Notification, NotificationState};
use crate::object::reply::Reply;
use crate::object::tcb::{Tcb, ThreadState, slot};
use crate::ptr::Ptr;
use crate::sched::Scheduler;

/// All of a MessageInfo word but the label: below five it says that there are at most four words, and no capability. Then the receiver sees the
/// word as it is.
const SHAPE: u64 = 0xfff;
const WRITE: u64 = 1;
const READ: u64 = 2;
/// Grant or grant-reply.
const ANSWERABLE: u16 = 12;

/// Four registers, or fewer, from one thread to the other.
#[inline(always)]
fn move_message(from: &Tcb, to: &Tcb, info: u64, badge: u64) {
    to.context.rdi.set(badge);
    to.context.rsi.set(info);
    let words = (info & SHAPE) as usize;
    if words != 0 {
        for register in MESSAGE.iter().take(words) {
            to.context.at(*register).set(from.context.at(*register).get());
        }
    }
}

/// A bound notification has a message, or may want its scheduling context back.
#[inline(always)]
fn comes_first(n: &Notification) -> bool {
    n.state() == NotificationState::Active || n.sc.get().is_some()
}

#[inline(always)]
fn scheduler<const FULL: bool>(k: &mut Kernel) -> &mut Scheduler {
    if FULL { &mut k.sched } else { k.sched.only() }
}

/// Why another way has to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// It isn't the usual case: `syscall` does it.
    Ordinary,
    /// There is an end to the time of somebody, or others wait beside the receiver: the full version may do it.
    Full,
}

#[inline(always)]
fn usual<T>(part: Option<T>) -> Result<T, Other> {
    part.ok_or(Other::Ordinary)
}

/// `Call` of the current thread, with the MessageInfo `info`, on the capability at `address`.
#[inline(always)]
pub fn call<const FULL: bool>(
    k: &mut Kernel,
    tcb: Ptr<Tcb>,
    address: u64,
    info: u64,
) -> Result<Ptr<Tcb>, Other> {
    if info & SHAPE > 4 {
        return Err(Other::Ordinary);
    }
    let raw = usual(usual(FlatRoot::of(&tcb))?.lookup(address))?.raw();
    if !raw.is_endpoint_with(WRITE) || raw.rights() & ANSWERABLE == 0 {
        return Err(Other::Ordinary);
    }
    let ep = raw.endpoint();
    let dest = usual(ep.receiver())?;
    if !FULL && dest.ipc_next.get().is_some() {
        return Err(Other::Full);
    }
    let reply = usual(dest.reply.get())?;
    let sched = scheduler::<FULL>(k);
    if !sched.may_follow::<FULL>(tcb, dest) {
        return Err(Other::Ordinary);
    }
    match dest.sc.get() {
        Some(sc) => sched.switch_to::<FULL>(dest, sc)?,
        None => {
            let sc = usual(sched.lendable(tcb))?;
            Reply::push(reply, sc);
            sched.lend(sc, tcb, dest);
        }
    }
    if FULL {
        ep.leave(dest);
    } else {
        ep.only_one_leaves();
    }
    dest.endpoint.set(None);
    dest.reply.set(None);
    move_message(&tcb, &dest, info, raw.word());
    reply.tcb.set(Some(tcb));
    tcb.reply.set(Some(reply));
    tcb.state.set(ThreadState::BlockedOnReply);
    dest.state.set(ThreadState::Running);
    Ok(dest)
}

/// `ReplyRecv` of the current thread, with the MessageInfo `info`: a reply through the capability in R12, then waiting on the one at `address`.
#[inline(always)]
pub fn reply_recv<const FULL: bool>(
    k: &mut Kernel,
    tcb: Ptr<Tcb>,
    address: u64,
    info: u64,
) -> Result<Ptr<Tcb>, Other> {
    if info & SHAPE > 4 {
        return Err(Other::Ordinary);
    }
    let root = usual(FlatRoot::of(&tcb))?;
    let raw = usual(root.lookup(tcb.context.r12.get()))?.raw();
    if raw.tag() != tag::REPLY {
        return Err(Other::Ordinary);
    }
    let reply = raw.reply();
    let dest = usual(reply.tcb.get())?;
    if dest.state.get() != ThreadState::BlockedOnReply || dest.fault.get() != Fault::None {
        return Err(Other::Ordinary);
    }
    let raw = usual(root.lookup(address))?.raw();
    if !raw.is_endpoint_with(READ) {
        return Err(Other::Ordinary);
    }
    let ep = raw.endpoint();
    match ep.state() {
        EndpointState::Idle => {}
        EndpointState::Recv if FULL => {}
        EndpointState::Recv => return Err(Other::Full),
        EndpointState::Send => return Err(Other::Ordinary),
    }
    let sched = scheduler::<FULL>(k);
    if tcb.bound_notification.get().is_some_and(|n| comes_first(&n)) || !sched.may_follow::<FULL>(tcb, dest) {
        return Err(Other::Ordinary);
    }
    match dest.sc.get() {
        Some(sc) => {
            // In the middle of a stack of donations there is more to do.
            if reply.sc.get().is_some() || reply.prev.get().is_some() || reply.next.get().is_some() {
                return Err(Other::Ordinary);
            }
            sched.switch_to::<FULL>(dest, sc)?;
        }
        None => {
            // What the caller lent goes back to it; whether it is used up is of interest to a timeout handler only.
            let sc = usual(sched.lendable(tcb))?;
            if reply.sc.get() != Some(sc) || dest.slots[slot::TIMEOUT_HANDLER].raw().tag() == tag::ENDPOINT {
                return Err(Other::Ordinary);
            }
            Reply::pop(reply, sc);
            sched.lend(sc, tcb, dest);
        }
    }
    move_message(&tcb, &dest, info, 0);
    dest.reply.set(None);
    dest.state.set(ThreadState::Running);
    tcb.state.set(ThreadState::BlockedOnReceive);
    tcb.endpoint.set(Some(ep));
    tcb.reply.set(Some(reply));
    reply.tcb.set(Some(tcb));
    if FULL {
        ep.wait(tcb, EndpointState::Recv);
    } else {
        ep.only_one_waits(tcb);
    }
    Ok(dest)
}

/// What a [`signal`] has come to.
pub enum Signalled {
    /// Nobody waits: the thread goes on.
    Noted,
    /// Somebody may be woken: `ipc::signal` with this word does it.
    Wakes(Ptr<Notification>, u64),
}

/// `Send` of the current thread, with the MessageInfo `info`, on the capability at `address`, if that is a signal. `None`: `syscall` does it.
#[inline(always)]
pub fn signal(tcb: Ptr<Tcb>, address: u64, info: u64) -> Option<Signalled> {
    if info & SHAPE > 4 {
        return None;
    }
    let raw = FlatRoot::of(&tcb)?.lookup(address)?.raw();
    if !raw.is_notification_with(WRITE) {
        return None;
    }
    let (n, bits) = (raw.notification(), raw.word());
    match n.state() {
        NotificationState::Active => n.badge.set(n.badge.get() | bits),
        NotificationState::Idle if !n.bound.get().is_some_and(|t| takes_signals(&t)) => {
            n.badge.set(bits);
            n.set_state(NotificationState::Active);
        }
        _ => return Some(Signalled::Wakes(n, bits)),
    }
    Some(Signalled::Noted)
}

/// The thread to which a notification is bound gets a signal at once.
#[inline(always)]
fn takes_signals(t: &Tcb) -> bool {
    matches!(t.state.get(), ThreadState::BlockedOnReceive | ThreadState::RunningVm)
}
