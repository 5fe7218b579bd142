// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sending, receiving, replying, signalling.

use sel4_abi::message::CapRights;

use crate::error::SysResult;
use crate::fault;
use crate::kernel::Kernel;
use crate::object::endpoint::{Endpoint, EndpointState};
use crate::object::notification::{Notification, NotificationState};
use crate::object::reply::Reply;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::{Tcb, ThreadState};
use crate::ptr::Ptr;
use crate::transfer::{self, Gifts};

/// How to send.
#[derive(Clone, Copy)]
pub struct SendMode {
    /// Wait for a receiver.
    pub blocking: bool,
    /// Wait for a reply.
    pub call: bool,
    /// Lend the scheduling context to a receiver without one.
    pub donate: bool,
}

/// Sends the current message (or fault) of `tcb` through an endpoint, to whose first receiver, if receivers wait, it takes `gifts` with it. Of
/// `rights`, grant and grant-reply count.
#[inline]
pub fn send(
    k: &mut Kernel,
    tcb: Ptr<Tcb>,
    ep: Ptr<Endpoint>,
    badge: u64,
    mode: SendMode,
    rights: CapRights,
    gifts: Option<&Gifts>,
) {
    if ep.state() != EndpointState::Recv {
        if mode.blocking {
            tcb.state.set(ThreadState::BlockedOnSend);
            tcb.endpoint.set(Some(ep));
            tcb.send_badge.set(badge);
            tcb.sent_after.set(k.cancellations);
            tcb.can_grant.set(rights.grant());
            tcb.can_grant_reply.set(rights.grant_reply());
            tcb.is_call.set(mode.call);
            let passed = ep.wait(tcb, EndpointState::Send);
            k.passed(passed);
            k.sched.request();
        }
        return;
    }
    let Some(dest) = ep.pop() else { return };
    dest.endpoint.set(None);
    transfer::message(tcb, Some(ep), badge, gifts, dest);
    let reply = dest.reply.take();
    if let Some(r) = reply {
        r.tcb.set(None);
    }
    if mode.call || tcb.fault.get().is_some() {
        match reply {
            Some(r) if rights.grant() || rights.grant_reply() => await_reply(k, tcb, dest, r, mode.donate),
            _ => {
                give_up(tcb);
                k.sched.request();
            }
        }
    } else if mode.donate && dest.sc.get().is_none() {
        donate(k, tcb, dest);
    }
    dest.state.set(ThreadState::Running);
    k.wake(dest);
}

/// Stops a caller, or a thread that faulted, whom nobody can answer.
fn give_up(caller: Ptr<Tcb>) {
    caller.fault.set(fault::Fault::None);
    caller.state.set(ThreadState::Inactive);
}

/// Blocks `caller` until `reply` is used; lends its scheduling context to a callee without one.
fn await_reply(k: &mut Kernel, caller: Ptr<Tcb>, callee: Ptr<Tcb>, reply: Ptr<Reply>, may_donate: bool) {
    reply.tcb.set(Some(caller));
    caller.reply.set(Some(reply));
    caller.state.set(ThreadState::BlockedOnReply);
    k.sched.request();
    if may_donate
        && callee.sc.get().is_none()
        && let Some(sc) = caller.sc.get()
    {
        Reply::push(reply, sc);
        donate(k, caller, callee);
    }
}

/// Moves the scheduling context of `from`, if it has one, to `to`.
pub fn donate(k: &mut Kernel, from: Ptr<Tcb>, to: Ptr<Tcb>) {
    if let Some(sc) = from.sc.take() {
        k.dequeue(from);
        bind_sc(k, sc, to);
    }
}

fn bind_sc(k: &mut Kernel, sc: Ptr<SchedContext>, to: Ptr<Tcb>) {
    k.sched.request();
    k.give_sc(sc, to);
}

