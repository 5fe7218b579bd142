// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that make system calls at random, on objects of each other, and delete them at random. Memory is small, so that it is
//! used again and again.

use std::vec::Vec;

use sel4_abi::object::{ObjectType, tag};
use sel4_abi::{label, syscall as number};

use super::Random;
use super::invariants;
use super::machine::{
    Call, DEEP, DOMAIN, IRQ_CONTROL, Machine, ROOT, SCHED_CONTROL, Thread, VSPACE, configure,
};
use crate::arch::{NOW, PENDING};
use crate::cap::Cap;
use crate::delete;
use crate::ipc;
use crate::irq;
use crate::object::tcb::{Tcb, ThreadState, slot};
use crate::ptr::Ptr;

/// Slots of the objects that are at stake.
const OBJECTS: core::ops::Range<u64> = 32..88;
/// Slots of the pieces of memory that these are made of, a page each.
const PIECES: core::ops::Range<u64> = 100..124;
/// User interrupts that are used.
const INTERRUPTS: u64 = 4;
/// Scheduling domains of every other play; the others have one, where the short path is shorter.
const DOMAINS: u16 = 3;
const KINDS: [ObjectType; 6] = [
    ObjectType::Tcb,
    ObjectType::Endpoint,
    ObjectType::Notification,
    ObjectType::Reply,
    ObjectType::SchedContext,
    ObjectType::CNode,
];

/// First label of messages between threads: above those of invocations.
const MESSAGE: u64 = 80;
/// Sequences; more with the variable POSTERN_SEEDS.
const SEEDS: u64 = 30;
/// Steps of each.
const STEPS: u64 = 1500;
/// Methods that must have succeeded.
const TRIED: [u64; 26] =
    [1, 3, 4, 5, 6, 8, 11, 12, 13, 14, 15, 18, 19, 21, 22, 23, 25, 28, 29, 30, 31, 32, 33, 34, 35, 38];

/// Size argument for making an object.
fn size_of(kind: ObjectType) -> u64 {
    match kind {
        ObjectType::SchedContext => 8,
        ObjectType::CNode => 3,
        _ => 0,
    }
}

