// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling: contexts, budgets, priorities.

use kernel_tests::env::{HIGH, LOW, MAIN, at};
use kernel_tests::{Env, Me, Outcome, check, check_eq, expect_error, expect_reply, machine, thread};
use sel4::abi::label;
use sel4::abi::sched::FLAG_SPORADIC;
use sel4::init_thread::slot;
use sel4::{Error, ObjectBlueprint, cap};

kernel_tests::checks! {
    sched_control_checks_its_arguments,
    extra_refills_fit_the_context,
    sched_context_binds_once,
    thread_without_context_does_not_run,
    unbound_context_stops_its_thread,
    deleted_context_stops_its_thread,
    equal_threads_share_the_time,
    higher_priority_runs_alone,
    yield_passes_to_an_equal,
    budget_limits_the_time,
    period_counts_from_the_use_of_the_budget,
    consumed_time_grows,
    priority_is_limited_by_the_authority,
    raised_priority_preempts_at_once,
    resumed_thread_gets_no_new_budget,
    woken_thread_goes_before_its_equals,
    thread_whose_priority_is_set_goes_before_its_equals,
    yield_to_is_checked,
    yield_to_lets_the_thread_go_first,
    yield_to_ends_with_the_thread,
}

/// Counts in cell args[0] for ever.
fn body_count(me: &mut Me) {
    loop {
        thread::add(me.args[0] as usize, 1);
    }
}

fn sched_control_checks_its_arguments(env: &mut Env) -> Outcome {
    let control = env.sched_control;
    let sc = env.sched_context()?;
    let words = [1000, 1000, 0, 0, 0];
    let configure = label::SCHED_CONTROL_CONFIGURE_FLAGS;
    expect_reply(control.invoke_raw(configure, &words[..4], &[sc.bits()]), Error::TruncatedMessage, &[])?;
    expect_reply(control.invoke_raw(configure, &words, &[]), Error::TruncatedMessage, &[])?;
    let set = |budget, period| control.sched_control_configure_flags(sc, budget, period, 0, 0, 0);
    expect_error(set(19, 1000), Error::RangeError, &[20])?;
    expect_error(set(20, 19), Error::RangeError, &[20])?;
    expect_error(set(u64::MAX, u64::MAX), Error::RangeError, &[20])?;
    expect_error(set(2000, 1000), Error::RangeError, &[20, 1000])?;
    let wrong = cap::SchedContext::from_bits(slot::TCB.cap().bits());
    let result = control.sched_control_configure_flags(wrong, 1000, 1000, 0, 0, 0);
    expect_error(result, Error::InvalidCapability, &[1])?;
    set(20, 20)?;
    set(1_000_000, 1_000_000)?;
    Ok(())
}

fn extra_refills_fit_the_context(env: &mut Env) -> Outcome {
    for (bits, max) in [(7, 0), (8, 8), (10, 56)] {
        let sc: cap::SchedContext = env.make_of(ObjectBlueprint::SchedContext { size_bits: bits })?;
        let configure =
            |refills| env.sched_control.sched_control_configure_flags(sc, 1000, 2000, refills, 0, 0);
        expect_error(configure(max + 1), Error::RangeError, &[0, max])?;
        configure(max)?;
    }
    Ok(())
}

fn sched_context_binds_once(env: &mut Env) -> Outcome {
    let (a, b) = (env.thread(|_| (), [0; 4])?, env.thread(|_| (), [0; 4])?);
    a.sc.sched_context_bind(a.tcb)?;
    expect_error(a.sc.sched_context_bind(b.tcb), Error::IllegalOperation, &[])?;
    expect_error(b.sc.sched_context_bind(a.tcb), Error::IllegalOperation, &[])?;
    expect_error(a.sc.sched_context_unbind_object(b.tcb), Error::IllegalOperation, &[])?;
    a.sc.sched_context_unbind_object(a.tcb)?;
    b.sc.sched_context_bind(a.tcb)?;
    let endpoint: cap::Endpoint = env.make()?;
    expect_error(a.sc.sched_context_bind(endpoint), Error::InvalidCapability, &[1])
}

fn thread_without_context_does_not_run(env: &mut Env) -> Outcome {
    let thread = env.thread(|_| thread::put(0, 1), [0; 4])?;
    thread.tcb.tcb_set_priority(slot::TCB.cap(), HIGH)?;
    thread.tcb.tcb_resume()?;
    env.settle()?;
    check_eq!(thread::get(0), 0, "what the thread did");
    thread.sc.sched_context_bind(thread.tcb)?;
    check_eq!(thread::get(0), 1, "what the thread did with a context");
    env.join(&[thread])
}