/// Receives on an endpoint with an optional reply object, from the first sender, if senders wait, what that one's message takes with it too; a
/// bound notification that is active comes first.
#[inline]
pub fn receive(
    k: &mut Kernel,
    tcb: Ptr<Tcb>,
    ep: Ptr<Endpoint>,
    blocking: bool,
    reply: Option<Ptr<Reply>>,
    gifts: Option<&Gifts>,
) {
    if let Some(r) = reply
        && let Some(other) = r.tcb.get()
        && other != tcb
    {
        cancel(k, other);
    }
    if let Some(n) = tcb.bound_notification.get()
        && n.state() == NotificationState::Active
    {
        complete_signal(k, n, tcb);
        return;
    }
    if blocking && let Some(n) = tcb.bound_notification.get() {
        return_notification_sc(k, tcb, n);
    }
    if ep.state() != EndpointState::Send {
        if blocking {
            tcb.state.set(ThreadState::BlockedOnReceive);
            tcb.endpoint.set(Some(ep));
            tcb.reply.set(reply);
            if let Some(r) = reply {
                r.tcb.set(Some(tcb));
            }
            let passed = ep.wait(tcb, EndpointState::Recv);
            k.passed(passed);
            k.sched.request();
        } else {
            tcb.context.rdi.set(0);
        }
        return;
    }
    let Some(sender) = ep.queue.head() else { return };
    leaves_queue(k, sender);
    ep.leave(sender);
    sender.endpoint.set(None);
    transfer::message(sender, Some(ep), sender.send_badge.get(), gifts, tcb);
    if sender.is_call.get() || sender.fault.get().is_some() {
        match reply {
            Some(r) if sender.can_grant.get() || sender.can_grant_reply.get() => {
                let donates = !matches!(sender.fault.get(), fault::Fault::Timeout { .. });
                await_reply(k, sender, tcb, r, donates);
            }
            _ => give_up(sender),
        }
    } else {
        sender.state.set(ThreadState::Running);
        k.wake(sender);
    }
}

/// Replies with the message of `tcb`, and what it takes with it, to whoever waits for `reply`. Nothing happens if nobody does.
#[inline]
pub fn reply(k: &mut Kernel, tcb: Ptr<Tcb>, reply: Ptr<Reply>, gifts: Option<&Gifts>) {
    let Some(dest) = reply.caller() else { return };
    release_reply(k, reply, dest);
    let f = dest.fault.get();
    if f.is_some() {
        dest.fault.set(fault::Fault::None);
        let info = sel4_abi::MessageInfo(tcb.context.rsi.get());
        let reader = transfer::MessageReader::new(&tcb);
        let mut words = (0..info.length()).map(|i| reader.get(i));
        let go = fault::apply_reply(&dest, f, info.label(), &mut words);
        dest.state.set(if go { ThreadState::Running } else { ThreadState::Inactive });
    } else {
        transfer::message(tcb, None, 0, gifts, dest);
        dest.state.set(ThreadState::Running);
    }
    // A callee has used up what it was lent: the caller is told at once, so that one timeout goes through all of a chain of calls.
    // But the handler of a timeout may let its thread wait.
    if dest.wants_timeouts() && !matches!(f, fault::Fault::Timeout { .. }) && k.sched.is_out_of_time(dest) {
        return fault::raise_timeout(k, dest);
    }
    k.wake(dest);
}

/// Unties `caller` from the reply object and gives a donated scheduling context back.
fn release_reply(k: &mut Kernel, reply: Ptr<Reply>, caller: Ptr<Tcb>) {
    reply.tcb.set(None);
    caller.reply.set(None);
    if let Some(sc) = Reply::unlink(reply)
        && caller.sc.get().is_none()
    {
        if let Some(holder) = sc.tcb.get() {
            k.forget_sc(sc);
            k.dequeue(holder);
            holder.sc.set(None);
        }
        bind_sc(k, sc, caller);
    }
}

