// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling domains on several processors, on a kernel that was booted with `domains=2`. Instructions have to be counted: then a processor
//! that isn't looked at doesn't run on.

use core::hint::spin_loop;

use kernel_tests::env::{LOW, write_turns};
use kernel_tests::{Env, Me, Outcome, check, machine, thread};
use sel4::cap;
use sel4::init_thread::slot;

use crate::worker::*;

kernel_tests::checks! {
    all_processors_are_in_the_same_domains_turn,
    a_schedule_that_is_set_counts_everywhere_at_once,
    a_thread_that_runs_elsewhere_changes_its_domain_at_once,
}

/// The first entry that the checks write.
const FIRST: u64 = 10;
/// Runs that [`note_runs`] keeps.
const RUNS: usize = 4;
/// Longer than processors wait for each other, shorter than a turn, microseconds.
const GAP: u64 = 200;

fn domain_set() -> cap::DomainSet {
    slot::DOMAIN_SET.cap()
}

/// Makes a check while the domains have these turns, in microseconds.
fn with_turns(env: &mut Env, turns: &[(u8, u64)], check: impl FnOnce(&mut Env) -> Outcome) -> Outcome {
    write_turns(FIRST, turns, machine::ticks_per_us(&env.bootinfo))?;
    domain_set().domain_set_schedule_set_start(FIRST)?;
    let outcome = check(env);
    domain_set().domain_set_schedule_set_start(0)?;
    outcome
}

/// Notes when it ran, for `runs` times: beginnings and ends are in the cells from `cell` + 1 on, `cell` counts them. Between two of them it was
/// away for more than `gap` ticks.
fn note_runs(cell: usize, gap: u64, runs: u64) {
    let mut began = machine::rdtsc();
    let mut last = began;
    while thread::get(cell) < runs {
        let now = machine::rdtsc();
        if now - last > gap {
            let at = cell + 1 + 2 * (thread::get(cell) as usize % RUNS);
            thread::put(at, began);
            thread::put(at + 1, last);
            thread::add(cell, 1);
            began = now;
        }
        last = now;
        spin_loop();
    }
}

fn body_note_runs(me: &mut Me) {
    note_runs(me.args[0] as usize, me.args[1], u64::MAX);
}

/// How long two that noted their runs ran at the same time, at most, in ticks.
fn together(a: usize, b: usize) -> u64 {
    let run = |cell: usize, n: usize| (thread::get(cell + 1 + 2 * n), thread::get(cell + 2 + 2 * n));
    let pairs = (0..RUNS).flat_map(|n| (0..RUNS).map(move |m| (run(a, n), run(b, m))));
    pairs.map(|(a, b)| a.1.min(b.1).saturating_sub(a.0.max(b.0))).max().unwrap_or(0)
}

fn all_processors_are_in_the_same_domains_turn(env: &mut Env) -> Outcome {
    const HERE: usize = 0;
    const BESIDE: usize = 10;
    const OTHER: usize = 20;
    let ticks = machine::ticks_per_us(&env.bootinfo);
    for (cell, domain) in [(BESIDE, 0), (OTHER, 1)] {
        let worker = env.thread(body_note_runs, [cell as u64, GAP * ticks, 0, 0])?;
        domain_set().domain_set_set(domain, worker.tcb)?;
        put_on(env, 1, worker.sc)?;
        env.start(worker, LOW)?;
    }
    with_turns(env, &[(0, 1000), (1, 700)], |_| {
        // All of their runs that are kept are then of these turns.
        note_runs(HERE, GAP * ticks, 3 + RUNS as u64);
        let (beside, other, apart) = (together(HERE, BESIDE), together(HERE, OTHER), together(BESIDE, OTHER));
        check!(thread::get(OTHER) > RUNS as u64, "the other domain had {} turns", thread::get(OTHER));
        check!(beside > 800 * ticks, "two of a domain ran beside each other for {beside} ticks");
        check!(other < 50 * ticks && apart < 50 * ticks, "two domains did for {other} and {apart} ticks");
        Ok(())
    })
}

fn a_schedule_that_is_set_counts_everywhere_at_once(env: &mut Env) -> Outcome {
    let worker = env.thread(count, [0; 4])?;
    domain_set().domain_set_set(1, worker.tcb)?;
    put_on(env, 1, worker.sc)?;
    env.start(worker, LOW)?;
    check!(!moves(COUNT), "it runs without a turn");
    with_turns(env, &[(1, 2000), (0, 2000)], |_| {
        // Its turn is over, whatever was left of it, and it has had some.
        check!(thread::get(COUNT) > 0, "it did not run in its turn");
        check!(!moves(COUNT), "it runs in another one");
        until_moved(COUNT, 1);
        Ok(())
    })?;
    check!(!moves(COUNT), "it runs without a turn");
    Ok(())
}

fn a_thread_that_runs_elsewhere_changes_its_domain_at_once(env: &mut Env) -> Outcome {
    for body in [count as thread::Body, count_in_calls] {
        let worker = spawn_on(env, 1, body, [0; 4])?;
        for _ in 0..5 {
            until_moved(COUNT, 10);
            domain_set().domain_set_set(1, worker.tcb)?;
            check!(!moves(COUNT), "it runs without a turn");
            domain_set().domain_set_set(0, worker.tcb)?;
        }
        worker.tcb.tcb_suspend()?;
    }
    Ok(())
}
