// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sequences of system calls that a hostile program would try, and what each of them must come to.

use std::vec;

use sel4_abi::message::CapRights;
use sel4_abi::object::ObjectType;
use sel4_abi::{MessageInfo, label, syscall as number};

use super::invariants;
use super::machine::{Call, IRQ_CONTROL, Machine, ROOT, SCHED_CONTROL, SLICE, Thread, VSPACE};
use crate::arch::{NOW, PENDING};
use crate::cap::Cap;
use crate::cdt;
use crate::delete;
use crate::object::cnode::CNode;
use crate::object::tcb::{ThreadState, slot};
use crate::transfer::{Buffer, insert_derived};

fn call(number: i64, target: u64, reply: u64, words: &[u64]) -> Call {
    Call { number, target, reply, words: words.into(), ..Call::default() }
}

fn state(t: Thread) -> ThreadState {
    t.tcb.state.get()
}

/// What a thread has received: label, first word.
fn received(t: Thread) -> (u64, u64) {
    (MessageInfo(t.tcb.context.rsi.get()).label(), t.tcb.context.r10.get())
}

#[test]
fn a_notification_whose_last_capability_is_a_handlers_ends_with_it() {
    let mut m = Machine::new();
    let (a, b) = (m.spawn(5), m.spawn(5));
    let (n, handler) = (m.make(ObjectType::Notification, 0), m.empty());
    m.invoke(a, IRQ_CONTROL, label::IRQ_CONTROL_GET_IOAPIC, &[handler, 64, 0, 1, 0, 0, 1], &[ROOT]).unwrap();
    m.invoke(a, handler, label::IRQ_SET_IRQ_HANDLER, &[], &[n]).unwrap();
    m.invoke(a, b.slot, label::TCB_BIND_NOTIFICATION, &[], &[n]).unwrap();
    m.delete(a, n);
    assert!(b.tcb.bound_notification.get().is_some(), "the handler's capability keeps it alive");
    m.delete(a, handler);
    assert!(b.tcb.bound_notification.get().is_none(), "bound to what is no more");
    invariants::check(&m);
}

#[test]
fn a_pin_has_one_handler() {
    let mut m = Machine::new();
    let a = m.spawn(5);
    let (x, y) = (m.empty(), m.empty());
    let mut get = |to, number| {
        m.invoke(a, IRQ_CONTROL, label::IRQ_CONTROL_GET_IOAPIC, &[to, 64, 0, 1, 0, 0, number], &[ROOT])
    };
    get(x, 1).unwrap();
    assert_eq!(get(y, 2), Err(sel4_abi::Error::RevokeFirst as u64));
    m.delete(a, x);
    m.invoke(a, IRQ_CONTROL, label::IRQ_CONTROL_GET_IOAPIC, &[y, 64, 0, 1, 0, 0, 2], &[ROOT]).unwrap();
}

#[test]
fn a_reply_object_that_the_send_half_deletes_is_not_received_with() {
    let mut m = Machine::new();
    let a = m.spawn(5);
    let (e, r) = (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Reply, 0));
    let delete = Call {
        number: number::NB_SEND_RECV,
        target: e,
        reply: r,
        dest: ROOT,
        label: label::CNODE_DELETE,
        words: vec![r, 64],
        caps: vec![],
    };
    m.syscall(a, &delete);
    assert!(m.w.slot(r).is_empty());
    assert_eq!(state(a), ThreadState::Inactive, "a fault without a handler");
    invariants::check(&m);
}

#[test]
fn who_suspends_itself_in_the_send_half_does_not_receive() {
    let mut m = Machine::new();
    let a = m.spawn(5);
    let n = m.make(ObjectType::Notification, 0);
    let suspend = Call {
        number: number::NB_SEND_WAIT,
        target: n,
        reply: a.slot,
        label: label::TCB_SUSPEND,
        ..Call::default()
    };
    m.syscall(a, &suspend);
    assert_eq!(state(a), ThreadState::Inactive);
    invariants::check(&m);
}