fn unbound_context_stops_its_thread(env: &mut Env) -> Outcome {
    let thread = env.spawn(MAIN, body_count, [0; 4])?;
    env.wait_until(1_000_000, || thread::get(0) > 0)?;
    thread.sc.sched_context_unbind()?;
    let before = thread::get(0);
    env.settle()?;
    check_eq!(thread::get(0), before, "count");
    thread.sc.sched_context_bind(thread.tcb)?;
    env.wait_until(1_000_000, || thread::get(0) > before)
}

fn deleted_context_stops_its_thread(env: &mut Env) -> Outcome {
    let thread = env.spawn(MAIN, body_count, [0; 4])?;
    env.wait_until(1_000_000, || thread::get(0) > 0)?;
    at(thread.sc).delete()?;
    let before = thread::get(0);
    env.settle()?;
    check_eq!(thread::get(0), before, "count");
    Ok(())
}

fn equal_threads_share_the_time(env: &mut Env) -> Outcome {
    // Each has 2 ms and then stands behind the others; the initial thread passes its turns on.
    let mut threads = [env.thread(body_count, [0, 0, 0, 0])?, env.thread(body_count, [1, 0, 0, 0])?];
    for thread in &mut threads {
        env.sched_control.sched_control_configure_flags(thread.sc, 2000, 2000, 0, 0, 0)?;
        env.start(*thread, MAIN)?;
    }
    let end = machine::rdtsc() + 60_000 * machine::ticks_per_us(&env.bootinfo);
    while machine::rdtsc() < end {
        sel4::yield_();
    }
    let (a, b) = (thread::get(0), thread::get(1));
    check!(a > 0 && b > 0 && a < 3 * b && b < 3 * a, "the threads counted to {a} and {b}");
    Ok(())
}

fn higher_priority_runs_alone(env: &mut Env) -> Outcome {
    env.spawn(LOW, body_count, [0, 0, 0, 0])?;
    env.spawn(LOW + 1, body_count, [1, 0, 0, 0])?;
    let tick = super::irq::Pit::new(env)?;
    let end = machine::rdtsc() + 15_000 * machine::ticks_per_us(&env.bootinfo);
    tick.after_us(20_000)?;
    // An edge from before may be pending.
    while machine::rdtsc() < end {
        tick.notification.wait();
        tick.handler.irq_handler_ack()?;
    }
    check_eq!(thread::get(0), 0, "what the lower one counted");
    check!(thread::get(1) > 0, "the higher one did not run");
    Ok(())
}

fn yield_passes_to_an_equal(env: &mut Env) -> Outcome {
    env.spawn(
        MAIN,
        |_| loop {
            thread::add(0, 1);
            sel4::yield_();
        },
        [0; 4],
    )?;
    for _ in 0..20 {
        sel4::yield_();
    }
    check!((15..=25).contains(&thread::get(0)), "after 20 yields the other counted {}", thread::get(0));
    Ok(())
}

fn budget_limits_the_time(env: &mut Env) -> Outcome {
    // 2 ms in every 20 ms, above the initial thread, which sees the rest.
    let thread = env.thread(body_count, [0; 4])?;
    env.sched_control.sched_control_configure_flags(thread.sc, 2000, 20_000, 0, 0, 0)?;
    let ticks = machine::ticks_per_us(&env.bootinfo);
    env.start(thread, HIGH)?;
    let (start, first) = (machine::rdtsc(), thread.sc.sched_context_consumed()?);
    check!(first < 20_000, "at once it had {first} us");
    while machine::rdtsc() < start + 200_000 * ticks {
        core::hint::spin_loop();
    }
    let consumed = thread.sc.sched_context_consumed()?;
    let percent = consumed * 100 / ((machine::rdtsc() - start) / ticks);
    check!((4..=30).contains(&percent), "the thread had {percent}% of the time");
    let before = thread::get(0);
    env.wait_until(100_000, || thread::get(0) > before)
}

