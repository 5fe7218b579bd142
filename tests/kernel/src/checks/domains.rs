// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling domains, on a kernel that was booted with `domains=4`. The initial thread, and the environment's two, are of domain 0.

use kernel_tests::env::{HIGH, LOW, MAIN, at, write_turns};
use kernel_tests::{Env, Me, Outcome, Thread, check, check_eq, expect_error, expect_reply, machine, thread};
use sel4::abi::label;
use sel4::init_thread::slot;
use sel4::{Error, Fault, MessageInfo, cap};

use super::irq::Pit;

kernel_tests::checks! {
    domain_set_checks_its_arguments,
    schedule_checks_its_arguments,
    thread_of_another_domain_does_not_run,
    each_domain_has_its_turn_for_its_duration,
    domain_without_ready_threads_leaves_the_processor_idle,
    schedule_goes_round_to_its_start,
    start_is_set_at_once,
    entry_that_is_running_changes_when_it_is_reached,
    new_thread_is_of_its_makers_domain,
    thread_moves_between_domains,
    thread_sets_its_own_domain,
    signal_to_another_domain_waits_for_its_turn,
    call_to_another_domain_is_answered_in_its_turn,
    passive_server_of_another_domain_runs_in_its_own_turn,
    interrupt_waits_for_the_turn_of_its_thread,
    time_is_not_charged_while_another_domain_runs,
    budget_comes_back_while_another_domain_runs,
    timeout_in_another_domain_is_told,
    thread_of_another_domain_is_stopped_and_deleted,
    yield_to_another_domain_only_tells_the_time,
}

/// Domains, as the boot argument says.
const DOMAINS: u64 = 4;
/// The first entry that the checks write.
const FIRST: u64 = 10;
/// Longest duration.
const FOREVER: u64 = (1 << 56) - 1;
/// What is shorter than a turn of another domain, and longer than anything else that a thread has to wait for, microseconds.
const GAP: u64 = 200;

fn domain_set() -> cap::DomainSet {
    slot::DOMAIN_SET.cap()
}

/// Writes a schedule, domains and microseconds, from entry `first` on.
fn write(env: &Env, first: u64, entries: &[(u8, u64)]) -> Outcome {
    write_turns(first, entries, machine::ticks_per_us(&env.bootinfo))
}

/// Makes a check while the domains have these turns.
fn with_turns(env: &mut Env, entries: &[(u8, u64)], check: impl FnOnce(&mut Env) -> Outcome) -> Outcome {
    write(env, FIRST, entries)?;
    domain_set().domain_set_schedule_set_start(FIRST)?;
    let outcome = check(env);
    domain_set().domain_set_set(0, slot::TCB.cap())?;
    domain_set().domain_set_schedule_set_start(0)?;
    outcome
}

/// A thread of a domain.
fn thread_in(
    env: &mut Env,
    domain: u8,
    priority: u64,
    body: thread::Body,
    args: [u64; 4],
) -> Outcome<Thread> {
    let thread = env.thread(body, args)?;
    domain_set().domain_set_set(domain, thread.tcb)?;
    env.start(thread, priority)?;
    Ok(thread)
}

/// Counts in cell args[0] for ever.
fn body_count(me: &mut Me) {
    loop {
        thread::add(me.args[0] as usize, 1);
    }
}

/// Looks at the time for ever, and sees when it was away for longer than args[1] ticks: in the cells from args[0] on are the times that
/// it was, how long it ran before the last one, and how long that was.
fn body_watch(me: &mut Me) {
    let (cell, gap) = (me.args[0] as usize, me.args[1]);
    let mut began = machine::rdtsc();
    let mut last = began;
    loop {
        let now = machine::rdtsc();
        if now - last > gap {
            thread::put(cell + 1, last - began);
            thread::put(cell + 2, now - last);
            thread::add(cell, 1);
            began = now;
        }
        last = now;
    }
}

/// What [`body_watch`] saw, in microseconds: how long it ran, and how long it was away.
fn watched(env: &Env, cell: usize) -> (u64, u64) {
    let ticks = machine::ticks_per_us(&env.bootinfo);
    (thread::get(cell + 1) / ticks, thread::get(cell + 2) / ticks)
}

