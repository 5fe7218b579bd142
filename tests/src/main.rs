// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo run -p postern-tests -- [--jobs N] [--list] [FILTER...]`: runs the booted tests.

use std::process::ExitCode;

use postern_tests::{cases, runner};

fn main() -> ExitCode {
    let mut filters: Vec<String> = std::env::args().skip(1).collect();
    let mut jobs = 1;
    if let Some(at) = filters.iter().position(|argument| argument == "--jobs") {
        jobs = filters.get(at + 1).and_then(|number| number.parse().ok()).unwrap_or(1);
        filters.drain(at..(at + 2).min(filters.len()));
    }
    let cases = cases::all();
    if filters.iter().any(|argument| argument == "--list") {
        cases.iter().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    }
    let (passed, failed) = runner::run(&cases, &filters, jobs);
    println!("\n{passed} passed, {failed} failed");
    // A filter that chooses nothing is a mistake, not a success.
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
