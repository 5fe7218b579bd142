// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of DMA and interrupt remapping (extensions X2 to X4) with real devices: QEMU's `edu` at 01:00.0 and 02:00.0, each
//! behind a root port, beside a VT-d unit. Prints the same lines as `kernel-tests`.
#![no_std]
#![no_main]

mod faults;
mod lab;
mod mapping;
mod messages;
mod race;
mod race_messages;
mod spaces;

use kernel_tests::{Env, Outcome, machine};
use sel4::BootInfoPtr;
use sel4_root_task::println;

sel4_root_task::declare!(main);

/// A check and its name.
type Check = (&'static str, fn(&mut Env) -> Outcome);

/// A list of checks under their own names.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        pub const CHECKS: &[crate::Check] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use checks;

const ALL: &[&[Check]] =
    &[spaces::CHECKS, mapping::CHECKS, faults::CHECKS, messages::CHECKS, race::CHECKS, race_messages::CHECKS];

fn main(bootinfo: &BootInfoPtr) -> ! {
    let mut env = match Env::new(bootinfo) {
        Ok(env) => env,
        Err(why) => panic!("no environment: {why}"),
    };
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in ALL.iter().copied().flatten() {
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
    println!("{passed} passed, {failed} failed");
    machine::exit(env.last_slot(), failed == 0)
}