/// Does in this thread what [`body_watch`] does, until it has been away `times`: how long it ran, and how long it was away then. The first
/// run has begun before.
fn watch(env: &Env, times: usize) -> heapless::Vec<(u64, u64), 16> {
    let ticks = machine::ticks_per_us(&env.bootinfo);
    let mut seen = heapless::Vec::new();
    let mut began = machine::rdtsc();
    let mut last = began;
    while seen.len() < times {
        let now = machine::rdtsc();
        if now - last > GAP * ticks {
            let _ = seen.push(((last - began) / ticks, (now - last) / ticks));
            began = now;
        }
        last = now;
    }
    seen
}

/// Microseconds from one time to another.
fn between(env: &Env, from: u64, to: u64) -> u64 {
    to.saturating_sub(from) / machine::ticks_per_us(&env.bootinfo)
}

/// Microseconds since then.
fn since(env: &Env, began: u64) -> u64 {
    between(env, began, machine::rdtsc())
}

/// Fails unless a time is this one, in microseconds, and little more or less.
#[track_caller]
fn check_time(what: &str, found: u64, us: u64) -> Outcome {
    check!(found.abs_diff(us) < 60, "{what}: {found} us and not {us}");
    Ok(())
}

fn domain_set_checks_its_arguments(env: &mut Env) -> Outcome {
    let tcb: cap::Tcb = env.make()?;
    let set = label::DOMAIN_SET_SET;
    expect_reply(domain_set().invoke_raw(set, &[], &[tcb.bits()]), Error::TruncatedMessage, &[])?;
    expect_reply(domain_set().invoke_raw(set, &[0], &[]), Error::TruncatedMessage, &[])?;
    let endpoint: cap::Endpoint = env.make()?;
    let wrong = cap::Tcb::from_bits(endpoint.bits());
    expect_error(domain_set().domain_set_set(DOMAINS as u8, wrong), Error::InvalidArgument, &[0])?;
    expect_error(domain_set().domain_set_set(255, tcb), Error::InvalidArgument, &[0])?;
    expect_error(domain_set().domain_set_set(0, wrong), Error::InvalidArgument, &[1])?;
    expect_reply(domain_set().invoke_raw(label::TCB_SUSPEND, &[], &[]), Error::IllegalOperation, &[])?;
    for domain in 0..DOMAINS as u8 {
        domain_set().domain_set_set(domain, tcb)?;
    }
    Ok(())
}

fn schedule_checks_its_arguments(_: &mut Env) -> Outcome {
    let short = domain_set().invoke_raw(label::DOMAIN_SCHEDULE_CONFIGURE, &[1, 0], &[]);
    expect_reply(short, Error::TruncatedMessage, &[])?;
    let short = domain_set().invoke_raw(label::DOMAIN_SCHEDULE_SET_START, &[], &[]);
    expect_reply(short, Error::TruncatedMessage, &[])?;
    let configure = |index, domain, ticks| domain_set().domain_set_schedule_configure(index, domain, ticks);
    let start = |index| domain_set().domain_set_schedule_set_start(index);
    // The last entry, which is 99, ends the schedule for ever.
    expect_error(configure(99, 255, FOREVER + 1), Error::RangeError, &[0, 98])?;
    expect_error(configure(u64::MAX, 0, 1), Error::RangeError, &[0, 98])?;
    expect_error(configure(98, DOMAINS as u8, FOREVER + 1), Error::RangeError, &[0, DOMAINS - 1])?;
    expect_error(configure(98, 3, FOREVER + 1), Error::InvalidArgument, &[2])?;
    expect_error(configure(98, 1, 0), Error::InvalidArgument, &[2])?;
    expect_error(configure(0, 0, 0), Error::InvalidArgument, &[2])?;
    configure(98, 0, FOREVER)?;
    configure(98, 0, 0)?;
    expect_error(start(100), Error::RangeError, &[0, 99])?;
    expect_error(start(u64::MAX), Error::RangeError, &[0, 99])?;
    expect_error(start(99), Error::InvalidArgument, &[0])?;
    expect_error(start(98), Error::InvalidArgument, &[0])?;
    start(0)?;
    Ok(())
}

