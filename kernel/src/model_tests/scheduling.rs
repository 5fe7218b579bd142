// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scheduler's rules.

use core::cell::Cell;
use std::vec::Vec;

use sel4_abi::object::ObjectType;

use super::world::World;
use crate::arch::NOW;
use crate::cap::Cap;
use crate::delete;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::{Tcb, ThreadState};
use crate::ptr::Ptr;

struct Threads {
    w: World,
}

impl Threads {
    fn new() -> Self {
        Self::with_domains(1)
    }

    fn with_domains(domains: u16) -> Self {
        NOW.with(|n| n.set(1));
        Self { w: World::with_domains(domains) }
    }

    fn thread(&mut self, n: u64, priority: u8, budget: u64, period: u64) -> Ptr<Tcb> {
        self.w.retype(0, ObjectType::Tcb, 0, 2 * n, 1).expect("there is room");
        self.w.retype(0, ObjectType::SchedContext, 7, 2 * n + 1, 1).expect("there is room");
        let (Cap::Thread(t), Cap::SchedContext { object: sc, .. }) =
            (self.w.slot(2 * n).cap(), self.w.slot(2 * n + 1).cap())
        else {
            panic!("a thread and a scheduling context were made")
        };
        set_up(t, sc, priority, budget, period);
        self.w.k.wake(t);
        t
    }

    /// Lets `ticks` pass, then the timer fire; gives who runs.
    fn pass(&mut self, ticks: u64) -> Option<Ptr<Tcb>> {
        NOW.with(|n| n.set(n.get() + ticks));
        self.w.k.timer_fired();
        self.w.k.choose();
        self.w.k.sched.current
    }
}

fn set_up(t: Ptr<Tcb>, sc: Ptr<SchedContext>, priority: u8, budget: u64, period: u64) {
    t.priority.set(priority);
    t.state.set(ThreadState::Running);
    sc.configure(budget, period, 0, NOW.with(Cell::get));
    sc.tcb.set(Some(t));
    t.sc.set(Some(sc));
}

#[test]
fn equal_threads_take_turns_and_higher_ones_go_first() {
    let mut s = Threads::new();
    let (a, b) = (s.thread(1, 5, 1000, 1000), s.thread(2, 5, 1000, 1000));
    assert_eq!(s.pass(0), Some(a));
    assert_eq!(s.pass(500), Some(a), "half a slice is left");
    assert_eq!(s.pass(500), Some(b));
    assert_eq!(s.pass(1000), Some(a));
    let high = s.thread(3, 6, 1000, 1000);
    assert_eq!(s.pass(10), Some(high));
    assert_eq!(s.pass(5000), Some(high), "nobody of its priority takes the turn");
    high.state.set(ThreadState::Inactive);
    assert_eq!(s.pass(1), Some(a), "the interrupted one goes on");
}

#[test]
fn a_thread_without_budget_waits_for_its_period() {
    let mut s = Threads::new();
    let (rt, other) = (s.thread(1, 9, 100, 1000), s.thread(2, 1, 1000, 1000));
    assert_eq!(s.pass(0), Some(rt));
    assert_eq!(s.pass(100), Some(other));
    assert!(rt.postponed.get());
    assert_eq!(s.pass(500), Some(other));
    assert_eq!(s.pass(400), Some(rt), "its period has come");
    assert_eq!(rt.sc.get().map(|sc| sc.consumed.get()), Some(100));
    delete::suspend(&mut s.w.k, rt);
    assert_eq!(s.pass(2000), Some(other));
}

/// The domains' schedule: a domain and a duration for each entry.
fn set_schedule(s: &mut Threads, entries: &[(u64, u64)]) {
    for (index, &(domain, ticks)) in entries.iter().chain([&(0, 0)]).enumerate() {
        // Behind the entry that is running, which can't become an end marker.
        s.w.k.domains.configure(1 + index as u64, domain, ticks).expect("is an entry");
    }
    s.w.k.domains.set_start(1, NOW.with(Cell::get)).expect("is an entry");
    s.w.k.change_domain();
    s.w.k.choose();
}

