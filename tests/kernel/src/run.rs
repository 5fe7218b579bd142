// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running checks, and what is printed of them.

use sel4::BootInfoPtr;
use sel4_root_task::println;

use crate::{Env, Outcome, machine};

/// A check and its name.
pub type Check = (&'static str, fn(&mut Env) -> Outcome);

/// Runs the checks that `choose` names, in order, prints a line of each, then what `report` has to say, and how many passed and failed; ends the machine.
pub fn run(
    bootinfo: &BootInfoPtr,
    choose: impl FnOnce(&Env) -> &'static [&'static [Check]],
    report: impl FnOnce(),
) -> ! {
    run_and_see(bootinfo, choose, |_| (), report)
}

/// The same; `after` is told the name of each check that has come to its end.
pub fn run_and_see(
    bootinfo: &BootInfoPtr,
    choose: impl FnOnce(&Env) -> &'static [&'static [Check]],
    mut after: impl FnMut(&str),
    report: impl FnOnce(),
) -> ! {
    let mut env = match Env::new(bootinfo) {
        Ok(env) => env,
        Err(why) => panic!("no environment: {why}"),
    };
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in choose(&env).iter().copied().flatten() {
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
        after(name);
    }
    report();
    println!("{passed} passed, {failed} failed");
    machine::exit(env.last_slot(), failed == 0)
}

/// A list of checks under their own names.
#[macro_export]
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        /// The checks of this file.
        pub const CHECKS: &[$crate::run::Check] = &[$((stringify!($name), $name)),*];
    };
}