/// A thread whose capability space is held by nobody but itself, and holds the only capability to it: addresses begin with
/// four bits of its own CNode, where 1 is the thread and 2 leads on to the world's CNode.
fn self_contained(m: &mut Machine) -> Thread {
    let t = m.spawn(5);
    let node = m.make(ObjectType::CNode, 4);
    let Cap::CNode(c) = m.w.slot(node).cap() else { panic!("a CNode was made") };
    cdt::move_to(c.slot(1), m.w.slot(t.slot), Cap::Thread(t.tcb));
    let onward = CNode { guard_bits: 52, guard: 0, ..m.w.root };
    insert_derived(c.slot(2), Cap::CNode(onward), m.w.slot(ROOT));
    delete::delete(&mut m.w.k, t.tcb.slot(slot::CSPACE)).unwrap();
    insert_derived(t.tcb.slot(slot::CSPACE), Cap::CNode(c), m.w.slot(node));
    let outside = m.w.slot(node);
    delete::delete(&mut m.w.k, outside).unwrap();
    t
}

#[test]
fn a_thread_that_its_own_old_capability_space_takes_along_gets_no_new_one() {
    for label in [label::TCB_SET_SPACE, label::TCB_CONFIGURE] {
        let mut m = Machine::new();
        let t = self_contained(&mut m);
        let (own, world) = (1 << 60, 2 << 60);
        let caps = if label == label::TCB_SET_SPACE {
            [world | m.empty(), world | ROOT, world | VSPACE]
        } else {
            [world | ROOT, world | VSPACE, world | t.frame]
        };
        m.syscall(t, &Call::invoke(own, label, &[0, 0, 0x1000], &caps));
        assert_eq!(m.w.k.sched.current, None, "the thread is gone");
        invariants::check(&m);
    }
}

#[test]
fn an_ipc_buffer_is_used_as_its_frames_rights_say() {
    let mut m = Machine::new();
    let (a, b) = (m.spawn(5), m.spawn(5));
    let (e, r) = (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Reply, 0));
    let weak = m.copy(a, b.frame, CapRights::READ);
    let words = [1, 2, 3, 4, 5, 6];
    let send = |m: &mut Machine, from: Thread, to: Thread, words: &[u64]| {
        m.syscall(to, &call(number::RECV, e, r, &[]));
        m.syscall(from, &call(number::SEND, e, 0, words));
        MessageInfo(to.tcb.context.rsi.get()).length()
    };
    assert_eq!(send(&mut m, a, b, &words), 6);
    let buffer = Buffer::of(&b.tcb).unwrap();
    assert_eq!(buffer.message(5), 6);
    m.invoke(a, b.slot, label::TCB_SET_IPC_BUFFER, &[0x1000], &[weak]).unwrap();
    assert_eq!(send(&mut m, a, b, &[7; 6]), 4, "a message to who can't write its buffer is cut");
    assert_eq!(buffer.message(5), 6, "the kernel wrote what its thread may only read");
    // Reading is enough for sending.
    m.syscall(a, &call(number::RECV, e, r, &[]));
    m.run(b.tcb);
    b.tcb.context.rsi.set(MessageInfo::new(0, 0, 0, 6).0);
    b.tcb.context.rdx.set(number::SEND as u64);
    b.tcb.context.rdi.set(e);
    m.enter_again();
    assert_eq!(MessageInfo(a.tcb.context.rsi.get()).length(), 6);
    assert_eq!(Buffer::of(&a.tcb).unwrap().message(5), 6);
    // A frame without rights is no buffer at all.
    let none = m.copy(a, b.frame, CapRights::NONE);
    m.invoke(a, b.slot, label::TCB_SET_IPC_BUFFER, &[0x1000], &[none]).unwrap();
    assert!(Buffer::of(&b.tcb).is_none() && Buffer::to_read(&b.tcb).is_none());
}

#[test]
fn a_thread_resumed_after_a_fault_sends_its_own_message() {
    let mut m = Machine::new();
    let (a, b) = (m.spawn(5), m.spawn(5));
    let (e, r) = (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Reply, 0));
    // No such system call, and nobody to tell of it.
    m.syscall(b, &call(5, 0, 0, &[]));
    assert_eq!(state(b), ThreadState::Inactive);
    m.invoke(a, b.slot, label::TCB_RESUME, &[], &[]).unwrap();
    m.syscall(a, &call(number::RECV, e, r, &[]));
    m.syscall(b, &call(number::SEND, e, 0, &[77]));
    assert_eq!(received(a), (0, 77));
    assert_eq!(state(b), ThreadState::Running, "a plain send waits for no reply");
    invariants::check(&m);
}