/// The thread stops waiting, for whatever it waits, and will execute its system call again if it is resumed.
pub fn cancel(k: &mut Kernel, tcb: Ptr<Tcb>) {
    match tcb.state.get() {
        ThreadState::BlockedOnSend | ThreadState::BlockedOnReceive => {
            if let Some(ep) = tcb.endpoint.take() {
                leaves_queue(k, tcb);
                ep.leave(tcb);
            }
            if let Some(r) = tcb.reply.take() {
                r.tcb.set(None);
            }
        }
        ThreadState::BlockedOnNotification => {
            if let Some(n) = tcb.waiting_for.take() {
                n.leave(tcb);
            }
        }
        ThreadState::BlockedOnReply => {
            if let Some(r) = tcb.reply.get() {
                release_reply(k, r, tcb);
            }
        }
        ThreadState::Receiving => k.forget_half(tcb),
        ThreadState::Inactive | ThreadState::Running | ThreadState::RunningVm => return,
    }
    tcb.fault.set(fault::Fault::None);
    tcb.context.rewind();
    tcb.state.set(ThreadState::Inactive);
}

/// A thread that was cancelled because what it waited on is gone tries again, and finds that out.
pub fn restart(k: &mut Kernel, tcb: Ptr<Tcb>) {
    cancel(k, tcb);
    tcb.state.set(ThreadState::Running);
    k.wake(tcb);
}

/// Threads that one step of a deletion wakes.
const WOKEN_AT_ONCE: usize = 4;

/// Some of those who wait on the endpoint stop waiting; true if others do still wait. Nobody can come: it is being taken apart.
pub fn cancel_some(k: &mut Kernel, ep: Ptr<Endpoint>) -> bool {
    wake_some(k, || ep.queue.head(), give_back)
}

/// As [`cancel_some`], for a notification.
pub fn cancel_some_signals(k: &mut Kernel, n: Ptr<Notification>) -> bool {
    wake_some(k, || n.queue.head(), restart)
}

fn wake_some(
    k: &mut Kernel,
    next: impl Fn() -> Option<Ptr<Tcb>>,
    wake: impl Fn(&mut Kernel, Ptr<Tcb>),
) -> bool {
    for _ in 0..WOKEN_AT_ONCE {
        let Some(tcb) = next() else { break };
        wake(k, tcb);
        // All its refills may have been looked at.
        if tcb.sc.get().is_some_and(|sc| sc.is_sporadic()) {
            break;
        }
    }
    next().is_some()
}

/// The thread stops waiting on an endpoint: it tries again. After a fault it stays where it is.
fn give_back(k: &mut Kernel, tcb: Ptr<Tcb>) {
    let faulted = tcb.fault.get().is_some();
    cancel(k, tcb);
    if !faulted {
        tcb.state.set(ThreadState::Running);
        k.wake(tcb);
    }
}

/// How far senders of a badge have been cancelled.
#[derive(Clone, Copy)]
pub struct Cancelling {
    endpoint: Ptr<Endpoint>,
    badge: u64,
    /// The next one to look at.
    next: Option<Ptr<Tcb>>,
}

/// Senders with this badge stop waiting. Who sends anew meanwhile is not among them.
///
/// # Errors
/// Preempted: the call is to be made again. If another one comes in between, that one does the rest of this one first.
pub fn cancel_badged(k: &mut Kernel, ep: Ptr<Endpoint>, badge: u64) -> SysResult {
    if k.cancelling.is_some_and(|c| c.next.is_none() || c.endpoint != ep || c.badge != badge) {
        cancel_on(k)?;
    }
    if k.cancelling.is_none() && ep.state() == EndpointState::Send {
        k.cancellations += 1;
        k.cancelling = Some(Cancelling { endpoint: ep, badge, next: ep.queue.head() });
    }
    cancel_on(k)
}

fn cancel_on(k: &mut Kernel) -> SysResult {
    while let Some(c) = k.cancelling
        && let Some(tcb) = c.next
    {
        leaves_queue(k, tcb);
        if tcb.send_badge.get() == c.badge && tcb.sent_after.get() != k.cancellations {
            give_back(k, tcb);
        }
        // Not behind the last one: made again, the call would begin anew.
        if k.cancelling.is_some_and(|c| c.next.is_some()) {
            k.preempt()?;
        }
    }
    k.cancelling = None;
    Ok(())
}

