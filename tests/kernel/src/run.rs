// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running checks, and what is printed of them.

use sel4::BootInfoPtr;
use sel4_root_task::println;

use crate::{Env, Outcome, machine};

/// A check and its name.
pub type Check = (&'static str, fn(&mut Env) -> Outcome);

/// How many checks passed and failed so far.
#[derive(Debug, Default)]
pub struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    /// Prints the line of a check.
    pub fn note(&mut self, name: &str, outcome: &Outcome) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            Err(why) if why.is_skip() => println!("test {name} ... skipped: {why}"),
            Err(why) => {
                self.failed += 1;
                println!("test {name} ... FAILED: {why}");
            }
        }
    }

    /// Prints how many passed and failed, and ends the machine.
    pub fn end(self, env: &Env) -> ! {
        println!("{} passed, {} failed", self.passed, self.failed);
        machine::exit(env.last_slot(), self.failed == 0)
    }
}

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
    let mut tally = Tally::default();
    for (name, check) in choose(&env).iter().copied().flatten() {
        // One piece at the end, since a debug kernel's own lines come in between.
        let outcome = env.run(*check);
        tally.note(name, &outcome);
        after(name);
    }
    report();
    tally.end(&env)
}

/// A list of checks under their own names.
#[macro_export]
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        /// The checks of this file.
        pub const CHECKS: &[$crate::run::Check] = &[$((stringify!($name), $name)),*];
    };
}
