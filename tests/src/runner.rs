// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs cases, two at a time at most, and says how they went.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::machine::Machine;

/// What a case reports: nothing, or why it failed with what was seen.
pub type Outcome = Result<(), String>;

/// A test.
#[derive(Clone, Copy)]
pub struct Case {
    /// `area::what holds`.
    pub name: &'static str,
    /// Does it.
    pub run: fn() -> Outcome,
    /// Why it can't hold on this emulator. Strict: if it holds after all, that is a failure, and so is a panic, by which
    /// a case says that it failed for another reason.
    pub expected_to_fail: Option<&'static str>,
}

impl Case {
    /// A case that must hold.
    #[must_use]
    pub const fn new(name: &'static str, run: fn() -> Outcome) -> Self {
        Self { name, run, expected_to_fail: None }
    }

    /// A case that is known not to hold here, and why.
    #[must_use]
    pub const fn expected_to_fail(name: &'static str, why: &'static str, run: fn() -> Outcome) -> Self {
        Self { name, run, expected_to_fail: Some(why) }
    }
}

/// Runs what a test does with a machine; its failure is shown with everything that the machine said.
///
/// # Errors
/// What `test` says, with the evidence.
pub fn with(mut machine: Machine, test: impl FnOnce(&mut Machine) -> Outcome) -> Outcome {
    test(&mut machine).map_err(|error| format!("{error}\n{}", machine.evidence()))
}

/// Runs the cases whose name contains one of `filters` (all if there is none), `jobs` at a time. Gives the number of
/// passed and failed ones.
#[must_use]
pub fn run(cases: &[Case], filters: &[String], jobs: usize) -> (usize, usize) {
    let chosen: Vec<_> = (cases.iter())
        .filter(|case| filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter.as_str())))
        .collect();
    println!("running {} booted tests", chosen.len());
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, 2) {
            scope.spawn(|| {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let outcome = judge(case);
                    let seconds = start.elapsed().as_secs_f32();
                    match outcome {
                        Ok(note) => println!("test {} ... ok{note} ({seconds:.1} s)", case.name),
                        Err(error) => {
                            println!("test {} ... FAILED ({seconds:.1} s)", case.name);
                            if let Ok(mut failures) = failures.lock() {
                                failures.push((case.name, error));
                            }
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_default();
    for (name, error) in &failures {
        println!("\n---- {name} ----\n{error}");
    }
    (chosen.len() - failures.len(), failures.len())
}

fn judge(case: &Case) -> Result<String, String> {
    let outcome = panic::catch_unwind(AssertUnwindSafe(case.run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("the test panicked: {}", text.unwrap_or_default())
    })?;
    match (outcome, case.expected_to_fail) {
        (outcome, None) => outcome.map(|()| String::new()),
        (Err(_), Some(why)) => Ok(format!(", failed as expected: {why}")),
        (Ok(()), Some(why)) => Err(format!("this was expected to fail, but held: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Outcome {
        Ok(())
    }

    fn bad() -> Outcome {
        Err("no".into())
    }

    fn wild() -> Outcome {
        panic!("oh")
    }

    #[test]
    fn outcomes_are_counted() {
        let cases = [
            Case::new("a::fine", fine),
            Case::new("a::bad", bad),
            Case::new("b::wild", wild),
            Case::expected_to_fail("c::bad", "it can't", bad),
            Case::expected_to_fail("c::wild", "a panic is no expected failure", wild),
            Case::expected_to_fail("c::fine", "it can't", fine),
        ];
        assert_eq!(run(&cases, &[], 2), (2, 4));
        assert_eq!(run(&cases, &["a::".into()], 1), (1, 1));
        assert_eq!(run(&cases, &["nothing".into()], 1), (0, 0));
    }
}
