// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds between any two kernel entries: every link of a live object leads to a live one that links back, every queue is what
//! its members say, and nobody who can run is forgotten.

use std::collections::HashSet;
use std::vec::Vec;

use super::machine::{DOMAIN, IRQ_CONTROL, Machine, ROOT, SCHED_CONTROL, VSPACE};
use crate::cap::{Cap, Remains, Slot, Zombie};
use crate::cdt::SlotRef;
use crate::kernel::Kernel;
use crate::object::endpoint::{Endpoint, EndpointState, WaitQueue};
use crate::object::notification::{Notification, NotificationState};
use crate::object::reply::Reply;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::slot::COUNT;
use crate::object::tcb::{Tcb, ThreadState};
use crate::ptr::Ptr;
use crate::sched::Scheduler;

/// Live objects: those with a capability. Each once.
#[derive(Default)]
struct Live {
    addresses: HashSet<u64>,
    threads: Vec<Ptr<Tcb>>,
    endpoints: Vec<Ptr<Endpoint>>,
    notifications: Vec<Ptr<Notification>>,
    replies: Vec<Ptr<Reply>>,
    contexts: Vec<Ptr<SchedContext>>,
}

impl Live {
    fn of(m: &Machine) -> Self {
        let mut live = Self::default();
        let mut slots = Vec::new();
        for root in [0, ROOT, VSPACE, IRQ_CONTROL, SCHED_CONTROL, DOMAIN] {
            slots.extend(m.w.order_from(root));
        }
        slots.iter().for_each(|slot| live.add(slot.cap()));
        // The kernel's own slots, those of CNodes and threads, and those that a deletion hasn't come to yet.
        let kernel = core::ptr::from_ref(&*m.w.k) as u64;
        let mut homes = Vec::from([(kernel, kernel + size_of::<Kernel>() as u64)]);
        homes.extend(slots.iter().filter_map(|slot| home(slot.cap())));
        homes.sort_unstable();
        for slot in slots {
            let at = slot.addr();
            let home = homes[..homes.partition_point(|h| h.0 <= at)].last();
            let is_home = home.is_some_and(|h| at < h.1);
            assert!(is_home || holds_itself(slot), "a slot of a deleted object is in the tree");
        }
        live
    }

    fn add(&mut self, cap: Cap) {
        match cap {
            Cap::Thread(t) if self.addresses.insert(t.addr()) => self.threads.push(t),
            Cap::Endpoint { object, .. } if self.addresses.insert(object.addr()) => {
                self.endpoints.push(object)
            }
            Cap::Notification { object, .. } if self.addresses.insert(object.addr()) => {
                self.notifications.push(object);
            }
            Cap::Reply { object, .. } if self.addresses.insert(object.addr()) => self.replies.push(object),
            Cap::SchedContext { object, .. } if self.addresses.insert(object.addr()) => {
                self.contexts.push(object);
            }
            // Whoever still waits there is linked to it.
            Cap::Zombie(Zombie { kind: Remains::Endpoint, paddr, .. }) => {
                // SAFETY: the object of a zombie is there until the zombie goes.
                let object: Ptr<Endpoint> = unsafe { Ptr::from_paddr(paddr) };
                self.addresses.insert(object.addr());
                self.endpoints.push(object);
            }
            Cap::Zombie(Zombie { kind: Remains::Notification, paddr, .. }) => {
                // SAFETY: as above.
                let object: Ptr<Notification> = unsafe { Ptr::from_paddr(paddr) };
                self.addresses.insert(object.addr());
                self.notifications.push(object);
            }
            _ => {}
        }
    }

    fn has<T>(&self, object: Ptr<T>) -> bool {
        self.addresses.contains(&object.addr())
    }
}

/// Where the slots of a capability's object are.
fn home(cap: Cap) -> Option<(u64, u64)> {
    let (first, count) = match cap {
        Cap::CNode(c) => (c.slots, c.len()),
        Cap::Thread(t) => (t.slot(0), COUNT as u64),
        Cap::Zombie(z) if matches!(z.kind, Remains::CNode | Remains::Thread) => {
            // SAFETY: the object of a zombie is there until the zombie goes.
            (unsafe { Ptr::from_paddr(z.paddr) }, z.remaining)
        }
        _ => return None,
    };
    Some((first.addr(), first.addr() + count * size_of::<Slot>() as u64))
}

/// A zombie in a slot of its own object: what comes after it is taken apart already. Objects are smaller than a page here.
fn holds_itself(slot: SlotRef) -> bool {
    matches!(slot.cap(), Cap::Zombie(z) if (z.paddr..z.paddr + 4096).contains(&slot.paddr()))
}

/// Checks everything.
pub fn check(m: &Machine) {
    let live = Live::of(m);
    if let Some(t) = m.w.k.sched.current {
        assert!(live.has(t), "the current thread is deleted");
        let between = m.w.k.sched.half() == Some(t);
        assert!(
            (t.is_schedulable() || between) && !t.queued.get(),
            "the current thread can't run, or waits to"
        );
        assert_eq!(t.place.get(), m.w.k.sched.place, "the current thread is of another domain");
    }
    live.threads.iter().for_each(|&t| thread(m, &live, t));
    live.endpoints.iter().for_each(|&e| endpoint(&live, e));
    live.notifications.iter().for_each(|&n| notification(&live, n));
    live.replies.iter().for_each(|&r| reply(&live, r));
    live.contexts.iter().for_each(|&c| context(&live, c));
    scheduler(m, &live);
}

