// SPDX-License-Identifier: MIT OR Apache-2.0
//! The short way through the two system calls that a server and its clients live by: a call that finds its server waiting, and a
//! reply whose server has nobody else to serve. Each function first checks everything, changing nothing, and says `false` where the
//! ordinary way (`syscall`) has to be taken; then it does exactly what that would do.

use sel4_abi::object::tag;

use crate::arch::context::MESSAGE;
use crate::cspace;
use crate::fault::Fault;
use crate::kernel::Kernel;
use crate::object::endpoint::EndpointState;
use crate::object::notification::{Notification, NotificationState};
use crate::object::tcb::{Tcb, ThreadState};
use crate::ptr::Ptr;

/// Length and number of capabilities of a MessageInfo word: at most four words and no capability compare below five.
const SHAPE: u64 = 0x1ff;
/// What a receiver sees of a MessageInfo word whose shape is small: label and length.
const SEEN: u64 = !0xf80;
const WRITE: u16 = 1;
const READ: u16 = 2;
/// Grant or grant-reply.
const ANSWERABLE: u16 = 12;

/// Four registers, or fewer, from one thread to the other.
#[inline(always)]
fn move_message(from: &Tcb, to: &Tcb, badge: u64) {
    let info = from.context.rsi.get();
    let words = (info & SHAPE) as usize;
    for register in MESSAGE.iter().take(words) {
        to.context.at(*register).set(from.context.at(*register).get());
    }
    to.context.rdi.set(badge);
    to.context.rsi.set(info & SEEN);
}

/// A bound notification has a message, or may want its scheduling context back.
#[inline]
fn comes_first(n: &Notification) -> bool {
    n.state() == NotificationState::Active || n.sc.get().is_some()
}

/// `Call`.
#[inline]
pub fn call(k: &mut Kernel, tcb: Ptr<Tcb>) -> bool {
    let c = &tcb.context;
    if c.rsi.get() & SHAPE > 4 {
        return false;
    }
    let Some(slot) = cspace::lookup_fast(&tcb, c.rdi.get()) else { return false };
    let raw = slot.raw();
    if raw.tag() != tag::ENDPOINT || raw.rights() & WRITE == 0 || raw.rights() & ANSWERABLE == 0 {
        return false;
    }
    let ep = raw.endpoint();
    if ep.state() != EndpointState::Recv {
        return false;
    }
    let Some(dest) = ep.queue.head() else { return false };
    let Some(reply) = dest.reply.get() else { return false };
    if !k.sched.may_switch_to(dest) {
        return false;
    }
    ep.leave(dest);
    dest.endpoint.set(None);
    dest.reply.set(None);
    move_message(&tcb, &dest, raw.word());
    reply.tcb.set(Some(tcb));
    tcb.reply.set(Some(reply));
    tcb.state.set(ThreadState::BlockedOnReply);
    dest.state.set(ThreadState::Running);
    k.sched.switch_to(dest);
    true
}

/// `ReplyRecv`.
#[inline]
pub fn reply_recv(k: &mut Kernel, tcb: Ptr<Tcb>) -> bool {
    let c = &tcb.context;
    if c.rsi.get() & SHAPE > 4 {
        return false;
    }
    let Some(slot) = cspace::lookup_fast(&tcb, c.r12.get()) else { return false };
    if slot.raw().tag() != tag::REPLY {
        return false;
    }
    let reply = slot.raw().reply();
    let Some(dest) = reply.tcb.get() else { return false };
    // A reply object in a stack of donations has a scheduling context to give back.
    if dest.state.get() != ThreadState::BlockedOnReply
        || dest.fault.get() != Fault::None
        || reply.sc.get().is_some()
        || reply.prev.get().is_some()
        || reply.next.get().is_some()
    {
        return false;
    }
    let Some(slot) = cspace::lookup_fast(&tcb, c.rdi.get()) else { return false };
    let raw = slot.raw();
    if raw.tag() != tag::ENDPOINT || raw.rights() & READ == 0 {
        return false;
    }
    let ep = raw.endpoint();
    if ep.state() == EndpointState::Send
        || tcb.bound_notification.get().is_some_and(|n| comes_first(&n))
        || !k.sched.may_switch_to(dest)
    {
        return false;
    }
    move_message(&tcb, &dest, 0);
    dest.reply.set(None);
    dest.state.set(ThreadState::Running);
    tcb.state.set(ThreadState::BlockedOnReceive);
    tcb.endpoint.set(Some(ep));
    tcb.reply.set(Some(reply));
    reply.tcb.set(Some(tcb));
    ep.wait(tcb, EndpointState::Recv);
    k.sched.switch_to(dest);
    true
}
