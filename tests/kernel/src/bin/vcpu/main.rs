// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of virtual CPUs (extension X1): a tiny guest under SVM, with the initial thread as its VMM. Prints the same lines as
//! `kernel-tests`, and how many ticks an exit to the VMM and back takes (instructions, under `-icount shift=0`).
#![no_std]
#![no_main]

mod checks;
mod code;
mod entry;
mod processors;
mod steps;
mod threads;
mod translations;
mod vm;

use core::sync::atomic::Ordering;

use kernel_tests::{Env, machine};
use sel4::BootInfoPtr;
use sel4_root_task::println;

sel4_root_task::declare!(main);

fn main(bootinfo: &BootInfoPtr) -> ! {
    let mut env = match Env::new(bootinfo) {
        Ok(env) => env,
        Err(why) => panic!("no environment: {why}"),
    };
    let (mut passed, mut failed) = (0, 0);
    let one = [checks::CHECKS, entry::CHECKS, threads::CHECKS, steps::CHECKS, translations::CHECKS];
    // What the others measure and wait for is that of one processor.
    let groups = if env.bootinfo.num_nodes() == 1 { &one[..] } else { &[processors::CHECKS] };
    for (name, check) in groups.iter().copied().flatten() {
        sel4_root_task::print!("test {name} ... ");
        match env.run(*check) {
            Ok(()) => {
                passed += 1;
                println!("ok");
            }
            Err(why) if why.is_skip() => println!("skipped: {why}"),
            Err(why) => {
                failed += 1;
                println!("FAILED: {why}");
            }
        }
    }
    let [cpuid, out] = checks::TICKS.each_ref().map(|ticks| ticks.load(Ordering::Relaxed));
    if cpuid != 0 {
        println!("to the VMM and back: CPUID {cpuid} ticks, OUT {out} ticks");
    }
    if steps::GROWTH.load(Ordering::Relaxed) != 0 {
        println!("a forced flush: {} ticks more", steps::GROWTH.load(Ordering::Relaxed));
    }
    println!("{passed} passed, {failed} failed");
    machine::exit(env.last_slot(), failed == 0)
}
