// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measures in ticks of the time-stamp counter, which are instructions under QEMU's `-icount shift=0`.

use sel4_root_task::println;

use crate::env::{HIGH, root_guard};
use crate::machine::{self, rdtsc};
use crate::{Env, Outcome, space, thread};
use sel4::init_thread::slot;
use sel4::{BootInfoPtr, CPtr};

/// Measurements of each.
const N: usize = 1001;

/// Cell in which another thread leaves the counter.
pub const STAMP: usize = 5;

/// Measures `N` times after a few in vain, and prints `bench <name> <median> min <minimum>`, without the ticks `overhead`.
pub fn bench(name: &str, overhead: u64, mut measure: impl FnMut() -> u64) {
    let mut ticks = [0; N];
    (0..20).for_each(|_| {
        measure();
    });
    ticks.iter_mut().for_each(|ticks| *ticks = measure().saturating_sub(overhead));
    report(name, &mut ticks);
}

/// The same of two things that undo each other, each measured by itself.
pub fn bench_pair(names: [&str; 2], overhead: u64, mut first: impl FnMut(), mut second: impl FnMut()) {
    let mut ticks = [[0; N]; 2];
    for i in 0..N + 20 {
        let start = rdtsc();
        first();
        let between = rdtsc();
        let again = rdtsc();
        second();
        let end = rdtsc();
        let at = i.saturating_sub(20);
        ticks[0][at] = (between - start).saturating_sub(overhead);
        ticks[1][at] = (end - again).saturating_sub(overhead);
    }
    for (name, ticks) in names.into_iter().zip(&mut ticks) {
        report(name, ticks);
    }
}

fn report(name: &str, ticks: &mut [u64; N]) {
    ticks.sort_unstable();
    println!("bench {name} {} min {}", ticks[N / 2], ticks[0]);
}

/// Ticks that reading the counter takes.
#[must_use]
pub fn overhead() -> u64 {
    (0..100).fold(u64::MAX, |least, _| {
        let start = rdtsc();
        least.min(rdtsc() - start)
    })
}

/// Puts a thread that hasn't started into an address space of its own, where the image is as in the first one.
pub fn move_to_own_space(env: &mut Env, thread: thread::Thread) -> Outcome {
    let vspace = space::with_image(env)?;
    let guard = root_guard(&env.bootinfo);
    Ok(thread.tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, vspace)?)
}

/// A thread in an address space of its own that runs as soon as it can; by the return it has run.
pub fn start_elsewhere(env: &mut Env, body: thread::Body, args: [u64; 4]) -> Outcome {
    let thread = env.thread(body, args)?;
    move_to_own_space(env, thread)?;
    env.start(thread, HIGH)
}

/// Runs the groups, says how many went well, and switches the machine off.
pub fn run(bootinfo: &BootInfoPtr, groups: &[fn(&mut Env) -> Outcome]) -> ! {
    let mut env = match Env::new(bootinfo) {
        Ok(env) => env,
        Err(why) => panic!("no environment: {why}"),
    };
    let (mut passed, mut failed) = (0, 0);
    for group in groups {
        match env.run(*group) {
            Ok(()) => passed += 1,
            Err(why) => {
                failed += 1;
                println!("FAILED: {why}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    machine::exit(env.last_slot(), failed == 0)
}