fn thread(m: &Machine, live: &Live, t: Ptr<Tcb>) {
    let state = t.state.get();
    let waits = match state {
        ThreadState::BlockedOnReceive | ThreadState::BlockedOnSend => {
            let ep = t.endpoint.get().expect("who waits on an endpoint names it");
            assert!(live.has(ep), "an endpoint that is waited on is deleted");
            assert!(members(&ep.queue).contains(&t), "a thread is not in the queue of its endpoint");
            true
        }
        _ => false,
    };
    assert!(waits || t.endpoint.get().is_none(), "{state:?}: an endpoint is named");
    if state == ThreadState::BlockedOnNotification {
        let n = t.waiting_for.get().expect("who waits for a notification names it");
        assert!(live.has(n), "a notification that is waited for is deleted");
        assert!(members(&n.queue).contains(&t), "a thread is not in the queue of its notification");
    } else {
        assert!(t.waiting_for.get().is_none(), "{state:?}: a notification is named");
    }
    match t.reply.get() {
        Some(r) => {
            assert!(matches!(state, ThreadState::BlockedOnReceive | ThreadState::BlockedOnReply));
            assert!(live.has(r), "{state:?}: the reply object is deleted");
            assert_eq!(r.tcb.get(), Some(t), "{state:?}: the reply object is another's");
        }
        None => assert_ne!(state, ThreadState::BlockedOnReply, "nothing to reply through"),
    }
    let half = m.w.k.sched.all().iter().any(|s| s.half() == Some(t));
    assert_eq!(half, state == ThreadState::Receiving, "{state:?}: between the halves of its call or not");
    if t.fault.get().is_some() {
        let states = [ThreadState::BlockedOnSend, ThreadState::BlockedOnReply];
        assert!(states.contains(&state), "{state:?}: a fault that nobody was told or will answer");
    }
    if let Some(sc) = t.sc.get() {
        assert!(live.has(sc), "a thread's scheduling context is deleted");
        assert_eq!(sc.tcb.get(), Some(t), "a thread's scheduling context is another's");
    }
    if let Some(sc) = t.yield_to.get() {
        assert!(live.has(sc), "a scheduling context that is waited for is deleted");
        assert_eq!((sc.yield_from.get(), state), (Some(t), ThreadState::Running));
    }
    if let Some(n) = t.bound_notification.get() {
        assert!(live.has(n), "a bound notification is deleted");
        assert_eq!(n.bound.get(), Some(t), "a bound notification is another's");
    }
    let has_to_run = t.is_schedulable() && m.w.k.sched.current != Some(t);
    assert_eq!(t.queued.get(), has_to_run, "{state:?}: in the ready queue or not");
    assert!(!t.postponed.get() || t.is_runnable() && t.sc.get().is_some(), "{state:?}: postponed");
}

/// Threads of a queue, with its links checked.
fn members(queue: &WaitQueue) -> Vec<Ptr<Tcb>> {
    let mut all: Vec<Ptr<Tcb>> = Vec::new();
    let mut at = queue.head();
    while let Some(t) = at {
        assert_eq!(t.ipc_prev.get(), all.last().copied(), "the backward link in a queue");
        if let Some(before) = all.last() {
            assert!(before.priority.get() >= t.priority.get(), "a queue out of order");
        }
        all.push(t);
        at = t.ipc_next.get();
        assert!(all.len() < 1000, "a queue is a circle");
    }
    assert_eq!(queue.tail(), all.last().copied(), "the end of a queue");
    for group in all.chunk_by(|a, b| a.priority.get() == b.priority.get()) {
        let (first, last) = (group[0], group[group.len() - 1]);
        for t in group {
            let (several, its) = (group.len() > 1, (t.ipc_last.get(), t.ipc_first.get()));
            let expected =
                ((several && *t == first).then_some(last), (several && *t == last).then_some(first));
            assert_eq!(its, expected, "the ends of those of one priority");
        }
    }
    all
}

fn endpoint(live: &Live, e: Ptr<Endpoint>) {
    let waiting = members(&e.queue);
    let state = match e.state() {
        EndpointState::Idle => return assert!(waiting.is_empty(), "an idle endpoint is waited on"),
        EndpointState::Send => ThreadState::BlockedOnSend,
        EndpointState::Recv => ThreadState::BlockedOnReceive,
    };
    assert!(!waiting.is_empty(), "{state:?}: nobody is");
    for t in waiting {
        assert!(live.has(t), "a deleted thread waits on an endpoint");
        assert_eq!((t.state.get(), t.endpoint.get()), (state, Some(e)));
    }
}

