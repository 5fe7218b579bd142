// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of more than one processor, on a machine with at least two. Prints the same lines as `kernel-tests`. Nothing here has a deadline:
//! what must come from another processor is waited for.
#![no_std]
#![no_main]

mod checks;
mod stress;
mod worker;

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
    for (name, check) in checks::CHECKS.iter().chain(stress::CHECKS) {
        match env.run(*check) {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Err(why) => {
                failed += 1;
                println!("test {name} ... FAILED: {why}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    machine::exit(env.last_slot(), failed == 0)
}