/// A thread that waits to receive on `e` with `r`, without a scheduling context.
fn passive(m: &mut Machine, by: Thread, e: u64, r: u64) -> Thread {
    let t = m.spawn(5);
    m.syscall(t, &call(number::RECV, e, r, &[]));
    m.invoke(by, t.sc, label::SCHED_CONTEXT_UNBIND, &[], &[]).unwrap();
    t
}

#[test]
fn only_calls_and_combined_sends_lend_a_scheduling_context() {
    for (number, lends) in [
        (number::SEND, false),
        (number::NB_SEND, false),
        (number::CALL, true),
        (number::NB_SEND_RECV, true),
        (number::NB_SEND_WAIT, true),
    ] {
        let mut m = Machine::new();
        let a = m.spawn(5);
        let (e, other) = (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Endpoint, 0));
        let (r, own) = (m.make(ObjectType::Reply, 0), m.make(ObjectType::Reply, 0));
        let n = m.make(ObjectType::Notification, 0);
        let server = passive(&mut m, a, e, r);
        let (target, reply) = match number {
            number::NB_SEND_RECV => (other, own),
            number::NB_SEND_WAIT => (n, e),
            _ => (e, own),
        };
        m.syscall(a, &Call { number, target, reply, dest: e, words: vec![7], ..Call::default() });
        assert_eq!(state(server), ThreadState::Running, "{number}: the message arrived");
        assert_eq!(a.tcb.sc.get().is_none(), lends, "{number}");
        assert_eq!(server.tcb.sc.get().is_some(), lends, "{number}");
        invariants::check(&m);
    }
}

#[test]
fn an_unbound_scheduling_context_does_not_come_back_with_a_reply() {
    let mut m = Machine::new();
    let (a, b) = (m.spawn(5), m.spawn(5));
    let (e, r) = (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Reply, 0));
    let server = passive(&mut m, a, e, r);
    m.syscall(b, &call(number::CALL, e, 0, &[]));
    assert_eq!(server.tcb.sc.get(), Some(m.sched_context(b.sc)), "lent");
    m.invoke(a, b.sc, label::SCHED_CONTEXT_UNBIND, &[], &[]).unwrap();
    let c = m.spawn(5);
    m.invoke(a, c.sc, label::SCHED_CONTEXT_UNBIND, &[], &[]).unwrap();
    m.invoke(a, b.sc, label::SCHED_CONTEXT_BIND, &[], &[c.slot]).unwrap();
    m.syscall(a, &call(number::SEND, r, 0, &[1]));
    assert_eq!(state(b), ThreadState::Running, "the reply came");
    assert_eq!(c.tcb.sc.get(), Some(m.sched_context(b.sc)), "what was given to another is taken from it");
    invariants::check(&m);
}

#[test]
fn who_waits_on_an_endpoint_gives_its_notifications_context_back() {
    let mut m = Machine::new();
    let a = m.spawn(5);
    let (e, r) = (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Reply, 0));
    let (n, lent) = (m.make(ObjectType::Notification, 0), m.make(ObjectType::SchedContext, 7));
    super::machine::configure(m.sched_context(lent));
    let server = passive(&mut m, a, e, r);
    m.invoke(a, server.slot, label::TCB_BIND_NOTIFICATION, &[], &[n]).unwrap();
    m.invoke(a, lent, label::SCHED_CONTEXT_BIND, &[], &[n]).unwrap();
    m.syscall(a, &call(number::NB_SEND, n, 0, &[]));
    assert_eq!(server.tcb.sc.get(), Some(m.sched_context(lent)), "the signal brings the context");
    m.syscall(server, &call(number::RECV, e, r, &[]));
    assert_eq!(server.tcb.sc.get(), None, "it waits without one");
    m.syscall(a, &call(number::CALL, e, 0, &[]));
    assert_eq!(server.tcb.sc.get(), Some(m.sched_context(a.sc)), "the caller lends its own");
    invariants::check(&m);
}

