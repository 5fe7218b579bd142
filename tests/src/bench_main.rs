// SPDX-License-Identifier: MIT OR Apache-2.0
//! `make bench`: runs the measurements and prints the table. The exit status says whether every target is reached. With an argument only
//! the steps whose name contains it are run.

use std::process::ExitCode;

use postern_tests::bench;

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let (table, all) = bench::run(&filter).table();
    print!("{table}");
    if all {
        return ExitCode::SUCCESS;
    }
    eprintln!("bench: not every target is reached");
    ExitCode::FAILURE
}
