// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads on processors that are chosen, and how the initial thread waits for what they do.

use core::hint::spin_loop;

use kernel_tests::env::LOW;
use kernel_tests::{Env, Failure, Me, Outcome, Thread, machine, thread};
use sel4::{MessageInfo, cap};

/// Cell in which [`count`] counts.
pub const COUNT: usize = 0;
/// Cell in which [`tell_processor`] writes.
pub const PROCESSOR: usize = 1;

/// Which processor runs this: the identifier of its local APIC.
pub fn processor() -> u64 {
    u64::from(machine::cpuid(1)[1] >> 24)
}

/// The control of a processor's time.
pub fn control(env: &Env, core: usize) -> Outcome<cap::SchedControl> {
    let slot = env.bootinfo.sched_control(core);
    Ok(slot.ok_or(Failure::new(format_args!("processor {core} has no control")))?.cap())
}

/// Gives a scheduling context all of the time of a processor.
pub fn put_on(env: &Env, core: usize, sc: cap::SchedContext) -> Outcome {
    Ok(control(env, core)?.sched_control_configure_flags(sc, 10_000, 10_000, 0, 0, 0)?)
}

/// Starts a thread on a processor, with a lower priority than the initial thread's: on the same one it waits.
pub fn spawn_on(env: &mut Env, core: usize, body: fn(&mut Me), args: [u64; 4]) -> Outcome<Thread> {
    let thread = env.thread(body, args)?;
    put_on(env, core, thread.sc)?;
    env.start(thread, LOW)?;
    Ok(thread)
}

/// Waits, running, for what another processor does.
pub fn until(condition: impl Fn() -> bool) {
    while !condition() {
        spin_loop();
    }
}

/// Waits until cell `index` has moved on by `steps`.
pub fn until_moved(index: usize, steps: u64) {
    let from = thread::get(index);
    until(|| thread::get(index) >= from + steps);
}

/// Looks for long enough that a thread on another processor, which ran, would have moved on.
pub fn moves(index: usize) -> bool {
    let from = thread::get(index);
    for _ in 0..50 {
        machine::pass(1);
        spin_loop();
    }
    thread::get(index) != from
}

/// Counts for ever, without a system call.
pub fn count(_: &mut Me) {
    loop {
        thread::add(COUNT, 1);
    }
}

/// Counts for ever, by system calls.
pub fn count_in_calls(_: &mut Me) {
    loop {
        thread::add(COUNT, 1);
        sel4::yield_();
    }
}

/// Counts, and writes which processor runs it, for ever.
pub fn tell_processor(_: &mut Me) {
    loop {
        thread::put(PROCESSOR, processor());
        thread::add(COUNT, 1);
    }
}

/// Answers on args[0] with the reply object args[1] for ever: the word plus one, and which processor it is.
pub fn serve(me: &mut Me) {
    let (endpoint, reply) = (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
    let mut word = endpoint.recv_with_mrs(reply).msg[0];
    loop {
        word =
            endpoint.reply_recv_with_mrs(MessageInfo::new(0, 0, 0, 2), [word + 1, processor()], reply).msg[0];
    }
}

/// Calls args[0] args[1] times and counts in cell args[2] how often the answer is right.
pub fn call(me: &mut Me) {
    let endpoint = cap::Endpoint::from_bits(me.args[0]);
    for i in 0..me.args[1] {
        if endpoint.call_with_mrs(MessageInfo::new(0, 0, 0, 1), [i]).msg[0] == i + 1 {
            thread::add(me.args[2] as usize, 1);
        }
    }
}

/// Waits for args[0] and signals args[1], args[2] times.
pub fn pong(me: &mut Me) {
    let (from, to) = (cap::Notification::from_bits(me.args[0]), cap::Notification::from_bits(me.args[1]));
    for _ in 0..me.args[2] {
        from.wait();
        to.signal();
    }
}
