// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting behind many others.

use kernel_tests::env::{HIGH, at};
use kernel_tests::machine::{pass_until, rdtsc, ticks_per_us};
use kernel_tests::{Env, Outcome, check};
use sel4::abi::sched::MIN_BUDGET_US;
use sel4::cap;

use crate::crowd::{Act, Crowd, came_back};

kernel_tests::checks! {
    one_of_higher_priority_after_many,
    many_that_get_time_at_one_moment,
    many_without_time_that_are_woken_at_once,
}

/// Budget of those who get time at one moment: the first one is charged for what the kernel does for the others.
const BUDGET_US: u64 = 1000;
/// Threads that wait.
const MANY: usize = 1500;

fn one_of_higher_priority_after_many(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    Crowd::start(env, MANY, |i| Act::send(HIGH + (i / 2) as u64 % 100, endpoint)).map(drop)
}

fn many_that_get_time_at_one_moment(env: &mut Env) -> Outcome {
    let tick = ticks_per_us(&env.bootinfo);
    // A thread is made in some 20 us. Who comes later waits less.
    let end = rdtsc() + (MANY as u64 * 50 + 2000) * tick;
    let left = || end.saturating_sub(rdtsc()) / tick;
    Crowd::start(env, MANY, |_| Act::give_up(HIGH, (BUDGET_US, left().max(BUDGET_US + 1))))?;
    check!(rdtsc() + BUDGET_US * tick < end, "the threads were not ready in time");
    check!(came_back() == 0, "{} had time too early", came_back());
    pass_until(end + MANY as u64 * 50 * tick);
    check!(came_back() == MANY as u64, "{} of {MANY} got time again", came_back());
    Ok(())
}

fn many_without_time_that_are_woken_at_once(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let tick = ticks_per_us(&env.bootinfo);
    // Their budgets end while they send, or near it; they get the next one after a while.
    let early = |i: usize| MIN_BUDGET_US * tick - 1500 + 5 * (i as u64 % 300);
    Crowd::start(env, MANY, |i| Act {
        after: early(i),
        time: (MIN_BUDGET_US, 1_000_000),
        ..Act::send(HIGH, endpoint)
    })?;
    Ok(at(endpoint).delete()?)
}