#[test]
fn a_thread_is_not_postponed_for_a_context_that_it_has_lent() {
    let mut m = Machine::new();
    let (a, client) = (m.spawn(5), m.spawn(6));
    let (e, e2) = (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Endpoint, 0));
    let (r, r2) = (m.make(ObjectType::Reply, 0), m.make(ObjectType::Reply, 0));
    let server = passive(&mut m, a, e, r);
    let budget = SLICE / 2;
    m.sched_context(a.sc).configure(budget, SLICE, 0, 1);
    // A caller waits whose context the thread gets in the same system call in which it lends its own, used up to the last tick.
    m.syscall(client, &call(number::CALL, e2, 0, &[]));
    m.run(a.tcb);
    NOW.with(|n| n.set(n.get() + budget));
    m.enter(&Call { number: number::NB_SEND_RECV, target: e2, reply: r2, dest: e, ..Call::default() });
    assert_eq!(a.tcb.sc.get(), Some(m.sched_context(client.sc)));
    assert_eq!(server.tcb.sc.get(), Some(m.sched_context(a.sc)));
    assert!(!a.tcb.postponed.get(), "it waits for a context that is another's");
    assert_eq!(m.w.k.sched.current, Some(a.tcb));
    // Whoever has the context that is used up waits.
    m.invoke(a, a.slot, label::TCB_SUSPEND, &[], &[]).unwrap();
    assert_eq!(m.w.k.sched.current, None);
    assert!(server.tcb.postponed.get(), "it runs without time");
    invariants::check(&m);
}

#[test]
fn a_call_of_a_reply_object_is_answered() {
    let mut m = Machine::new();
    let (a, b) = (m.spawn(5), m.spawn(5));
    let (e, r) = (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Reply, 0));
    m.syscall(b, &call(number::CALL, e, 0, &[]));
    m.syscall(a, &call(number::RECV, e, r, &[]));
    let answer = Call { number: number::CALL, target: r, label: 9, words: vec![5], ..Call::default() };
    m.syscall(a, &answer);
    assert_eq!(received(b), (9, 5));
    assert_eq!(a.tcb.context.rsi.get(), 0, "an empty answer without an error");
    m.syscall(a, &answer);
    assert_eq!(a.tcb.context.rsi.get(), 0, "nobody waits: the answer is the same");
}

#[test]
fn a_thread_that_suspends_itself_returns_from_that_call_when_resumed() {
    let mut m = Machine::new();
    let (a, b) = (m.spawn(5), m.spawn(5));
    m.invoke(b, b.slot, label::TCB_SUSPEND, &[], &[]).expect("success is the answer");
    m.invoke(a, b.slot, label::TCB_RESUME, &[], &[]).unwrap();
    assert!(!Machine::is_restarted(b.tcb));
    assert_eq!(b.tcb.context.rsi.get(), 0);
}

#[test]
fn configuring_a_context_takes_a_thread_out_of_its_wait() {
    let mut m = Machine::new();
    let (a, b) = (m.spawn(6), m.spawn(5));
    m.sched_context(b.sc).configure(SLICE, 10 * SLICE, 0, 1);
    m.run(b.tcb);
    NOW.with(|n| n.set(n.get() + SLICE));
    m.w.k.timer_fired();
    m.w.k.choose();
    assert!(b.tcb.postponed.get());
    let method = label::SCHED_CONTROL_CONFIGURE_FLAGS;
    m.invoke(a, SCHED_CONTROL, method, &[1000, 1000, 0, 0, 0], &[b.sc]).unwrap();
    assert!(!b.tcb.postponed.get() && b.tcb.queued.get());
    invariants::check(&m);
}

/// The short path too leaves a thread of another domain alone.
#[test]
fn a_call_and_its_reply_wait_for_the_turn_of_whom_they_wake() {
    let mut m = Machine::with_domains(2);
    let (server, client) = (m.spawn(5), m.spawn(5));
    let (target, reply) = (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Reply, 0));
    m.syscall(server, &Call { number: number::RECV, target, reply, ..Call::default() });
    m.w.k.set_domain(server.tcb, 1);
    m.syscall(client, &Call { number: number::CALL, target, ..Call::default() });
    assert_eq!((m.w.k.sched.current, server.tcb.state.get()), (None, ThreadState::Running));
    let turn_of = |m: &mut Machine, domain| {
        m.w.k.domains.configure(1, domain, 1000).expect("is an entry");
        m.w.k.domains.set_start(1, 1).expect("is an entry");
        m.w.k.change_domain();
        m.w.k.choose();
    };
    turn_of(&mut m, 1);
    assert_eq!(m.w.k.sched.current, Some(server.tcb));
    m.enter(&Call { number: number::REPLY_RECV, target, reply, ..Call::default() });
    assert_eq!((m.w.k.sched.current, client.tcb.state.get()), (None, ThreadState::Running));
    turn_of(&mut m, 0);
    assert_eq!(m.w.k.sched.current, Some(client.tcb));
}