fn thread_of_another_domain_does_not_run(env: &mut Env) -> Outcome {
    thread_in(env, 1, HIGH, body_count, [0; 4])?;
    thread_in(env, 3, 255, body_count, [1, 0, 0, 0])?;
    env.settle()?;
    check_eq!((thread::get(0), thread::get(1)), (0, 0), "what they counted");
    with_turns(env, &[(0, 1000), (3, 1000)], |env| {
        env.wait_until(10_000, || thread::get(1) > 0)?;
        check_eq!(thread::get(0), 0, "what the one without a turn counted");
        Ok(())
    })
}

fn each_domain_has_its_turn_for_its_duration(env: &mut Env) -> Outcome {
    let gap = GAP * machine::ticks_per_us(&env.bootinfo);
    for (domain, priority) in [(1, LOW), (2, HIGH), (3, 1)] {
        thread_in(env, domain, priority, body_watch, [u64::from(domain) * 4, gap, 0, 0])?;
    }
    with_turns(env, &[(0, 900), (1, 400), (2, 700), (3, 300)], |env| {
        let turns = watch(env, 5);
        for (cell, ran) in [(4, 400), (8, 700), (12, 300)] {
            let (found, away) = watched(env, cell);
            check_time("its turn", found, ran)?;
            check_time("the others' turns", away, 2300 - ran)?;
            check!((3..=5).contains(&thread::get(cell)), "it had {} turns", thread::get(cell));
        }
        for (found, away) in &turns[1..] {
            check_time("its turn", *found, 900)?;
            check_time("the others' turns", *away, 1400)?;
        }
        Ok(())
    })
}

fn domain_without_ready_threads_leaves_the_processor_idle(env: &mut Env) -> Outcome {
    // One of it that waits for good.
    let silent: cap::Notification = env.make()?;
    let body: thread::Body = |me| _ = cap::Notification::from_bits(me.args[0]).wait();
    thread_in(env, 2, HIGH, body, [silent.bits(), 0, 0, 0])?;
    let lower = env.thread(body_count, [1, 0, 0, 0])?;
    env.start(lower, LOW)?;
    with_turns(env, &[(0, 400), (2, 500), (3, 100)], |env| {
        for (ran, away) in &watch(env, 4)[1..] {
            check_time("its turn", *ran, 400)?;
            check_time("the others' turns", *away, 600)?;
        }
        check_eq!(thread::get(1), 0, "what a lower thread of the first domain counted");
        Ok(())
    })
}

fn schedule_goes_round_to_its_start(env: &mut Env) -> Outcome {
    thread_in(env, 1, HIGH, body_count, [1, 0, 0, 0])?;
    thread_in(env, 2, HIGH, body_count, [2, 0, 0, 0])?;
    write(env, FIRST + 10, &[(0, 500), (2, 300), (0, 400), (2, 700)])?;
    with_turns(env, &[(0, 600), (1, 300)], |env| {
        for (ran, away) in &watch(env, 3)[1..] {
            check_time("its turn", *ran, 600)?;
            check_time("the other's turn", *away, 300)?;
        }
        check_eq!(thread::get(2), 0, "what the one counted whose entries are behind the end");
        domain_set().domain_set_schedule_set_start(FIRST + 10)?;
        let before = thread::get(1);
        for ((ran, away), (turn, others)) in
            watch(env, 5).into_iter().zip([(500, 300), (400, 700)].iter().cycle())
        {
            check_time("its turn", ran, *turn)?;
            check_time("the other's turn", away, *others)?;
        }
        check_eq!(thread::get(1), before, "what the one counted whose entries are elsewhere");
        Ok(())
    })
}

