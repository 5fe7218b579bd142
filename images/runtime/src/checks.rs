// SPDX-License-Identifier: MIT OR Apache-2.0
//! The line protocol of guests that test: `test <name> ... ok` or `test <name> ... FAILED: <why>`, and a summary.

use crate::println;
use core::fmt::Display;

/// Counts results.
#[derive(Default)]
pub struct Checks {
    passed: u32,
    failed: u32,
}

impl Checks {
    /// The exit code of a guest with failed tests.
    pub const FAILED: u32 = 1;

    /// No results yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prints and counts a result.
    pub fn report(&mut self, name: &str, result: Result<(), impl Display>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            Err(why) => {
                self.failed += 1;
                println!("test {name} ... FAILED: {why}");
            }
        }
    }

    /// Reports whether what was found is what should be.
    pub fn equal<T: PartialEq + core::fmt::Debug>(&mut self, name: &str, found: T, expected: T) {
        let result = if found == expected { Ok(()) } else { Err(Mismatch { found, expected }) };
        self.report(name, result);
    }

    /// Prints the summary; the guest's exit code.
    pub fn finish(&self) -> u32 {
        println!("tests: {} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { 0 } else { Self::FAILED }
    }
}

struct Mismatch<T> {
    found: T,
    expected: T,
}

impl<T: core::fmt::Debug> Display for Mismatch<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "found {:?}, expected {:?}", self.found, self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_tested_is_a_failure_too() {
        let mut checks = Checks::new();
        assert_eq!(checks.finish(), Checks::FAILED);
        checks.equal("same", 1, 1);
        assert_eq!(checks.finish(), 0);
        checks.equal("different", 1, 2);
        assert_eq!(checks.finish(), Checks::FAILED);
    }
}
