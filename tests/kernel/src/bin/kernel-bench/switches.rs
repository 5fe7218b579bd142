// SPDX-License-Identifier: MIT OR Apache-2.0
//! Switches between threads of one priority, by yielding.

use kernel_tests::env::MAIN;
use kernel_tests::machine::rdtsc;
use kernel_tests::measure::{STAMP, bench, move_to_own_space, overhead};
use kernel_tests::{Env, Me, Outcome, thread};

/// There is nobody to switch to.
pub fn alone(_env: &mut Env) -> Outcome {
    bench("yield-alone", overhead(), || {
        let start = rdtsc();
        sel4::yield_();
        rdtsc() - start
    });
    Ok(())
}

/// Yields for ever, and leaves the counter whenever it runs.
fn yielder(_me: &mut Me) {
    loop {
        sel4::yield_();
        thread::put(STAMP, rdtsc());
    }
}

/// To another thread of the same address space.
pub fn between_threads(env: &mut Env) -> Outcome {
    between(env, "switch-yield-one-space", false)
}

/// To a thread of another address space.
pub fn between_spaces(env: &mut Env) -> Outcome {
    between(env, "switch-yield", true)
}

fn between(env: &mut Env, name: &str, other_space: bool) -> Outcome {
    let other = env.thread(yielder, [0; 4])?;
    if other_space {
        move_to_own_space(env, other)?;
    }
    env.start(other, MAIN)?;
    bench(name, overhead(), || {
        let start = rdtsc();
        sel4::yield_();
        // It is 0, and the difference absurd, if nobody ran meanwhile.
        thread::get(STAMP).wrapping_sub(start)
    });
    other.tcb.tcb_suspend()?;
    Ok(())
}