/// What runs until time `end`, as the timer says: the thread, and for how long.
fn play(s: &mut Threads, end: u64) -> Vec<(Option<Ptr<Tcb>>, u64)> {
    let mut turns: Vec<(Option<Ptr<Tcb>>, u64)> = Vec::new();
    while NOW.with(Cell::get) < end {
        let (runs, now) = (s.w.k.sched.current, NOW.with(Cell::get));
        let next = s.w.k.sched.timer();
        assert!(next > now, "the timer is armed");
        match turns.last_mut() {
            Some(last) if last.0 == runs => last.1 += next - now,
            _ => turns.push((runs, next - now)),
        }
        s.pass(next - now);
    }
    turns
}

#[test]
fn each_domain_has_its_turn_and_only_its_threads_run_in_it() {
    let mut s = Threads::with_domains(3);
    let (a, b) = (s.thread(1, 5, 50, 50), s.thread(2, 5, 50, 50));
    let (low, high) = (s.thread(3, 1, 1000, 1000), s.thread(4, 200, 10_000, 10_000));
    s.w.k.set_domain(low, 1);
    s.w.k.set_domain(high, 2);
    set_schedule(&mut s, &[(0, 100), (1, 30), (2, 70)]);
    let round = [(Some(a), 50), (Some(b), 50), (Some(low), 30), (Some(high), 70)];
    assert_eq!(play(&mut s, 601), [round, round, round].concat());
    // In the next turn the one whose slice was cut goes on.
    set_schedule(&mut s, &[(0, 60), (1, 10)]);
    let rounds = [(a, 50), (b, 10), (low, 10), (b, 40), (a, 20), (low, 10), (a, 30), (b, 30), (low, 10)];
    assert_eq!(play(&mut s, 601 + 210), rounds.map(|(t, ticks)| (Some(t), ticks)));
}

#[test]
fn a_domain_without_ready_threads_lets_the_processor_idle() {
    let mut s = Threads::with_domains(2);
    let a = s.thread(1, 5, 1000, 1000);
    set_schedule(&mut s, &[(1, 40), (0, 60)]);
    assert_eq!(play(&mut s, 201), [(None, 40), (Some(a), 60), (None, 40), (Some(a), 60)]);
}

#[test]
fn nobody_is_charged_while_another_domain_runs_and_time_comes_back_all_the_same() {
    let mut s = Threads::with_domains(2);
    let (rt, other) = (s.thread(1, 9, 30, 200), s.thread(2, 1, 1000, 1000));
    s.w.k.set_domain(other, 1);
    set_schedule(&mut s, &[(0, 40), (1, 100)]);
    // 30 from 1 on, 30 from 201 on: the second refill comes in the other domain's time, and waits for the turn.
    let turns = [(Some(rt), 30), (None, 10), (Some(other), 100), (None, 40), (Some(other), 100)];
    assert_eq!(play(&mut s, 281), turns);
    let consumed = |t: Ptr<Tcb>| t.sc.get().map(|sc| sc.consumed.get());
    assert_eq!((consumed(rt), consumed(other)), (Some(30), Some(200)));
    assert_eq!(s.w.k.sched.current, Some(rt));
}

#[test]
fn who_is_woken_in_another_domain_waits_for_its_turn() {
    let mut s = Threads::with_domains(2);
    let (a, server) = (s.thread(1, 5, 1000, 1000), s.thread(2, 200, 1000, 1000));
    s.w.k.set_domain(server, 1);
    delete::suspend(&mut s.w.k, server);
    set_schedule(&mut s, &[(0, 100), (1, 50)]);
    s.pass(10);
    server.state.set(ThreadState::Running);
    s.w.k.wake(server);
    assert_eq!(play(&mut s, 151), [(Some(a), 90), (Some(server), 50)]);
    // The running thread goes to a domain, and on in its turn.
    s.w.k.set_domain(a, 1);
    s.w.k.choose();
    assert_eq!(s.w.k.sched.current, None);
    assert_eq!(play(&mut s, 301), [(None, 100), (Some(server), 50)]);
}