fn start_is_set_at_once(env: &mut Env) -> Outcome {
    thread_in(env, 1, LOW, body_count, [0; 4])?;
    write(env, FIRST + 10, &[(1, 700), (0, 1000)])?;
    with_turns(env, &[(0, 500)], |env| {
        for _ in 0..3 {
            let (before, began) = (thread::get(0), machine::rdtsc());
            domain_set().domain_set_schedule_set_start(FIRST + 10)?;
            check_time("the way back", since(env, began), 700)?;
            check!(thread::get(0) > before, "the other one did not run");
        }
        Ok(())
    })
}

fn entry_that_is_running_changes_when_it_is_reached(env: &mut Env) -> Outcome {
    with_turns(env, &[(0, 800), (1, 300)], |env| {
        write(env, FIRST, &[(0, 500), (1, 400)])?;
        let turns = watch(env, 3);
        check_time("the turn that was running", turns[0].0, 800)?;
        check_time("the other's turn", turns[0].1, 400)?;
        check_time("the next turn", turns[1].0, 500)
    })
}

fn new_thread_is_of_its_makers_domain(env: &mut Env) -> Outcome {
    with_turns(env, &[(0, 500), (1, 500)], |env| {
        domain_set().domain_set_set(1, slot::TCB.cap())?;
        let thread = env.thread(body_count, [0; 4])?;
        domain_set().domain_set_set(0, slot::TCB.cap())?;
        domain_set().domain_set_schedule_set_start(FIRST)?;
        env.start(thread, HIGH)?;
        check_eq!(thread::get(0), 0, "what it counted in its maker's turn");
        env.wait_until(2000, || thread::get(0) > 0)
    })
}

fn thread_moves_between_domains(env: &mut Env) -> Outcome {
    // 1 ms in every second: it has it used up soon.
    let limited = env.thread(body_count, [1, 0, 0, 0])?;
    env.sched_control.sched_control_configure_flags(limited.sc, 1000, 1_000_000, 0, 0, 0)?;
    domain_set().domain_set_set(1, limited.tcb)?;
    with_turns(env, &[(0, 500), (1, 500), (3, 100)], |env| {
        let thread = thread_in(env, 1, HIGH, body_count, [0; 4])?;
        env.wait_until(2000, || thread::get(0) > 0)?;
        domain_set().domain_set_set(2, thread.tcb)?;
        let count = thread::get(0);
        watch(env, 3);
        check_eq!(thread::get(0), count, "what it counted without a turn");
        domain_set().domain_set_set(3, thread.tcb)?;
        env.wait_until(2000, || thread::get(0) > count)?;
        // In the running domain it goes first.
        thread.tcb.tcb_set_priority(slot::TCB.cap(), MAIN)?;
        domain_set().domain_set_set(0, thread.tcb)?;
        let count = thread::get(0);
        sel4::yield_();
        check!(thread::get(0) > count, "it did not run in the domain that does");
        thread.tcb.tcb_suspend()?;
        env.start(limited, HIGH)?;
        watch(env, 5);
        let count = thread::get(1);
        check!(count > 0, "the limited one did not run");
        // One that waits for its budget goes on waiting.
        for domain in [3, 0, 1] {
            domain_set().domain_set_set(domain, limited.tcb)?;
            watch(env, 2);
        }
        check_eq!(thread::get(1), count, "what it counted without budget");
        Ok(())
    })
}

fn thread_sets_its_own_domain(env: &mut Env) -> Outcome {
    with_turns(env, &[(0, 1000), (1, 1000), (2, 500)], |env| {
        let began = machine::rdtsc();
        for (domain, us) in [(1, 1000), (2, 2000), (0, 2500)] {
            domain_set().domain_set_set(domain, slot::TCB.cap())?;
            check_time("the way to the next domain", since(env, began), us)?;
        }
        Ok(())
    })
}

/// Tells in cell 1 that it is there, waits for notification args[0], notes the time in cell 0; for ever.
fn body_signalled(me: &mut Me) {
    loop {
        thread::put(1, 1);
        cap::Notification::from_bits(me.args[0]).wait();
        thread::put(0, machine::rdtsc());
    }
}