/// The thread is about to leave its place in a queue: it is no place to go on from.
#[inline]
pub fn leaves_queue(k: &mut Kernel, tcb: Ptr<Tcb>) {
    if let Some(c) = &mut k.cancelling
        && c.next == Some(tcb)
    {
        c.next = tcb.ipc_next.get();
    }
}

/// Signals a notification.
#[inline]
pub fn signal(k: &mut Kernel, n: Ptr<Notification>, badge: u64) {
    match n.state() {
        NotificationState::Idle => {
            if let Some(tcb) = n.bound.get() {
                match tcb.state.get() {
                    ThreadState::BlockedOnReceive => {
                        if let Some(ep) = tcb.endpoint.take() {
                            ep.leave(tcb);
                        }
                        if let Some(r) = tcb.reply.take() {
                            r.tcb.set(None);
                        }
                        deliver(k, n, tcb, badge);
                        return;
                    }
                    ThreadState::RunningVm => return end_guest_run(k, n, tcb, badge),
                    _ => {}
                }
            }
            n.badge.set(badge);
            n.set_state(NotificationState::Active);
        }
        NotificationState::Waiting => {
            if let Some(tcb) = n.queue.head() {
                n.leave(tcb);
                tcb.waiting_for.set(None);
                deliver(k, n, tcb, badge);
            }
        }
        NotificationState::Active => n.badge.set(n.badge.get() | badge),
    }
}

/// The thread is in its guest: it comes back from there with the message.
#[inline(never)]
fn end_guest_run(k: &mut Kernel, n: Ptr<Notification>, tcb: Ptr<Tcb>, badge: u64) {
    k.stop(tcb);
    #[cfg(target_os = "none")]
    crate::object::vcpu::leave_for_notification(tcb);
    deliver(k, n, tcb, badge);
}

fn deliver(k: &mut Kernel, n: Ptr<Notification>, tcb: Ptr<Tcb>, badge: u64) {
    tcb.context.rdi.set(badge);
    tcb.context.rsi.set(0);
    tcb.state.set(ThreadState::Running);
    lend_notification_sc(k, n, tcb);
    k.wake(tcb);
}

/// A passive thread runs on the notification's scheduling context, if that has one.
#[inline(always)]
fn lend_notification_sc(k: &mut Kernel, n: Ptr<Notification>, tcb: Ptr<Tcb>) {
    if tcb.sc.get().is_none()
        && let Some(sc) = n.sc.get()
        && sc.tcb.get().is_none()
    {
        bind_sc(k, sc, tcb);
    }
}

/// A passive thread that waits again gives the notification's scheduling context back.
fn return_notification_sc(k: &mut Kernel, tcb: Ptr<Tcb>, n: Ptr<Notification>) {
    if let Some(sc) = tcb.sc.get()
        && n.sc.get() == Some(sc)
    {
        k.forget_sc(sc);
        tcb.sc.set(None);
        sc.tcb.set(None);
    }
}

fn complete_signal(k: &mut Kernel, n: Ptr<Notification>, tcb: Ptr<Tcb>) {
    let badge = n.take();
    tcb.context.rdi.set(badge);
    tcb.context.rsi.set(0);
    lend_notification_sc(k, n, tcb);
}

/// Waits for a notification.
pub fn wait(k: &mut Kernel, tcb: Ptr<Tcb>, n: Ptr<Notification>, blocking: bool) {
    if n.state() == NotificationState::Active {
        complete_signal(k, n, tcb);
    } else if blocking {
        tcb.state.set(ThreadState::BlockedOnNotification);
        tcb.waiting_for.set(Some(n));
        let passed = n.queue.insert(tcb);
        k.passed(passed);
        n.set_state(NotificationState::Waiting);
        return_notification_sc(k, tcb, n);
        k.sched.request();
    } else {
        tcb.context.rdi.set(0);
    }
}