struct Play {
    m: Machine,
    r: Random,
    /// A thread that nobody can delete, of the highest priority, which mends what the others break.
    keeper: Thread,
    /// The notification that it waits for.
    bell: u64,
    /// Frame of the others' IPC buffers.
    frame: u64,
    /// The last system call, and by whom.
    last: Option<(Ptr<Tcb>, Call)>,
    /// Calls that found their receiver waiting, scheduling contexts lent by them, replies that brought one back.
    met: [u32; 3],
    /// Calls that were interrupted between their halves.
    halves: u32,
    /// Successful invocations by label.
    done: [u32; MESSAGE as usize],
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut m = Machine::with_domains(if seed.is_multiple_of(2) { 1 } else { DOMAINS });
        let keeper = m.spawn(10);
        let bell = m.make(ObjectType::Notification, 0);
        let frame = m.make(ObjectType::Page4K, 0);
        let count = PIECES.end - PIECES.start;
        m.w.retype(0, ObjectType::Untyped, 12, PIECES.start, count).expect("there is room");
        for (n, kind) in (0..24).zip(KINDS.iter().cycle()) {
            m.w.retype(PIECES.start + n, *kind, size_of(*kind), OBJECTS.start + n, 1).expect("there is room");
        }
        m.w.k.choose();
        Self {
            m,
            r: Random(seed),
            keeper,
            bell,
            frame,
            last: None,
            met: [0; 3],
            halves: 0,
            done: [0; MESSAGE as usize],
        }
    }

    fn object(&mut self) -> u64 {
        OBJECTS.start + self.r.below(OBJECTS.end - OBJECTS.start)
    }

    /// A slot with such a capability, if there is one; mostly.
    fn of(&mut self, tag: u8) -> u64 {
        let all: Vec<u64> = OBJECTS.filter(|&i| self.m.w.slot(i).raw().tag() == tag).collect();
        if all.is_empty() || self.r.below(30) == 0 {
            return self.object();
        }
        all[self.r.below(all.len() as u64) as usize]
    }

    fn endpoint_or(&mut self, other: u8) -> u64 {
        if self.r.below(4) == 0 {
            return self.of(other);
        }
        // Mostly the first one, so that threads meet.
        let first = OBJECTS.into_iter().find(|&i| self.m.w.slot(i).raw().tag() == tag::ENDPOINT);
        first.filter(|_| self.r.below(4) != 0).unwrap_or_else(|| self.of(tag::ENDPOINT))
    }

    /// Mostly the same one for the same thread, so that it answers whom it has received from.
    fn reply_object(&mut self) -> u64 {
        let all: Vec<u64> = OBJECTS.filter(|&i| self.m.w.slot(i).raw().tag() == tag::REPLY).collect();
        match self.m.w.k.sched.current {
            Some(t) if !all.is_empty() && self.r.below(6) != 0 => all[(t.paddr() >> 11) as usize % all.len()],
            _ => self.of(tag::REPLY),
        }
    }

    fn words(&mut self) -> Vec<u64> {
        (0..self.r.below(7)).map(|_| self.r.below(50)).collect()
    }

    /// A message between threads.
    fn message(&mut self) -> Call {
        let label = MESSAGE + self.r.below(3);
        let (words, caps) = (self.words(), (0..self.r.below(3)).map(|_| self.object()).collect());
        let target = self.endpoint_or(tag::NOTIFICATION);
        let reply = self.reply_object();
        let numbers = [
            number::CALL,
            number::CALL,
            number::REPLY_RECV,
            number::REPLY_RECV,
            number::SEND,
            number::NB_SEND,
            number::RECV,
            number::RECV,
            number::NB_RECV,
            number::WAIT,
            number::NB_WAIT,
            number::YIELD,
        ];
        let number = numbers[self.r.below(numbers.len() as u64) as usize];
        let target = if number == number::NB_SEND && self.r.below(2) == 0 { reply } else { target };
        Call { number, target, reply, dest: 0, label, words, caps }
    }

    /// A message or an invocation, and a wait after it.
    fn combined(&mut self) -> Call {
        let first = if self.r.below(2) == 0 { self.message() } else { self.invocation() };
        let second = self.message();
        if self.r.below(2) == 0 {
            Call {
                number: number::NB_SEND_RECV,
                target: second.target,
                dest: first.target,
                reply: second.reply,
                ..first
            }
        } else {
            Call { number: number::NB_SEND_WAIT, target: second.target, reply: first.target, ..first }
        }
    }

    fn invocation(&mut self) -> Call {
        let (a, b) = (self.object(), self.object());
        let priority = self.r.below(10);
        match self.r.below(27) {
            0..4 => {
                let kind = KINDS[self.r.below(KINDS.len() as u64) as usize];
                let piece = PIECES.start + self.r.below(PIECES.end - PIECES.start);
                Call::invoke(piece, label::UNTYPED_RETYPE, &[kind as u64, size_of(kind), 0, 0, a, 1], &[ROOT])
            }
            4 => Call::invoke(ROOT, label::CNODE_DELETE, &[a, 64], &[]),
            5 => {
                let piece = PIECES.start + self.r.below(PIECES.end - PIECES.start);
                let at = if self.r.below(8) == 0 { piece } else { a };
                Call::invoke(ROOT, label::CNODE_REVOKE, &[at, 64], &[])
            }
            6 => Call::invoke(ROOT, label::CNODE_COPY, &[a, 64, b, 64, 15], &[ROOT]),
            7 => Call::invoke(ROOT, label::CNODE_MINT, &[a, 64, b, 64, 15, 1 + self.r.below(2)], &[ROOT]),
            8 => Call::invoke(ROOT, label::CNODE_MOVE, &[a, 64, b, 64], &[ROOT]),
            9 => {
                let c = self.object();
                Call::invoke(ROOT, label::CNODE_ROTATE, &[a, 64, 0, b, 64, 0, c, 64], &[ROOT, ROOT])
            }
            10 => Call::invoke(ROOT, label::CNODE_CANCEL_BADGED_SENDS, &[self.of(tag::ENDPOINT), 64], &[]),
            11 => {
                // Into a CNode of eight slots, whose own address has 64 bits less three.
                let (node, inner) = (self.of(tag::CNODE), self.r.below(8));
                let label = [label::CNODE_COPY, label::CNODE_MOVE][self.r.below(2) as usize];
                Call::invoke(node, label, &[inner, 3, a, 64, 15], &[ROOT])
            }
            12..18 => self.of_thread(priority),
            18 => {
                let labels = [label::SCHED_CONTEXT_UNBIND, label::SCHED_CONTEXT_YIELD_TO];
                Call::invoke(self.of(tag::SCHED_CONTEXT), labels[self.r.below(2) as usize], &[], &[])
            }
            19 => {
                let label =
                    [label::SCHED_CONTEXT_BIND, label::SCHED_CONTEXT_UNBIND_OBJECT][self.r.below(2) as usize];
                let to = if self.r.below(3) == 0 { tag::NOTIFICATION } else { tag::THREAD };
                Call::invoke(self.of(tag::SCHED_CONTEXT), label, &[], &[self.of(to)])
            }
            20 => {
                let budget = 20 + self.r.below(100);
                let period = budget + self.r.below(2) * self.r.below(200);
                let sc = self.of(tag::SCHED_CONTEXT);
                Call::invoke(
                    SCHED_CONTROL,
                    label::SCHED_CONTROL_CONFIGURE_FLAGS,
                    &[budget, period, self.r.below(2), 0, self.r.below(2)],
                    &[sc],
                )
            }
            21 => {
                let words = [a, 64, 0, self.r.below(4), 0, 0, self.r.below(INTERRUPTS)];
                Call::invoke(IRQ_CONTROL, label::IRQ_CONTROL_GET_IOAPIC, &words, &[ROOT])
            }
            22 => {
                let (index, domain) = (self.r.below(5), self.r.below(DOMAINS.into()));
                let words = [index, domain, self.r.below(3) * (1 + self.r.below(2000))];
                Call::invoke(DOMAIN, label::DOMAIN_SCHEDULE_CONFIGURE, &words, &[])
            }
            23 => Call::invoke(DOMAIN, label::DOMAIN_SCHEDULE_SET_START, &[self.r.below(5)], &[]),
            24 => {
                let t = self.of(tag::THREAD);
                // Mostly into the first one, so that threads meet.
                let domain = self.r.below(4) / 3 * self.r.below(DOMAINS.into());
                Call::invoke(DOMAIN, label::DOMAIN_SET_SET, &[domain], &[t])
            }
            _ => {
                let labels =
                    [label::IRQ_SET_IRQ_HANDLER, label::IRQ_SET_IRQ_HANDLER, label::IRQ_CLEAR_IRQ_HANDLER];
                let label = labels[self.r.below(3) as usize];
                Call::invoke(self.of(tag::IRQ_HANDLER), label, &[], &[self.of(tag::NOTIFICATION)])
            }
        }
    }

    fn of_thread(&mut self, priority: u64) -> Call {
        let t = self.of(tag::THREAD);
        let cnode = if self.r.below(12) == 0 { self.of(tag::CNODE) } else { ROOT };
        match self.r.below(12) {
            11 => Call::invoke(t, label::TCB_SET_TIMEOUT_ENDPOINT, &[], &[self.of(tag::ENDPOINT)]),
            0 => Call::invoke(t, label::TCB_SET_SPACE, &[0, 0], &[self.of(tag::ENDPOINT), cnode, VSPACE]),
            1 => Call::invoke(t, label::TCB_CONFIGURE, &[0, 0, 0x1000], &[cnode, VSPACE, self.frame]),
            2 => Call::invoke(t, label::TCB_SET_PRIORITY, &[priority], &[self.keeper.slot]),
            3 => {
                let caps = [self.keeper.slot, self.of(tag::SCHED_CONTEXT), self.of(tag::ENDPOINT)];
                Call::invoke(t, label::TCB_SET_SCHED_PARAMS, &[5, priority], &caps)
            }
            4 => Call::invoke(t, label::TCB_SUSPEND, &[], &[]),
            5 | 6 => Call::invoke(t, label::TCB_RESUME, &[], &[]),
            7 => Call::invoke(t, label::TCB_BIND_NOTIFICATION, &[], &[self.of(tag::NOTIFICATION)]),
            8 => Call::invoke(t, label::TCB_UNBIND_NOTIFICATION, &[], &[]),
            9 => Call::invoke(t, label::TCB_WRITE_REGISTERS, &[self.r.below(2), 2, 0x40_0000, 0], &[]),
            _ => Call::invoke(t, label::TCB_COPY_REGISTERS, &[self.r.below(16)], &[self.of(tag::THREAD)]),
        }
    }

    /// Makes a thread of `OBJECTS` able to run; mostly.
    fn mend(&mut self) {
        let at = self.of(tag::THREAD);
        if self.m.w.slot(at).raw().tag() != tag::THREAD {
            return;
        }
        let t = self.m.thread(at);
        if t.state.get() == ThreadState::BlockedOnReceive
            && let Some(sc) = t.sc.get()
            && self.r.below(4) != 0
        {
            // A passive server.
            return delete::unbind_sc(&mut self.m.w.k, sc);
        }
        for index in [slot::CSPACE, slot::VSPACE, slot::IPC_BUFFER] {
            delete::delete(&mut self.m.w.k, t.slot(index)).expect("nothing is pending");
        }
        // The deletion may have been that of the thread itself.
        if self.m.w.slot(at).raw().tag() != tag::THREAD || self.m.thread(at) != t {
            return;
        }
        self.m.set_up(t, self.frame);
        if self.r.below(2) == 0 {
            self.m.set_cspace(t, DEEP);
        }
        if !t.is_runnable() {
            ipc::restart(&mut self.m.w.k, t);
        }
        let sc = self.of(tag::SCHED_CONTEXT);
        if t.sc.get().is_none()
            && self.r.below(3) != 0
            && let Cap::SchedContext { object: sc, .. } = self.m.w.slot(sc).cap()
            && (sc.tcb.get(), sc.notification.get()) == (None, None)
        {
            configure(sc);
            sc.tcb.set(Some(t));
            t.sc.set(Some(sc));
        }
        self.m.w.k.wake(t);
        self.m.w.k.choose();
    }

    /// What happens next: the current thread makes a system call, or time passes, or an interrupt comes.
    fn step(&mut self) {
        PENDING.with(|p| p.set(false));
        match self.r.below(40) {
            0 => {
                NOW.with(|n| n.set(n.get() + self.r.below(100_000)));
                self.m.w.k.timer_fired();
            }
            1 | 2 => irq::deliver(&mut self.m.w.k, self.r.below(INTERRUPTS) as u8),
            3 => self.ring(),
            4..8 => self.mend(),
            _ => {
                PENDING.with(|p| p.set(self.r.below(4) == 0));
                return self.act();
            }
        }
        self.m.leave();
    }

    fn ring(&mut self) {
        let Cap::Notification { object, .. } = self.m.w.slot(self.bell).cap() else { panic!("the bell") };
        ipc::signal(&mut self.m.w.k, object, 1);
    }

    fn act(&mut self) {
        let Some(t) = self.m.w.k.sched.current else {
            if self.m.w.k.domains.current() != 0 {
                // The keeper's turn has to come again.
                NOW.with(|n| n.set(n.get().max(self.m.w.k.domains.ends())));
                self.m.w.k.timer_fired();
            }
            (0..4).for_each(|_| self.mend());
            self.ring();
            return self.m.w.k.choose();
        };
        NOW.with(|n| n.set(n.get() + self.r.below(500)));
        if t.state.get() == ThreadState::Receiving {
            self.halves += 1;
            return self.m.leave();
        }
        if Machine::is_restarted(t) && self.r.below(3) != 0 {
            return self.m.enter_again();
        }
        let call = if t == self.keeper.tcb {
            match self.r.below(3) {
                0 | 1 => Call { number: number::WAIT, target: self.bell, ..Call::default() },
                _ => self.invocation(),
            }
        } else {
            match self.r.below(10) {
                0 => self.invocation(),
                1 => self.combined(),
                _ => self.message(),
            }
        };
        self.last = Some((t, call.clone()));
        self.m.enter(&call);
        self.count(t, &call);
    }

    fn count(&mut self, t: Ptr<Tcb>, call: &Call) {
        let info = sel4_abi::MessageInfo(t.context.rsi.get());
        if call.number == number::CALL && info.label() == 0 && call.label < MESSAGE {
            self.done[call.label as usize] += 1;
        }
        // A deleted thread is a zombie or cleared: none of this holds.
        if call.number == number::CALL && t.state.get() == ThreadState::BlockedOnReply {
            self.met[0] += 1;
            self.met[1] += u32::from(t.sc.get().is_none());
        }
        if call.number == number::REPLY_RECV && t.state.get() == ThreadState::BlockedOnReceive {
            self.met[2] += u32::from(t.sc.get().is_none());
        }
    }
}

#[test]
fn threads_that_do_anything_leave_every_link_consistent() {
    let (mut done, mut met, mut halves) = ([0; MESSAGE as usize], [0; 3], 0);
    let seeds = std::env::var("POSTERN_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(SEEDS);
    for seed in 1..=seeds {
        let mut play = Play::new(seed);
        for step in 0..STEPS {
            play.step();
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| invariants::check(&play.m)));
            assert!(result.is_ok(), "seed {seed}, step {step}, after {:x?}", play.last);
        }
        done.iter_mut().zip(play.done).for_each(|(sum, n)| *sum += n);
        halves += play.halves;
        met.iter_mut().zip(play.met).for_each(|(sum, n)| *sum += n);
    }
    // What never succeeds tests nothing.
    assert!(halves > 20, "calls interrupted between their halves: {halves}");
    assert!(
        met[0] > 80 && met[1] > 20 && met[2] > 2,
        "calls, lent contexts and contexts given back: {met:?}"
    );
    for label in (1..38).filter(|l| TRIED.contains(l)) {
        assert!(done[label as usize] > 2, "method {label} succeeded {} times", done[label as usize]);
    }
}
