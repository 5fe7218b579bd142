// SPDX-License-Identifier: MIT OR Apache-2.0
//! Refills, one by one and in random sequences against the rule that they are made for.

use std::vec::Vec;

use super::*;

const BUDGET: u64 = 100;
const PERIOD: u64 = 1000;

/// A scheduling context with room for eight more refills.
#[repr(C)]
struct Memory([u64; 32]);

fn context(memory: &mut Memory, extra: u64, flags: u64) -> Ptr<SchedContext> {
    memory.0.fill(0);
    // SAFETY: all zeros is the initial state, and the memory outlives the test's use of it.
    let sc: Ptr<SchedContext> = unsafe { Ptr::from_addr(memory.0.as_mut_ptr() as u64).unwrap_unchecked() };
    sc.configure(BUDGET, PERIOD, extra, 0);
    sc.flags.set(flags as u8);
    sc
}

fn run(sc: Ptr<SchedContext>, ticks: u64) {
    match sc.remaining.get().checked_sub(ticks) {
        Some(left) => sc.remaining.set(left),
        None => sc.overrun(ticks),
    }
}

#[test]
fn a_budget_comes_back_a_period_after_its_use_began() {
    let mut memory = Memory([0; 32]);
    let sc = context(&mut memory, 0, 0);
    sc.resume(7);
    run(sc, 100);
    assert!(!sc.refill(107));
    assert_eq!((sc.remaining.get(), sc.refilled_at.get()), (0, 1007));
    assert!(!sc.refill(1006), "asking again changes nothing");
    assert!(sc.refill(1010));
    assert_eq!((sc.remaining.get(), sc.refilled_at.get()), (100, 1010));
    // What is given up is used.
    assert!(!sc.refill(1015));
    assert!(sc.refill(5000));
    assert_eq!((sc.remaining.get(), sc.refilled_at.get()), (100, 5000));
}

#[test]
fn each_part_comes_back_a_period_after_its_use() {
    let mut memory = Memory([0; 32]);
    let sc = context(&mut memory, 8, FLAG_SPORADIC);
    run(sc, 30);
    sc.resume(500);
    run(sc, 50);
    sc.resume(700);
    run(sc, 20);
    assert!(!sc.refill(720), "30 come at 1000, 50 at 1500, 20 at 1700");
    assert!(sc.refill(1001));
    assert_eq!(sc.remaining.get(), 30);
    run(sc, 30);
    assert!(!sc.refill(1031));
    assert_eq!(sc.refilled_at.get(), 1500);
    assert!(sc.refill(1800), "two are due");
    assert_eq!((sc.remaining.get(), sc.refilled_at.get()), (70, 1800));
    run(sc, 70);
    assert!(!sc.refill(1870));
    assert_eq!(sc.refilled_at.get(), 2001);
}

#[test]
fn without_room_a_refill_joins_the_last_one_and_none_is_early() {
    let mut memory = Memory([0; 32]);
    let sc = context(&mut memory, 0, 0);
    run(sc, 30);
    sc.resume(500);
    run(sc, 50);
    sc.resume(700);
    run(sc, 20);
    assert!(!sc.refill(1600));
    assert_eq!(sc.refilled_at.get(), 1700);
    assert!(sc.refill(1700));
    assert_eq!(sc.remaining.get(), 100);
}

#[test]
fn what_is_due_is_there_when_the_processor_comes_to_it() {
    let mut memory = Memory([0; 32]);
    let sc = context(&mut memory, 8, 0);
    run(sc, 30);
    sc.resume(500);
    run(sc, 10);
    sc.resume(1200);
    assert_eq!(sc.remaining.get(), 90, "10 are to come at 1500");
}

