// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the kernel from inside an initial thread. Each has the name of the rule that it holds, memory and slots of its
//! own, and prints one line: `test <name> ... ok`, `FAILED: <why>` or `skipped: <why>`. At the end stands
//! `<n> passed, <n> failed`, and the machine is switched off.
#![no_std]
#![no_main]

mod checks;

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
    for group in checks::ALL {
        for (name, check) in *group {
            // One piece at the end, since a debug kernel's own lines come in between.
            match env.run(*check) {
                Ok(()) => {
                    passed += 1;
                    println!("test {name} ... ok");
                }
                Err(why) if why.is_skip() => println!("test {name} ... skipped: {why}"),
                Err(why) => {
                    failed += 1;
                    println!("test {name} ... FAILED: {why}");
                }
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    machine::exit(env.last_slot(), failed == 0)
}