fn notification(live: &Live, n: Ptr<Notification>) {
    let waiting = members(&n.queue);
    assert_eq!(n.state() == NotificationState::Waiting, !waiting.is_empty(), "{:?}", n.state());
    for t in waiting {
        assert!(live.has(t), "a deleted thread waits for a notification");
        assert_eq!((t.state.get(), t.waiting_for.get()), (ThreadState::BlockedOnNotification, Some(n)));
    }
    if let Some(t) = n.bound.get() {
        assert!(live.has(t), "a notification is bound to a deleted thread");
        assert_eq!(t.bound_notification.get(), Some(n));
    }
    if let Some(sc) = n.sc.get() {
        assert!(live.has(sc), "a notification's scheduling context is deleted");
        assert_eq!(sc.notification.get(), Some(n));
    }
}

fn reply(live: &Live, r: Ptr<Reply>) {
    if let Some(t) = r.tcb.get() {
        assert!(live.has(t), "a reply object is for a deleted thread");
        assert_eq!(t.reply.get(), Some(r), "a reply object is for a thread that has another");
    }
    let in_stack = r.prev.get().is_some() || r.next.get().is_some() || r.sc.get().is_some();
    if in_stack {
        let caller = r.tcb.get().expect("in a stack of donations there is somebody to reply to");
        assert_eq!(caller.state.get(), ThreadState::BlockedOnReply);
    }
    if let Some(p) = r.prev.get() {
        assert!(live.has(p), "the call before is deleted");
        assert_eq!(p.next.get(), Some(r));
    }
    if let Some(n) = r.next.get() {
        assert!(live.has(n), "the call after is deleted");
        assert_eq!(n.prev.get(), Some(r));
        assert_eq!(r.sc.get(), None, "only the head of a stack has the scheduling context");
    }
    if let Some(sc) = r.sc.get() {
        assert!(live.has(sc), "a donated scheduling context is deleted");
        assert_eq!(sc.reply.get(), Some(r));
    }
}

fn context(live: &Live, c: Ptr<SchedContext>) {
    if let Some(t) = c.tcb.get() {
        assert!(live.has(t), "a scheduling context is a deleted thread's");
        assert_eq!(t.sc.get(), Some(c));
    }
    if let Some(n) = c.notification.get() {
        assert!(live.has(n), "a scheduling context is a deleted notification's");
        assert_eq!(n.sc.get(), Some(c));
    }
    if let Some(t) = c.yield_from.get() {
        assert!(live.has(t), "a deleted thread waits for a scheduling context");
        assert_eq!(t.yield_to.get(), Some(c));
    }
    if let Some(r) = c.reply.get() {
        assert!(live.has(r), "the head of a scheduling context's stack is deleted");
        assert_eq!(r.sc.get(), Some(c));
    }
    assert!(c.remaining.get() <= c.budget.get(), "more time than there is");
}

fn scheduler(m: &Machine, live: &Live) {
    let k = &m.w.k;
    // While a call is half done a slice that has begun isn't gone over to yet.
    if k.sched.half().is_none() {
        assert_eq!(k.sched.place.domain(), k.domains.current(), "a domain runs whose turn it isn't");
        assert!(k.sched.timer() <= k.domains.ends(), "the timer fires after the end of the slice");
    }
    let (mut ready, mut postponed) = (0, 0);
    for s in k.sched.all() {
        let here = queues(live, s, s.place == k.sched.place);
        ready += here.0;
        postponed += here.1;
        if s.place != k.sched.place {
            assert_eq!((s.current, s.charged()), (None, None), "a domain whose turn it isn't runs");
        }
    }
    assert_eq!(ready, live.threads.iter().filter(|t| t.queued.get()).count());
    assert_eq!(postponed, live.threads.iter().filter(|t| t.postponed.get()).count());
}

/// Checks the queues of a domain; gives how many threads are ready and how many wait for time.
fn queues(live: &Live, s: &Scheduler, active: bool) -> (usize, usize) {
    let (ready, postponed) = s.queues();
    for (priority, t) in &ready {
        assert!(live.has(*t), "a deleted thread is in a ready queue");
        assert!(t.queued.get() && t.is_schedulable(), "{:?}: in a ready queue", t.state.get());
        assert_eq!(t.priority.get(), *priority, "a thread in the queue of another priority");
        assert_eq!(t.place.get(), s.place, "a thread in the queue of another domain");
    }
    let current = s.current.map(|t| t.priority.get());
    if active && s.half().is_none() {
        let highest = ready.iter().map(|r| r.0).max();
        // After several without time the choice goes on at the next entry, which is at once.
        let goes_on = current.is_none() && s.timer() <= crate::arch::now();
        assert!(current >= highest || goes_on, "priority {highest:?} waits while {current:?} runs");
    }
    let mut until = 0;
    for t in &postponed {
        assert!(live.has(*t), "a deleted thread waits for its time");
        assert!(t.postponed.get() && !t.queued.get());
        assert_eq!(t.place.get(), s.place, "a thread waits for its time in another domain");
        let next = t.sc.get().expect("who waits for time has a scheduling context").refilled_at.get();
        assert!(until <= next, "threads that wait for their time are out of order");
        until = next;
    }
    (ready.len(), postponed.len())
}