#[test]
fn what_was_used_beyond_the_budget_is_owed() {
    let mut memory = Memory([0; 32]);
    let sc = context(&mut memory, 0, 0);
    run(sc, 140);
    assert!(!sc.refill(140));
    assert_eq!(sc.refilled_at.get(), 1040, "the next refill is as much later");
    assert!(!sc.refill(1039));
    assert!(sc.refill(1040));
    assert_eq!(sc.remaining.get(), 60, "and as much smaller");
    run(sc, 60);
    assert!(!sc.refill(1100));
    assert!(sc.refill(2040));
    assert_eq!(sc.remaining.get(), 100, "once");
    // Who owes more than the next refills are doesn't get them; and nobody owes more than the budget.
    let sc = context(&mut memory, 8, 0);
    run(sc, 30);
    sc.resume(500);
    run(sc, 70 + 40);
    assert!(!sc.refill(610));
    assert_eq!(sc.refilled_at.get(), 1510, "30 at 1000 are gone, and 10 of those at 1500");
    let sc = context(&mut memory, 0, 0);
    run(sc, 1_000_000);
    assert!(!sc.refill(1_000_000 - 1) || sc.remaining.get() == 100);
}

/// A sequence of numbers that is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Plays a thread that wants to run whenever it may, for pieces of at most `piece` ticks with pauses of at most `pause`, and is told up to `late`
/// ticks late that its time is over. Gives the stretches in which it ran.
fn play(sc: Ptr<SchedContext>, random: &mut Random, [piece, pause, late]: [u64; 3]) -> Vec<(u64, u64)> {
    let (mut now, mut ran) = (0, Vec::new());
    while now < 50 * PERIOD {
        if sc.remaining.get() == 0 && !sc.refill(now) {
            assert!(sc.refilled_at.get() > now, "it waits for what is due");
            now = sc.refilled_at.get();
            continue;
        }
        sc.resume(now);
        let left = sc.remaining.get();
        let ticks = (1 + random.below(piece)).min(left);
        let ticks = if ticks == left { ticks + random.below(late + 1) } else { ticks };
        run(sc, ticks);
        ran.push((now, now + ticks));
        now += ticks + random.below(pause + 1);
    }
    ran
}

/// The most that ran in a stretch of `length` ticks, wherever it begins.
fn most(ran: &[(u64, u64)], length: u64) -> u64 {
    let in_stretch = |from: u64| {
        ran.iter().map(|(a, b)| b.min(&(from + length)).saturating_sub(*a.max(&from))).sum::<u64>()
    };
    ran.iter().map(|&(a, _)| in_stretch(a)).max().unwrap_or(0)
}

#[test]
fn no_stretch_of_a_period_has_more_than_the_budget() {
    let mut memory = Memory([0; 32]);
    for seed in 0..100 {
        let mut random = Random(seed);
        let sc = context(&mut memory, seed % 9, 0);
        let (piece, pause) = (1 + random.below(150), random.below(300));
        let ran = play(sc, &mut random, [piece, pause, 0]);
        assert!(most(&ran, PERIOD) <= BUDGET, "seed {seed}: {}", most(&ran, PERIOD));
    }
}

#[test]
fn over_many_periods_late_interrupts_give_nothing() {
    let mut memory = Memory([0; 32]);
    for seed in 0..100 {
        let mut random = Random(seed);
        let sc = context(&mut memory, seed % 9, 0);
        let (piece, pause, late) = (1 + random.below(150), random.below(300), 1 + random.below(50));
        let ran = play(sc, &mut random, [piece, pause, late]);
        let most = most(&ran, 20 * PERIOD);
        assert!(most <= 21 * BUDGET + late, "seed {seed}: {most}");
    }
}

#[test]
fn with_room_for_refills_one_that_is_interrupted_often_gets_its_share() {
    let mut memory = Memory([0; 32]);
    for seed in 0..100 {
        let sc = context(&mut memory, 8, 0);
        let ran = play(sc, &mut Random(seed), [10, 10, 0]);
        let all: u64 = ran.iter().map(|(a, b)| b - a).sum();
        assert!(all >= 50 * BUDGET * 8 / 10, "seed {seed}: {all}");
    }
}