fn period_counts_from_the_use_of_the_budget(env: &mut Env) -> Outcome {
    const PERIOD_US: u64 = 40_000;
    // The boot information says the clock to the megahertz.
    let (ticks, least) = (machine::ticks_per_us(&env.bootinfo), PERIOD_US - PERIOD_US / 100);
    for flags in [0, FLAG_SPORADIC] {
        let go: cap::Notification = env.make()?;
        // Whatever comes first, each yield gives up all that is left.
        let thread = env.thread(
            |me| {
                for cell in [0, 1] {
                    sel4::yield_();
                    thread::put(cell, machine::rdtsc());
                    cap::Notification::from_bits(me.args[0]).wait();
                }
            },
            [go.bits(), 0, 0, 0],
        )?;
        env.sched_control.sched_control_configure_flags(thread.sc, 1000, PERIOD_US, 0, 0, flags)?;
        let late = |since: u64| while machine::rdtsc() < since + PERIOD_US * ticks * 3 / 4 {};
        // Neither the time since it was configured counts nor, later, the time since its budget came back.
        late(machine::rdtsc());
        let before = machine::rdtsc();
        env.start(thread, HIGH)?;
        env.wait_until(u64::MAX / ticks / 2, || thread::get(0) != 0)?;
        let passed = (thread::get(0) - before) / ticks;
        check!(passed >= least, "it got time {passed} us after it first ran");
        late(thread::get(0));
        let before = machine::rdtsc();
        go.signal();
        env.wait_until(u64::MAX / ticks / 2, || thread::get(1) != 0)?;
        let passed = (thread::get(1) - before) / ticks;
        check!(passed >= least, "it got time {passed} us after it was woken");
        go.signal();
        env.join(&[thread])?;
        thread::put(0, 0);
        thread::put(1, 0);
    }
    Ok(())
}

fn consumed_time_grows(env: &mut Env) -> Outcome {
    let thread = env.spawn(MAIN, body_count, [0; 4])?;
    env.wait_until(1_000_000, || thread::get(0) > 0)?;
    for _ in 0..3 {
        sel4::yield_();
    }
    let consumed = thread.sc.sched_context_consumed()?;
    check!(consumed > 100, "{consumed} us");
    let idle = env.sched_context()?;
    check_eq!(idle.sched_context_consumed()?, 0, "time consumed by nobody");
    Ok(())
}

fn priority_is_limited_by_the_authority(env: &mut Env) -> Outcome {
    let authority: cap::Tcb = env.make()?;
    authority.tcb_set_mc_priority(slot::TCB.cap(), 10)?;
    let tcb: cap::Tcb = env.make()?;
    expect_error(tcb.tcb_set_priority(authority, 11), Error::RangeError, &[0, 10])?;
    expect_error(tcb.tcb_set_mc_priority(authority, 11), Error::RangeError, &[0, 10])?;
    tcb.tcb_set_priority(authority, 10)?;
    tcb.tcb_set_mc_priority(authority, 10)?;
    expect_error(tcb.tcb_set_priority(slot::TCB.cap(), 256), Error::RangeError, &[0, 255])?;
    let endpoint: cap::Endpoint = env.make()?;
    let wrong = cap::Tcb::from_bits(endpoint.bits());
    expect_error(tcb.tcb_set_priority(wrong, 1), Error::InvalidCapability, &[1])?;
    let result =
        tcb.tcb_set_sched_params(authority, 11, 1, cap::SchedContext::from_bits(0), sel4::NULL.cast());
    expect_error(result, Error::RangeError, &[0, 10])
}

fn raised_priority_preempts_at_once(env: &mut Env) -> Outcome {
    let thread = env.spawn(LOW, |_| thread::put(0, 1), [0; 4])?;
    check_eq!(thread::get(0), 0, "what the thread did");
    thread.tcb.tcb_set_priority(slot::TCB.cap(), HIGH)?;
    check_eq!(thread::get(0), 1, "what the thread did with a higher priority");
    env.join(&[thread])
}

fn resumed_thread_gets_no_new_budget(env: &mut Env) -> Outcome {
    for flags in [0, FLAG_SPORADIC] {
        let thread = env.thread(
            |_| loop {
                thread::add(0, 1);
                sel4::yield_();
            },
            [0; 4],
        )?;
        // 1 ms in every 10 minutes: each yield gives up all of it.
        env.sched_control.sched_control_configure_flags(thread.sc, 1000, 600_000_000, 0, 0, flags)?;
        let before = thread::get(0);
        env.start(thread, HIGH)?;
        for _ in 0..5 {
            thread.tcb.tcb_suspend()?;
            thread.tcb.tcb_resume()?;
            sel4::yield_();
        }
        check_eq!(thread::get(0), before + 1, "turns");
    }
    Ok(())
}

