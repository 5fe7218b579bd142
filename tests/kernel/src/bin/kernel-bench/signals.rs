// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signalling and waiting.

use kernel_tests::machine::rdtsc;
use kernel_tests::measure::{STAMP, bench, bench_pair, overhead, start_elsewhere};
use kernel_tests::{Env, Me, Outcome, thread};
use sel4::cap;

/// Cell in which the waiter leaves the counter before it waits again.
const BEFORE: usize = STAMP + 1;

/// Without another thread: nobody is woken, and who waits finds the signal.
pub fn alone(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let wait = || {
        notification.wait();
    };
    bench_pair(["signal-nobody", "wait-signalled"], overhead(), || notification.signal(), wait);
    Ok(())
}

/// Waits on args[0], and leaves the counter as soon as it runs and just before it waits again.
fn waiter(me: &mut Me) {
    let notification = cap::Notification::from_bits(me.args[0]);
    loop {
        notification.wait();
        thread::put(STAMP, rdtsc());
        thread::put(BEFORE, rdtsc());
    }
}

/// To a thread of higher priority in another address space, and back.
pub fn between_spaces(env: &mut Env) -> Outcome {
    let overhead = overhead();
    let notification: cap::Notification = env.make()?;
    start_elsewhere(env, waiter, [notification.bits(), 0, 0, 0])?;
    bench("signal-to-waiter", overhead, || {
        let start = rdtsc();
        notification.signal();
        thread::get(STAMP) - start
    });
    bench("wait-blocks", overhead, || {
        notification.signal();
        rdtsc() - thread::get(BEFORE)
    });
    bench("signal-and-wait-again", overhead, || {
        let start = rdtsc();
        notification.signal();
        rdtsc() - start
    });
    Ok(())
}
