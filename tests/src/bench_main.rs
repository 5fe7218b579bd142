// SPDX-License-Identifier: MIT OR Apache-2.0
//! `make bench`: runs the measurements and prints the table. The exit status says whether every step went well and every target is
//! reached. With an argument only the steps whose name contains it are run, and their rows are judged and printed.

use std::process::ExitCode;

use postern_tests::bench;

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let (table, all) = match bench::run(&filter) {
        Ok(figures) => figures.table(),
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    print!("{table}");
    if all {
        return ExitCode::SUCCESS;
    }
    eprintln!("bench: not every target is reached, or not every step went well");
    ExitCode::FAILURE
}
