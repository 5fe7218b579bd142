// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a domain's turn, when many of its threads get time, and many of the next one's have it again. On a kernel that was booted with
//! `domains=2`.

use kernel_tests::env::{HIGH, write_turns};
use kernel_tests::machine::{pass_until, rdtsc, ticks_per_us};
use kernel_tests::{Env, Outcome, check};
use sel4::init_thread::slot;

use crate::crowd::{Act, Crowd, came_back};

kernel_tests::checks! {
    many_get_time_in_two_domains_at_the_end_of_a_turn,
}

/// Threads of each domain.
const MANY: usize = 700;
/// Their budget, microseconds.
const BUDGET_US: u64 = 1000;
/// Within this they all have run once, microseconds.
const TURN_US: u64 = 20_000;
/// The others get time again after this.
const AWAY_US: u64 = 60_000;
/// First entries of the two schedules.
const SCHEDULES: [u64; 2] = [10, 20];
/// Longest duration.
const FOREVER: u64 = (1 << 56) - 1;

/// Goes over to a schedule: domains and ticks.
fn set(first: u64, turns: &[(u8, u64)]) -> Outcome {
    write_turns(first, turns, 1)?;
    Ok(slot::DOMAIN_SET.cap().domain_set_schedule_set_start(first)?)
}

fn many_get_time_in_two_domains_at_the_end_of_a_turn(env: &mut Env) -> Outcome {
    let tick = ticks_per_us(&env.bootinfo);
    Crowd::start(env, MANY, |_| Act { domain: 1, ..Act::give_up(HIGH, (BUDGET_US, AWAY_US)) })?;
    // After their turn this one's goes on.
    set(SCHEDULES[0], &[(1, TURN_US * tick), (0, FOREVER)])?;
    let end = rdtsc() + (AWAY_US + MANY as u64 * 50) * tick;
    let left = || end.saturating_sub(rdtsc()) / tick;
    Crowd::start(env, MANY, |_| Act::give_up(HIGH, (BUDGET_US, left().max(BUDGET_US + 1))))?;
    check!(rdtsc() + BUDGET_US * tick < end, "the threads were not ready in time");
    check!(came_back() == 0, "{} had time too early", came_back());
    set(SCHEDULES[1], &[(0, end - rdtsc()), (1, TURN_US * tick), (0, FOREVER)])?;
    pass_until(end + (TURN_US + MANY as u64 * 50) * tick);
    check!(came_back() == 2 * MANY as u64, "{} of {} got time again", came_back(), 2 * MANY);
    Ok(slot::DOMAIN_SET.cap().domain_set_schedule_set_start(0)?)
}
