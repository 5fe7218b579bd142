// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls that are interrupted while they look capabilities up, in a capability space of many levels: before anything is done, and
//! between the halves of combined calls.

use sel4_abi::object::ObjectType;
use sel4_abi::{MessageInfo, label, syscall as number};

use super::invariants;
use super::machine::{Call, DEEP, Machine, ROOT, Thread};
use crate::arch::PENDING;
use crate::arch::context::MESSAGE;
use crate::cap::Cap;
use crate::delete;
use crate::invoke;
use crate::ipc;
use crate::object::tcb::ThreadState;
use crate::transfer::Buffer;

/// Threads and what they share. Addresses of odd slots lead through many levels, those of even ones don't.
struct Scene {
    m: Machine,
    /// Of this capability space.
    a: Thread,
    /// Of an ordinary one.
    b: Thread,
    /// Endpoint in an even slot.
    near: u64,
    /// Endpoint in an odd slot.
    far: u64,
    /// Reply object in an even slot, for `a`.
    reply: u64,
    /// The same for `b`.
    other: u64,
}

impl Scene {
    fn new() -> Self {
        let mut m = Machine::new();
        let (a, b) = (m.spawn(5), m.spawn(5));
        let make = |m: &mut Machine, ty, odd: u64| loop {
            let at = m.make(ty, 0);
            if at % 2 == odd {
                break at;
            }
        };
        let [near, far] = [0, 1].map(|odd| make(&mut m, ObjectType::Endpoint, odd));
        let [reply, other] = [0, 0].map(|even| make(&mut m, ObjectType::Reply, even));
        m.set_cspace(a.tcb, DEEP);
        Self { m, a, b, near, far, reply, other }
    }

    /// `thread` makes a call while an interrupt is pending.
    fn interrupted(&mut self, thread: Thread, call: &Call) {
        self.m.run(thread.tcb);
        PENDING.with(|p| p.set(true));
        self.m.enter(call);
    }

    /// `a` sends near and receives far, and is interrupted in between.
    fn between_halves(&mut self) {
        let (near, far, reply, other) = (self.near, self.far, self.reply, self.other);
        self.m.syscall(self.b, &Call { number: number::RECV, target: near, reply: other, ..Call::default() });
        let both = Call {
            number: number::NB_SEND_RECV,
            dest: near,
            target: far,
            reply,
            label: 90,
            words: [7].into(),
            ..Call::default()
        };
        self.interrupted(self.a, &both);
        assert_eq!(self.a.tcb.state.get(), ThreadState::Receiving);
        assert_eq!(received(self.b), (90, 7), "the first half is done");
        assert!(!Machine::is_restarted(self.a.tcb));
        invariants::check(&self.m);
    }

    /// The interrupt has been served.
    fn go_on(&mut self) {
        PENDING.with(|p| p.set(false));
        self.m.leave();
        invariants::check(&self.m);
    }

    /// Meanwhile `b` invokes what is in a slot, on another processor: for that one `a` isn't the current thread.
    fn elsewhere(&mut self, target: u64, label: u64, words: &[u64]) {
        PENDING.with(|p| p.set(false));
        let c = &self.b.tcb.context;
        c.rsi.set(MessageInfo::new(label, 0, 0, words.len() as u64).0);
        for (register, word) in MESSAGE.iter().zip(words) {
            c.at(*register).set(*word);
        }
        let slot = self.m.w.slot(target);
        self.m.w.k.sched.current = None;
        invoke::invoke(&mut self.m.w.k, self.b.tcb, slot, [None; 3]).expect("is done");
    }

    fn send(&mut self, to: u64, label: u64) {
        self.m.syscall(self.b, &Call { number: number::NB_SEND, target: to, label, ..Call::default() });
    }
}

/// What a thread has received: label, first word.
fn received(t: Thread) -> (u64, u64) {
    (MessageInfo(t.tcb.context.rsi.get()).label(), t.tcb.context.r10.get())
}

#[test]
fn the_second_half_alone_is_made_again() {
    let mut s = Scene::new();
    s.between_halves();
    s.go_on();
    assert_eq!(s.a.tcb.state.get(), ThreadState::BlockedOnReceive);
    s.send(s.far, 91);
    assert_eq!(received(s.a).0, 91);
    assert_eq!(s.a.tcb.state.get(), ThreadState::Running);
    assert!(!Machine::is_restarted(s.a.tcb));
}

