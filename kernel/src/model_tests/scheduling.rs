// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scheduler's rules.

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
        NOW.with(|n| n.set(1));
        Self { w: World::new() }
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
        self.w.k.sched.timer_fired();
        self.w.k.schedule();
        self.w.k.sched.current
    }
}

fn set_up(t: Ptr<Tcb>, sc: Ptr<SchedContext>, priority: u8, budget: u64, period: u64) {
    t.priority.set(priority);
    t.state.set(ThreadState::Running);
    sc.configure(budget, period, 0, NOW.with(core::cell::Cell::get));
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