fn signal_to_another_domain_waits_for_its_turn(env: &mut Env) -> Outcome {
    let bell: cap::Notification = env.make()?;
    thread_in(env, 1, 255, body_signalled, [bell.bits(), 0, 0, 0])?;
    with_turns(env, &[(0, 1000), (1, 500)], |env| {
        env.wait_until(2000, || thread::get(1) == 1)?;
        domain_set().domain_set_schedule_set_start(FIRST)?;
        let began = machine::rdtsc();
        bell.signal();
        machine::pass_until(began + 800 * machine::ticks_per_us(&env.bootinfo));
        check_eq!(thread::get(0), 0, "when it was woken");
        env.wait_until(1000, || thread::get(0) != 0)?;
        check_time("the other's turn", between(env, began, thread::get(0)), 1000)
    })
}

/// Tells in cell 1 that it is there, answers on args[0] with the reply object args[1] for ever, and notes in cell 0 when.
fn body_serve(me: &mut Me) {
    let (endpoint, reply) = (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
    thread::put(1, 1);
    let mut word = endpoint.recv_with_mrs(reply).msg[0];
    loop {
        thread::put(0, machine::rdtsc());
        machine::pass(me.args[2]);
        word = endpoint.reply_recv_with_mrs(MessageInfo::new(0, 0, 0, 1), [word + 1], reply).msg[0];
    }
}

/// Calls a server of domain 1, which works for `rounds`; in turns of 1 ms and 0.5 ms it is asked at once, answers in its turn, and the answer is there
/// in the caller's.
fn called(env: &mut Env, rounds: u64, passive: bool) -> Outcome {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    let server = thread_in(env, 1, 255, body_serve, [endpoint.bits(), reply.bits(), rounds, 0])?;
    with_turns(env, &[(0, 1000), (1, 500)], |env| {
        env.wait_until(2000, || thread::get(1) == 1)?;
        domain_set().domain_set_schedule_set_start(FIRST)?;
        if passive {
            server.sc.sched_context_unbind()?;
        }
        for i in 0..3 {
            domain_set().domain_set_schedule_set_start(FIRST)?;
            let began = machine::rdtsc();
            let answer = endpoint.call_with_mrs(MessageInfo::new(0, 0, 0, 1), [i]).msg[0];
            check_eq!(answer, i + 1, "answer");
            check_time("the server's turn", between(env, began, thread::get(0)), 1000)?;
            check_time("the answer", since(env, began), 1500)?;
        }
        Ok(())
    })
}

fn call_to_another_domain_is_answered_in_its_turn(env: &mut Env) -> Outcome {
    called(env, 0, false)
}

fn passive_server_of_another_domain_runs_in_its_own_turn(env: &mut Env) -> Outcome {
    // 0.1 ms.
    let rounds = 200;
    slot::SC.cap().sched_context_consumed()?;
    called(env, rounds, true)?;
    let consumed = slot::SC.cap().sched_context_consumed()?;
    check!((300..2000).contains(&consumed), "the caller's time was charged with {consumed} us");
    Ok(())
}

fn interrupt_waits_for_the_turn_of_its_thread(env: &mut Env) -> Outcome {
    let pit = Pit::new(env)?;
    thread_in(env, 1, LOW, body_count, [0; 4])?;
    with_turns(env, &[(0, 500), (1, 2000)], |env| {
        let began = machine::rdtsc();
        pit.after_us(1000)?;
        // One from before may be pending.
        while since(env, began) < 900 {
            pit.notification.wait();
            pit.handler.irq_handler_ack()?;
        }
        check_time("the interrupt", since(env, began), 2500)?;
        check!(thread::get(0) > 0, "the other domain did not run");
        Ok(())
    })
}

fn time_is_not_charged_while_another_domain_runs(env: &mut Env) -> Outcome {
    let thread = thread_in(env, 1, HIGH, body_count, [0; 4])?;
    with_turns(env, &[(0, 700), (1, 300)], |env| {
        watch(env, 2);
        slot::SC.cap().sched_context_consumed()?;
        thread.sc.sched_context_consumed()?;
        watch(env, 10);
        check!(thread.sc.sched_context_consumed()?.abs_diff(3000) < 200, "charged for others");
        let own = slot::SC.cap().sched_context_consumed()?;
        check!(own.abs_diff(7000) < 800, "the initial thread was charged with {own} us");
        Ok(())
    })
}

fn budget_comes_back_while_another_domain_runs(env: &mut Env) -> Outcome {
    let thread = env.thread(body_count, [0; 4])?;
    domain_set().domain_set_set(1, thread.tcb)?;
    // In every second of its turns.
    env.sched_control.sched_control_configure_flags(thread.sc, 100, 2900, 0, 0, 0)?;
    env.start(thread, HIGH)?;
    with_turns(env, &[(0, 1000), (1, 500)], |env| {
        watch(env, 1);
        thread.sc.sched_context_consumed()?;
        watch(env, 6);
        let consumed = thread.sc.sched_context_consumed()?;
        check!(consumed.abs_diff(300) < 30, "in six turns it had {consumed} us");
        Ok(())
    })
}

fn timeout_in_another_domain_is_told(env: &mut Env) -> Outcome {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    let thread = env.thread(body_count, [0; 4])?;
    env.sched_control.sched_control_configure_flags(thread.sc, 100, 1000, 0, 77, 0)?;
    thread.tcb.tcb_set_timeout_endpoint(endpoint)?;
    domain_set().domain_set_set(1, thread.tcb)?;
    env.start(thread, LOW)?;
    with_turns(env, &[(0, 500), (1, 1000)], |env| {
        for _ in 0..3 {
            domain_set().domain_set_schedule_set_start(FIRST)?;
            let began = machine::rdtsc();
            let (info, _) = env.recv_later(endpoint, reply);
            check_time("the message", since(env, began), 1500)?;
            match sel4::with_ipc_buffer(|buffer| Fault::new(buffer, &info)) {
                Some(Fault::Timeout(fault)) => check_eq!(fault.data, 77, "badge of the context"),
                other => {
                    return Err(kernel_tests::Failure::new(format_args!("{other:x?} and not a timeout")));
                }
            }
            reply.send_with_mrs(MessageInfo::new(0, 0, 0, 0), [0; 0]);
        }
        Ok(())
    })
}

fn thread_of_another_domain_is_stopped_and_deleted(env: &mut Env) -> Outcome {
    with_turns(env, &[(0, 500), (1, 500)], |env| {
        let threads = [
            thread_in(env, 1, HIGH, body_count, [0; 4])?,
            thread_in(env, 1, LOW, body_count, [1, 0, 0, 0])?,
            thread_in(env, 1, LOW, body_count, [2, 0, 0, 0])?,
        ];
        let counts = || [thread::get(0), thread::get(1), thread::get(2)];
        env.wait_until(2000, || counts()[0] > 0)?;
        check_eq!((counts()[1], counts()[2]), (0, 0), "what the lower ones counted");
        // Each of these finds it in a queue of a domain that doesn't run.
        threads[0].tcb.tcb_set_priority(slot::TCB.cap(), 1)?;
        threads[1].tcb.tcb_suspend()?;
        env.wait_until(2000, || counts()[2] > 0)?;
        threads[2].sc.sched_context_unbind()?;
        let before = counts();
        env.wait_until(2000, || counts()[0] > before[0])?;
        at(threads[0].tcb).delete()?;
        let before = counts();
        watch(env, 3);
        check_eq!(counts(), before, "what they counted in the end");
        threads[1].tcb.tcb_resume()?;
        env.wait_until(2000, || counts()[1] > before[1])
    })
}

fn yield_to_another_domain_only_tells_the_time(env: &mut Env) -> Outcome {
    let thread = thread_in(env, 1, MAIN, body_count, [0; 4])?;
    with_turns(env, &[(0, 500), (1, 500)], |env| {
        watch(env, 2);
        let (count, began) = (thread::get(0), machine::rdtsc());
        let consumed = thread.sc.sched_context_yield_to()?;
        check_time("the answer", since(env, began), 0)?;
        check_eq!(thread::get(0), count, "what it counted meanwhile");
        check!(consumed.abs_diff(1000) < 60, "it was said to have had {consumed} us");
        Ok(())
    })
}
