// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every invocation of the interface, and every system call, as it is meant and in every misuse, against a table of answers: codes and words, and that
//! what was refused changed nothing. Prints the same lines as `kernel-tests`, one for each method, and how many rows there were.
#![no_std]
#![no_main]

mod copies;
mod judge;
mod making;
mod rows;
mod syscalls;
mod table;
mod things;
mod world;

use judge::Score;
use kernel_tests::run::Tally;
use kernel_tests::{Env, Failure, Outcome};
use sel4::BootInfoPtr;
use sel4::abi::method::{EXTENSIONS, METHODS, Method};
use sel4_root_task::println;
use table::Gives;

sel4_root_task::declare!(main);

fn main(bootinfo: &BootInfoPtr) -> ! {
    let mut env = match Env::new(bootinfo) {
        Ok(env) => env,
        Err(why) => panic!("no environment: {why}"),
    };
    let mut tally = Tally::default();
    let mut total = Score::default();
    let mut judged = 0;
    for method in METHODS.iter().chain(EXTENSIONS).filter(|method| method.label.is_some()) {
        let mut score = Score::default();
        let outcome = env.run(|env| one(env, method, &mut score));
        tally.note(method.name, &outcome);
        total.misuses += score.misuses;
        total.successes += score.successes;
        judged += 1;
    }
    let outcome = env.run(judge::no_methods);
    tally.note("labels_that_are_no_methods", &outcome);
    let outcome = env.run(copies::judge);
    tally.note("copies_of_every_kind", &outcome);
    let mut score = Score::default();
    let outcome = env.run(|env| syscalls::judge(env, &mut score));
    tally.note("system_calls", &outcome);
    println!("system calls: {} misuses, {} others", score.misuses, score.successes);
    println!(
        "{judged} methods, {} not of this configuration: {} misuses, {} successes",
        METHODS.len() + EXTENSIONS.len() - judged,
        total.misuses,
        total.successes
    );
    tally.end(&env)
}

/// Judges a method. Each has rows, of which one at least is refused, and one is not unless the method never does anything here.
fn one(env: &mut Env, method: &Method, score: &mut Score) -> Outcome {
    let Some(group) = rows::ALL.iter().copied().flatten().find(|group| Some(group.label) == method.label)
    else {
        return Err(Failure::new(format_args!("no rows")));
    };
    let (counted, outcome) = judge::group(env, method, group);
    *score = counted;
    outcome?;
    let never = matches!(group.good.gives, Gives::Error(..));
    if counted.misuses == 0 || (counted.successes == 0 && !never) {
        return Err(Failure::new(format_args!("{counted:?}")));
    }
    Ok(())
}