#[test]
fn a_signal_between_the_halves_is_received() {
    let mut s = Scene::new();
    let n = s.m.make(ObjectType::Notification, 0);
    s.m.invoke(s.b, s.a.slot, label::TCB_BIND_NOTIFICATION, &[], &[n]).unwrap();
    s.between_halves();
    let Cap::Notification { object, .. } = s.m.w.slot(n).cap() else { panic!("a notification was made") };
    ipc::signal(&mut s.m.w.k, object, 4);
    s.go_on();
    assert_eq!(s.a.tcb.context.rdi.get(), 4);
    assert_eq!(s.a.tcb.state.get(), ThreadState::Running);
    assert_eq!(MessageInfo(s.a.tcb.context.rsi.get()), MessageInfo(0));
}

#[test]
fn who_is_suspended_between_the_halves_makes_the_whole_call_again() {
    for label in [label::TCB_SUSPEND, label::TCB_RESUME] {
        let mut s = Scene::new();
        s.between_halves();
        s.elsewhere(s.a.slot, label, &[]);
        let state = if label == label::TCB_RESUME { ThreadState::Running } else { ThreadState::Inactive };
        assert_eq!(s.a.tcb.state.get(), state);
        assert!(Machine::is_restarted(s.a.tcb));
        s.go_on();
        assert_eq!(s.a.tcb.state.get(), state);
    }
}

#[test]
fn who_gets_other_registers_between_the_halves_has_made_its_call() {
    let mut s = Scene::new();
    s.between_halves();
    s.elsewhere(s.a.slot, label::TCB_WRITE_REGISTERS, &[0, 2, 0x1234, 0x5678]);
    s.go_on();
    assert_eq!(s.a.tcb.state.get(), ThreadState::Running);
    assert_eq!((s.a.tcb.context.rip.get(), s.a.tcb.context.rsp.get()), (0x1234, 0x5678));
    invariants::check(&s.m);
}

#[test]
fn a_thread_that_is_deleted_between_the_halves_is_gone() {
    let mut s = Scene::new();
    s.between_halves();
    PENDING.with(|p| p.set(false));
    let slot = s.m.w.slot(s.a.slot);
    delete::delete(&mut s.m.w.k, slot).unwrap();
    s.m.leave();
    assert_ne!(s.m.w.k.sched.current, Some(s.a.tcb));
    invariants::check(&s.m);
}

#[test]
fn a_reply_is_given_once_though_the_waiting_after_it_is_interrupted() {
    let mut s = Scene::new();
    let (near, far, reply) = (s.near, s.far, s.reply);
    s.m.syscall(s.a, &Call { number: number::RECV, target: near, reply, ..Call::default() });
    s.m.syscall(s.b, &Call { number: number::CALL, target: near, label: 90, ..Call::default() });
    assert_eq!(received(s.a).0, 90);
    let answer = Call { number: number::REPLY_RECV, target: far, reply, label: 91, ..Call::default() };
    s.interrupted(s.a, &answer);
    assert_eq!(s.a.tcb.state.get(), ThreadState::Receiving);
    assert_eq!((received(s.b).0, s.b.tcb.state.get()), (91, ThreadState::Running));
    s.go_on();
    assert_eq!(s.a.tcb.state.get(), ThreadState::BlockedOnReceive);
}

/// What it lent goes back with the reply, so that it can't run when it is to wait.
#[test]
fn who_has_no_time_any_more_waits_nevertheless() {
    let mut s = Scene::new();
    let (near, far, reply) = (s.near, s.far, s.reply);
    s.m.syscall(s.a, &Call { number: number::RECV, target: near, reply, ..Call::default() });
    s.m.invoke(s.b, s.a.sc, label::SCHED_CONTEXT_UNBIND, &[], &[]).unwrap();
    s.m.syscall(s.b, &Call { number: number::CALL, target: near, label: 90, ..Call::default() });
    assert!(s.a.tcb.sc.get().is_some(), "it has the caller's");
    s.interrupted(
        s.a,
        &Call { number: number::REPLY_RECV, target: far, reply, label: 91, ..Call::default() },
    );
    assert_eq!((s.a.tcb.state.get(), s.a.tcb.sc.get()), (ThreadState::Receiving, None));
    s.go_on();
    assert_eq!(s.a.tcb.state.get(), ThreadState::BlockedOnReceive);
    assert_eq!(s.m.w.k.sched.current, Some(s.b.tcb));
    // It is there for the next one.
    s.m.syscall(s.b, &Call { number: number::CALL, target: far, label: 92, ..Call::default() });
    assert_eq!((received(s.a).0, s.m.w.k.sched.current), (92, Some(s.a.tcb)));
}