#[test]
fn a_signal_reaches_whoever_waits_in_either_way_and_is_kept_otherwise() {
    let mut m = Machine::new();
    let (signaller, waiter) = (m.spawn(5), m.spawn(6));
    let (e, r, n) =
        (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Reply, 0), m.make(ObjectType::Notification, 0));
    m.invoke(signaller, waiter.slot, label::TCB_BIND_NOTIFICATION, &[], &[n]).unwrap();
    for (wait, target) in [(number::WAIT, n), (number::RECV, e)] {
        m.syscall(waiter, &call(wait, target, r, &[]));
        assert_ne!(state(waiter), ThreadState::Running, "it waits");
        m.syscall(signaller, &call(number::SEND, n, 0, &[]));
        assert_eq!(state(waiter), ThreadState::Running);
        assert_eq!(m.w.k.sched.current, Some(waiter.tcb), "who is woken goes first");
        invariants::check(&m);
    }
    m.syscall(signaller, &call(number::SEND, n, 0, &[]));
    m.syscall(waiter, &call(number::RECV, e, r, &[]));
    assert_eq!(state(waiter), ThreadState::Running, "the signal was kept");
}

#[test]
fn a_reply_whose_capabilities_cannot_be_found_is_not_given() {
    let mut m = Machine::new();
    let (a, b) = (m.spawn(5), m.spawn(5));
    let (e, r) = (m.make(ObjectType::Endpoint, 0), m.make(ObjectType::Reply, 0));
    m.syscall(a, &call(number::RECV, e, r, &[]));
    m.syscall(b, &call(number::CALL, e, 0, &[]));
    // The second address leads nowhere.
    let reply = Call { caps: vec![e, 1 << 40], label: 90, ..call(number::REPLY_RECV, e, r, &[7]) };
    m.syscall(a, &reply);
    assert_eq!(state(a), ThreadState::BlockedOnReceive, "it waits for the next call");
    assert_eq!(state(b), ThreadState::Inactive, "nobody can answer it any more");
    assert_ne!(received(b), (90, 7));
    invariants::check(&m);
}

#[test]
fn senders_are_cancelled_once_however_many_they_are_and_whenever_interrupts_come() {
    for count in 1..14 {
        let mut m = Machine::new();
        let a = m.spawn(5);
        let e = m.make(ObjectType::Endpoint, 0);
        let badged = m.empty();
        m.invoke(a, ROOT, label::CNODE_MINT, &[badged, 64, e, 64, 15, 7], &[ROOT]).unwrap();
        let senders: vec::Vec<Thread> = (0..count).map(|_| m.spawn(4)).collect();
        for sender in &senders {
            m.syscall(*sender, &call(number::SEND, badged, 0, &[]));
        }
        m.run(a.tcb);
        PENDING.with(|p| p.set(true));
        m.enter(&Call::invoke(ROOT, label::CNODE_CANCEL_BADGED_SENDS, &[badged, 64], &[]));
        let mut restarts = 0;
        while Machine::is_restarted(a.tcb) {
            restarts += 1;
            assert!(restarts <= count, "{count} senders: {restarts} restarts");
            // Who was cancelled sends again, and is not among them.
            for sender in senders.iter().filter(|sender| Machine::is_restarted(sender.tcb)) {
                if state(*sender) == ThreadState::Running {
                    m.run(sender.tcb);
                    m.enter_again();
                }
            }
            m.run(a.tcb);
            m.enter_again();
        }
        PENDING.with(|p| p.set(false));
        assert_eq!(restarts > 0, count > 5, "{count} senders");
        invariants::check(&m);
    }
}
