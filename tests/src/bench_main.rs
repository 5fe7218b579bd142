// SPDX-License-Identifier: MIT OR Apache-2.0
//! `make bench`: runs the measurements and prints the table. The exit status says whether every target is reached.

use std::process::ExitCode;

use postern_tests::bench;

fn main() -> ExitCode {
    let (table, all) = bench::run().table();
    print!("{table}");
    if all {
        return ExitCode::SUCCESS;
    }
    eprintln!("bench: not every target is reached");
    ExitCode::FAILURE
}
