// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting behind many others.

use kernel_tests::env::{HIGH, MAIN, at, own_cnode};
use kernel_tests::machine::{pass_until, rdtsc, ticks_per_us};
use kernel_tests::{Env, Me, Outcome, check};
use sel4::abi::sched::MIN_BUDGET_US;
use sel4::init_thread::slot;
use sel4::{CPtr, CapTypeForObjectOfFixedSize, MessageInfo, cap, cap_type, nb_send_wait_with_mrs};
use sel4_abi::label;
use sel4_abi::object::ObjectType;

use crate::crowd::{Act, Crowd, FAN_OUT, NONE, came_back};

kernel_tests::checks! {
    one_of_higher_priority_after_many,
    many_that_get_time_at_one_moment,
    many_without_time_that_are_woken_at_once,
    many_timeouts_one_after_the_other,
    deletions_while_many_get_time,
    objects_and_then_a_place_behind_many_priorities,
}

/// Budget of those who get time at one moment: the first one is charged for what the kernel does for the others.
const BUDGET_US: u64 = 1000;
/// Threads that wait.
const MANY: usize = 1500;

fn one_of_higher_priority_after_many(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    Crowd::start(env, MANY, |i| Act::send(HIGH + (i / 2) as u64 % 100, endpoint)).map(drop)
}

/// Many threads that get time at one moment, in ticks; they are told to stop before.
fn get_time_at_one_moment(env: &mut Env) -> Outcome<u64> {
    let tick = ticks_per_us(&env.bootinfo);
    // A thread is made in some 20 us. Who comes later waits less.
    let end = rdtsc() + (MANY as u64 * 50 + 2000) * tick;
    let left = || end.saturating_sub(rdtsc()) / tick;
    Crowd::start(env, MANY, |_| Act::give_up(HIGH, (BUDGET_US, left().max(BUDGET_US + 1))))?;
    check!(rdtsc() + BUDGET_US * tick < end, "the threads were not ready in time");
    check!(came_back() == 0, "{} had time too early", came_back());
    Ok(end)
}

fn many_that_get_time_at_one_moment(env: &mut Env) -> Outcome {
    let end = get_time_at_one_moment(env)?;
    pass_until(end + MANY as u64 * 50 * ticks_per_us(&env.bootinfo));
    check!(came_back() == MANY as u64, "{} of {MANY} got time again", came_back());
    Ok(())
}

/// The initial thread is busy with what takes long.
fn deletions_while_many_get_time(env: &mut Env) -> Outcome {
    let untyped = env.untyped(19)?;
    let first = env.slots(FAN_OUT)?;
    get_time_at_one_moment(env)?;
    while came_back() < MANY as u64 {
        untyped.untyped_retype(&cap_type::Tcb::BLUEPRINT, &own_cnode(), first, FAN_OUT)?;
        at(untyped).revoke()?;
    }
    Ok(())
}

/// Many who send when their budgets are about to end; they get the next one after a while.
fn send_with_little_time(env: &mut Env, endpoint: cap::Endpoint, timeouts: cap::Endpoint) -> Outcome {
    let tick = ticks_per_us(&env.bootinfo);
    let early = |i: usize| MIN_BUDGET_US * tick - 1500 + 5 * (i as u64 % 300);
    Crowd::start(env, MANY, |i| Act {
        after: early(i),
        time: (MIN_BUDGET_US, 1_000_000),
        timeouts,
        ..Act::send(HIGH, endpoint)
    })
    .map(drop)
}

fn many_without_time_that_are_woken_at_once(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    send_with_little_time(env, endpoint, NONE)?;
    Ok(at(endpoint).delete()?)
}

/// What the kernel does for one of them is charged to the next one, whose time ends too.
fn many_timeouts_one_after_the_other(env: &mut Env) -> Outcome {
    let (endpoint, timeouts): (cap::Endpoint, cap::Endpoint) = (env.make()?, env.make()?);
    send_with_little_time(env, endpoint, timeouts)?;
    at(endpoint).delete()?;
    let mut told = 0;
    while timeouts.nb_recv_with_mrs(env.reply).info.length() != 0 {
        told += 1;
    }
    check!(told > MANY / 2, "{told} timeouts of {MANY}");
    Ok(())
}

fn objects_and_then_a_place_behind_many_priorities(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let untyped = env.untyped(12)?;
    let first = env.slots(FAN_OUT)?;
    let own = slot::TCB.cap();
    Crowd::start(env, 252, |i| Act::wait(2 + i as u64, notification))?;
    // All of them wait when the initial thread goes on.
    own.tcb_set_priority(own, 2)?;
    own.tcb_set_priority(own, MAIN)?;
    let maker = |me: &mut Me| {
        let [untyped, first, notification, _] = me.args;
        let kind = ObjectType::Untyped as u64;
        let words = [kind, 4, 0, 0];
        me.ipc.msg_regs_mut()[4..6].copy_from_slice(&[first, FAN_OUT as u64]);
        me.ipc.caps_or_badges_mut()[0] = slot::CNODE.cptr().bits();
        let retype = MessageInfo::new(label::UNTYPED_RETYPE, 0, 1, 6);
        nb_send_wait_with_mrs(CPtr::from_bits(untyped), retype, words, CPtr::from_bits(notification));
    };
    let maker = env.spawn(255, maker, [untyped.bits(), first as u64, notification.bits(), 0])?;
    check!(
        at(CPtr::from_bits(first as u64 + 255).cast::<cap_type::Untyped>()).describe().is_ok(),
        "no objects"
    );
    maker.tcb.tcb_suspend()?;
    Ok(())
}