#[test]
fn an_invocation_that_took_long_is_followed_by_a_look_at_interrupts() {
    let mut s = Scene::new();
    let (page, to) = (s.m.make(ObjectType::CNode, 3), s.near);
    let delete = Call {
        number: number::NB_SEND_RECV,
        dest: ROOT,
        target: to,
        reply: s.reply,
        label: label::CNODE_DELETE,
        words: [page, 64].into(),
        ..Call::default()
    };
    s.m.run(s.b.tcb);
    let k = &mut s.m.w.k;
    k.took(1);
    s.interrupted(s.b, &delete);
    while Machine::is_restarted(s.b.tcb) {
        s.m.enter_again();
    }
    assert!(s.m.w.slot(page).is_empty());
    assert_eq!(s.b.tcb.state.get(), ThreadState::Receiving);
    PENDING.with(|p| p.set(false));
    s.m.leave();
    assert_eq!(s.b.tcb.state.get(), ThreadState::BlockedOnReceive);
}

#[test]
fn nothing_is_done_by_a_call_that_is_interrupted_while_it_looks_capabilities_up() {
    let mut s = Scene::new();
    let (near, far, other) = (s.near, s.far, s.other);
    s.m.syscall(s.b, &Call { number: number::RECV, target: far, reply: other, ..Call::default() });
    for call in [
        Call { number: number::SEND, target: far, label: 90, ..Call::default() },
        Call { number: number::NB_SEND_RECV, dest: far, target: near, label: 90, ..Call::default() },
        Call { number: number::SEND, target: near, label: 90, caps: [far].into(), ..Call::default() },
        Call { number: number::RECV, target: far, reply: s.reply, ..Call::default() },
    ] {
        s.interrupted(s.a, &call);
        assert!(Machine::is_restarted(s.a.tcb), "{call:?}");
        assert_eq!(s.a.tcb.state.get(), ThreadState::Running);
        assert_eq!(s.b.tcb.state.get(), ThreadState::BlockedOnReceive);
        PENDING.with(|p| p.set(false));
        invariants::check(&s.m);
    }
    s.m.syscall(s.a, &Call { number: number::SEND, target: far, label: 90, ..Call::default() });
    assert_eq!(received(s.b).0, 90);
}

/// The slots of both sides of a message with capabilities are looked up before it goes, those of a sender that waits too.
#[test]
fn capabilities_go_with_a_message_or_stay_with_it() {
    for sender_waits in [false, true] {
        let mut s = Scene::new();
        let (near, gift) = (s.near, s.m.make(ObjectType::Notification, 0));
        let empty = s.m.empty() | 1;
        let address = s.m.address(s.a.tcb, empty);
        // In a's capability space slot and root are found through many levels.
        let buffer = Buffer::of(&s.a.tcb).unwrap();
        buffer.set_receive_slot(s.m.address(s.a.tcb, DEEP + 1), address, 64);
        let at = s.m.w.slot(DEEP + 1);
        let root = s.m.w.slot(DEEP);
        crate::transfer::insert_derived(at, root.cap(), root);
        let send =
            Call { number: number::SEND, target: near, label: 90, caps: [gift].into(), ..Call::default() };
        let receive = Call { number: number::RECV, target: near, reply: s.reply, ..Call::default() };
        let (first, second) =
            if sender_waits { ((s.b, &send), (s.a, &receive)) } else { ((s.a, &receive), (s.b, &send)) };
        s.m.syscall(first.0, first.1);
        s.interrupted(second.0, second.1);
        assert!(Machine::is_restarted(second.0.tcb), "sender waits: {sender_waits}");
        assert!(first.0.tcb.is_blocked() && s.m.w.slot(empty).is_empty());
        PENDING.with(|p| p.set(false));
        s.m.run(second.0.tcb);
        s.m.enter_again();
        let info = MessageInfo(s.a.tcb.context.rsi.get());
        assert_eq!((info.label(), info.extra_caps()), (90, 1));
        assert!(matches!(s.m.w.slot(empty).cap(), Cap::Notification { .. }));
        invariants::check(&s.m);
    }
}

#[test]
fn of_capabilities_that_cannot_all_be_found_any_more_none_goes() {
    let mut s = Scene::new();
    let (near, gift, empty) = (s.near, s.m.make(ObjectType::Notification, 0), s.m.empty());
    s.m.set_cspace(s.a.tcb, ROOT);
    let node = s.m.make(ObjectType::CNode, 1);
    let buffer = Buffer::of(&s.a.tcb).unwrap();
    buffer.set_receive_slot(ROOT, empty, 64);
    let send =
        Call { number: number::SEND, target: near, label: 90, caps: [gift, gift].into(), ..Call::default() };
    s.m.syscall(s.b, &send);
    // The second address leads nowhere when the message goes.
    Buffer::of(&s.b.tcb).unwrap().set_badge(1, 1 << 40 | node);
    s.m.syscall(s.a, &Call { number: number::RECV, target: near, reply: s.reply, ..Call::default() });
    let info = MessageInfo(s.a.tcb.context.rsi.get());
    assert_eq!((info.label(), info.extra_caps()), (90, 0));
    assert!(s.m.w.slot(empty).is_empty());
}