/// A thread of the initial thread's priority that notes in cell args[0] which turn it has.
fn body_note_turn(me: &mut Me) {
    if me.args[1] != 0 {
        cap::Notification::from_bits(me.args[1]).wait();
    }
    thread::add(9, 1);
    thread::put(me.args[0] as usize, thread::get(9));
}

fn woken_thread_goes_before_its_equals(env: &mut Env) -> Outcome {
    let (first, second): (cap::Notification, cap::Notification) = (env.make()?, env.make()?);
    let waiter = env.spawn(LOW, body_note_turn, [0, first.bits(), 0, 0])?;
    env.settle()?;
    let other = env.spawn(LOW, body_note_turn, [1, 0, 0, 0])?;
    first.signal();
    env.join(&[waiter, other])?;
    check_eq!((thread::get(0), thread::get(1)), (1, 2), "turns of the woken one and of the other");
    // But behind a running equal's others: this thread goes on, and then those who were there.
    thread::put(9, 0);
    let waiter = env.spawn(MAIN, body_note_turn, [0, second.bits(), 0, 0])?;
    env.settle()?;
    let other = env.spawn(MAIN, body_note_turn, [1, 0, 0, 0])?;
    second.signal();
    env.join(&[waiter, other])?;
    check_eq!((thread::get(0), thread::get(1)), (2, 1), "turns of the woken one and of the other");
    Ok(())
}

fn thread_whose_priority_is_set_goes_before_its_equals(env: &mut Env) -> Outcome {
    let first = env.spawn(LOW, body_note_turn, [0; 4])?;
    let second = env.spawn(LOW - 1, body_note_turn, [1, 0, 0, 0])?;
    second.tcb.tcb_set_priority(slot::TCB.cap(), LOW)?;
    env.join(&[first, second])?;
    check_eq!((thread::get(0), thread::get(1)), (2, 1), "turns");
    Ok(())
}

fn yield_to_is_checked(env: &mut Env) -> Outcome {
    let unbound = env.sched_context()?;
    expect_error(unbound.sched_context_yield_to(), Error::IllegalOperation, &[])?;
    expect_error(slot::SC.cap().sched_context_yield_to(), Error::IllegalOperation, &[])?;
    let idle = env.thread(|_| (), [0; 4])?;
    idle.sc.sched_context_bind(idle.tcb)?;
    check_eq!(idle.sc.sched_context_yield_to(), Ok(0), "the answer for a thread that doesn't run");
    // Somebody with a low limit may not yield to a higher priority.
    let yielder = env.thread(
        |me| {
            let result = cap::SchedContext::from_bits(me.args[0]).sched_context_yield_to();
            thread::put(0, if result == Err(Error::IllegalOperation) { 1 } else { 2 });
        },
        [slot::SC.cap().bits(), 0, 0, 0],
    )?;
    env.start(yielder, LOW)?;
    yielder.tcb.tcb_set_mc_priority(slot::TCB.cap(), LOW)?;
    env.join(&[yielder])?;
    check_eq!(thread::get(0), 1, "the outcome for somebody below");
    Ok(())
}

fn yield_to_lets_the_thread_go_first(env: &mut Env) -> Outcome {
    let first = env.spawn(MAIN, body_note_turn, [0; 4])?;
    let second = env.spawn(MAIN, body_note_turn, [1, 0, 0, 0])?;
    second.sc.sched_context_yield_to()?;
    check_eq!((thread::get(0), thread::get(1)), (0, 1), "turns when the one is done who was let go first");
    env.join(&[first, second])
}

fn yield_to_ends_with_the_thread(env: &mut Env) -> Outcome {
    // One that runs for ever is let go first, for its turn of 10 ms; one that is suspended meanwhile, for less.
    let endless = env.spawn(LOW, body_count, [0; 4])?;
    let yielder = env.spawn(
        LOW,
        |me| match cap::SchedContext::from_bits(me.args[0]).sched_context_yield_to() {
            Ok(consumed) => thread::put(1, consumed + 1),
            Err(_) => thread::put(2, 1),
        },
        [endless.sc.bits(), 0, 0, 0],
    )?;
    env.join(&[yielder])?;
    check!(thread::get(1) > 1, "used {} us, failed {}", thread::get(1), thread::get(2));
    Ok(())
}
